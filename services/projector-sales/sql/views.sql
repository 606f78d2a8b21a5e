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
COMMENT ON COLUMN {model}.orders.cart_id IS 'The cart it comes from, as last placed.';
COMMENT ON COLUMN {model}.orders.checkout_id IS 'The checkout it comes from, as last placed.';
COMMENT ON COLUMN {model}.orders.session_id IS 'The session it comes from, as last placed.';
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
