-- People and what they sign in with. Of secrets only SHA-256 hashes are stored.
CREATE TABLE users (
    id            BLOB    NOT NULL PRIMARY KEY,
    name          TEXT    NOT NULL COLLATE NOCASE UNIQUE,
    role          TEXT    NOT NULL,
    password_hash TEXT,
    created_at    INTEGER NOT NULL
) STRICT;

CREATE TABLE tokens (
    id         BLOB    NOT NULL PRIMARY KEY,
    user       BLOB    NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    name       TEXT    NOT NULL,
    hash       BLOB    NOT NULL UNIQUE,
    created_at INTEGER NOT NULL,
    expires_at INTEGER
) STRICT;
CREATE INDEX tokens_by_user ON tokens (user, created_at);

CREATE TABLE sessions (
    hash       BLOB    NOT NULL PRIMARY KEY,
    user       BLOB    NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    created_at INTEGER NOT NULL,
    expires_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX sessions_by_user ON sessions (user);
CREATE INDEX sessions_by_end ON sessions (expires_at);

-- Links that are good once.
CREATE TABLE links (
    hash        BLOB    NOT NULL PRIMARY KEY,
    purpose     TEXT    NOT NULL,
    created_at  INTEGER NOT NULL,
    expires_at  INTEGER NOT NULL,
    consumed_at INTEGER
) STRICT, WITHOUT ROWID;
CREATE INDEX links_by_end ON links (expires_at);

CREATE TABLE settings (
    key   TEXT NOT NULL PRIMARY KEY,
    value TEXT NOT NULL
) STRICT, WITHOUT ROWID;
