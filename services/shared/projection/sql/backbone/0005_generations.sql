-- views: the statements that made the stable views of a generation, so that it can be made live again by a version that knows
-- others. failure: why the workers of a generation that is not live have ended. retired_at: when another one took its place.
ALTER TABLE backbone.generations ADD COLUMN views text;
ALTER TABLE backbone.generations ADD COLUMN failure text;
ALTER TABLE backbone.generations ADD COLUMN retired_at timestamptz;
-- How many events a load has read; nothing of it is seen before it is committed.
ALTER TABLE backbone.workers ADD COLUMN loading_events bigint;
