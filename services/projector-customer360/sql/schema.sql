-- The tables of one generation of customer360. Names are unqualified: they are created in the generation's schema.
-- A stamp is the order of facts as bytes (time, rank, sequence, event id); comparing stamps compares facts.

-- Every interaction, once. The set of known event ids. payload is JSON that this model has written: as text it is not
-- parsed again on the way in.
CREATE TABLE timeline (
    event_id    uuid NOT NULL,
    stamp       bytea NOT NULL,
    subject_id  uuid,
    type        text NOT NULL,
    occurred_at timestamptz NOT NULL,
    received_at timestamptz NOT NULL,
    channel     text,
    direction   text,
    summary     text NOT NULL,
    entities    text[],
    groups      text[],
    payload     text NOT NULL,
    hash        bytea NOT NULL,
    partition   integer NOT NULL,
    log_offset  bigint NOT NULL,
    voided      boolean NOT NULL
);

-- Whose timelines an event is on besides its own subject's: participants, the sides of a link, entities.
CREATE TABLE appearances (
    party uuid NOT NULL,
    stamp bytea NOT NULL
);

-- Which event takes back which.
CREATE TABLE voids (
    void_id uuid PRIMARY KEY,
    target  uuid NOT NULL
);
CREATE INDEX voids_target ON voids (target);

-- Copies of an event that differ from the one that counts.
CREATE TABLE copies (
    event_id    uuid NOT NULL,
    hash        bytea NOT NULL,
    received_at timestamptz NOT NULL,
    payload     json NOT NULL,
    partition   integer NOT NULL,
    log_offset  bigint NOT NULL,
    PRIMARY KEY (event_id, hash)
);

-- Every record of an event of which there is more than one, equal ones too: which copy counted when is known by them.
CREATE TABLE arrivals (
    event_id    uuid NOT NULL,
    hash        bytea NOT NULL,
    received_at timestamptz NOT NULL,
    partition   integer NOT NULL,
    log_offset  bigint NOT NULL,
    PRIMARY KEY (event_id, partition, log_offset)
);

-- What is named by events that count no more (voided ones) and by copies that do not. The graph knows nothing of whoever is in
-- no other event; whoever asks for what was known before finds them here. name: an identifier, a group, the id of a subject, of
-- an entity, or of an event that a void takes back.
CREATE TABLE taken_back (
    name     text NOT NULL,
    event_id uuid NOT NULL,
    PRIMARY KEY (name, event_id)
);

-- Orders, cases, calls ... and the subject each belongs to: that of its first identified event.
CREATE TABLE entities (
    entity_id     uuid NOT NULL,
    kind          text NOT NULL,
    key           text NOT NULL,
    owner_stamp   bytea,
    owner_subject uuid
);

-- Registers of a party (a subject, or an entity whose event names no subject): the greatest stamp wins.
CREATE TABLE profile_fields (
    party uuid NOT NULL,
    field text NOT NULL,
    stamp bytea NOT NULL,
    value json NOT NULL
);
CREATE TABLE touches (
    party     uuid NOT NULL,
    channel   text NOT NULL,
    direction text NOT NULL,
    stamp     bytea NOT NULL
) WITH (fillfactor = 70);
CREATE TABLE affiliations (
    party       uuid NOT NULL,
    group_id    text NOT NULL,
    first_stamp bytea NOT NULL,
    last_stamp  bytea NOT NULL
) WITH (fillfactor = 70);

-- The identity graph. Everything from here on is written under the generation's identity lock.
-- anchor: the strongest identifier that is no hub; NULL: nothing but hubs, a customer of its own.
CREATE TABLE subjects (
    subject_id  uuid NOT NULL,
    identifiers text[] NOT NULL,
    first_stamp bytea NOT NULL,
    kind_rank   smallint NOT NULL,
    anchor      text
);
CREATE TABLE naming (
    identifier text NOT NULL,
    subject_id uuid NOT NULL
);
-- component: NULL for a hub that no explicit link joins to anybody. linked: some explicit link event named it.
CREATE TABLE identifiers (
    identifier text NOT NULL,
    component  bigint,
    hub        boolean NOT NULL,
    linked     boolean NOT NULL
);
-- Identifiers co-named in one subject, where a hub limit counts them.
CREATE TABLE neighbours (
    identifier text NOT NULL,
    neighbour  text NOT NULL
);
CREATE TABLE link_events (
    left_id  text NOT NULL,
    right_id text NOT NULL,
    stamp    bytea NOT NULL,
    asserted boolean NOT NULL
);
-- A component and the customer it is. cluster: components held apart only by conflicts share it; conflicted: there are
-- several. uniques: bit 0 a customer_no, bit 1 a user_id. The earliest subject is (first_at, kind_rank, customer_id).
CREATE TABLE components (
    component   bigint NOT NULL,
    cluster     bigint NOT NULL,
    conflicted  boolean NOT NULL,
    size        integer NOT NULL,
    uniques     smallint NOT NULL,
    customer_id uuid,
    first_at    bigint,
    kind_rank   smallint
);
CREATE SEQUENCE component_numbers CACHE 1;
CREATE TABLE conflicts (
    left_id     text NOT NULL,
    right_id    text NOT NULL,
    stamp       bytea NOT NULL,
    kind        text NOT NULL,
    left_value  text NOT NULL,
    right_value text NOT NULL,
    cluster     bigint NOT NULL,
    PRIMARY KEY (left_id, right_id)
);
CREATE INDEX conflicts_cluster ON conflicts (cluster);

-- The event that a stamp belongs to, and when it occurred.
CREATE FUNCTION stamp_event(stamp bytea) RETURNS uuid LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN encode(substr(stamp, length(stamp) - 15), 'hex')::uuid;
-- Of nothing that depends on a session's time zone, or PostgreSQL would not write it out where it is called; whole days
-- apart, since an interval times a float of all microseconds is exact until the year 2255 only.
CREATE FUNCTION stamp_time(stamp bytea) RETURNS timestamptz LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN (timestamp '1970-01-01 00:00:00'
    + ((('x' || encode(substr(stamp, 1, 8), 'hex'))::bit(64)::bigint # (-9223372036854775807 - 1)) / 86400000000)
        * interval '1 day'
    + ((('x' || encode(substr(stamp, 1, 8), 'hex'))::bit(64)::bigint # (-9223372036854775807 - 1)) % 86400000000)
        * interval '1 microsecond')
    AT TIME ZONE 'UTC';

-- Which customer a subject is.
CREATE VIEW subject_customers AS
SELECT s.subject_id, CASE WHEN s.anchor IS NULL THEN s.subject_id ELSE c.customer_id END AS customer_id,
       s.identifiers, s.first_stamp, s.anchor
FROM subjects s
LEFT JOIN identifiers i ON i.identifier = s.anchor
LEFT JOIN components c ON c.component = i.component;
