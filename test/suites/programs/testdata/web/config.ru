value = File.read(ENV["VALUE"])
run ->(env) { [200, {"Content-Type" => "text/plain"}, ["notified #{value}\n"]] }
