-- The state of one installation. Times are RFC 3339 UTC text, sizes bytes, documents JSON.

-- What this installation is: project, source, trust.
CREATE TABLE meta (
    key   TEXT PRIMARY KEY,
    value TEXT NOT NULL
) STRICT;

-- Releases whose folder was unpacked here.
CREATE TABLE releases (
    version      TEXT PRIMARY KEY,
    info         TEXT NOT NULL,           -- release.json as it was installed
    bundle_hash  TEXT,                    -- the bundle in bundles/ it came from, where there is one
    strategy     TEXT NOT NULL,
    installed_at TEXT NOT NULL
) STRICT;

-- Which release's files a service's container was started with.
CREATE TABLE containers (
    container_id TEXT PRIMARY KEY,
    service      TEXT NOT NULL,
    release      TEXT NOT NULL
) STRICT;

-- Changes of version, each a plan with a journal.
CREATE TABLE upgrades (
    id           TEXT PRIMARY KEY,
    kind         TEXT NOT NULL,           -- install, upgrade, rollback, adopt
    from_version TEXT,
    to_version   TEXT NOT NULL,
    plan         TEXT NOT NULL,           -- the plan, versioned JSON
    state        TEXT NOT NULL,           -- running, undoing, completed, rolled_back, failed, needs_attention
    committed    INTEGER NOT NULL DEFAULT 0,
    attempts     INTEGER NOT NULL DEFAULT 0,
    started_at   TEXT NOT NULL,
    ended_at     TEXT,
    facts        TEXT NOT NULL DEFAULT '{}', -- what the steps learnt: containers, downtime, backup …
    outcome      TEXT                     -- the result as it was told
) STRICT;

-- The journal: one row per step and mark, durable before the effect it announces.
CREATE TABLE journal (
    seq        INTEGER PRIMARY KEY AUTOINCREMENT,
    upgrade_id TEXT NOT NULL REFERENCES upgrades(id),
    step       INTEGER NOT NULL,          -- index into the plan's steps
    mark       TEXT NOT NULL,             -- started, done, failed, undo_started, undone, undo_failed
    at         TEXT NOT NULL,
    detail     TEXT NOT NULL DEFAULT ''
) STRICT;
CREATE INDEX journal_by_upgrade ON journal (upgrade_id, seq);

-- Backups, each one file in backups/.
CREATE TABLE backups (
    id           TEXT PRIMARY KEY,
    file         TEXT NOT NULL UNIQUE,
    kind         TEXT NOT NULL,           -- pre-upgrade, manual, scheduled
    status       TEXT NOT NULL,           -- running, complete, failed
    project      TEXT NOT NULL,
    version      TEXT,
    target       TEXT,                    -- the version a pre-upgrade backup was made before
    size         INTEGER NOT NULL DEFAULT 0,
    files        INTEGER NOT NULL DEFAULT 0,
    hash         TEXT,
    parts        TEXT NOT NULL DEFAULT '[]',
    started_at   TEXT NOT NULL,
    ended_at     TEXT,
    error        TEXT
) STRICT;

-- Downloads that have begun, so that they can be resumed only when the server proves the file the same.
CREATE TABLE downloads (
    key           TEXT PRIMARY KEY,       -- the expected hash, or the address where there is none
    path          TEXT NOT NULL,
    url           TEXT NOT NULL,
    etag          TEXT,
    last_modified TEXT,
    length        INTEGER,
    updated_at    TEXT NOT NULL
) STRICT;

-- Versions that failed here and are not tried again by themselves.
CREATE TABLE quarantine (
    version       TEXT PRIMARY KEY,
    manifest_hash TEXT NOT NULL,
    reason        TEXT NOT NULL,
    at            TEXT NOT NULL
) STRICT;
