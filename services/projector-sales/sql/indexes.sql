-- The indexes of tables that a load writes at its end; unique ones take the place of primary keys.
CREATE UNIQUE INDEX entities_key ON entities (kind, key);

CREATE UNIQUE INDEX orders_key ON orders (order_id);
CREATE INDEX orders_subject ON orders (subject_id) WHERE subject_id IS NOT NULL;
-- A cart is looked up in the orders by each of its names.
CREATE INDEX orders_cart ON orders (cart_id) WHERE cart_id IS NOT NULL;
CREATE INDEX orders_session ON orders (session_id) WHERE session_id IS NOT NULL;
CREATE INDEX orders_checkout ON orders (checkout_id) WHERE checkout_id IS NOT NULL;
-- A cart with an id of its own has only those of its session's and checkouts' orders that name no cart, which are few.
CREATE INDEX orders_cartless_session ON orders (session_id) WHERE cart_id IS NULL AND session_id IS NOT NULL;
CREATE INDEX orders_cartless_checkout ON orders (checkout_id) WHERE cart_id IS NULL AND checkout_id IS NOT NULL;

CREATE UNIQUE INDEX order_lines_key ON order_lines (order_id, line_no);

CREATE UNIQUE INDEX order_refunds_key ON order_refunds (order_id, event_id);

CREATE UNIQUE INDEX carts_key ON carts (cart_id);
CREATE INDEX carts_session ON carts (session_id) WHERE session_id IS NOT NULL;
CREATE INDEX carts_subject ON carts (subject_id) WHERE subject_id IS NOT NULL;

CREATE UNIQUE INDEX session_carts_key ON session_carts (cart_id);
CREATE INDEX session_carts_session ON session_carts (session_id) WHERE session_id IS NOT NULL;
CREATE INDEX session_carts_subject ON session_carts (subject_id) WHERE subject_id IS NOT NULL;

CREATE UNIQUE INDEX checkout_carts_key ON checkout_carts (cart_id);
CREATE INDEX checkout_carts_session ON checkout_carts (session_id) WHERE session_id IS NOT NULL;
CREATE INDEX checkout_carts_subject ON checkout_carts (subject_id) WHERE subject_id IS NOT NULL;

CREATE UNIQUE INDEX cart_lines_key ON cart_lines (cart_id, line_no);

CREATE UNIQUE INDEX session_cart_lines_key ON session_cart_lines (cart_id, line_no);

CREATE UNIQUE INDEX checkout_cart_lines_key ON checkout_cart_lines (cart_id, line_no);

CREATE UNIQUE INDEX sessions_key ON sessions (session_id);
CREATE INDEX sessions_subject ON sessions (subject_id) WHERE subject_id IS NOT NULL;

CREATE UNIQUE INDEX session_products_key ON session_products (session_id, product_no);
