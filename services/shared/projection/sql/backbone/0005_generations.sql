-- views: the statements that made the stable views of a generation, so that it can be made live again by a version that knows
-- others. failure: why the workers of a generation that is not live have ended. retired_at: when another one took its place.
ALTER TABLE backbone.generations ADD COLUMN views text;
ALTER TABLE backbone.generations ADD COLUMN failure text;
ALTER TABLE backbone.generations ADD COLUMN retired_at timestamptz;
-- How many events a load has read; nothing of it is seen before it is committed.
ALTER TABLE backbone.workers ADD COLUMN loading_events bigint;
-- The last number that a generation of a model was given: none is given twice, whatever has been dropped.
CREATE TABLE backbone.generation_numbers (model text PRIMARY KEY, last integer NOT NULL);
INSERT INTO backbone.generation_numbers SELECT model, max(generation) FROM backbone.generations GROUP BY model;
-- Locked by whoever reads checkpoints and views in one snapshot (shared) and by a swap (alone): views are looked up as they are
-- now, rows as they were when the snapshot was taken, and the two must be of one generation.
CREATE TABLE backbone.swaps ();
ALTER TABLE backbone.generations DROP CONSTRAINT generations_state_check;
ALTER TABLE backbone.generations ADD CONSTRAINT generations_state_check
    CHECK (state IN ('live', 'building', 'retired', 'dropping'));
