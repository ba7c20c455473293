"""Two ways to reload under gunicorn; both are made to be copied, choose one.

HUP: gunicorn starts new workers and lets the old ones finish. Nothing is needed for it.
USR1: gunicorn passes it on to its workers, and each changes its connections.
"""
import signal
import threading
import time

worker_class, workers, threads = "gthread", 2, 8
graceful_timeout = 30  # after HUP: longer than the longest request


def post_worker_init(worker):
    def usr1(*_):
        worker.log.reopen_files()  # what USR1 is for without us
        threading.Thread(target=change_connections, daemon=True).start()  # not here: a lock may be held

    signal.signal(signal.SIGUSR1, usr1)
    signal.siginterrupt(signal.SIGUSR1, False)
    print("ready", flush=True)


def change_connections():
    from app import database  # in the worker: what the master imports, HUP does not load anew

    while True:
        try:
            return print("reloaded as", database.reload(), flush=True)
        except Exception as e:  # nobody asks again: so try until it works
            print("reload:", e, flush=True)
            time.sleep(1)


def worker_exit(server, worker):  # the old ones after HUP
    from app import database, read

    database.engine.dispose()
    print("reloaded as", read(database.directory)[0], flush=True)
