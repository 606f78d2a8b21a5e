CREATE OR REPLACE VIEW {model}.orders AS
SELECT
    order_id,
    subject_id,
    placed_at,
    changed_at,
    cancelled_at,
    channel,
    currency,
    line_count,
    backbone.decimal(gross_minor, currency) AS gross,
    backbone.decimal(discount_minor, currency) AS discount,
    backbone.decimal(tax_minor, currency) AS tax,
    backbone.decimal(shipping_minor, currency) AS shipping,
    backbone.decimal(refunds_minor, currency) AS refunds,
    backbone.decimal(net_minor, currency) AS net,
    backbone.decimal(cost_minor, currency) AS cost,
    backbone.decimal(margin_minor, currency) AS margin,
    backbone.decimal(captured_minor, currency) AS captured,
    gross_minor,
    discount_minor,
    tax_minor,
    shipping_minor,
    refunds_minor,
    net_minor,
    cost_minor,
    margin_minor,
    captured_minor,
    payment_state,
    shipment_state,
    shipped_at,
    delivered_at,
    expected_at,
    expected_is_day,
    COALESCE(
        CASE
            WHEN expected_is_day
            THEN (delivered_at AT TIME ZONE (SELECT backbone.reporting_timezone()))::date
                > (expected_at AT TIME ZONE 'UTC')::date
            ELSE delivered_at > expected_at
        END,
        false
    ) OR COALESCE(shipment_state IN ('delayed', 'lost'), false) AS late,
    unshipped,
    carrier,
    tracking,
    returned_at,
    cancel_reason,
    rep,
    quote_id,
    cart_id,
    checkout_id,
    session_id,
    opportunity_id,
    campaign_id,
    flags,
    set_by
FROM {schema}.orders;

COMMENT ON VIEW {model}.orders IS 'Orders: one row an order, as its events in order of their time leave it.';

COMMENT ON COLUMN {model}.orders.order_id IS 'The order, as published.';
COMMENT ON COLUMN {model}.orders.subject_id IS 'Its owner: the subject of the first identified event that names it. NULL while nobody is.';
COMMENT ON COLUMN {model}.orders.placed_at IS 'When it was first placed. NULL if only changes, payments, shipments or returns of it are known: it counts in no revenue then.';
COMMENT ON COLUMN {model}.orders.changed_at IS 'When it was last changed.';
COMMENT ON COLUMN {model}.orders.cancelled_at IS 'When it was first cancelled. Final, whatever else comes: a cancelled order counts in no revenue.';
COMMENT ON COLUMN {model}.orders.channel IS 'As the placing event says, else shop. NULL if not placed.';
COMMENT ON COLUMN {model}.orders.currency IS 'The currency of all its amounts: that of its total, else of its first amount. Amounts in another are flagged and counted nowhere.';
COMMENT ON COLUMN {model}.orders.line_count IS 'How many lines it has. Two equal lines are two.';
COMMENT ON COLUMN {model}.orders.gross IS 'What it is worth after line discounts, before its own discount, without tax and shipping: its total, else the sum of its lines.';
COMMENT ON COLUMN {model}.orders.discount IS 'Its own discount, beside those of its lines.';
COMMENT ON COLUMN {model}.orders.tax IS 'Tax, not part of gross.';
COMMENT ON COLUMN {model}.orders.shipping IS 'Shipping, not part of gross.';
COMMENT ON COLUMN {model}.orders.refunds IS 'The payments of kind refunded, else what its returns say was refunded, never both.';
COMMENT ON COLUMN {model}.orders.net IS 'gross - discount - refunds.';
COMMENT ON COLUMN {model}.orders.cost IS 'What its lines cost. NULL unless the cost of every line is known.';
COMMENT ON COLUMN {model}.orders.margin IS 'net - cost. NULL if the cost is.';
COMMENT ON COLUMN {model}.orders.captured IS 'The payments of kind captured.';
COMMENT ON COLUMN {model}.orders.gross_minor IS 'gross in minor units of the currency.';
COMMENT ON COLUMN {model}.orders.discount_minor IS 'discount in minor units.';
COMMENT ON COLUMN {model}.orders.tax_minor IS 'tax in minor units.';
COMMENT ON COLUMN {model}.orders.shipping_minor IS 'shipping in minor units.';
COMMENT ON COLUMN {model}.orders.refunds_minor IS 'refunds in minor units.';
COMMENT ON COLUMN {model}.orders.net_minor IS 'net in minor units.';
COMMENT ON COLUMN {model}.orders.cost_minor IS 'cost in minor units.';
COMMENT ON COLUMN {model}.orders.margin_minor IS 'margin in minor units.';
COMMENT ON COLUMN {model}.orders.captured_minor IS 'captured in minor units.';
COMMENT ON COLUMN {model}.orders.payment_state IS 'refunded (at least what was captured), partially_refunded, captured, else by the last payment authorized or failed, else none.';
COMMENT ON COLUMN {model}.orders.shipment_state IS 'The last status of a shipment: packed, shipped, delivered, delayed or lost. NULL without one.';
COMMENT ON COLUMN {model}.orders.shipped_at IS 'When a shipment was first shipped.';
COMMENT ON COLUMN {model}.orders.delivered_at IS 'When a shipment was last delivered.';
COMMENT ON COLUMN {model}.orders.expected_at IS 'When delivery is expected, as last announced. Where expected_is_day, midnight UTC stands for that whole day. Not delivered and past it: late as of now.';
COMMENT ON COLUMN {model}.orders.expected_is_day IS 'A day was announced, without a time: it lasts until its end in the reporting time zone.';
COMMENT ON COLUMN {model}.orders.late IS 'Delivered after it was expected (a day is met until its end in the reporting time zone), or delayed or lost by its last status. What is late only by the clock: expected_at and delivered_at tell.';
COMMENT ON COLUMN {model}.orders.unshipped IS 'Placed, not cancelled, and nothing shipped or delivered.';
COMMENT ON COLUMN {model}.orders.carrier IS 'The carrier, as last named.';
COMMENT ON COLUMN {model}.orders.tracking IS 'The tracking number, as last named.';
COMMENT ON COLUMN {model}.orders.returned_at IS 'When something last came back.';
COMMENT ON COLUMN {model}.orders.cancel_reason IS 'The reason of the last cancellation that gives one.';
COMMENT ON COLUMN {model}.orders.rep IS 'The sales rep, as last placed.';
COMMENT ON COLUMN {model}.orders.quote_id IS 'The quote it comes from, as last placed.';
COMMENT ON COLUMN {model}.orders.cart_id IS 'The cart it comes from, as last placed: by its data, else by its correlationid.';
COMMENT ON COLUMN {model}.orders.checkout_id IS 'The checkout it comes from, as last placed: by its data, else by its correlationid.';
COMMENT ON COLUMN {model}.orders.session_id IS 'The session it comes from, as last placed. NULL for an id longer than 512 bytes.';
COMMENT ON COLUMN {model}.orders.opportunity_id IS 'The opportunity it comes from, as last placed.';
COMMENT ON COLUMN {model}.orders.campaign_id IS 'The campaign it names, as last placed.';
COMMENT ON COLUMN {model}.orders.flags IS 'What is doubtful: amount_out_of_range, facts_capped (it has more than 10,000 events, the first count), foreign_currency, unmatched_return (something came back that was not ordered), unplaced, unpriced_line.';
COMMENT ON COLUMN {model}.orders.set_by IS 'The event that last set this row.';

CREATE OR REPLACE VIEW {model}.order_lines AS
SELECT
    order_id,
    line_no,
    sku,
    name,
    category,
    quantity,
    returned_quantity,
    currency,
    backbone.decimal(unit_price_minor, currency) AS unit_price,
    backbone.decimal(discount_minor, currency) AS discount,
    backbone.decimal(total_minor, currency) AS total,
    backbone.decimal(cost_minor, currency) AS cost,
    backbone.decimal(margin_minor, currency) AS margin,
    unit_price_minor,
    discount_minor,
    total_minor,
    cost_minor,
    margin_minor,
    set_by
FROM {schema}.order_lines;

COMMENT ON VIEW {model}.order_lines IS 'The lines of orders as they were last placed or changed: one row a line.';

COMMENT ON COLUMN {model}.order_lines.order_id IS 'The order.';
COMMENT ON COLUMN {model}.order_lines.line_no IS 'The place of the line in the order, from 1.';
COMMENT ON COLUMN {model}.order_lines.sku IS 'What was ordered.';
COMMENT ON COLUMN {model}.order_lines.name IS 'Its name, as published.';
COMMENT ON COLUMN {model}.order_lines.category IS 'Its category, as published.';
COMMENT ON COLUMN {model}.order_lines.quantity IS 'How much of it.';
COMMENT ON COLUMN {model}.order_lines.returned_quantity IS 'How much of it came back: a returned sku fills the lines of that sku from the first on, the rest stands at the last.';
COMMENT ON COLUMN {model}.order_lines.currency IS 'The currency of the order, in which all amounts of the line are.';
COMMENT ON COLUMN {model}.order_lines.unit_price IS 'The price of one.';
COMMENT ON COLUMN {model}.order_lines.discount IS 'The discount of the line.';
COMMENT ON COLUMN {model}.order_lines.total IS 'What the line is worth after its discount: total, else unit price x quantity (halves away from zero) less the discount. NULL if neither is known in the currency of the order.';
COMMENT ON COLUMN {model}.order_lines.cost IS 'What it cost: total - margin where a margin is stated, else cost, else unit cost x quantity. NULL if unknown.';
COMMENT ON COLUMN {model}.order_lines.margin IS 'total - cost. NULL if one of them is unknown.';
COMMENT ON COLUMN {model}.order_lines.unit_price_minor IS 'unit_price in minor units of the currency.';
COMMENT ON COLUMN {model}.order_lines.discount_minor IS 'discount in minor units.';
COMMENT ON COLUMN {model}.order_lines.total_minor IS 'total in minor units.';
COMMENT ON COLUMN {model}.order_lines.cost_minor IS 'cost in minor units.';
COMMENT ON COLUMN {model}.order_lines.margin_minor IS 'margin in minor units.';
COMMENT ON COLUMN {model}.order_lines.set_by IS 'The event that last set this row.';

CREATE OR REPLACE VIEW {model}.order_refunds AS
SELECT
    order_id,
    event_id,
    refunded_at,
    source,
    backbone.decimal(amount_minor, currency) AS amount,
    currency,
    amount_minor,
    set_by
FROM {schema}.order_refunds;

COMMENT ON VIEW {model}.order_refunds IS 'The refunds that count: one row a refund.';

COMMENT ON COLUMN {model}.order_refunds.order_id IS 'The order.';
COMMENT ON COLUMN {model}.order_refunds.event_id IS 'The payment or the return that tells of it.';
COMMENT ON COLUMN {model}.order_refunds.refunded_at IS 'When. A refund counts on its own day.';
COMMENT ON COLUMN {model}.order_refunds.source IS 'payment or return: returns count only where no payment of the order is a refund.';
COMMENT ON COLUMN {model}.order_refunds.amount IS 'How much.';
COMMENT ON COLUMN {model}.order_refunds.currency IS 'The currency of the order.';
COMMENT ON COLUMN {model}.order_refunds.amount_minor IS 'amount in minor units of the currency.';
COMMENT ON COLUMN {model}.order_refunds.set_by IS 'The event that last set this row.';

CREATE OR REPLACE VIEW {model}.revenue AS
SELECT
    day,
    channel,
    currency,
    orders,
    gross_minor * backbone.decimal(1, currency) AS gross,
    discount_minor * backbone.decimal(1, currency) AS discount,
    refunds_minor * backbone.decimal(1, currency) AS refunds,
    net_minor * backbone.decimal(1, currency) AS net,
    margin_minor * backbone.decimal(1, currency) AS margin,
    round((gross_minor - discount_minor) * backbone.decimal(1, currency) / NULLIF(orders, 0), 4) AS average_order_value,
    orders_without_cost,
    gross_minor,
    discount_minor,
    refunds_minor,
    net_minor,
    margin_minor
FROM (
    SELECT
        day,
        channel,
        currency,
        sum(orders)::bigint AS orders,
        sum(without_cost)::bigint AS orders_without_cost,
        sum(gross) AS gross_minor,
        sum(discount) AS discount_minor,
        sum(refunds) AS refunds_minor,
        sum(gross) - sum(discount) - sum(refunds) AS net_minor,
        CASE WHEN sum(without_cost) = 0 THEN sum(gross) - sum(discount) - sum(refunds) - sum(cost) END AS margin_minor
    FROM (
        SELECT
            (placed_at AT TIME ZONE (SELECT backbone.reporting_timezone()))::date AS day,
            channel,
            currency,
            1 AS orders,
            CASE WHEN cost_minor IS NULL THEN 1 ELSE 0 END AS without_cost,
            gross_minor::numeric AS gross,
            discount_minor::numeric AS discount,
            0::numeric AS refunds,
            COALESCE(cost_minor, 0)::numeric AS cost
        FROM {schema}.orders
        WHERE placed_at IS NOT NULL AND cancelled_at IS NULL
        UNION ALL
        SELECT
            (refunded_at AT TIME ZONE (SELECT backbone.reporting_timezone()))::date,
            placed.channel,
            refund.currency,
            0,
            0,
            0,
            0,
            refund.amount_minor,
            0
        FROM {schema}.order_refunds AS refund
        JOIN {schema}.orders AS placed USING (order_id)
        WHERE placed.placed_at IS NOT NULL AND placed.cancelled_at IS NULL
    ) AS parts
    GROUP BY day, channel, currency
) AS days;

COMMENT ON VIEW {model}.revenue IS 'Revenue by day, channel and currency. Orders that were cancelled, or never placed, count nowhere.';

COMMENT ON COLUMN {model}.revenue.day IS 'The day in the reporting time zone: of an order the one it was placed on, of a refund its own.';
COMMENT ON COLUMN {model}.revenue.channel IS 'The channel of the order.';
COMMENT ON COLUMN {model}.revenue.currency IS 'The currency of the order. NULL for orders without any amount.';
COMMENT ON COLUMN {model}.revenue.orders IS 'Orders placed that day.';
COMMENT ON COLUMN {model}.revenue.gross IS 'What they are worth before discounts of orders and refunds.';
COMMENT ON COLUMN {model}.revenue.discount IS 'The discounts of these orders.';
COMMENT ON COLUMN {model}.revenue.refunds IS 'What was refunded that day, of orders of whichever day.';
COMMENT ON COLUMN {model}.revenue.net IS 'gross - discount - refunds.';
COMMENT ON COLUMN {model}.revenue.margin IS 'net - cost. NULL if the cost of one of the orders is unknown: orders_without_cost tells of how many.';
COMMENT ON COLUMN {model}.revenue.average_order_value IS '(gross - discount) / orders, to four digits. NULL without orders.';
COMMENT ON COLUMN {model}.revenue.orders_without_cost IS 'Orders of which the cost is not known.';
COMMENT ON COLUMN {model}.revenue.gross_minor IS 'gross in minor units of the currency.';
COMMENT ON COLUMN {model}.revenue.discount_minor IS 'discount in minor units.';
COMMENT ON COLUMN {model}.revenue.refunds_minor IS 'refunds in minor units.';
COMMENT ON COLUMN {model}.revenue.net_minor IS 'net in minor units.';
COMMENT ON COLUMN {model}.revenue.margin_minor IS 'margin in minor units.';

CREATE OR REPLACE VIEW {model}.cart_contents AS
SELECT
    cart_id,
    named_by,
    subject_id,
    session_id,
    checkout_id,
    session_ids,
    checkout_ids,
    currency,
    backbone.decimal(value_minor, currency) AS value,
    value_minor,
    furthest_step,
    active_at,
    line_counts,
    longest_idle_us,
    flags,
    set_by
FROM (
    SELECT 'cart_id'::text AS named_by, carts.* FROM {schema}.carts
    UNION ALL
    SELECT 'session_id'::text, session_carts.* FROM {schema}.session_carts
    UNION ALL
    SELECT 'checkout_id'::text, checkout_carts.* FROM {schema}.checkout_carts
) AS carts;

COMMENT ON VIEW {model}.cart_contents IS 'What is known of carts, whenever one asks: one row a cart. Their state stands in carts.';

COMMENT ON COLUMN {model}.cart_contents.cart_id IS 'The cart: its cart_id, else the session, else the checkout_id, as published.';
COMMENT ON COLUMN {model}.cart_contents.named_by IS 'Which of them that is: cart_id, session_id or checkout_id. Two carts of the same text are two where this differs.';
COMMENT ON COLUMN {model}.cart_contents.subject_id IS 'Its owner: the subject of the first identified event that names it. NULL while nobody is.';
COMMENT ON COLUMN {model}.cart_contents.session_id IS 'The session it was last active in. NULL if none is known.';
COMMENT ON COLUMN {model}.cart_contents.checkout_id IS 'The checkout last named with it. NULL if none is known.';
COMMENT ON COLUMN {model}.cart_contents.session_ids IS 'Every session it was active in.';
COMMENT ON COLUMN {model}.cart_contents.checkout_ids IS 'Every checkout named with it.';
COMMENT ON COLUMN {model}.cart_contents.currency IS 'The currency of its amounts: that of the total last stated, else of its first amount. Amounts in another are flagged and counted nowhere.';
COMMENT ON COLUMN {model}.cart_contents.value IS 'What is in it is worth: the total that its last change states, else the sum of its lines. NULL if no amount is known.';
COMMENT ON COLUMN {model}.cart_contents.value_minor IS 'value in minor units of the currency.';
COMMENT ON COLUMN {model}.cart_contents.furthest_step IS 'The furthest step of its checkout: the greatest where all are whole numbers, else the one that was reached for the first time last. NULL without one.';
COMMENT ON COLUMN {model}.cart_contents.active_at IS 'When something happened to it (a change, a step of its checkout), in order.';
COMMENT ON COLUMN {model}.cart_contents.line_counts IS 'How many lines it had after each of these: 0 is empty.';
COMMENT ON COLUMN {model}.cart_contents.longest_idle_us IS 'The longest pause up to each of these while something was in it, in microseconds.';
COMMENT ON COLUMN {model}.cart_contents.flags IS 'What is doubtful: amount_out_of_range, facts_capped (it has more than 10,000 events, the first count), foreign_currency, unlisted_lines (something was added, and not said what), unpriced_line.';
COMMENT ON COLUMN {model}.cart_contents.set_by IS 'The event that last set this row.';

CREATE OR REPLACE VIEW {model}.cart_lines AS
SELECT
    cart_id,
    named_by,
    line_no,
    sku,
    name,
    category,
    quantity,
    currency,
    backbone.decimal(value_minor, currency) AS value,
    value_minor,
    set_by
FROM (
    SELECT 'cart_id'::text AS named_by, cart_lines.* FROM {schema}.cart_lines
    UNION ALL
    SELECT 'session_id'::text, session_cart_lines.* FROM {schema}.session_cart_lines
    UNION ALL
    SELECT 'checkout_id'::text, checkout_cart_lines.* FROM {schema}.checkout_cart_lines
) AS lines;

COMMENT ON VIEW {model}.cart_lines IS 'What is in carts: one row a cart and sku, as the last change leaves it, also of carts that were bought.';

COMMENT ON COLUMN {model}.cart_lines.cart_id IS 'The cart.';
COMMENT ON COLUMN {model}.cart_lines.named_by IS 'What names the cart: cart_id, session_id or checkout_id.';
COMMENT ON COLUMN {model}.cart_lines.line_no IS 'The place of the sku among those of the cart, in their order, from 1.';
COMMENT ON COLUMN {model}.cart_lines.sku IS 'What is in it.';
COMMENT ON COLUMN {model}.cart_lines.name IS 'Its name, as last published.';
COMMENT ON COLUMN {model}.cart_lines.category IS 'Its category, as last published.';
COMMENT ON COLUMN {model}.cart_lines.quantity IS 'How much of it.';
COMMENT ON COLUMN {model}.cart_lines.currency IS 'The currency of the cart.';
COMMENT ON COLUMN {model}.cart_lines.value IS 'What that is worth: what was added, less the share of what was removed. NULL if some of it has no price in the currency of the cart.';
COMMENT ON COLUMN {model}.cart_lines.value_minor IS 'value in minor units of the currency.';
COMMENT ON COLUMN {model}.cart_lines.set_by IS 'The event that last set this row.';

CREATE OR REPLACE VIEW {model}.sessions AS
SELECT session_id, subject_id, viewed_at, carted_at, checkout_at, flags, set_by
FROM {schema}.sessions;

COMMENT ON VIEW {model}.sessions IS 'Sessions on the web site in which a product was viewed, something was put into a cart or a checkout was reached: one row a session. An event that names no session has none. Whether something was bought: orders.session_id.';

COMMENT ON COLUMN {model}.sessions.session_id IS 'The session, as published.';
COMMENT ON COLUMN {model}.sessions.subject_id IS 'The subject of the first identified event that names it. NULL while nobody is.';
COMMENT ON COLUMN {model}.sessions.viewed_at IS 'When a product was first viewed in it. NULL if none was.';
COMMENT ON COLUMN {model}.sessions.carted_at IS 'When something was first put into a cart in it: added, or set. NULL if nothing was.';
COMMENT ON COLUMN {model}.sessions.checkout_at IS 'When a step of the checkout was first reached in it, also one that failed. NULL if none was.';
COMMENT ON COLUMN {model}.sessions.flags IS 'facts_capped: it has more than 10,000 such events, the first count.';
COMMENT ON COLUMN {model}.sessions.set_by IS 'The event that last set this row.';

CREATE OR REPLACE VIEW {model}.session_products AS
SELECT session_id, product_no, sku, viewed_at, carted_at, set_by
FROM {schema}.session_products;

COMMENT ON VIEW {model}.session_products IS 'Products viewed or put into a cart in sessions: one row a session and sku.';

COMMENT ON COLUMN {model}.session_products.session_id IS 'The session.';
COMMENT ON COLUMN {model}.session_products.product_no IS 'The place of the sku among those of the session, in their order, from 1.';
COMMENT ON COLUMN {model}.session_products.sku IS 'The product.';
COMMENT ON COLUMN {model}.session_products.viewed_at IS 'When it was first viewed in the session. NULL if it was not.';
COMMENT ON COLUMN {model}.session_products.carted_at IS 'When it was first put into a cart in the session: added, or set. NULL if it was not.';
COMMENT ON COLUMN {model}.session_products.set_by IS 'The event that last set this row.';

CREATE OR REPLACE VIEW {model}.product_performance AS
SELECT
    sku,
    currency,
    orders,
    lines,
    units,
    revenue_minor * backbone.decimal(1, currency) AS revenue,
    margin_minor * backbone.decimal(1, currency) AS margin,
    returns,
    round(returns / NULLIF(units, 0), 4) AS return_rate,
    lines_without_cost,
    lines_without_price,
    revenue_minor,
    margin_minor
FROM (
    SELECT
        line.sku,
        line.currency,
        count(DISTINCT line.order_id) AS orders,
        count(*) AS lines,
        trim_scale(COALESCE(sum(line.quantity), 0)) AS units,
        trim_scale(sum(line.returned_quantity)) AS returns,
        COALESCE(sum(line.total_minor), 0) AS revenue_minor,
        CASE WHEN count(*) = count(line.margin_minor) THEN sum(line.margin_minor) END AS margin_minor,
        count(*) - count(line.margin_minor) AS lines_without_cost,
        count(*) - count(line.total_minor) AS lines_without_price
    FROM {schema}.order_lines AS line
    JOIN {schema}.orders AS placed USING (order_id)
    WHERE placed.placed_at IS NOT NULL AND placed.cancelled_at IS NULL AND line.sku IS NOT NULL
    GROUP BY line.sku, line.currency
) AS products;

COMMENT ON VIEW {model}.product_performance IS 'What sells: one row a sku and currency, over the lines of orders. Orders that were cancelled, or never placed, count nowhere.';

COMMENT ON COLUMN {model}.product_performance.sku IS 'The product.';
COMMENT ON COLUMN {model}.product_performance.currency IS 'The currency of the orders. NULL for lines of orders without any amount.';
COMMENT ON COLUMN {model}.product_performance.orders IS 'Orders that have it, each once.';
COMMENT ON COLUMN {model}.product_performance.lines IS 'Lines of orders that have it.';
COMMENT ON COLUMN {model}.product_performance.units IS 'How much of it was ordered.';
COMMENT ON COLUMN {model}.product_performance.revenue IS 'What its lines are worth after their own discounts, before discounts of whole orders and before refunds, which belong to orders and not to products.';
COMMENT ON COLUMN {model}.product_performance.margin IS 'revenue - cost of its lines. NULL if the cost of one of them is unknown: lines_without_cost tells of how many.';
COMMENT ON COLUMN {model}.product_performance.returns IS 'How much of it came back, in units.';
COMMENT ON COLUMN {model}.product_performance.return_rate IS 'returns / units, to four digits. NULL without units.';
COMMENT ON COLUMN {model}.product_performance.lines_without_cost IS 'Lines of which the margin is not known.';
COMMENT ON COLUMN {model}.product_performance.lines_without_price IS 'Lines that have no price in the currency of their order: they count in no revenue.';
COMMENT ON COLUMN {model}.product_performance.revenue_minor IS 'revenue in minor units of the currency.';
COMMENT ON COLUMN {model}.product_performance.margin_minor IS 'margin in minor units.';

CREATE OR REPLACE VIEW {model}.product_sessions AS
SELECT
    sku,
    sum(viewed)::bigint AS viewed,
    sum(carted)::bigint AS carted,
    sum(bought)::bigint AS bought
FROM (
    SELECT sku, count(viewed_at) AS viewed, count(carted_at) AS carted, 0 AS bought
    FROM {schema}.session_products
    GROUP BY sku
    UNION ALL
    SELECT line.sku, 0, 0, count(DISTINCT placed.session_id)
    FROM {schema}.orders AS placed
    JOIN {schema}.order_lines AS line USING (order_id)
    WHERE placed.session_id IS NOT NULL AND placed.placed_at IS NOT NULL AND line.sku IS NOT NULL
    GROUP BY line.sku
) AS parts
GROUP BY sku;

COMMENT ON VIEW {model}.product_sessions IS 'In how many sessions a product was viewed, put into a cart and bought, each counted on its own: one row a sku.';

COMMENT ON COLUMN {model}.product_sessions.sku IS 'The product.';
COMMENT ON COLUMN {model}.product_sessions.viewed IS 'Sessions that viewed it.';
COMMENT ON COLUMN {model}.product_sessions.carted IS 'Sessions that put it into a cart.';
COMMENT ON COLUMN {model}.product_sessions.bought IS 'Sessions that an order names which has it, cancelled orders too: the session had bought.';

CREATE OR REPLACE FUNCTION {model}.carts_at(at timestamptz DEFAULT now(), idle_min integer DEFAULT 60)
RETURNS TABLE (
    cart_id text,
    named_by text,
    subject_id uuid,
    session_id text,
    checkout_id text,
    state text,
    line_count bigint,
    currency text,
    value numeric,
    value_minor bigint,
    started_at timestamptz,
    last_activity_at timestamptz,
    furthest_step text,
    order_id text,
    purchased_at timestamptz,
    flags text[],
    set_by uuid
)
LANGUAGE sql STABLE
BEGIN ATOMIC
    SELECT
        cart.cart_id,
        cart.named_by,
        cart.subject_id,
        cart.session_id,
        cart.checkout_id,
        CASE
            WHEN bought.order_id IS NOT NULL THEN
                CASE
                    WHEN cart.longest_idle_us[width_bucket(bought.placed_at, cart.active_at)]
                            > carts_at.idle_min::bigint * 60000000
                        OR cart.line_counts[width_bucket(bought.placed_at, cart.active_at)] > 0
                        AND bought.placed_at - cart.active_at[width_bucket(bought.placed_at, cart.active_at)]
                            > make_interval(mins => carts_at.idle_min)
                    THEN 'recovered'
                    ELSE 'purchased'
                END
            WHEN cart.line_counts[width_bucket(carts_at.at, cart.active_at)] = 0 THEN 'emptied'
            WHEN carts_at.at - cart.active_at[width_bucket(carts_at.at, cart.active_at)]
                > make_interval(mins => carts_at.idle_min)
            THEN 'abandoned'
            ELSE 'open'
        END,
        cart.line_counts[width_bucket(carts_at.at, cart.active_at)],
        cart.currency,
        cart.value,
        cart.value_minor,
        cart.active_at[1],
        cart.active_at[width_bucket(carts_at.at, cart.active_at)],
        cart.furthest_step,
        bought.order_id,
        bought.placed_at,
        cart.flags,
        cart.set_by
    FROM {model}.cart_contents AS cart
    LEFT JOIN LATERAL (
        SELECT naming.order_id, naming.placed_at
        FROM (
            SELECT placed.order_id, placed.placed_at
            FROM {model}.orders AS placed
            WHERE cart.named_by = 'cart_id' AND placed.cart_id = cart.cart_id
            UNION ALL
            SELECT placed.order_id, placed.placed_at
            FROM {model}.orders AS placed
            WHERE placed.session_id = ANY (cart.session_ids)
                AND (cart.named_by <> 'cart_id' OR placed.cart_id IS NULL)
            UNION ALL
            SELECT placed.order_id, placed.placed_at
            FROM {model}.orders AS placed
            WHERE placed.checkout_id = ANY (cart.checkout_ids)
                AND (cart.named_by <> 'cart_id' OR placed.cart_id IS NULL)
        ) AS naming
        WHERE naming.placed_at <= carts_at.at
        ORDER BY naming.placed_at, naming.order_id
        LIMIT 1
    ) AS bought ON true
    WHERE cart.active_at[1] <= carts_at.at;
END;

COMMENT ON FUNCTION {model}.carts_at(timestamptz, integer) IS 'Carts as of a time, idle longer than so many minutes (60 unless said) being abandoned: state, line_count, last_activity_at and the order are those of that time, and carts begun later are left out; value and furthest_step are as last known. Columns: those of carts.';

CREATE OR REPLACE VIEW {model}.carts AS
SELECT
    cart_id,
    named_by,
    subject_id,
    session_id,
    checkout_id,
    state,
    line_count,
    currency,
    value,
    value_minor,
    started_at,
    last_activity_at,
    furthest_step,
    order_id,
    purchased_at,
    flags,
    set_by
FROM {model}.carts_at(now());

COMMENT ON VIEW {model}.carts IS 'Carts, one row a cart, as of now and with 60 minutes to be abandoned after; carts_at takes both. A cart is its cart_id, else the session, else the checkout_id.';

COMMENT ON COLUMN {model}.carts.cart_id IS 'The cart: its cart_id, else the session, else the checkout_id, as published.';
COMMENT ON COLUMN {model}.carts.named_by IS 'Which of them that is: cart_id, session_id or checkout_id. Two carts of the same text are two where this differs.';
COMMENT ON COLUMN {model}.carts.subject_id IS 'Its owner: the subject of the first identified event that names it. NULL while nobody is.';
COMMENT ON COLUMN {model}.carts.session_id IS 'The session it was last active in. NULL if none is known.';
COMMENT ON COLUMN {model}.carts.checkout_id IS 'The checkout last named with it. NULL if none is known.';
COMMENT ON COLUMN {model}.carts.state IS 'purchased: an order names it, by cart_id, or by one of its sessions or checkouts (where both the order and the cart have a cart_id, that alone decides), whatever is put in later. recovered: so, after it had been abandoned. Else emptied: nothing is in it. abandoned: something is, and it has been idle for longer than 60 minutes. open: it has not.';
COMMENT ON COLUMN {model}.carts.line_count IS 'How many lines it has. An addition of which no line is known counts as one.';
COMMENT ON COLUMN {model}.carts.currency IS 'The currency of its value. Amounts in another are flagged and counted nowhere.';
COMMENT ON COLUMN {model}.carts.value IS 'What is in it is worth: the total that its last change states, else the sum of its lines. NULL if no amount is known.';
COMMENT ON COLUMN {model}.carts.value_minor IS 'value in minor units of the currency.';
COMMENT ON COLUMN {model}.carts.started_at IS 'When something first happened to it.';
COMMENT ON COLUMN {model}.carts.last_activity_at IS 'When it was last changed, or a step of its checkout reached.';
COMMENT ON COLUMN {model}.carts.furthest_step IS 'The furthest step of its checkout: the greatest where all are whole numbers, else the one that was reached for the first time last. NULL without one.';
COMMENT ON COLUMN {model}.carts.order_id IS 'The first order that names it. NULL if none does.';
COMMENT ON COLUMN {model}.carts.purchased_at IS 'When that was placed.';
COMMENT ON COLUMN {model}.carts.flags IS 'What is doubtful: amount_out_of_range, facts_capped (it has more than 10,000 events, the first count), foreign_currency, unlisted_lines (something was added, and not said what), unpriced_line.';
COMMENT ON COLUMN {model}.carts.set_by IS 'The event that last set what is in it.';

CREATE OR REPLACE FUNCTION {model}.cart_funnel_at(
    at timestamptz DEFAULT now(), idle_min integer DEFAULT 60, abandonment numeric DEFAULT NULL
)
RETURNS TABLE (
    currency text,
    viewed bigint,
    carted bigint,
    carted_unviewed bigint,
    checkout bigint,
    paid bigint,
    carted_rate numeric,
    checkout_rate numeric,
    paid_rate numeric,
    conversion_rate numeric,
    carts bigint,
    carts_purchased bigint,
    carts_recovered bigint,
    carts_abandoned bigint,
    carts_open bigint,
    carts_emptied bigint,
    abandonment_rate numeric,
    what_if_abandonment_rate numeric,
    abandoned_value numeric,
    revenue numeric,
    what_if_revenue numeric,
    abandoned_value_minor numeric,
    revenue_minor numeric,
    what_if_revenue_minor numeric
)
LANGUAGE sql STABLE
BEGIN ATOMIC
    WITH cart AS MATERIALIZED (
        SELECT c.state, c.currency, c.value_minor, c.order_id
        FROM {model}.carts_at(cart_funnel_at.at, cart_funnel_at.idle_min) AS c
    ),
    counts AS (
        SELECT
            count(*) AS carts,
            count(*) FILTER (WHERE cart.state = 'purchased') AS purchased,
            count(*) FILTER (WHERE cart.state = 'recovered') AS recovered,
            count(*) FILTER (WHERE cart.state = 'abandoned') AS abandoned,
            count(*) FILTER (WHERE cart.state = 'open') AS still_open,
            count(*) FILTER (WHERE cart.state = 'emptied') AS emptied
        FROM cart
    ),
    rates AS (
        SELECT
            counts.*,
            counts.purchased + counts.recovered AS bought,
            counts.purchased + counts.recovered + counts.abandoned AS decided,
            COALESCE(
                cart_funnel_at.abandonment,
                round(
                    counts.abandoned::numeric / 2 / NULLIF(counts.purchased + counts.recovered + counts.abandoned, 0), 4
                )
            ) AS what_if
        FROM counts
    ),
    funnel AS (
        SELECT
            count(*) FILTER (WHERE s.viewed_at <= cart_funnel_at.at) AS viewed,
            count(*) FILTER (WHERE s.carted_at <= cart_funnel_at.at) AS carted,
            count(*) FILTER (
                WHERE s.carted_at <= cart_funnel_at.at AND (s.viewed_at <= cart_funnel_at.at) IS NOT TRUE
            ) AS carted_unviewed,
            count(*) FILTER (WHERE s.checkout_at <= cart_funnel_at.at) AS checkout
        FROM {model}.sessions AS s
    ),
    paying AS (
        SELECT count(DISTINCT placed.session_id) AS paid
        FROM {model}.orders AS placed
        WHERE placed.session_id IS NOT NULL AND placed.placed_at <= cart_funnel_at.at
    ),
    money AS (
        SELECT parts.currency, sum(parts.abandoned) AS abandoned, sum(parts.revenue) AS revenue
        FROM (
            SELECT cart.currency, cart.value_minor::numeric AS abandoned, 0::numeric AS revenue
            FROM cart
            WHERE cart.state = 'abandoned' AND cart.value_minor IS NOT NULL
            UNION ALL
            SELECT placed.currency, 0, placed.net_minor
            FROM {model}.orders AS placed
            WHERE placed.order_id IN (SELECT cart.order_id FROM cart WHERE cart.order_id IS NOT NULL)
                AND placed.cancelled_at IS NULL AND placed.currency IS NOT NULL AND placed.net_minor IS NOT NULL
        ) AS parts
        GROUP BY parts.currency
    )
    SELECT
        money.currency,
        funnel.viewed,
        funnel.carted,
        funnel.carted_unviewed,
        funnel.checkout,
        paying.paid,
        round(funnel.carted::numeric / NULLIF(funnel.viewed, 0), 4),
        round(funnel.checkout::numeric / NULLIF(funnel.carted, 0), 4),
        round(paying.paid::numeric / NULLIF(funnel.checkout, 0), 4),
        round(paying.paid::numeric / NULLIF(funnel.viewed, 0), 4),
        rates.carts,
        rates.purchased,
        rates.recovered,
        rates.abandoned,
        rates.still_open,
        rates.emptied,
        round(rates.abandoned::numeric / NULLIF(rates.decided, 0), 4),
        rates.what_if,
        money.abandoned * backbone.decimal(1, money.currency),
        money.revenue * backbone.decimal(1, money.currency),
        round(money.revenue * (1 - rates.what_if) * rates.decided / NULLIF(rates.bought, 0))
            * backbone.decimal(1, money.currency),
        money.abandoned,
        money.revenue,
        round(money.revenue * (1 - rates.what_if) * rates.decided / NULLIF(rates.bought, 0))
    FROM rates
    CROSS JOIN funnel
    CROSS JOIN paying
    LEFT JOIN money ON true;
END;

COMMENT ON FUNCTION {model}.cart_funnel_at(timestamptz, integer, numeric) IS 'The funnel as of a time, idle longer than so many minutes (60 unless said) being abandoned, and what carts would bring if the share of abandoned ones fell to the third argument (0.5 is one half; half of what it is unless said). Columns: those of cart_funnel.';

CREATE OR REPLACE VIEW {model}.cart_funnel AS
SELECT
    currency,
    viewed,
    carted,
    carted_unviewed,
    checkout,
    paid,
    carted_rate,
    checkout_rate,
    paid_rate,
    conversion_rate,
    carts,
    carts_purchased,
    carts_recovered,
    carts_abandoned,
    carts_open,
    carts_emptied,
    abandonment_rate,
    what_if_abandonment_rate,
    abandoned_value,
    revenue,
    what_if_revenue,
    abandoned_value_minor,
    revenue_minor,
    what_if_revenue_minor
FROM {model}.cart_funnel_at(now());

COMMENT ON VIEW {model}.cart_funnel IS 'From a view to an order: sessions that viewed, carted, reached the checkout and paid, each counted on its own, what became of carts, and what it would bring if fewer were abandoned; as of now, cart_funnel_at takes a time. One row a currency.';

COMMENT ON COLUMN {model}.cart_funnel.currency IS 'The currency of the amounts: one row each. The counts are those of all sessions and carts, in every row. NULL, in the only row, where no amount is known.';
COMMENT ON COLUMN {model}.cart_funnel.viewed IS 'Sessions that viewed a product.';
COMMENT ON COLUMN {model}.cart_funnel.carted IS 'Sessions that put something into a cart.';
COMMENT ON COLUMN {model}.cart_funnel.carted_unviewed IS 'Those of them that viewed no product.';
COMMENT ON COLUMN {model}.cart_funnel.checkout IS 'Sessions that reached a step of the checkout.';
COMMENT ON COLUMN {model}.cart_funnel.paid IS 'Sessions that an order names, cancelled orders too.';
COMMENT ON COLUMN {model}.cart_funnel.carted_rate IS 'carted / viewed, to four digits like every rate here. NULL if nobody viewed. Each is counted on its own: a rate may exceed 1.';
COMMENT ON COLUMN {model}.cart_funnel.checkout_rate IS 'checkout / carted. NULL if nobody carted.';
COMMENT ON COLUMN {model}.cart_funnel.paid_rate IS 'paid / checkout. NULL if nobody reached it.';
COMMENT ON COLUMN {model}.cart_funnel.conversion_rate IS 'paid / viewed. NULL if nobody viewed.';
COMMENT ON COLUMN {model}.cart_funnel.carts IS 'Carts, each once.';
COMMENT ON COLUMN {model}.cart_funnel.carts_purchased IS 'Carts that were bought without having been abandoned.';
COMMENT ON COLUMN {model}.cart_funnel.carts_recovered IS 'Carts that were bought after having been abandoned.';
COMMENT ON COLUMN {model}.cart_funnel.carts_abandoned IS 'Carts with something in them, not bought and idle for longer than 60 minutes.';
COMMENT ON COLUMN {model}.cart_funnel.carts_open IS 'Carts with something in them, not bought and not idle for as long.';
COMMENT ON COLUMN {model}.cart_funnel.carts_emptied IS 'Carts with nothing in them that were not bought.';
COMMENT ON COLUMN {model}.cart_funnel.abandonment_rate IS 'Abandoned carts / (abandoned and bought ones, recovered among them). NULL without any.';
COMMENT ON COLUMN {model}.cart_funnel.what_if_abandonment_rate IS 'The rate that what_if_revenue supposes: the one given to cart_funnel_at, else half of abandonment_rate.';
COMMENT ON COLUMN {model}.cart_funnel.abandoned_value IS 'What is in abandoned carts of this currency is worth.';
COMMENT ON COLUMN {model}.cart_funnel.revenue IS 'The net of the orders that bought carts, less cancelled ones.';
COMMENT ON COLUMN {model}.cart_funnel.what_if_revenue IS 'revenue if abandonment_rate were what_if_abandonment_rate, each cart more that is bought being worth what bought ones are: revenue x (1 - what if) / (1 - rate). NULL if none was bought.';
COMMENT ON COLUMN {model}.cart_funnel.abandoned_value_minor IS 'abandoned_value in minor units of the currency.';
COMMENT ON COLUMN {model}.cart_funnel.revenue_minor IS 'revenue in minor units.';
COMMENT ON COLUMN {model}.cart_funnel.what_if_revenue_minor IS 'what_if_revenue in minor units, halves away from zero.';
