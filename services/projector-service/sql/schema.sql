-- Facts of bounded entities; what each column is stands with the code that writes them.
CREATE TABLE entities (
    kind text COLLATE "C" NOT NULL,
    key text COLLATE "C" NOT NULL
);

CREATE TABLE facts (
    event_id uuid NOT NULL,
    received_at bigint NOT NULL,
    hash bytea NOT NULL,
    voided boolean NOT NULL,
    stamp bytea,
    subject_id uuid,
    partition integer,
    log_offset bigint,
    value bytea,
    case_id text COLLATE "C",
    call_id text COLLATE "C",
    correlated text COLLATE "C"
);

CREATE TABLE voids (
    void_id uuid PRIMARY KEY,
    target uuid NOT NULL
);

CREATE INDEX voids_target ON voids (target);

CREATE TABLE cases (
    case_id text COLLATE "C" NOT NULL,
    subject_id uuid,
    title text,
    priority text,
    status text,
    assignee text,
    queue text,
    product text,
    serial text,
    topic text,
    channel text,
    opened_at timestamptz,
    opened_by text,
    opened_by_agent boolean NOT NULL,
    first_reply_at timestamptz,
    first_reply_min numeric,
    first_solved_at timestamptz,
    solved_at timestamptz,
    closed_at timestamptz,
    resolution_min numeric,
    first_resolution_min numeric,
    agent_work_min numeric NOT NULL,
    requester_wait_min numeric NOT NULL,
    agent_wait_min numeric NOT NULL,
    status_since timestamptz,
    reopens integer NOT NULL,
    escalations integer NOT NULL,
    escalation_level bigint,
    replies_public_agent integer NOT NULL,
    replies_internal integer NOT NULL,
    messages_customer integer NOT NULL,
    one_touch boolean NOT NULL,
    merged_into text,
    flags text[] NOT NULL,
    set_by uuid NOT NULL
);

CREATE TABLE case_spans (
    case_id text COLLATE "C" NOT NULL,
    span_no integer NOT NULL,
    status text NOT NULL,
    started_at timestamptz NOT NULL,
    ended_at timestamptz,
    length_min numeric,
    set_by uuid NOT NULL
);

CREATE TABLE calls (
    call_id text COLLATE "C" NOT NULL,
    subject_id uuid,
    direction text,
    from_number text,
    to_number text,
    queue text,
    agent_id text,
    case_id text,
    offered_at timestamptz,
    answered_at timestamptz,
    ended_at timestamptz,
    answered boolean NOT NULL,
    disposition text,
    wait_s numeric,
    talk_s numeric,
    hold_s numeric,
    wrap_s numeric,
    duration_s numeric,
    leg_count integer NOT NULL,
    flags text[] NOT NULL,
    set_by uuid NOT NULL
);

CREATE TABLE call_legs (
    call_id text COLLATE "C" NOT NULL,
    leg_no integer NOT NULL,
    leg_id text,
    queue text,
    agent_id text,
    offered_at timestamptz NOT NULL,
    answered_at timestamptz,
    ended_at timestamptz NOT NULL,
    disposition text,
    wait_s numeric,
    talk_s numeric,
    hold_s numeric,
    wrap_s numeric,
    duration_s numeric,
    transfer_to text,
    reason text,
    set_by uuid NOT NULL
);

-- Threads: what each event tells of one, and which events are in one. `component` is a surrogate; voided events have none.
-- Of the events that tell of one message, one counts.
CREATE TABLE thread_facts (
    event_id uuid PRIMARY KEY,
    component bigint,
    nodes text[] NOT NULL,
    stamp bytea NOT NULL,
    occurred_at timestamptz NOT NULL,
    subject_id uuid,
    thread_key text COLLATE "C",
    message_key text COLLATE "C",
    standing smallint,
    counts boolean NOT NULL,
    message_id text,
    parent_key text COLLATE "C",
    in_reply_to text,
    channel text,
    outbound boolean,
    writer text,
    internal boolean,
    actor text,
    title text,
    case_id text,
    sent_at timestamptz
);

CREATE INDEX thread_facts_component ON thread_facts (component, stamp) WHERE component IS NOT NULL;

CREATE INDEX thread_facts_message ON thread_facts (message_key) WHERE message_key IS NOT NULL;

CREATE SEQUENCE thread_components;

CREATE TABLE thread_nodes (
    node text COLLATE "C" PRIMARY KEY,
    component bigint NOT NULL
);

CREATE INDEX thread_nodes_component ON thread_nodes (component);

CREATE TABLE threads (
    component bigint PRIMARY KEY,
    thread_id text COLLATE "C" NOT NULL,
    subject_id uuid,
    channel text NOT NULL,
    title text,
    first_at timestamptz NOT NULL,
    last_at timestamptz NOT NULL,
    message_count integer NOT NULL,
    messages_customer integer NOT NULL,
    messages_agent integer NOT NULL,
    wait_count integer NOT NULL,
    first_asked_at timestamptz,
    first_answered_at timestamptz,
    first_wait_s numeric,
    unanswered_since timestamptz,
    flags text[] NOT NULL,
    set_by uuid NOT NULL
);

CREATE TABLE thread_waits (
    component bigint,
    wait_no integer,
    thread_id text COLLATE "C" NOT NULL,
    subject_id uuid,
    title text,
    channel text NOT NULL,
    asked_at timestamptz NOT NULL,
    asked_message_id text,
    answered_at timestamptz,
    answered_message_id text,
    answered_by text,
    wait_s numeric,
    ended_at timestamptz,
    next_asked_at timestamptz,
    flags text[] NOT NULL,
    asked_event_id uuid NOT NULL,
    answered_event_id uuid,
    PRIMARY KEY (component, wait_no)
);
