-- Releases: what new conversations run on. Not made of any log: what is here is the truth of it.
CREATE TABLE releases (
    number       INTEGER NOT NULL PRIMARY KEY,
    -- building, current, retired, failed or removed.
    state        TEXT    NOT NULL,
    -- The digest of what goes into it: the same again is the same release, taken up where it was left.
    inputs       TEXT    NOT NULL,
    lock         TEXT    NOT NULL,
    -- The agents as they are defined there, by name.
    agents       TEXT    NOT NULL,
    by           TEXT    NOT NULL,
    created_at   INTEGER NOT NULL,
    -- When it last became current.
    activated_at INTEGER,
    -- The conversation by which it was tried out.
    verification BLOB,
    -- Why it failed.
    problem      TEXT
) STRICT;
-- What new conversations run on is never in doubt.
CREATE UNIQUE INDEX releases_current ON releases (state) WHERE state = 'current';

-- What was done for it, in order.
CREATE TABLE release_steps (
    release INTEGER NOT NULL REFERENCES releases (number),
    seq     INTEGER NOT NULL,
    at      INTEGER NOT NULL,
    step    TEXT    NOT NULL,
    detail  TEXT    NOT NULL,
    PRIMARY KEY (release, seq)
) STRICT, WITHOUT ROWID;

-- What conversations that go on still need. A projection.
ALTER TABLE executions ADD COLUMN release INTEGER;
CREATE INDEX executions_by_release ON executions (release) WHERE release IS NOT NULL AND ended_at IS NULL;
