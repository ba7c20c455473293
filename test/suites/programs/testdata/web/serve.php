<?php
// PORT: an HTTP server without a signal handler. It reads the file VALUE at its start.
$value = file_get_contents(getenv("VALUE"));
$server = stream_socket_server("tcp://127.0.0.1:" . $argv[1]);
while (true) {
    $client = stream_socket_accept($server, -1);
    if ($client) {
        fgets($client);
        fwrite($client, "HTTP/1.0 200 OK\r\n\r\nnotified $value\n");
        fclose($client);
    }
}
