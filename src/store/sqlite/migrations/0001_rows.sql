-- Rows, their feed, and the record of migrations. "BULA" as a number marks the file as Bulla's.
PRAGMA application_id = 1112886337;

CREATE TABLE bulla_migration (
    version INTEGER PRIMARY KEY,
    applied_ms INTEGER NOT NULL
) STRICT;

-- A row and, once its body is NULL, its tombstone.
CREATE TABLE bulla_row (
    tenant BLOB NOT NULL CHECK (length(tenant) = 16),
    kind INTEGER NOT NULL CHECK (kind BETWEEN 0 AND 255),
    id BLOB NOT NULL CHECK (length(id) <= 300),
    body BLOB,
    mac BLOB CHECK (length(mac) = 32),
    format INTEGER NOT NULL CHECK (format BETWEEN 0 AND 65535),
    due_at INTEGER,
    revision INTEGER NOT NULL CHECK (revision > 0),
    PRIMARY KEY (tenant, kind, id),
    CHECK ((body IS NULL) = (mac IS NULL)),
    CHECK (body IS NOT NULL OR due_at IS NULL)
) STRICT, WITHOUT ROWID;

CREATE INDEX bulla_row_by_revision ON bulla_row (revision);

CREATE INDEX bulla_row_by_due ON bulla_row (due_at) WHERE due_at IS NOT NULL;

-- One row: the newest revision; up to which revision tombstones were examined for pruning; and the
-- newest tombstone that was pruned.
CREATE TABLE bulla_feed (
    one INTEGER PRIMARY KEY CHECK (one = 1),
    head INTEGER NOT NULL CHECK (head >= 0),
    examined INTEGER NOT NULL CHECK (examined BETWEEN 0 AND head),
    oldest INTEGER NOT NULL CHECK (oldest BETWEEN 0 AND examined)
) STRICT;

INSERT INTO bulla_feed (one, head, examined, oldest) VALUES (1, 0, 0, 0);
