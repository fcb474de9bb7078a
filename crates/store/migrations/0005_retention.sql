-- What was deleted by rule, and why. The log of a deleted execution is gone; this is all that is left of it.
CREATE TABLE deletions (
    execution        BLOB    NOT NULL PRIMARY KEY,
    title            TEXT    NOT NULL,
    agent            TEXT    NOT NULL,
    owner            TEXT    NOT NULL,
    ended_at         INTEGER NOT NULL,
    deleted_at       INTEGER NOT NULL,
    deleted_by       TEXT    NOT NULL,
    -- The rule.
    why              TEXT    NOT NULL,
    events           INTEGER NOT NULL,
    holds            INTEGER NOT NULL,
    model_calls      INTEGER NOT NULL,
    files_bytes      INTEGER NOT NULL,
    -- NULL until its files are gone, which is after this row was committed.
    files_deleted_at INTEGER
) STRICT;
CREATE INDEX deletions_by_time ON deletions (deleted_at, execution);
CREATE INDEX deletions_with_files ON deletions (execution) WHERE files_deleted_at IS NULL;

-- How long the definition that was recorded at its start keeps it, in milliseconds; NULL where it says nothing.
ALTER TABLE executions ADD COLUMN keep_ms INTEGER;
CREATE INDEX executions_by_end ON executions (ended_at, id) WHERE ended_at IS NOT NULL;

-- So that the keys of one execution are found without reading all.
CREATE INDEX idempotency_by_execution ON idempotency (execution);
