"""VALUE PIDFILE DELAY: prints "notified N" at HUP, N being what the file VALUE holds
then; the handler is there after DELAY milliseconds."""
import os
import signal
import sys
import time

value, pidfile, delay = sys.argv[1:]


def hup(*_):
    with open(value) as f:
        os.write(1, f"notified {f.read()}\n".encode())


with open(pidfile, "w") as f:
    f.write(f"{os.getpid()}\n")
time.sleep(int(delay) / 1000)
signal.signal(signal.SIGHUP, hup)
os.write(1, b"ready\n")
while True:
    signal.pause()
