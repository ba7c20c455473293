"""The application of app.py. Its import takes a second longer."""
import time

time.sleep(1)

from app import application
