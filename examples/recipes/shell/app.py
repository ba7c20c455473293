"""The program that restart.sh runs in its tests. It reads its credentials from the
environment, and on TERM it finishes the running requests."""
import os
import signal
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

import pymysql

database, (host, port) = urlsplit(os.environ["APP_DATABASE"]), os.environ["APP_ADDR"].split(":")
COUNT = "SELECT COUNT(*) FROM secretsync_items"


def work(path):
    connection = pymysql.connect(host=database.hostname, port=database.port, database=database.path[1:],
                                 user=os.environ["DB_USER"], password=os.environ["DB_PASSWORD"])
    with connection, connection.cursor() as cursor:
        if path == "/transaction":
            cursor.execute("INSERT INTO secretsync_done VALUES (1)")
            time.sleep(0.1)
        cursor.execute(COUNT)
        connection.commit()


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        try:
            work(self.path)
            self.send_response(200)
        except pymysql.Error:
            self.send_response(500)
        self.end_headers()

    def log_message(self, *_):
        pass


class Server(ThreadingHTTPServer):
    daemon_threads = False  # server_close waits for the running requests
    request_queue_size = 128


server = Server((host, int(port)), Handler)
signal.signal(signal.SIGTERM, lambda *_: threading.Thread(target=server.shutdown).start())
print("reloaded as", os.environ["DB_USER"], flush=True)
server.serve_forever(poll_interval=0.01)
server.server_close()
