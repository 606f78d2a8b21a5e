-- The one schema with migrations: which log, which generations, how far each has come, who folds what.

-- The log these read models were folded from. One row.
CREATE TABLE backbone.log (
    only_row boolean PRIMARY KEY DEFAULT true CHECK (only_row),
    log_id uuid NOT NULL,
    first_seen_at timestamptz NOT NULL DEFAULT clock_timestamp()
);

-- Advisory locks: a generation owns the sixteen keys from its lock_key on.
CREATE SEQUENCE backbone.lock_keys AS bigint START 1099511627776 INCREMENT 16;

CREATE TABLE backbone.generations (
    model text NOT NULL,
    generation integer NOT NULL,
    definition text NOT NULL,
    schema_name text NOT NULL UNIQUE,
    state text NOT NULL CHECK (state IN ('live', 'building', 'retired')),
    lock_key bigint NOT NULL DEFAULT nextval('backbone.lock_keys'),
    views_hash text,
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (model, generation)
);
CREATE UNIQUE INDEX generations_one_live ON backbone.generations (model) WHERE state = 'live';

-- How far a generation has come. next_offset is the next record to fold; last_offset is not next_offset - 1 where the
-- log has gaps. last_hash is the SHA-256 of the last record's value: it is read again on assignment.
CREATE TABLE backbone.checkpoints (
    model text NOT NULL,
    generation integer NOT NULL,
    definition text NOT NULL,
    partition integer NOT NULL,
    epoch bigint NOT NULL DEFAULT 0,
    next_offset bigint NOT NULL DEFAULT 0,
    last_offset bigint,
    last_hash bytea,
    last_received_at timestamptz,
    updated_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (model, generation, partition),
    FOREIGN KEY (model, generation) REFERENCES backbone.generations ON DELETE CASCADE
) WITH (fillfactor = 40);

-- Who may fold a partition, until when by this server's clock, from which database session.
CREATE TABLE backbone.leases (
    model text NOT NULL,
    generation integer NOT NULL,
    partition integer NOT NULL,
    epoch bigint NOT NULL DEFAULT 0,
    holder uuid,
    pid integer,
    backend_start timestamptz,
    expires_at timestamptz,
    PRIMARY KEY (model, generation, partition),
    FOREIGN KEY (model, generation) REFERENCES backbone.generations ON DELETE CASCADE
) WITH (fillfactor = 40);

-- Workers that are alive, so that each knows its fair share.
CREATE TABLE backbone.workers (
    worker uuid PRIMARY KEY,
    model text NOT NULL,
    generation integer NOT NULL,
    started_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    expires_at timestamptz NOT NULL,
    pid integer,
    backend_start timestamptz
) WITH (fillfactor = 40);

-- Whether a session is still there. Whose session is gone is dead or has lost its connection: either way it can commit
-- nothing any more, and its partitions need not wait for the lease to lapse.
CREATE FUNCTION backbone.is_session(session_pid integer, started timestamptz) RETURNS boolean
LANGUAGE sql STABLE
RETURN EXISTS (SELECT FROM pg_stat_activity a WHERE a.pid = session_pid AND a.backend_start = started);

-- Records that could not be folded, whole, so that they can be looked at and folded again.
CREATE TABLE backbone.dead_letters (
    model text NOT NULL,
    generation integer NOT NULL,
    partition integer NOT NULL,
    log_offset bigint NOT NULL,
    event_id uuid,
    type text,
    error text NOT NULL,
    fold text NOT NULL,
    key bytea NOT NULL,
    value bytea NOT NULL,
    received_at timestamptz NOT NULL,
    headers json NOT NULL,
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (model, generation, partition, log_offset),
    FOREIGN KEY (model, generation) REFERENCES backbone.generations ON DELETE CASCADE
);

-- An amount in minor units as a decimal number of its currency (ISO 4217; two digits unless listed).
CREATE FUNCTION backbone.decimal(minor bigint, currency text) RETURNS numeric
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN minor * CASE
    WHEN currency IN ('BIF', 'CLP', 'DJF', 'GNF', 'ISK', 'JPY', 'KMF', 'KRW', 'PYG', 'RWF', 'UGX', 'UYI', 'VND', 'VUV',
                      'XAF', 'XOF', 'XPF') THEN 1::numeric
    WHEN currency IN ('BHD', 'IQD', 'JOD', 'KWD', 'LYD', 'OMR', 'TND') THEN 0.001
    WHEN currency IN ('CLF', 'UYW') THEN 0.0001
    ELSE 0.01
END;

-- The zone in which reports cut days and months; replaced when the setting changes.
CREATE FUNCTION backbone.reporting_timezone() RETURNS text
LANGUAGE sql STABLE PARALLEL SAFE
RETURN 'UTC'::text;
