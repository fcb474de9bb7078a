-- Files that people upload in chunks before a conversation takes them. Their content is in the data folder, in
-- `uploads/ID`. Such a file is there only while its row is: written after the row, removed before or after it.
CREATE TABLE uploads (
    id         BLOB    NOT NULL PRIMARY KEY,
    owner      BLOB    NOT NULL,
    -- A path relative to the folder that was chosen, or a bare name.
    name       TEXT    NOT NULL,
    size       INTEGER NOT NULL,
    -- How much of it is on the disk for sure.
    received   INTEGER NOT NULL CHECK (received BETWEEN 0 AND size),
    created_at INTEGER NOT NULL,
    changed_at INTEGER NOT NULL,
    -- The conversation that has taken it, from the transaction that created the conversation on, and the path in
    -- its workspace. The row goes when the file is there.
    execution  BLOB,
    place      TEXT,
    CHECK ((execution IS NULL) = (place IS NULL))
) STRICT;
CREATE INDEX uploads_by_owner ON uploads (owner, created_at);
CREATE INDEX uploads_by_change ON uploads (changed_at) WHERE execution IS NULL;
CREATE INDEX uploads_taken ON uploads (execution) WHERE execution IS NOT NULL;
