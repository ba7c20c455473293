"""Two ways to reload under gunicorn. Choose one and copy it.

HUP: gunicorn starts new workers and lets the old workers finish.
USR1: gunicorn passes the signal on, and each worker replaces its connections.
"""
import io
import signal
import sys
import threading
import time

# The master of gunicorn 20.1 logs in its handler of SIGCHLD. If it is interrupted while it writes to a buffered stderr,
# it ends with "RuntimeError: reentrant call". HUP ends several workers at once, which makes this more likely.
sys.stderr = io.TextIOWrapper(io.FileIO(2, "w", closefd=False), write_through=True)

worker_class, workers, threads = "gthread", 2, 8
graceful_timeout = 30  # HUP: must exceed the longest request


def post_worker_init(worker):
    def usr1(*_):
        worker.log.reopen_files()  # gunicorn's own reaction to USR1
        threading.Thread(target=change_connections, daemon=True).start()  # a handler must not wait for a lock

    signal.signal(signal.SIGUSR1, usr1)
    signal.siginterrupt(signal.SIGUSR1, False)
    print("ready", flush=True)


def change_connections():
    from app import database  # in the worker: HUP does not reload modules of the master

    while True:
        try:
            return print("reloaded as", database.reload(), flush=True)
        except Exception as e:  # the sidecar does not learn of a failure, so retry
            print("reload failed:", e, flush=True)
            time.sleep(1)


def worker_exit(server, worker):  # an old worker, after HUP
    from app import database, read

    database.engine.dispose()
    print("reloaded as", read(database.directory)[0], flush=True)
