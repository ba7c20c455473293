# The app around database.rb in its tests.
require_relative "database"

# mysql2://HOST:PORT/NAME or postgres://HOST:PORT/NAME
url = ENV.fetch("APP_DATABASE").sub(/\Amysql:/, "mysql2:")
DATABASE = Database.new(url, ENV.fetch("APP_CREDENTIALS"), max_connections: 16)

query = -> { DATABASE.use { |db| db[:secretsync_items].count } }
transaction = lambda do
  DATABASE.use do |db|
    db.transaction do
      db[:secretsync_done].insert(n: 1)
      sleep 0.1
      db[:secretsync_items].count
    end
  end
end

ROUTES = {
  "GET /query" => query,
  "GET /transaction" => transaction,
  # Answers after the reload. The sidecar retries after any status other than 2xx.
  "POST /-/reload" => -> { puts "reloaded as #{DATABASE.reload}" }
}.freeze

run(lambda do |env|
  ROUTES.fetch("#{env["REQUEST_METHOD"]} #{env["PATH_INFO"]}").call
  [200, {"Content-Type" => "text/plain"}, ["ok\n"]]
rescue StandardError => e
  puts "failed: #{e.message}"
  [500, {"Content-Type" => "text/plain"}, [e.message]]
end)
