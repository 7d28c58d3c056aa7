"""The entries in PostgreSQL, as release 1.0.0 keeps them."""

from connection import Unavailable, transaction

__all__ = ["Unavailable", "add", "newest", "ping", "prepare", "summary"]

# Any number will do, as long as every copy of the API takes the same lock before it touches the schema.
SCHEMA_LOCK = 20261120

SCHEMA = """
CREATE TABLE IF NOT EXISTS entries (
    id      bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    author  text NOT NULL,
    text    text NOT NULL,
    written timestamptz NOT NULL DEFAULT now()
);
CREATE TABLE IF NOT EXISTS summary (
    key   text PRIMARY KEY,
    value bigint NOT NULL
);
"""


def prepare():
    """Makes the schema; waits for the database at a cold start."""
    with transaction(patience=30) as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(%s)", (SCHEMA_LOCK,))
        cursor.execute(SCHEMA)


def ping():
    """Raises `Unavailable` unless the database answers."""
    with transaction() as cursor:
        cursor.execute("SELECT 1")


def add(author, text):
    """Writes an entry; its ID."""
    with transaction(patience=2) as cursor:
        cursor.execute("INSERT INTO entries (author, text) VALUES (%s, %s) RETURNING id", (author, text))
        return cursor.fetchone()[0]


def newest(limit):
    """The newest entries first."""
    with transaction(patience=2) as cursor:
        cursor.execute("SELECT id, author, text FROM entries ORDER BY id DESC LIMIT %s", (limit,))
        return [{"id": id, "author": author, "text": text} for id, author, text in cursor.fetchall()]


def summary():
    """What the worker has counted."""
    with transaction(patience=2) as cursor:
        cursor.execute("SELECT key, value FROM summary")
        return dict(cursor.fetchall())
