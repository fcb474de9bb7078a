-- What the inbox is filtered by. `assigned` is the user whose a hold is, if anybody's in particular.
ALTER TABLE holds ADD COLUMN kind TEXT NOT NULL DEFAULT '';
ALTER TABLE holds ADD COLUMN agent TEXT NOT NULL DEFAULT '';
ALTER TABLE holds ADD COLUMN assigned BLOB;
UPDATE holds SET kind = coalesce(json_extract(hold, '$.kind'), ''),
    agent = coalesce((SELECT e.agent FROM executions e WHERE e.id = holds.execution), '');

-- With all that filters ask for: a page of few among many is found by reading the index alone.
DROP INDEX holds_open_by_due;
DROP INDEX holds_open_by_owner;
CREATE INDEX holds_open_by_due ON holds (due_at, id, kind, agent, assigned) WHERE state = 'open';
CREATE INDEX holds_open_by_owner ON holds (owner_user, due_at, id, kind, agent, assigned) WHERE state = 'open';
CREATE INDEX holds_open_by_assigned ON holds (assigned, due_at, id) WHERE state = 'open' AND assigned IS NOT NULL;

-- What somebody does not want to see in their inbox for a while. Their own view, and no fact of the conversation:
-- it is neither in the log nor made of it, and who else may answer sees nothing of it.
CREATE TABLE snoozes (
    user  BLOB    NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    hold  BLOB    NOT NULL,
    until INTEGER NOT NULL,
    PRIMARY KEY (user, hold)
) STRICT, WITHOUT ROWID;
