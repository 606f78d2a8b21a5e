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
    k.cases,
    k.cases_open,
    k.last_case_at,
    p.calls,
    p.last_call_at,
    t.messages_unanswered,
    t.unanswered_since
-- Customer by customer, and those in order of their ids: whoever asks for the first thousand has no others worked out. A
-- customer is the one of its subjects that it is named after. Written as a CASE, since PostgreSQL takes an equation of two
-- columns for nearly never true, and would then work out all customers to sort them.
FROM (
    SELECT subject_id AS customer_id, first_seen_at
    FROM backbone.customer360_every_subject
    WHERE CASE WHEN customer_id = subject_id THEN true END
) AS c
CROSS JOIN LATERAL (
    SELECT c.customer_id || array_agg(subject_id) AS subject_ids
    FROM backbone.customer360_subjects
    WHERE customer_id = c.customer_id
) AS m
CROSS JOIN LATERAL (
    SELECT
        min(first_at) AS first_seen_at,
        max(last_at) AS last_seen_at,
        sum(events)::bigint AS events,
        sum(events) FILTER (WHERE channel = 'web')::bigint AS events_web,
        sum(events) FILTER (WHERE channel = 'email')::bigint AS events_email,
        sum(events) FILTER (WHERE channel = 'phone')::bigint AS events_phone,
        sum(events) FILTER (WHERE channel = 'chat')::bigint AS events_chat,
        sum(events) FILTER (WHERE channel = 'sms')::bigint AS events_sms,
        jsonb_object_agg(channel, events) FILTER (WHERE channel IS NOT NULL) AS events_by_channel
    FROM (
        SELECT channel, count(*) AS events, min(occurred_at) AS first_at, max(occurred_at) AS last_at
        FROM customer360.timeline
        WHERE subject_id = ANY (m.subject_ids)
        GROUP BY channel
    ) AS channels
) AS e
CROSS JOIN LATERAL (
    SELECT
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
            currency,
            count(*) AS orders,
            min(placed_at) AS first_order_at,
            max(placed_at) AS last_order_at,
            sum(net_minor) AS net_minor,
            CASE WHEN count(margin_minor) = count(*) THEN sum(margin_minor) END AS margin_minor
        FROM sales.orders
        WHERE subject_id = ANY (m.subject_ids) AND placed_at IS NOT NULL AND cancelled_at IS NULL
        GROUP BY currency
    ) AS currencies
) AS s
CROSS JOIN LATERAL (
    SELECT
        count(*) AS cases,
        count(*) FILTER (WHERE coalesce(status, 'new') NOT IN ('solved', 'closed')) AS cases_open,
        max(opened_at) AS last_case_at
    FROM service.cases
    WHERE subject_id = ANY (m.subject_ids) AND merged_into IS NULL
) AS k
CROSS JOIN LATERAL (
    SELECT count(*) AS calls, max(coalesce(offered_at, answered_at, ended_at)) AS last_call_at
    FROM service.calls
    WHERE subject_id = ANY (m.subject_ids)
) AS p
CROSS JOIN LATERAL (
    SELECT count(unanswered_since) AS messages_unanswered, min(unanswered_since) AS unanswered_since
    FROM service.threads
    WHERE subject_id = ANY (m.subject_ids)
) AS t;

COMMENT ON VIEW customer360.summary IS 'One wide row a customer over all three models: for lists, filters and segments. Open promises, consent and stage are not in it: no model tells of them yet.';
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
COMMENT ON COLUMN customer360.summary.messages_unanswered IS 'Threads in which a message of the customer waits for the answer of a human agent: of several messages in one thread, the earliest counts.';
COMMENT ON COLUMN customer360.summary.unanswered_since IS 'When the customer wrote the earliest of these messages. NULL if none waits.';
