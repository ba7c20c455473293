%% PORT: an HTTP server without a signal handler. It reads the file VALUE at its start.
main([Port]) ->
    {ok, Value} = file:read_file(os:getenv("VALUE")),
    {ok, Listener} = gen_tcp:listen(list_to_integer(Port), [{active, false}, {reuseaddr, true}]),
    serve(Listener, Value).

serve(Listener, Value) ->
    {ok, Socket} = gen_tcp:accept(Listener),
    gen_tcp:recv(Socket, 0),
    gen_tcp:send(Socket, ["HTTP/1.0 200 OK\r\n\r\nnotified ", Value, "\n"]),
    gen_tcp:close(Socket),
    serve(Listener, Value).
