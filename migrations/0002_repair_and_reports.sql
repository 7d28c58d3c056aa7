-- A change that another one called for (a factory change after an undo that failed) names it, and undo attempts are
-- counted apart from those forward.
ALTER TABLE upgrades ADD COLUMN parent TEXT;
ALTER TABLE upgrades ADD COLUMN undo_attempts INTEGER NOT NULL DEFAULT 0;

-- What quarantine knows a release by: the hash of its package, or of its manifest.
ALTER TABLE releases ADD COLUMN content TEXT;

-- Outcomes to be told to the configured address, oldest first.
CREATE TABLE reports (
    seq          INTEGER PRIMARY KEY AUTOINCREMENT,
    id           TEXT NOT NULL UNIQUE,    -- sent as Idempotency-Key
    created_at   TEXT NOT NULL,
    body         TEXT NOT NULL,           -- the report, versioned JSON
    attempts     INTEGER NOT NULL DEFAULT 0,
    next_at      TEXT,                    -- not to be tried before
    last_error   TEXT,
    delivered_at TEXT
) STRICT;
CREATE INDEX reports_waiting ON reports (seq) WHERE delivered_at IS NULL;
