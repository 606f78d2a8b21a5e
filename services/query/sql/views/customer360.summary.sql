SELECT
    c.customer_id,
    least(c.first_seen_at, e.first_seen_at) AS first_seen_at,
    e.last_seen_at,
    coalesce(e.events, 0) AS events,
    coalesce(e.events_web, 0) AS events_web,
    coalesce(e.events_email, 0) AS events_email,
    coalesce(e.events_phone, 0) AS events_phone,
    coalesce(e.events_chat, 0) AS events_chat,
    coalesce(e.events_sms, 0) AS events_sms,
    coalesce(e.events_by_channel, '{}') AS events_by_channel,
    coalesce(s.orders, 0) AS orders,
    s.first_order_at,
    s.last_order_at,
    s.currency,
    backbone.decimal(1, s.currency) * s.net_minor AS net,
    backbone.decimal(1, s.currency) * s.margin_minor AS margin,
    s.net_minor,
    s.margin_minor,
    coalesce(s.revenue_by_currency, '{}') AS revenue_by_currency,
    coalesce(k.cases, 0) AS cases,
    coalesce(k.cases_open, 0) AS cases_open,
    k.last_case_at,
    coalesce(p.calls, 0) AS calls,
    p.last_call_at
FROM (
    SELECT customer_id, min(first_seen_at) AS first_seen_at
    FROM backbone.customer360_subjects
    GROUP BY customer_id
    UNION ALL
    SELECT subject_id, first_seen_at
    FROM backbone.customer360_hub_subjects
) AS c
LEFT JOIN (
    SELECT
        customer_id,
        min(first_at) AS first_seen_at,
        max(last_at) AS last_seen_at,
        sum(events)::bigint AS events,
        coalesce(sum(events) FILTER (WHERE channel = 'web'), 0)::bigint AS events_web,
        coalesce(sum(events) FILTER (WHERE channel = 'email'), 0)::bigint AS events_email,
        coalesce(sum(events) FILTER (WHERE channel = 'phone'), 0)::bigint AS events_phone,
        coalesce(sum(events) FILTER (WHERE channel = 'chat'), 0)::bigint AS events_chat,
        coalesce(sum(events) FILTER (WHERE channel = 'sms'), 0)::bigint AS events_sms,
        jsonb_object_agg(channel, events) FILTER (WHERE channel IS NOT NULL) AS events_by_channel
    FROM (
        SELECT customer_id, channel, count(*) AS events, min(occurred_at) AS first_at, max(occurred_at) AS last_at
        FROM (
            SELECT m.customer_id, t.channel, t.occurred_at
            FROM customer360.timeline AS t
            JOIN backbone.customer360_subjects AS m ON m.subject_id = t.subject_id
            UNION ALL
            SELECT h.subject_id, t.channel, t.occurred_at
            FROM customer360.timeline AS t
            JOIN backbone.customer360_hub_subjects AS h ON h.subject_id = t.subject_id
        ) AS t
        GROUP BY customer_id, channel
    ) AS channels
    GROUP BY customer_id
) AS e ON e.customer_id = c.customer_id
LEFT JOIN (
    SELECT
        customer_id,
        sum(orders)::bigint AS orders,
        min(first_order_at) AS first_order_at,
        max(last_order_at) AS last_order_at,
        CASE WHEN count(currency) = 1 THEN min(currency) END AS currency,
        CASE WHEN count(currency) = 1 THEN sum(net_minor) FILTER (WHERE currency IS NOT NULL) END AS net_minor,
        CASE WHEN count(currency) = 1 THEN sum(margin_minor) FILTER (WHERE currency IS NOT NULL) END AS margin_minor,
        jsonb_object_agg(
            currency,
            jsonb_build_object(
                'orders', orders,
                'net', backbone.decimal(1, currency) * net_minor, 'net_minor', net_minor,
                'margin', backbone.decimal(1, currency) * margin_minor, 'margin_minor', margin_minor
            )
        ) FILTER (WHERE currency IS NOT NULL) AS revenue_by_currency
    FROM (
        SELECT
            customer_id,
            currency,
            count(*) AS orders,
            min(placed_at) AS first_order_at,
            max(placed_at) AS last_order_at,
            sum(net_minor) AS net_minor,
            CASE WHEN count(margin_minor) = count(*) THEN sum(margin_minor) END AS margin_minor
        FROM (
            SELECT m.customer_id, o.currency, o.placed_at, o.net_minor, o.margin_minor
            FROM sales.orders AS o
            JOIN backbone.customer360_subjects AS m ON m.subject_id = o.subject_id
            WHERE o.placed_at IS NOT NULL AND o.cancelled_at IS NULL
            UNION ALL
            SELECT o.subject_id, o.currency, o.placed_at, o.net_minor, o.margin_minor
            FROM sales.orders AS o
            JOIN backbone.customer360_hub_subjects AS h ON h.subject_id = o.subject_id
            WHERE o.placed_at IS NOT NULL AND o.cancelled_at IS NULL
        ) AS o
        GROUP BY customer_id, currency
    ) AS currencies
    GROUP BY customer_id
) AS s ON s.customer_id = c.customer_id
LEFT JOIN (
    SELECT
        customer_id,
        count(*) AS cases,
        count(*) FILTER (WHERE status NOT IN ('solved', 'closed')) AS cases_open,
        max(opened_at) AS last_case_at
    FROM (
        SELECT m.customer_id, coalesce(k.status, 'new') AS status, k.opened_at
        FROM service.cases AS k
        JOIN backbone.customer360_subjects AS m ON m.subject_id = k.subject_id
        WHERE k.merged_into IS NULL
        UNION ALL
        SELECT k.subject_id, coalesce(k.status, 'new'), k.opened_at
        FROM service.cases AS k
        JOIN backbone.customer360_hub_subjects AS h ON h.subject_id = k.subject_id
        WHERE k.merged_into IS NULL
    ) AS k
    GROUP BY customer_id
) AS k ON k.customer_id = c.customer_id
LEFT JOIN (
    SELECT customer_id, count(*) AS calls, max(called_at) AS last_call_at
    FROM (
        SELECT m.customer_id, coalesce(c.offered_at, c.answered_at, c.ended_at) AS called_at
        FROM service.calls AS c
        JOIN backbone.customer360_subjects AS m ON m.subject_id = c.subject_id
        UNION ALL
        SELECT c.subject_id, coalesce(c.offered_at, c.answered_at, c.ended_at)
        FROM service.calls AS c
        JOIN backbone.customer360_hub_subjects AS h ON h.subject_id = c.subject_id
    ) AS c
    GROUP BY customer_id
) AS p ON p.customer_id = c.customer_id;

COMMENT ON VIEW customer360.summary IS 'One wide row a customer over all three models: for lists, filters and segments.';
COMMENT ON COLUMN customer360.summary.customer_id IS 'The customer.';
COMMENT ON COLUMN customer360.summary.first_seen_at IS 'When the first event that names the customer occurred.';
COMMENT ON COLUMN customer360.summary.last_seen_at IS 'When the last event whose subject is the customer occurred. NULL if there is none: others named the customer beside them.';
COMMENT ON COLUMN customer360.summary.events IS 'Events whose subject is the customer, on whatever channel.';
COMMENT ON COLUMN customer360.summary.events_web IS 'Those on the channel web.';
COMMENT ON COLUMN customer360.summary.events_email IS 'Those on the channel email.';
COMMENT ON COLUMN customer360.summary.events_phone IS 'Those on the channel phone.';
COMMENT ON COLUMN customer360.summary.events_chat IS 'Those on the channel chat.';
COMMENT ON COLUMN customer360.summary.events_sms IS 'Those on the channel sms.';
COMMENT ON COLUMN customer360.summary.events_by_channel IS 'How many on each channel, these and all others: {"web": 12}.';
COMMENT ON COLUMN customer360.summary.orders IS 'Orders placed and not cancelled.';
COMMENT ON COLUMN customer360.summary.first_order_at IS 'When the first of them was placed.';
COMMENT ON COLUMN customer360.summary.last_order_at IS 'When the last of them was placed.';
COMMENT ON COLUMN customer360.summary.currency IS 'Their currency. NULL without orders, and where there is more than one: amounts of two currencies are never added up, see revenue_by_currency.';
COMMENT ON COLUMN customer360.summary.net IS 'Their net revenue in that currency.';
COMMENT ON COLUMN customer360.summary.margin IS 'Their margin in that currency. NULL if the cost of one of them is unknown.';
COMMENT ON COLUMN customer360.summary.net_minor IS 'net in minor units of the currency.';
COMMENT ON COLUMN customer360.summary.margin_minor IS 'margin in minor units.';
COMMENT ON COLUMN customer360.summary.revenue_by_currency IS 'Orders, net and margin in each currency: {"EUR": {"orders": 2, "net": 12.50, "net_minor": 1250, "margin": 3.00, "margin_minor": 300}}.';
COMMENT ON COLUMN customer360.summary.cases IS 'Cases, those that became part of another left out.';
COMMENT ON COLUMN customer360.summary.cases_open IS 'Those of them that are neither solved nor closed.';
COMMENT ON COLUMN customer360.summary.last_case_at IS 'When the last of them was opened.';
COMMENT ON COLUMN customer360.summary.calls IS 'Calls.';
COMMENT ON COLUMN customer360.summary.last_call_at IS 'When the last of them was offered.';
