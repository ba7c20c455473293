"""A Redis client with credentials from the files of a Secret. Copy it into your app."""
import os
import threading
from contextlib import contextmanager

import redis


def read(directory):
    """Resolves ..data a single time, so both files come from the same generation."""
    generation = os.path.realpath(os.path.join(directory, "..data"))
    with open(os.path.join(generation, "username")) as user, open(os.path.join(generation, "password")) as password:
        return user.read().strip(), password.read().rstrip("\r\n")


class Client:
    """A client of redis-py, its credentials, and the number of threads that use it."""

    def __init__(self, credentials, options):
        self.credentials, self.users = credentials, 0
        user, password = credentials
        self.redis = redis.Redis(username=user, password=password, **options)
        try:
            self.redis.ping()
        except Exception:
            self.close()
            raise

    def close(self):
        self.redis.connection_pool.disconnect()


class Clients:
    """Provides the newest client that works. Call reload when the files have changed."""

    def __init__(self, directory, **options):
        self.directory, self.options = directory, options
        self.unused, self.reloading = threading.Condition(), threading.Lock()
        self.current, self.retired = Client(read(directory), options), []

    @contextmanager
    def use(self):
        """Returns the client. It stays open until the end of the with statement."""
        with self.unused:
            mine = self.current
            mine.users += 1
        try:
            yield mine.redis
        finally:
            with self.unused:
                mine.users -= 1
                self.unused.notify_all()

    def reload(self, timeout=4):
        """Opens new connections and returns the user when the old connections are closed.

        Raises an exception and keeps the old client if the new credentials do not work. Also
        raises an exception if old connections are still in use after the timeout; call it again.
        """
        with self.reloading:
            credentials = read(self.directory)
            if credentials != self.current.credentials:
                new = Client(credentials, self.options)
                with self.unused:
                    self.retired.append(self.current)
                    self.current = new
            while self.retired:
                self.retire(self.retired[0], timeout)
            return credentials[0]

    def retire(self, old, timeout):
        with self.unused:
            if not self.unused.wait_for(lambda: old.users == 0, timeout):
                raise TimeoutError("old connections are still in use")
        old.close()
        self.retired.remove(old)
