-- A generation begins without indexes and is loaded before batches are folded into it. Those of before had been folded.
ALTER TABLE backbone.generations ADD COLUMN loaded boolean NOT NULL DEFAULT true;
