"""The WSGI app around database.py and gunicorn.conf.py in their tests."""
import os
import time

from sqlalchemy import text

from database import Database, read

url = os.environ["APP_DATABASE"].replace("mysql:", "mysql+pymysql:").replace("postgres:", "postgresql+psycopg2:")
database = Database(url, os.environ["APP_CREDENTIALS"])
COUNT = text("SELECT COUNT(*) FROM secretsync_items")


def query():
    with database.engine.connect() as connection:
        connection.execute(COUNT).scalar()


def transaction():
    with database.engine.begin() as connection:
        connection.execute(text("INSERT INTO secretsync_done VALUES (1)"))
        time.sleep(0.1)
        connection.execute(COUNT).scalar()


def application(environ, start_response):
    try:
        {"/query": query, "/transaction": transaction}[environ["PATH_INFO"]]()
    except Exception as e:
        start_response("500 Internal Server Error", [])
        return [str(e).encode()]
    start_response("200 OK", [])
    return [b"ok\n"]
