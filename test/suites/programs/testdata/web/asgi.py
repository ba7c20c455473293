import os

with open(os.environ["VALUE"]) as f:
    value = f.read()


async def app(scope, receive, send):
    if scope["type"] == "http":
        await send({"type": "http.response.start", "status": 200})
        await send({"type": "http.response.body", "body": f"notified {value}\n".encode()})
