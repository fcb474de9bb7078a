-- The outbox: what people are to be told about holds. Not a projection: that somebody was told is nowhere else,
-- and making the projections again must not tell anybody again.
CREATE TABLE notices (
    id        BLOB    NOT NULL PRIMARY KEY,
    execution BLOB    NOT NULL,
    hold      BLOB    NOT NULL,
    -- 'opened', or 'reminder' so many milliseconds before the hold's end.
    occasion  TEXT    NOT NULL,
    lead_ms   INTEGER NOT NULL,
    -- 0 for at once, whatever the clock says.
    due_at    INTEGER NOT NULL,
    -- When each channel of that moment got a delivery of it.
    spread_at INTEGER,
    UNIQUE (execution, hold, occasion, lead_ms)
) STRICT;
CREATE INDEX notices_to_spread ON notices (due_at, id) WHERE spread_at IS NULL;

-- A notice on its way over one channel.
CREATE TABLE deliveries (
    notice     BLOB    NOT NULL REFERENCES notices (id) ON DELETE CASCADE,
    channel    TEXT    NOT NULL,
    -- 'waiting', 'sent' or 'failed'.
    state      TEXT    NOT NULL,
    attempts   INTEGER NOT NULL,
    -- When it may be tried next; while it is being tried, when the lease of whoever does so ends. 0 for at once.
    next_at    INTEGER NOT NULL,
    settled_at INTEGER,
    PRIMARY KEY (notice, channel)
) STRICT, WITHOUT ROWID;
CREATE INDEX deliveries_waiting ON deliveries (channel, next_at, notice) WHERE state = 'waiting';
