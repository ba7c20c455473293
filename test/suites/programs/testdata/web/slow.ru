# The application of config.ru. Its start takes a second longer.
sleep 1
eval File.read(File.join(__dir__, "config.ru"))
