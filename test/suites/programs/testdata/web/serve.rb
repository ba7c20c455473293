# PORT: an HTTP server without a signal handler. It reads the file VALUE at its start.
require "socket"
value = File.read(ENV["VALUE"])
server = TCPServer.new("127.0.0.1", ARGV[0].to_i)
loop do
  client = server.accept
  client.gets
  client.write("HTTP/1.0 200 OK\r\n\r\nnotified #{value}\n")
  client.close
end
