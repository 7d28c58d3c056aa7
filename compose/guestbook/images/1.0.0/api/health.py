"""Whether this API can do its work."""

import store


def is_well():
    """The database answers."""
    try:
        store.ping()
    except store.Unavailable:
        return False
    return True
