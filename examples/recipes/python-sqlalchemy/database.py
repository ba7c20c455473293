"""An SQLAlchemy engine with credentials from the files of a Secret. Copy it into your app."""
import os
import threading
import time

from sqlalchemy import create_engine, event


def read(directory):
    """Resolves ..data a single time, so both files come from the same generation."""
    generation = os.path.realpath(os.path.join(directory, "..data"))
    with open(os.path.join(generation, "username")) as user, open(os.path.join(generation, "password")) as password:
        return user.read().strip(), password.read().rstrip("\r\n")


class Database:
    """Provides an engine. Call reload, in a thread, when the files have changed."""

    def __init__(self, url, directory, **options):
        self.directory = directory
        self.engine = create_engine(url, **options)
        self.reloading = threading.Lock()
        event.listen(self.engine, "do_connect", self.give_credentials)

    def give_credentials(self, dialect, record, args, parameters):
        parameters["user"], parameters["password"] = read(self.directory)

    def reload(self):
        """Opens new connections and returns the user when the old connections are closed.

        Raises an exception and keeps the old connections if the new credentials do not work.
        """
        with self.reloading:
            user, _ = read(self.directory)
            old = self.engine.pool
            check = old.recreate()
            check.connect().close()
            check.dispose()
            self.engine.dispose(close=False)  # installs a new pool and leaves the old pool open
            while True:
                time.sleep(0.01)
                if not old.checkedout():  # no query or transaction is running
                    break
            old.dispose()  # only now: it resets the count of checkedout
            return user
