<?php
// A PDO connection with credentials from the files of a Secret. Copy it into your app.

function connect(string $database, string $directory): PDO
{
    // PHP caches the target of a link for two minutes, which is longer than the target
    // exists. Resolving ..data a single time reads both files from the same generation.
    clearstatcache(true);
    $generation = realpath($directory . '/..data');
    $user = trim(file_get_contents($generation . '/username'));
    $password = rtrim(file_get_contents($generation . '/password'), "\r\n");
    return new PDO($database, $user, $password, [
        PDO::ATTR_ERRMODE => PDO::ERRMODE_EXCEPTION,
        // A worker keeps its connection for later requests. With new credentials, it opens
        // a new connection. The old connection stays until the reload ends the worker.
        PDO::ATTR_PERSISTENT => true,
    ]);
}
