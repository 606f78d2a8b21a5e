-- The indexes of tables that a load writes at its end; unique ones take the place of primary keys.
CREATE UNIQUE INDEX entities_key ON entities (kind, key);

CREATE UNIQUE INDEX cases_key ON cases (case_id);
CREATE INDEX cases_subject ON cases (subject_id) WHERE subject_id IS NOT NULL;

CREATE UNIQUE INDEX case_spans_key ON case_spans (case_id, span_no);

CREATE UNIQUE INDEX calls_key ON calls (call_id);
CREATE INDEX calls_subject ON calls (subject_id) WHERE subject_id IS NOT NULL;

CREATE UNIQUE INDEX call_legs_key ON call_legs (call_id, leg_no);

-- The other indexes of threads are needed while they are loaded.
CREATE INDEX thread_facts_subject ON thread_facts (subject_id) WHERE subject_id IS NOT NULL;

CREATE INDEX threads_id ON threads (thread_id);
CREATE INDEX threads_subject ON threads (subject_id) WHERE subject_id IS NOT NULL;
CREATE INDEX threads_unanswered ON threads (unanswered_since) WHERE unanswered_since IS NOT NULL;

CREATE INDEX thread_waits_ended ON thread_waits (ended_at);
CREATE INDEX thread_waits_thread ON thread_waits (thread_id);
CREATE INDEX thread_waits_subject ON thread_waits (subject_id) WHERE subject_id IS NOT NULL;
