-- Who may still come in. A user is never deleted: the log names them.
ALTER TABLE users ADD COLUMN deactivated_at INTEGER;

-- What a token may be used for, as words with spaces between. Those of older versions could be used for
-- whatever their owner may do.
ALTER TABLE tokens ADD COLUMN scopes TEXT NOT NULL DEFAULT 'read start decide operate admin';
ALTER TABLE tokens ADD COLUMN used_at INTEGER;

-- By what a session is known to people who look at a list of them; the hash stays where it is.
ALTER TABLE sessions ADD COLUMN id BLOB;
ALTER TABLE sessions ADD COLUMN browser TEXT NOT NULL DEFAULT '';
ALTER TABLE sessions ADD COLUMN address TEXT;
ALTER TABLE sessions ADD COLUMN used_at INTEGER;
UPDATE sessions SET id = randomblob(16);
CREATE UNIQUE INDEX sessions_by_id ON sessions (id);

-- Conversations that somebody may see, or also answer, though they are another's.
CREATE TABLE shares (
    user       BLOB    NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    execution  BLOB    NOT NULL,
    may_answer INTEGER NOT NULL,
    -- When the execution was created, which never changes: lists are in this order.
    created_at INTEGER NOT NULL,
    shared_at  INTEGER NOT NULL,
    shared_by  TEXT    NOT NULL,
    PRIMARY KEY (user, execution)
) STRICT, WITHOUT ROWID;
CREATE INDEX shares_by_execution ON shares (execution, user);
CREATE INDEX shares_in_order ON shares (user, created_at, execution);

-- What was done about who may do what. Only ever appended to.
CREATE TABLE audit (
    id        INTEGER NOT NULL PRIMARY KEY,
    at        INTEGER NOT NULL,
    kind      TEXT    NOT NULL,
    -- Who did it, as they were called then (JSON).
    actor     TEXT    NOT NULL,
    -- To whom, if to somebody.
    subject   BLOB,
    -- About which conversation, if about one.
    execution BLOB,
    detail    TEXT    NOT NULL,
    address   TEXT
) STRICT;
CREATE INDEX audit_by_kind ON audit (kind, id);
CREATE TRIGGER audit_is_not_changed BEFORE UPDATE ON audit
    BEGIN SELECT RAISE(ABORT, 'the audit log is only appended to'); END;
CREATE TRIGGER audit_is_not_deleted BEFORE DELETE ON audit
    BEGIN SELECT RAISE(ABORT, 'the audit log is only appended to'); END;
