import os

with open(os.environ["VALUE"]) as f:
    value = f.read()


def app(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"notified " + value.encode() + b"\n"]


application = app
