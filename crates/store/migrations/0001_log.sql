-- The log: everything that happened, keyed (execution, seq). Rows are never changed or removed.
-- A rowid table, so that events of all executions are appended to one end of it; the rowid means nothing.
CREATE TABLE events (
    execution   BLOB    NOT NULL,
    seq         INTEGER NOT NULL CHECK (seq > 0),
    at          INTEGER NOT NULL,
    incarnation INTEGER,
    worker_seq  INTEGER,
    kind        TEXT    NOT NULL,
    data        TEXT    NOT NULL,
    PRIMARY KEY (execution, seq)
) STRICT;
CREATE UNIQUE INDEX events_by_worker ON events (execution, incarnation, worker_seq) WHERE worker_seq IS NOT NULL;

-- What workers told after another had replaced them: kept, never part of the log.
CREATE TABLE side_log (
    execution   BLOB    NOT NULL,
    incarnation INTEGER NOT NULL,
    worker_seq  INTEGER NOT NULL,
    at          INTEGER NOT NULL,
    fact        TEXT    NOT NULL,
    PRIMARY KEY (execution, incarnation, worker_seq)
) STRICT;

-- Which request with a client's key started which execution.
CREATE TABLE idempotency (
    user       BLOB    NOT NULL,
    key        TEXT    NOT NULL,
    request    TEXT    NOT NULL,
    execution  BLOB    NOT NULL,
    created_at INTEGER NOT NULL,
    PRIMARY KEY (user, key)
) STRICT, WITHOUT ROWID;

-- Projections from here on: they can be deleted and rebuilt from the log.

-- The whole state of an execution as of an event, so that a command need not replay its log.
CREATE TABLE aggregates (
    execution BLOB    NOT NULL PRIMARY KEY,
    seq       INTEGER NOT NULL,
    state     TEXT    NOT NULL
) STRICT;

CREATE TABLE executions (
    id          BLOB    NOT NULL PRIMARY KEY,
    status      TEXT    NOT NULL,
    residency   TEXT    NOT NULL,
    seq         INTEGER NOT NULL,
    created_at  INTEGER NOT NULL,
    updated_at  INTEGER NOT NULL,
    ended_at    INTEGER,
    open_holds  INTEGER NOT NULL,
    cost_micros INTEGER NOT NULL,
    -- Something has to be done about it, or it has a worker: what the reconciler looks at on start.
    attention   INTEGER NOT NULL,
    rehearsal   INTEGER NOT NULL,
    agent       TEXT    NOT NULL,
    owner_user  BLOB,
    owner       TEXT    NOT NULL,
    title       TEXT    NOT NULL
) STRICT;
-- Lists are newest first under every filter; the title comes last so that a search in titles reads the index alone.
CREATE INDEX executions_by_created ON executions (created_at, id, title);
CREATE INDEX executions_by_status ON executions (status, created_at, id, title);
CREATE INDEX executions_by_owner ON executions (owner_user, created_at, id, title);
CREATE INDEX executions_by_owner_status ON executions (owner_user, status, created_at, id);
CREATE INDEX executions_by_agent ON executions (agent, created_at, id);
CREATE INDEX executions_by_agent_status ON executions (agent, status, created_at, id);
CREATE INDEX executions_needing_attention ON executions (id) WHERE attention = 1;

CREATE TABLE holds (
    id         BLOB    NOT NULL PRIMARY KEY,
    execution  BLOB    NOT NULL,
    owner_user BLOB,
    state      TEXT    NOT NULL,
    opened_at  INTEGER NOT NULL,
    -- When it expires; the end of time for one that does not, so that it sorts last.
    due_at     INTEGER NOT NULL,
    settled_at INTEGER,
    hold       TEXT    NOT NULL,
    decision   TEXT
) STRICT;
CREATE INDEX holds_open_by_due ON holds (due_at, id) WHERE state = 'open';
CREATE INDEX holds_open_by_owner ON holds (owner_user, due_at, id) WHERE state = 'open';
CREATE INDEX holds_by_execution ON holds (execution, opened_at, id);
CREATE INDEX holds_by_state ON holds (state, opened_at, id);
CREATE INDEX holds_by_owner ON holds (owner_user, opened_at, id);
CREATE INDEX holds_by_opened ON holds (opened_at, id);
