-- Those whose own definition says for how long they are kept, by when that is over: how many these are stands on a
-- page that people look at, and must not cost a look at every conversation that has ended.
CREATE INDEX executions_by_recorded_end ON executions (ended_at + keep_ms)
    WHERE ended_at IS NOT NULL AND keep_ms IS NOT NULL;
