"""Keeps the guestbook's summary up to date, in the database and in a file the operator owns."""

import json
import os
import signal
import sys
import threading
from pathlib import Path

import psycopg2

import jobs

INTERVAL_S = 0.5
ALIVE = Path("/tmp/alive")
SUMMARY = Path(os.environ["SUMMARY_FILE"])


def connect():
    return psycopg2.connect(
        host=os.environ["DB_HOST"],
        dbname="guestbook",
        user="guestbook",
        password=os.environ["DB_PASSWORD"],
        connect_timeout=2,
    )


def write(path, text):
    """Replaces a file as a whole: a reader never sees half of it."""
    aside = path.with_suffix(".new")
    aside.write_text(text)
    aside.replace(path)


def work(connection):
    """One round: run the jobs, store what they counted."""
    with connection, connection.cursor() as cursor:
        counted = jobs.run(cursor)
        for key, value in counted.items():
            cursor.execute(
                "INSERT INTO summary VALUES (%s, %s) ON CONFLICT (key) DO UPDATE SET value = excluded.value",
                (key, value),
            )
    write(SUMMARY, json.dumps(counted) + "\n")
    ALIVE.touch()


def main():
    stopping = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stopping.set())
    connection = None
    while not stopping.is_set():
        try:
            connection = connection or connect()
            work(connection)
        except psycopg2.Error as error:
            # The database is away, or the API has not made the tables yet: the next round tries again, and
            # the health check notices if that lasts.
            print(f"this round failed: {error}".strip(), file=sys.stderr)
            if connection:
                connection.close()
            connection = None
        stopping.wait(INTERVAL_S)


if __name__ == "__main__":
    main()
