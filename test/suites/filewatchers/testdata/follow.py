"""Prints the content of FILE now and after each exchange that watchdog reports
in DIRECTORY, a line each: the program of somebody who uses watchdog as it is.

usage: follow.py DIRECTORY FILE
"""
import os.path
import sys

from watchdog.events import FileSystemEventHandler
from watchdog.observers.inotify import InotifyObserver


def show():
    with open(sys.argv[2]) as f:
        print(f.read(), flush=True)


class Exchanged(FileSystemEventHandler):
    def on_any_event(self, event):
        names = (event.src_path, getattr(event, "dest_path", ""))
        if "..data" in map(os.path.basename, names):
            show()


observer = InotifyObserver()
observer.schedule(Exchanged(), sys.argv[1])
observer.start()
show()  # not before: the watch is there now
observer.join()
