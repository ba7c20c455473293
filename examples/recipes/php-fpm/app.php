<?php
// The app around database.php in its tests.
require __DIR__ . '/database.php';

$url = parse_url(getenv('APP_DATABASE'));
$database = "mysql:host={$url['host']};port={$url['port']};dbname=" . ltrim($url['path'], '/');
$count = 'SELECT COUNT(*) FROM secretsync_items';
try {
    $pdo = connect($database, getenv('APP_CREDENTIALS'));
    if ($_SERVER['SCRIPT_NAME'] === '/transaction') {
        $pdo->beginTransaction();
        $pdo->exec('INSERT INTO secretsync_done VALUES (1)');
        usleep(100000);
        $pdo->query($count)->fetchColumn();
        $pdo->commit();
    } else {
        $pdo->query($count)->fetchColumn();
    }
    echo "ok\n";
} catch (Exception $e) {
    http_response_code(500);
    echo $e->getMessage();
}
