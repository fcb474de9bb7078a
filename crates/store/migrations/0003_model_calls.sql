-- The gateway's record. Not a projection: a response is nowhere else.
CREATE TABLE model_calls (
    id             BLOB    NOT NULL PRIMARY KEY,
    execution      BLOB    NOT NULL,
    incarnation    INTEGER NOT NULL,
    thread         TEXT    NOT NULL,
    -- Where in its thread the call stands, as the gateway has it (JSON).
    place          TEXT    NOT NULL,
    request_digest TEXT    NOT NULL,
    model          TEXT    NOT NULL,
    -- 'open', 'complete' or 'failed'.
    state          TEXT    NOT NULL,
    started_at     INTEGER NOT NULL,
    ended_at       INTEGER,
    -- The model_call event; set when complete.
    seq            INTEGER,
    -- The turn_ended event after it: the one column here that is a projection.
    closed_seq     INTEGER,
    status         INTEGER,
    incomplete     INTEGER NOT NULL DEFAULT 0,
    stop_reason    TEXT,
    tokens         TEXT,
    cost_micros    INTEGER NOT NULL DEFAULT 0,
    -- Set aside when the call began (invariant 14).
    reserved_micros INTEGER NOT NULL DEFAULT 0,
    note           TEXT,
    -- What the gateway compares later requests with (JSON); read without the response.
    footprint      TEXT,
    response       TEXT
) STRICT;
CREATE INDEX model_calls_of_turn ON model_calls (execution, seq) WHERE state = 'complete' AND closed_seq IS NULL;
CREATE INDEX model_calls_by_execution ON model_calls (execution, seq);
CREATE INDEX model_calls_open ON model_calls (execution) WHERE state = 'open';

-- Which sessions got a response in full.
CREATE TABLE call_deliveries (
    call        BLOB    NOT NULL REFERENCES model_calls (id),
    incarnation INTEGER NOT NULL,
    at          INTEGER NOT NULL,
    PRIMARY KEY (call, incarnation)
) STRICT, WITHOUT ROWID;
