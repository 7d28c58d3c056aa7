"""What the worker does in a round."""


def run(cursor):
    """Counts entries and words, and the words of entries that release 1.0.0 wrote without a count."""
    cursor.execute(
        "UPDATE entries SET words = cardinality(regexp_split_to_array(btrim(text), '\\s+')) WHERE words IS NULL"
    )
    cursor.execute("SELECT count(*), coalesce(sum(words), 0) FROM entries")
    entries, words = cursor.fetchone()
    return {"entries": entries, "words": int(words)}
