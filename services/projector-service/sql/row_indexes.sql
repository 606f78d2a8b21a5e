-- The indexes of tables that a load fills; created once it has.
CREATE UNIQUE INDEX facts_event ON facts (event_id);

CREATE INDEX facts_case ON facts (case_id, stamp) WHERE case_id IS NOT NULL;

CREATE INDEX facts_call ON facts (call_id, stamp) WHERE call_id IS NOT NULL;

CREATE INDEX facts_correlated ON facts (correlated, stamp) WHERE correlated IS NOT NULL;
