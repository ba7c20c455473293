"""A worker of Celery. Its main process also serves the file VALUE, which it reads at its start, on PORT."""
import http.server
import os
import threading

from celery import Celery, signals

app = Celery("tasks", broker="memory://")


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"notified " + value.encode() + b"\n")

    def log_message(self, *_):
        pass


@signals.worker_ready.connect
def serve(**_):
    global value
    with open(os.environ["VALUE"]) as f:
        value = f.read()
    server = http.server.HTTPServer(("127.0.0.1", int(os.environ["PORT"])), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
