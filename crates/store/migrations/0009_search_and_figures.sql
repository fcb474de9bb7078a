-- Search: what there is to find of each execution. A projection, like the two tables after it.
CREATE TABLE documents (
    -- created_at << 20, and a number that tells those of one millisecond apart: newest first is this order reversed,
    -- which is the one order in which a full-text index gives its rows without sorting all of them.
    place     INTEGER NOT NULL PRIMARY KEY,
    execution BLOB    NOT NULL UNIQUE,
    title     TEXT    NOT NULL,
    author    TEXT    NOT NULL,
    agent     TEXT    NOT NULL,
    tags      TEXT    NOT NULL,
    input     TEXT    NOT NULL,
    result    TEXT    NOT NULL,
    -- Words that nobody types: whose it is, and how it ended.
    facets    TEXT    NOT NULL
) STRICT;
-- The index over it. It keeps no text of its own, and its sizes serve a ranking that we do not have.
CREATE VIRTUAL TABLE search USING fts5 (
    title, author, agent, tags, input, result, facets,
    content = 'documents', content_rowid = 'place', columnsize = 0,
    tokenize = 'unicode61 remove_diacritics 2', prefix = '2 3'
);
-- What is deleted is gone from the index at once, and not when its pages happen to be merged.
INSERT INTO search (search, rank) VALUES ('secure-delete', 1);

-- Where it is in the search index.
ALTER TABLE executions ADD COLUMN place INTEGER;
CREATE INDEX executions_by_place ON executions (place, status);
-- What changed last, for clients that ask again and again.
CREATE INDEX executions_by_update ON executions (updated_at, id, owner_user);
-- Nothing looks through titles any more.
DROP INDEX executions_by_created;
DROP INDEX executions_by_status;
DROP INDEX executions_by_owner;
CREATE INDEX executions_by_created ON executions (created_at, id);
CREATE INDEX executions_by_status ON executions (status, created_at, id);
CREATE INDEX executions_by_owner ON executions (owner_user, created_at, id);

-- Figures, by day of UTC. `scope` is '' for everybody's executions, or a person's id in 32 hexadecimal digits for
-- those that they own. `kept` is 1 for what executions that were deleted have left: no log makes that again.
CREATE TABLE figures (
    scope             TEXT    NOT NULL,
    rehearsal         INTEGER NOT NULL,
    -- 'agent' or 'person', and which.
    whose             TEXT    NOT NULL,
    day               INTEGER NOT NULL,
    name              TEXT    NOT NULL,
    kept              INTEGER NOT NULL,
    started           INTEGER NOT NULL,
    finished          INTEGER NOT NULL,
    failed            INTEGER NOT NULL,
    cancelled         INTEGER NOT NULL,
    calls             INTEGER NOT NULL,
    input_tokens      INTEGER NOT NULL,
    output_tokens     INTEGER NOT NULL,
    cache_read_tokens INTEGER NOT NULL,
    cache_made_tokens INTEGER NOT NULL,
    cost_micros       INTEGER NOT NULL,
    PRIMARY KEY (scope, rehearsal, whose, day, name, kept)
) STRICT, WITHOUT ROWID;

CREATE TABLE figures_errors (
    scope     TEXT    NOT NULL,
    rehearsal INTEGER NOT NULL,
    day       INTEGER NOT NULL,
    -- 'conversation', 'turn', 'worker' or 'hold', and the word for what went wrong.
    what      TEXT    NOT NULL,
    reason    TEXT    NOT NULL,
    kept      INTEGER NOT NULL,
    times     INTEGER NOT NULL,
    PRIMARY KEY (scope, rehearsal, day, what, reason, kept)
) STRICT, WITHOUT ROWID;

-- How long people were waited for: how often that was about so long.
CREATE TABLE figures_waits (
    scope     TEXT    NOT NULL,
    rehearsal INTEGER NOT NULL,
    -- 'kind' or 'person', and which.
    whose     TEXT    NOT NULL,
    day       INTEGER NOT NULL,
    name      TEXT    NOT NULL,
    -- Half octaves of milliseconds.
    bucket    INTEGER NOT NULL,
    kept      INTEGER NOT NULL,
    times     INTEGER NOT NULL,
    wait_ms   INTEGER NOT NULL,
    PRIMARY KEY (scope, rehearsal, whose, day, name, bucket, kept)
) STRICT, WITHOUT ROWID;
