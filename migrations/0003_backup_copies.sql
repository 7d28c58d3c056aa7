-- Copies of backups elsewhere, each read back. They outlive the backup here; nothing removes them but a person.
CREATE TABLE backup_copies (
    backup TEXT NOT NULL,
    place  TEXT NOT NULL,             -- the folder
    name   TEXT NOT NULL,             -- the file in it
    size   INTEGER NOT NULL,
    hash   TEXT NOT NULL,             -- of the file as it is there
    at     TEXT NOT NULL,
    PRIMARY KEY (backup, place)
) STRICT;
