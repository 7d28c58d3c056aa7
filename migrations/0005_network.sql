-- What servers gave, to choose among mirrors: bytes a second, and when that was measured.
CREATE TABLE servers (
    server TEXT PRIMARY KEY,          -- scheme, name and port
    rate   REAL NOT NULL,
    at     TEXT NOT NULL
) STRICT;

-- Bundles that were fetched ahead of their upgrade: they stay while they may still be wanted.
CREATE TABLE fetched_ahead (
    file    TEXT PRIMARY KEY,         -- in bundles/
    version TEXT NOT NULL,
    at      TEXT NOT NULL
) STRICT;
