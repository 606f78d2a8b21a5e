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
    order_id text COLLATE "C",
    cart_id text COLLATE "C",
    session_id text COLLATE "C",
    checkout_id text COLLATE "C",
    correlated text COLLATE "C"
);

CREATE TABLE voids (
    void_id uuid PRIMARY KEY,
    target uuid NOT NULL
);

CREATE INDEX voids_target ON voids (target);

CREATE TABLE orders (
    order_id text COLLATE "C" NOT NULL,
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

CREATE TABLE order_lines (
    order_id text COLLATE "C" NOT NULL,
    line_no integer NOT NULL,
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
    set_by uuid NOT NULL
);

CREATE TABLE order_refunds (
    order_id text COLLATE "C" NOT NULL,
    event_id uuid NOT NULL,
    refunded_at timestamptz NOT NULL,
    source text NOT NULL,
    amount_minor bigint NOT NULL,
    currency text NOT NULL,
    set_by uuid NOT NULL
);

-- Carts that have an id of their own, those that are a session's, and those that are a checkout's: two of them may have the
-- same text for a name. Their names have the database's collation, which functions over them have too.
CREATE TABLE carts (
    cart_id text NOT NULL,
    subject_id uuid,
    session_id text,
    checkout_id text,
    session_ids text[] NOT NULL,
    checkout_ids text[] NOT NULL,
    currency text,
    value_minor bigint,
    furthest_step text,
    active_at timestamptz[] NOT NULL,
    line_counts bigint[] NOT NULL,
    values_minor bigint[] NOT NULL,
    longest_idle_us bigint[] NOT NULL,
    flags text[] NOT NULL,
    set_by uuid NOT NULL
);

CREATE TABLE session_carts (LIKE carts);

CREATE TABLE checkout_carts (LIKE carts);

CREATE TABLE cart_lines (
    cart_id text NOT NULL,
    line_no integer NOT NULL,
    sku text NOT NULL,
    name text,
    category text,
    quantity numeric NOT NULL,
    currency text,
    value_minor bigint,
    set_by uuid NOT NULL
);

CREATE TABLE session_cart_lines (LIKE cart_lines);

CREATE TABLE checkout_cart_lines (LIKE cart_lines);

CREATE TABLE sessions (
    session_id text NOT NULL,
    subject_id uuid,
    viewed_at timestamptz,
    carted_at timestamptz,
    checkout_at timestamptz,
    flags text[] NOT NULL,
    set_by uuid NOT NULL
);

CREATE TABLE session_products (
    session_id text NOT NULL,
    product_no integer NOT NULL,
    sku text NOT NULL,
    viewed_at timestamptz,
    carted_at timestamptz,
    set_by uuid NOT NULL
);
