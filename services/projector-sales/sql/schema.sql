-- Facts of bounded entities; what each column is stands with the code that writes them.
CREATE TABLE entities (
    kind text COLLATE "C",
    key text COLLATE "C",
    PRIMARY KEY (kind, key)
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
    order_id text COLLATE "C",
    correlated text COLLATE "C"
);

CREATE TABLE voids (
    void_id uuid PRIMARY KEY,
    target uuid NOT NULL
);

CREATE INDEX voids_target ON voids (target);

CREATE TABLE orders (
    order_id text COLLATE "C" PRIMARY KEY,
    subject_id uuid,
    placed_at timestamptz,
    changed_at timestamptz,
    cancelled_at timestamptz,
    channel text,
    currency text,
    line_count integer NOT NULL,
    gross_minor bigint,
    discount_minor bigint,
    tax_minor bigint,
    shipping_minor bigint,
    refunds_minor bigint NOT NULL,
    net_minor bigint,
    cost_minor bigint,
    margin_minor bigint,
    captured_minor bigint NOT NULL,
    payment_state text NOT NULL,
    shipment_state text,
    shipped_at timestamptz,
    delivered_at timestamptz,
    expected_at timestamptz,
    expected_is_day boolean NOT NULL,
    unshipped boolean NOT NULL,
    carrier text,
    tracking text,
    returned_at timestamptz,
    cancel_reason text,
    rep text,
    quote_id text,
    cart_id text,
    checkout_id text,
    session_id text,
    opportunity_id text,
    campaign_id text,
    flags text[] NOT NULL,
    set_by uuid NOT NULL
);

CREATE INDEX orders_subject ON orders (subject_id) WHERE subject_id IS NOT NULL;

CREATE TABLE order_lines (
    order_id text COLLATE "C",
    line_no integer,
    sku text,
    name text,
    category text,
    quantity numeric,
    returned_quantity numeric NOT NULL,
    currency text,
    unit_price_minor bigint,
    discount_minor bigint NOT NULL,
    total_minor bigint,
    cost_minor bigint,
    margin_minor bigint,
    set_by uuid NOT NULL,
    PRIMARY KEY (order_id, line_no)
);

CREATE TABLE order_refunds (
    order_id text COLLATE "C",
    event_id uuid,
    refunded_at timestamptz NOT NULL,
    source text NOT NULL,
    amount_minor bigint NOT NULL,
    currency text NOT NULL,
    set_by uuid NOT NULL,
    PRIMARY KEY (order_id, event_id)
);
