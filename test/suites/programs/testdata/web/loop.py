"""PORT: an HTTP server of asyncio. It reads the file VALUE at its start and at HUP."""
import asyncio
import os
import signal
import sys

value = ""


def read():
    global value
    with open(os.environ["VALUE"]) as f:
        value = f.read()


async def serve(reader, writer):
    await reader.readline()
    writer.write(f"HTTP/1.0 200 OK\r\n\r\nnotified {value}\n".encode())
    await writer.drain()
    writer.close()


async def main():
    asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, read)
    read()
    server = await asyncio.start_server(serve, "127.0.0.1", int(sys.argv[1]))
    await server.serve_forever()


asyncio.run(main())
