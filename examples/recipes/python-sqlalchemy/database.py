"""An SQLAlchemy engine whose credentials are the files of a Secret: made to be copied."""
import os
import threading
import time

from sqlalchemy import create_engine, event


def read(directory):
    """Follows ..data once, so that both files are of one generation."""
    generation = os.path.realpath(os.path.join(directory, "..data"))
    with open(os.path.join(generation, "username")) as user, open(os.path.join(generation, "password")) as password:
        return user.read().strip(), password.read().rstrip("\r\n")


class Database:
    """Use its engine as always. Call reload, in a thread, when the files have changed."""

    def __init__(self, url, directory, **options):
        self.directory = directory
        self.engine = create_engine(url, **options)
        self.reloading = threading.Lock()
        event.listen(self.engine, "do_connect", self.give_credentials)

    def give_credentials(self, dialect, record, args, parameters):
        parameters["user"], parameters["password"] = read(self.directory)

    def reload(self):
        """Changes to new connections; returns the user when the old ones are closed.

        It raises, and the old ones stay, when the new credentials do not work.
        """
        with self.reloading:
            user, _ = read(self.directory)
            old = self.engine.pool
            check = old.recreate()
            check.connect().close()
            check.dispose()
            self.engine.dispose(close=False)  # a new pool in front, the old one as it was
            while True:
                time.sleep(0.01)
                if not old.checkedout():  # queries and transactions under way
                    break
            old.dispose()  # not before: it would make checkedout forget them
            return user
