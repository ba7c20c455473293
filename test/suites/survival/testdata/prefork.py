"""A parent with two workers, as gunicorn: HUP makes the parent read the value
anew and replace the workers. A worker has no handler for HUP: it would die of it.
Arguments: VALUE PIDFILE DELAY, a file, a file, milliseconds before the handler."""
import os
import signal
import sys
import time

value, pidfile, delay = sys.argv[1:]
workers = set()
notified = False


def hup(*_):
    global notified
    notified = True


def read():
    with open(value) as f:
        return f.read()


def spawn():
    pid = os.fork()
    if pid == 0:
        signal.signal(signal.SIGHUP, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGHUP})
        while True:
            signal.pause()
    workers.add(pid)


def reap(pid, status):
    workers.discard(pid)
    if os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGHUP:
        print("a worker died of HUP", flush=True)


with open(pidfile, "w") as f:
    f.write(f"{os.getpid()}\n")
time.sleep(int(delay) / 1000)
signal.signal(signal.SIGHUP, hup)
for _ in range(2):
    spawn()
print("ready", flush=True)
while True:
    # Blocked around the look at notified, so that none gets lost before the wait.
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGHUP})
    if notified:
        notified = False
        print("notified", read(), flush=True)
        for pid in list(workers):
            os.kill(pid, signal.SIGTERM)
            reap(*os.waitpid(pid, 0))
        for _ in range(2):
            spawn()
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGHUP})
    while True:
        pid, status = os.waitpid(-1, os.WNOHANG)
        if pid == 0:
            break
        reap(pid, status)
        spawn()
    time.sleep(0.01)
