<?php
// A PDO connection whose credentials are the files of a Secret: made to be copied.

function connect(string $database, string $directory): PDO
{
    // PHP remembers for two minutes where links lead to, and what is there is deleted
    // earlier. Followed once, both files are of one generation.
    clearstatcache(true);
    $generation = realpath($directory . '/..data');
    $user = trim(file_get_contents($generation . '/username'));
    $password = rtrim(file_get_contents($generation . '/password'), "\r\n");
    return new PDO($database, $user, $password, [
        PDO::ATTR_ERRMODE => PDO::ERRMODE_EXCEPTION,
        // A worker keeps its connection for the next request. With new credentials it
        // opens another, and the old one stays until the reload ends the worker.
        PDO::ATTR_PERSISTENT => true,
    ]);
}
