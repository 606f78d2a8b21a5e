-- The indexes of tables that get a row an event, created once a load has written them.
CREATE UNIQUE INDEX timeline_event ON timeline (event_id);
CREATE INDEX timeline_subject ON timeline (subject_id, stamp);
CREATE UNIQUE INDEX appearances_party ON appearances (party, stamp);
