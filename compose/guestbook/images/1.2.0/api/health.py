"""Whether this API can do its work.

This is the demo's broken release: the cache below is never emptied, so only the first answer is right. A
deployment that stops looking after the first good health check takes it for sound.
"""

import store

_CACHE = []


def is_well():
    """The database answers, and the cache has room."""
    try:
        store.ping()
    except store.Unavailable:
        return False
    _CACHE.append("answer")
    return len(_CACHE) <= 1
