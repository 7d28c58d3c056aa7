"""One database connection per thread of work, opened again when the database went away."""

import contextlib
import os
import queue
import time

import psycopg2

_IDLE = queue.LifoQueue()


class Unavailable(Exception):
    """The database did not answer in time."""


def connect():
    """A fresh connection."""
    return psycopg2.connect(
        host=os.environ["DB_HOST"],
        dbname="guestbook",
        user="guestbook",
        password=os.environ["DB_PASSWORD"],
        connect_timeout=2,
    )


@contextlib.contextmanager
def transaction(patience=0.0):
    """A cursor in a transaction that is committed at the end; `patience` in seconds to wait for a database."""
    connection = _usable(time.monotonic() + patience)
    try:
        with connection, connection.cursor() as cursor:
            yield cursor
    except psycopg2.OperationalError as error:
        connection.close()
        raise Unavailable(str(error).strip()) from error
    except BaseException:
        connection.close()
        raise
    _IDLE.put(connection)


def _usable(deadline):
    """An idle connection that still answers, else a fresh one."""
    while True:
        try:
            connection = _IDLE.get_nowait()
        except queue.Empty:
            break
        try:
            with connection, connection.cursor() as cursor:
                cursor.execute("SELECT 1")
            return connection
        except psycopg2.Error:
            connection.close()
    while True:
        try:
            return connect()
        except psycopg2.OperationalError as error:
            if time.monotonic() >= deadline:
                raise Unavailable(str(error).strip()) from error
            time.sleep(0.1)
