-- What agents and people have spent on each day of UTC; a call counts for the day on which it began. Not a
-- projection: a conversation that is deleted has still cost what it cost.
CREATE TABLE spending (
    -- 'agent' or 'person'.
    whose        TEXT    NOT NULL,
    -- The agent's name, or the person's id in 32 hexadecimal digits.
    subject      TEXT    NOT NULL,
    -- Days since 1970-01-01.
    day          INTEGER NOT NULL,
    spent_micros INTEGER NOT NULL,
    PRIMARY KEY (whose, subject, day)
) STRICT, WITHOUT ROWID;
INSERT INTO spending (whose, subject, day, spent_micros)
    SELECT 'agent', e.agent, c.started_at / 86400000, sum(c.cost_micros)
    FROM model_calls c JOIN executions e ON e.id = c.execution
    WHERE c.cost_micros > 0 AND e.rehearsal = 0 GROUP BY 2, 3
    UNION ALL
    SELECT 'person', lower(hex(e.owner_user)), c.started_at / 86400000, sum(c.cost_micros)
    FROM model_calls c JOIN executions e ON e.id = c.execution
    WHERE c.cost_micros > 0 AND e.rehearsal = 0 AND e.owner_user IS NOT NULL GROUP BY 2, 3;

-- On whose account an open call is, so that what is set aside is one look at an index that holds the open calls alone.
ALTER TABLE model_calls ADD COLUMN agent TEXT;
ALTER TABLE model_calls ADD COLUMN owner_user BLOB;
DROP INDEX model_calls_open;
CREATE INDEX model_calls_open ON model_calls (execution, agent, owner_user, started_at, reserved_micros)
    WHERE state = 'open';

-- What was new in the request, reduced to what a cassette is matched by (JSON, in the gateway's own words).
ALTER TABLE model_calls ADD COLUMN asked TEXT;
