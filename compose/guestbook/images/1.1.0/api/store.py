"""The entries in PostgreSQL, as release 1.1.0 keeps them: every entry knows how many words it has."""

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

# Only adds, and the column may be empty: release 1.0.0 keeps working on this schema, before, during and after
# an upgrade. What it writes without a word count is counted by the worker later.
MIGRATION = """
ALTER TABLE entries ADD COLUMN IF NOT EXISTS words integer;
UPDATE entries SET words = cardinality(regexp_split_to_array(btrim(text), '\\s+')) WHERE words IS NULL;
"""


def prepare():
    """Makes the schema or brings it up to date; waits for the database at a cold start."""
    with transaction(patience=30) as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(%s)", (SCHEMA_LOCK,))
        cursor.execute(SCHEMA)
        cursor.execute(MIGRATION)


def ping():
    """Raises `Unavailable` unless the database answers."""
    with transaction() as cursor:
        cursor.execute("SELECT 1")


def add(author, text):
    """Writes an entry; its ID."""
    with transaction(patience=2) as cursor:
        cursor.execute(
            "INSERT INTO entries (author, text, words) VALUES (%s, %s, %s) RETURNING id",
            (author, text, len(text.split())),
        )
        return cursor.fetchone()[0]


def newest(limit):
    """The newest entries first."""
    with transaction(patience=2) as cursor:
        cursor.execute("SELECT id, author, text, words FROM entries ORDER BY id DESC LIMIT %s", (limit,))
        rows = cursor.fetchall()
    return [{"id": id, "author": author, "text": text, "words": words} for id, author, text, words in rows]


def summary():
    """What the worker has counted."""
    with transaction(patience=2) as cursor:
        cursor.execute("SELECT key, value FROM summary")
        return dict(cursor.fetchall())
