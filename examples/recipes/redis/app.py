"""The app around clients.py in its tests."""
import os
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

from clients import Clients

address = urlsplit(os.environ["APP_DATABASE"])
clients = Clients(os.environ["APP_CREDENTIALS"], host=address.hostname, port=address.port)


def query():
    with clients.use() as client:
        client.get("secretsync_items")


def transaction():
    with clients.use() as client, client.pipeline() as pipeline:
        pipeline.watch("secretsync_items")  # holds a connection until execute
        time.sleep(0.1)
        pipeline.multi()
        pipeline.incr("secretsync_done")
        pipeline.get("secretsync_items")
        pipeline.execute()


def reload():
    print("reloaded as", clients.reload(), flush=True)


class Handler(BaseHTTPRequestHandler):
    # The sidecar retries after any status of the webhook other than 2xx.
    routes = {"GET /query": query, "GET /transaction": transaction, "POST /-/reload": reload}

    def answer(self):
        status, text = 200, "ok\n"
        try:
            self.routes[f"{self.command} {self.path}"]()
        except Exception as e:
            print("failed:", repr(e), flush=True)
            status, text = 500, repr(e)
        self.send_response(status)
        self.end_headers()
        self.wfile.write(text.encode())

    do_GET = do_POST = answer

    def log_message(self, *_):
        pass


class Server(ThreadingHTTPServer):
    request_queue_size = 128


host, port = os.environ["APP_ADDR"].split(":")
Server((host, int(port)), Handler).serve_forever()
