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
    values_minor,
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
COMMENT ON COLUMN {model}.cart_contents.values_minor IS 'What was in it was worth after each of these, as value is: in minor units of the currency, which all that is known decides. Empty if no amount is known.';
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

CREATE OR REPLACE VIEW {model}.carts AS
SELECT
    cart.cart_id,
    cart.named_by,
    cart.subject_id,
    cart.session_id,
    cart.checkout_id,
    CASE
        WHEN bought.order_id IS NOT NULL THEN
            CASE
                WHEN cart.longest_idle_us[paid.act] > 60::bigint * 60000000
                    OR cart.line_counts[paid.act] > 0
                    AND bought.placed_at - cart.active_at[paid.act] > make_interval(mins => 60)
                THEN 'recovered'
                ELSE 'purchased'
            END
        WHEN cart.line_counts[last.act] = 0 THEN 'emptied'
        WHEN now() - cart.active_at[last.act] > make_interval(mins => 60) THEN 'abandoned'
        ELSE 'open'
    END AS state,
    cart.line_counts[last.act] AS line_count,
    cart.currency,
    backbone.decimal(cart.values_minor[last.act], cart.currency) AS value,
    cart.values_minor[last.act] AS value_minor,
    cart.active_at[1] AS started_at,
    cart.active_at[last.act] AS last_activity_at,
    cart.furthest_step,
    bought.order_id,
    bought.placed_at AS purchased_at,
    cart.flags,
    cart.set_by
FROM {model}.cart_contents AS cart
CROSS JOIN LATERAL (SELECT width_bucket(now(), cart.active_at)) AS last (act)
LEFT JOIN LATERAL (
    SELECT naming.order_id, naming.placed_at
    FROM (
        SELECT placed.order_id, placed.placed_at
        FROM {model}.orders AS placed
        WHERE cart.named_by = 'cart_id' AND placed.cart_id = cart.cart_id
        UNION ALL
        SELECT placed.order_id, placed.placed_at
        FROM {model}.orders AS placed
        WHERE cart.named_by = 'cart_id' AND placed.session_id = ANY (cart.session_ids) AND placed.cart_id IS NULL
        UNION ALL
        SELECT placed.order_id, placed.placed_at
        FROM {model}.orders AS placed
        WHERE cart.named_by = 'cart_id' AND placed.checkout_id = ANY (cart.checkout_ids) AND placed.cart_id IS NULL
        UNION ALL
        SELECT placed.order_id, placed.placed_at
        FROM {model}.orders AS placed
        WHERE cart.named_by <> 'cart_id' AND placed.session_id = ANY (cart.session_ids)
        UNION ALL
        SELECT placed.order_id, placed.placed_at
        FROM {model}.orders AS placed
        WHERE cart.named_by <> 'cart_id' AND placed.checkout_id = ANY (cart.checkout_ids)
    ) AS naming
    WHERE naming.placed_at <= now()
    ORDER BY naming.placed_at, naming.order_id
    LIMIT 1
) AS bought ON true
CROSS JOIN LATERAL (SELECT width_bucket(bought.placed_at, cart.active_at)) AS paid (act)
WHERE cart.active_at[1] <= now();

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

-- Its names are found when it is made (BEGIN ATOMIC), as a view's are: whoever asks may not look into backbone.
CREATE OR REPLACE FUNCTION {model}.carts_at(at timestamptz DEFAULT now(), idle_min integer DEFAULT 60)
RETURNS SETOF {model}.carts
LANGUAGE sql STABLE PARALLEL SAFE
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
                WHEN cart.longest_idle_us[paid.act] > carts_at.idle_min::bigint * 60000000
                    OR cart.line_counts[paid.act] > 0
                    AND bought.placed_at - cart.active_at[paid.act] > make_interval(mins => carts_at.idle_min)
                THEN 'recovered'
                ELSE 'purchased'
            END
        WHEN cart.line_counts[last.act] = 0 THEN 'emptied'
        WHEN carts_at.at - cart.active_at[last.act] > make_interval(mins => carts_at.idle_min) THEN 'abandoned'
        ELSE 'open'
    END AS state,
    cart.line_counts[last.act] AS line_count,
    cart.currency,
    backbone.decimal(cart.values_minor[last.act], cart.currency) AS value,
    cart.values_minor[last.act] AS value_minor,
    cart.active_at[1] AS started_at,
    cart.active_at[last.act] AS last_activity_at,
    cart.furthest_step,
    bought.order_id,
    bought.placed_at AS purchased_at,
    cart.flags,
    cart.set_by
FROM {model}.cart_contents AS cart
CROSS JOIN LATERAL (SELECT width_bucket(carts_at.at, cart.active_at)) AS last (act)
LEFT JOIN LATERAL (
    SELECT naming.order_id, naming.placed_at
    FROM (
        SELECT placed.order_id, placed.placed_at
        FROM {model}.orders AS placed
        WHERE cart.named_by = 'cart_id' AND placed.cart_id = cart.cart_id
        UNION ALL
        SELECT placed.order_id, placed.placed_at
        FROM {model}.orders AS placed
        WHERE cart.named_by = 'cart_id' AND placed.session_id = ANY (cart.session_ids) AND placed.cart_id IS NULL
        UNION ALL
        SELECT placed.order_id, placed.placed_at
        FROM {model}.orders AS placed
        WHERE cart.named_by = 'cart_id' AND placed.checkout_id = ANY (cart.checkout_ids) AND placed.cart_id IS NULL
        UNION ALL
        SELECT placed.order_id, placed.placed_at
        FROM {model}.orders AS placed
        WHERE cart.named_by <> 'cart_id' AND placed.session_id = ANY (cart.session_ids)
        UNION ALL
        SELECT placed.order_id, placed.placed_at
        FROM {model}.orders AS placed
        WHERE cart.named_by <> 'cart_id' AND placed.checkout_id = ANY (cart.checkout_ids)
    ) AS naming
    WHERE naming.placed_at <= carts_at.at
    ORDER BY naming.placed_at, naming.order_id
    LIMIT 1
) AS bought ON true
CROSS JOIN LATERAL (SELECT width_bucket(bought.placed_at, cart.active_at)) AS paid (act)
WHERE cart.active_at[1] <= carts_at.at;
END;

COMMENT ON FUNCTION {model}.carts_at(timestamptz, integer) IS 'The view carts as of a time, idle longer than so many minutes (60 unless said) being abandoned: state, line_count, value, last_activity_at and the order are those of that time, and carts begun later are left out. By what names a cart is known, whose it is, its currency and furthest_step are told by all that is known now.';

CREATE OR REPLACE VIEW {model}.cart_funnel AS
WITH cart AS MATERIALIZED (
    SELECT c.state, c.value_minor, c.order_id, c.currency
    FROM {model}.carts AS c
),
paid AS MATERIALIZED (
    SELECT
        placed.order_id,
        placed.currency,
        placed.gross_minor::numeric - COALESCE(placed.discount_minor, 0) AS worth,
        placed.cancelled_at IS NULL OR placed.cancelled_at > now() AS counts
    FROM {model}.orders AS placed
    WHERE placed.order_id IN (SELECT cart.order_id FROM cart WHERE cart.order_id IS NOT NULL)
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
funnel AS (
    SELECT
        count(*) FILTER (WHERE s.viewed_at <= now()) AS viewed,
        count(*) FILTER (WHERE s.carted_at <= now()) AS carted,
        count(*) FILTER (
            WHERE s.carted_at <= now() AND (s.viewed_at <= now()) IS NOT TRUE
        ) AS carted_unviewed,
        count(*) FILTER (WHERE s.checkout_at <= now()) AS checkout
    FROM {model}.sessions AS s
),
paying AS (
    SELECT count(DISTINCT placed.session_id) AS paid
    FROM {model}.orders AS placed
    WHERE placed.session_id IS NOT NULL AND placed.placed_at <= now()
),
decided AS (
    SELECT
        COALESCE(paid.currency, cart.currency) AS currency,
        count(*) FILTER (WHERE cart.state <> 'abandoned') AS bought,
        count(*) FILTER (WHERE cart.state = 'abandoned') AS abandoned
    FROM cart
    LEFT JOIN paid ON paid.order_id = cart.order_id
    WHERE cart.state IN ('purchased', 'recovered', 'abandoned')
    GROUP BY COALESCE(paid.currency, cart.currency)
),
money AS (
    SELECT parts.currency, sum(parts.abandoned) AS abandoned, sum(parts.revenue) AS revenue
    FROM (
        SELECT cart.currency, cart.value_minor::numeric AS abandoned, 0::numeric AS revenue
        FROM cart
        WHERE cart.state = 'abandoned' AND cart.value_minor IS NOT NULL
        UNION ALL
        SELECT paid.currency, 0, paid.worth
        FROM paid
        WHERE paid.counts AND paid.currency IS NOT NULL AND paid.worth IS NOT NULL
        UNION ALL
        SELECT refund.currency, 0, -refund.amount_minor
        FROM {model}.order_refunds AS refund
        JOIN paid ON paid.order_id = refund.order_id
        WHERE paid.counts AND paid.worth IS NOT NULL AND refund.refunded_at <= now()
    ) AS parts
    GROUP BY parts.currency
),
-- An abandoned cart without any amount may be of any currency, and counts in each.
-- A bought one counts in that of its order.
of_currency AS (
    SELECT
        money.currency,
        money.abandoned AS value,
        money.revenue,
        COALESCE(sum(decided.bought) FILTER (WHERE decided.currency IS NOT NULL), 0)::bigint AS bought,
        COALESCE(sum(decided.abandoned), 0)::bigint AS abandoned
    FROM money
    LEFT JOIN decided ON decided.currency = money.currency OR decided.currency IS NULL
    GROUP BY money.currency, money.abandoned, money.revenue
),
supposed AS (
    SELECT
        counts.*,
        of_currency.currency,
        of_currency.value,
        of_currency.revenue,
        of_currency.bought AS bought_here,
        of_currency.abandoned AS abandoned_here,
        COALESCE(
            NULL::numeric,
            round(
                COALESCE(of_currency.abandoned, counts.abandoned)::numeric / 2
                    / NULLIF(
                        COALESCE(
                            of_currency.bought + of_currency.abandoned,
                            counts.purchased + counts.recovered + counts.abandoned
                        ),
                        0
                    ),
                4
            )
        ) AS share
    FROM counts
    LEFT JOIN of_currency ON true
),
what_if AS (
    SELECT
        supposed.*,
        round(
            supposed.revenue * (1 - supposed.share) * (supposed.bought_here + supposed.abandoned_here)
                / NULLIF(supposed.bought_here, 0)
        ) AS what_if_revenue
    FROM supposed
)
SELECT
    what_if.currency,
    funnel.viewed,
    funnel.carted,
    funnel.carted_unviewed,
    funnel.checkout,
    paying.paid,
    round(funnel.carted::numeric / NULLIF(funnel.viewed, 0), 4) AS carted_rate,
    round(funnel.checkout::numeric / NULLIF(funnel.carted, 0), 4) AS checkout_rate,
    round(paying.paid::numeric / NULLIF(funnel.checkout, 0), 4) AS paid_rate,
    round(paying.paid::numeric / NULLIF(funnel.viewed, 0), 4) AS conversion_rate,
    what_if.carts,
    what_if.purchased AS carts_purchased,
    what_if.recovered AS carts_recovered,
    what_if.abandoned AS carts_abandoned,
    what_if.still_open AS carts_open,
    what_if.emptied AS carts_emptied,
    round(
        what_if.abandoned::numeric / NULLIF(what_if.purchased + what_if.recovered + what_if.abandoned, 0), 4
    ) AS abandonment_rate,
    what_if.share AS what_if_abandonment_rate,
    what_if.value * backbone.decimal(1, what_if.currency) AS abandoned_value,
    what_if.revenue * backbone.decimal(1, what_if.currency) AS revenue,
    what_if.what_if_revenue * backbone.decimal(1, what_if.currency) AS what_if_revenue,
    what_if.value AS abandoned_value_minor,
    what_if.revenue AS revenue_minor,
    what_if.what_if_revenue AS what_if_revenue_minor,
    what_if.bought_here AS bought_in_currency,
    what_if.abandoned_here AS abandoned_in_currency
FROM what_if
CROSS JOIN funnel
CROSS JOIN paying;

COMMENT ON VIEW {model}.cart_funnel IS 'From a view to an order: sessions that viewed, carted, reached the checkout and paid, each counted on its own, what became of carts, and what it would bring if fewer were abandoned; as of now, cart_funnel_at takes a time. One row a currency.';

COMMENT ON COLUMN {model}.cart_funnel.currency IS 'The currency of the amounts: one row each. The counts are those of all sessions and carts, in every row, but for bought_in_currency and abandoned_in_currency. NULL, in the only row, where no amount is known.';
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
COMMENT ON COLUMN {model}.cart_funnel.what_if_abandonment_rate IS 'The rate that what_if_revenue supposes: the one given to cart_funnel_at, else half of abandoned_in_currency / (abandoned_in_currency + bought_in_currency); without a currency half of abandonment_rate.';
COMMENT ON COLUMN {model}.cart_funnel.abandoned_value IS 'What is in abandoned carts of this currency is worth.';
COMMENT ON COLUMN {model}.cart_funnel.revenue IS 'The net of the orders that bought carts: gross - discount - what was refunded till then. Orders cancelled till then count nowhere.';
COMMENT ON COLUMN {model}.cart_funnel.what_if_revenue IS 'revenue if, among the carts of this currency, the share of abandoned ones were what_if_abandonment_rate, each cart more that is bought being worth what bought ones are: revenue x (1 - what if) x (bought_in_currency + abandoned_in_currency) / bought_in_currency. NULL if none was bought in this currency.';
COMMENT ON COLUMN {model}.cart_funnel.abandoned_value_minor IS 'abandoned_value in minor units of the currency.';
COMMENT ON COLUMN {model}.cart_funnel.revenue_minor IS 'revenue in minor units.';
COMMENT ON COLUMN {model}.cart_funnel.what_if_revenue_minor IS 'what_if_revenue in minor units, halves away from zero.';
COMMENT ON COLUMN {model}.cart_funnel.bought_in_currency IS 'Bought carts that what_if_revenue counts here: those of which the order is in this currency, or, where it has no amount, the cart. NULL in a row without a currency.';
COMMENT ON COLUMN {model}.cart_funnel.abandoned_in_currency IS 'Abandoned carts that what_if_revenue counts here: those in this currency, and those of which no amount is known, in every row. NULL in a row without a currency.';

-- Not for analysts. Only PL/pgSQL can refuse an argument.
CREATE OR REPLACE FUNCTION backbone.{model}_share(abandonment numeric) RETURNS numeric
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE
AS $share$
BEGIN
    IF abandonment NOT BETWEEN 0 AND 1 THEN
        RAISE EXCEPTION USING
            ERRCODE = 'invalid_parameter_value',
            MESSAGE = format('abandonment is a share of carts from 0 to 1, not %s', abandonment);
    END IF;
    RETURN abandonment;
END
$share$;

CREATE OR REPLACE FUNCTION {model}.cart_funnel_at(
    at timestamptz DEFAULT now(), idle_min integer DEFAULT 60, abandonment numeric DEFAULT NULL
)
RETURNS SETOF {model}.cart_funnel
LANGUAGE sql STABLE PARALLEL SAFE
BEGIN ATOMIC
WITH cart AS MATERIALIZED (
    SELECT c.state, c.value_minor, c.order_id, c.currency
    FROM {model}.carts_at(cart_funnel_at.at, cart_funnel_at.idle_min) AS c
),
paid AS MATERIALIZED (
    SELECT
        placed.order_id,
        placed.currency,
        placed.gross_minor::numeric - COALESCE(placed.discount_minor, 0) AS worth,
        placed.cancelled_at IS NULL OR placed.cancelled_at > cart_funnel_at.at AS counts
    FROM {model}.orders AS placed
    WHERE placed.order_id IN (SELECT cart.order_id FROM cart WHERE cart.order_id IS NOT NULL)
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
decided AS (
    SELECT
        COALESCE(paid.currency, cart.currency) AS currency,
        count(*) FILTER (WHERE cart.state <> 'abandoned') AS bought,
        count(*) FILTER (WHERE cart.state = 'abandoned') AS abandoned
    FROM cart
    LEFT JOIN paid ON paid.order_id = cart.order_id
    WHERE cart.state IN ('purchased', 'recovered', 'abandoned')
    GROUP BY COALESCE(paid.currency, cart.currency)
),
money AS (
    SELECT parts.currency, sum(parts.abandoned) AS abandoned, sum(parts.revenue) AS revenue
    FROM (
        SELECT cart.currency, cart.value_minor::numeric AS abandoned, 0::numeric AS revenue
        FROM cart
        WHERE cart.state = 'abandoned' AND cart.value_minor IS NOT NULL
        UNION ALL
        SELECT paid.currency, 0, paid.worth
        FROM paid
        WHERE paid.counts AND paid.currency IS NOT NULL AND paid.worth IS NOT NULL
        UNION ALL
        SELECT refund.currency, 0, -refund.amount_minor
        FROM {model}.order_refunds AS refund
        JOIN paid ON paid.order_id = refund.order_id
        WHERE paid.counts AND paid.worth IS NOT NULL AND refund.refunded_at <= cart_funnel_at.at
    ) AS parts
    GROUP BY parts.currency
),
-- An abandoned cart without any amount may be of any currency, and counts in each.
-- A bought one counts in that of its order.
of_currency AS (
    SELECT
        money.currency,
        money.abandoned AS value,
        money.revenue,
        COALESCE(sum(decided.bought) FILTER (WHERE decided.currency IS NOT NULL), 0)::bigint AS bought,
        COALESCE(sum(decided.abandoned), 0)::bigint AS abandoned
    FROM money
    LEFT JOIN decided ON decided.currency = money.currency OR decided.currency IS NULL
    GROUP BY money.currency, money.abandoned, money.revenue
),
supposed AS (
    SELECT
        counts.*,
        of_currency.currency,
        of_currency.value,
        of_currency.revenue,
        of_currency.bought AS bought_here,
        of_currency.abandoned AS abandoned_here,
        COALESCE(
            backbone.{model}_share(cart_funnel_at.abandonment),
            round(
                COALESCE(of_currency.abandoned, counts.abandoned)::numeric / 2
                    / NULLIF(
                        COALESCE(
                            of_currency.bought + of_currency.abandoned,
                            counts.purchased + counts.recovered + counts.abandoned
                        ),
                        0
                    ),
                4
            )
        ) AS share
    FROM counts
    LEFT JOIN of_currency ON true
),
what_if AS (
    SELECT
        supposed.*,
        round(
            supposed.revenue * (1 - supposed.share) * (supposed.bought_here + supposed.abandoned_here)
                / NULLIF(supposed.bought_here, 0)
        ) AS what_if_revenue
    FROM supposed
)
SELECT
    what_if.currency,
    funnel.viewed,
    funnel.carted,
    funnel.carted_unviewed,
    funnel.checkout,
    paying.paid,
    round(funnel.carted::numeric / NULLIF(funnel.viewed, 0), 4) AS carted_rate,
    round(funnel.checkout::numeric / NULLIF(funnel.carted, 0), 4) AS checkout_rate,
    round(paying.paid::numeric / NULLIF(funnel.checkout, 0), 4) AS paid_rate,
    round(paying.paid::numeric / NULLIF(funnel.viewed, 0), 4) AS conversion_rate,
    what_if.carts,
    what_if.purchased AS carts_purchased,
    what_if.recovered AS carts_recovered,
    what_if.abandoned AS carts_abandoned,
    what_if.still_open AS carts_open,
    what_if.emptied AS carts_emptied,
    round(
        what_if.abandoned::numeric / NULLIF(what_if.purchased + what_if.recovered + what_if.abandoned, 0), 4
    ) AS abandonment_rate,
    what_if.share AS what_if_abandonment_rate,
    what_if.value * backbone.decimal(1, what_if.currency) AS abandoned_value,
    what_if.revenue * backbone.decimal(1, what_if.currency) AS revenue,
    what_if.what_if_revenue * backbone.decimal(1, what_if.currency) AS what_if_revenue,
    what_if.value AS abandoned_value_minor,
    what_if.revenue AS revenue_minor,
    what_if.what_if_revenue AS what_if_revenue_minor,
    what_if.bought_here AS bought_in_currency,
    what_if.abandoned_here AS abandoned_in_currency
FROM what_if
CROSS JOIN funnel
CROSS JOIN paying;
END;

COMMENT ON FUNCTION {model}.cart_funnel_at(timestamptz, integer, numeric) IS 'The view cart_funnel as of a time, idle longer than so many minutes (60 unless said) being abandoned, and what carts would bring if the share of abandoned ones fell to the third argument (0.5 is one half; half of what it is unless said). A share below 0 or above 1 is refused. Orders cancelled and refunds made later do not count; what an order was placed for is told by all that is known now.';
