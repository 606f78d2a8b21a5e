-- What these owners bought, a currency. Orders that were cancelled, or never placed, count in no revenue.
SELECT coalesce(json_agg(row_to_json(t) ORDER BY t.currency), '[]')::text
FROM (
    SELECT
        currency,
        count(*) AS orders,
        sum(gross_minor) AS gross_minor,
        sum(discount_minor) AS discount_minor,
        sum(refunds_minor) AS refunds_minor,
        sum(net_minor) AS net_minor,
        sum(net) AS net,
        CASE WHEN count(margin_minor) = count(*) THEN sum(margin_minor) END AS margin_minor,
        min(placed_at) AS first_placed_at,
        max(placed_at) AS last_placed_at
    FROM {sales}.orders
    WHERE subject_id = ANY ($1) AND placed_at IS NOT NULL AND cancelled_at IS NULL AND currency IS NOT NULL
    GROUP BY currency
) AS t
