-- The indexes of tables that a load fills; created once it has.
CREATE UNIQUE INDEX facts_event ON facts (event_id);

CREATE INDEX facts_order ON facts (order_id, stamp) WHERE order_id IS NOT NULL;

CREATE INDEX facts_cart ON facts (cart_id, stamp) WHERE cart_id IS NOT NULL;

CREATE INDEX facts_session ON facts (session_id, stamp) WHERE session_id IS NOT NULL;

CREATE INDEX facts_checkout ON facts (checkout_id, stamp) WHERE checkout_id IS NOT NULL;

CREATE INDEX facts_correlated ON facts (correlated, stamp) WHERE correlated IS NOT NULL;
