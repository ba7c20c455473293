require "sequel"

# A Database provides Sequel with credentials from the files of a Secret. Copy it into your app.
class Database
  # A Connections is a Sequel database with the credentials of its connections, and the number
  # of threads that use it.
  Connections = Struct.new(:sequel, :credentials, :users)

  # url contains no user and no password. options are the options of Sequel.connect.
  def initialize(url, directory, **options)
    @url, @directory, @options = url, directory, options
    @lock, @unused, @reloading = Mutex.new, ConditionVariable.new, Mutex.new
    @current, @retired = connect(read), []
  end

  # use calls the block with the Sequel database, which stays open until the block returns.
  def use
    mine = @lock.synchronize { @current.tap { |c| c.users += 1 } }
    begin
      yield mine.sequel
    ensure
      @lock.synchronize { @unused.broadcast if (mine.users -= 1).zero? }
    end
  end

  # reload opens new connections if the credentials are new. It returns the user once all
  # connections with the old credentials are closed. If the new credentials do not work, or if
  # the old connections are still in use after timeout seconds, it raises an error; call it again.
  def reload(timeout: 4)
    @reloading.synchronize do
      credentials = read
      replace(connect(credentials)) unless credentials == @current.credentials
      retire(timeout)
      credentials[:user]
    end
  end

  private

  # read resolves ..data a single time, so both files come from the same generation.
  def read
    generation = File.realpath(File.join(@directory, "..data"))
    {user: File.read(File.join(generation, "username")).strip,
     password: File.read(File.join(generation, "password")).sub(/[\r\n]+\z/, "")}
  end

  # connect opens a connection, and raises an error if the credentials do not work.
  def connect(credentials)
    Connections.new(Sequel.connect(@url, **@options, **credentials, keep_reference: false), credentials, 0)
  end

  # replace makes use choose connections from now on.
  def replace(connections)
    @lock.synchronize do
      @retired << @current
      @current = connections
    end
  end

  # retire closes old connections after their last use.
  def retire(timeout)
    deadline = now + timeout
    while (old = @retired.first)
      @lock.synchronize { wait_unused(old, deadline) }
      old.sequel.disconnect # closes only idle connections, so wait before
      @retired.shift
    end
  end

  def wait_unused(old, deadline)
    until old.users.zero?
      raise "old connections are still in use" if now > deadline
      @unused.wait(@lock, 0.1)
    end
  end

  def now = Process.clock_gettime(Process::CLOCK_MONOTONIC)
end
