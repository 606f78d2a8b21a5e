-- What each model had committed at which time, by partition from 0 on: once a second while something comes in, and later thinned
-- out to once a minute. Positions outlive generations, and so do these.
CREATE TABLE backbone.moments (
    model text NOT NULL,
    at timestamptz NOT NULL,
    next_offsets bigint[] NOT NULL,
    PRIMARY KEY (model, at)
);
