SELECT l.*, o.customer_id, o.subject_id, o.channel, o.placed_at, o.cancelled_at
FROM (
    SELECT o.order_id, o.subject_id, o.channel, o.placed_at, o.cancelled_at, m.customer_id
    FROM sales.orders AS o
    JOIN backbone.customer360_subjects AS m ON m.subject_id = o.subject_id
    UNION ALL
    SELECT o.order_id, o.subject_id, o.channel, o.placed_at, o.cancelled_at, o.subject_id
    FROM sales.orders AS o
    JOIN backbone.customer360_hub_subjects AS h ON h.subject_id = o.subject_id
    UNION ALL
    SELECT o.order_id, o.subject_id, o.channel, o.placed_at, o.cancelled_at, o.subject_id
    FROM sales.orders AS o
    WHERE NOT EXISTS (SELECT FROM backbone.customer360_every_subject AS s WHERE s.subject_id = o.subject_id)
) AS o
JOIN sales.order_lines AS l ON l.order_id = o.order_id;

COMMENT ON VIEW sales.order_lines_by_customer IS 'Order lines with the customer each belongs to today, and when its order was placed and cancelled.';
COMMENT ON COLUMN sales.order_lines_by_customer.customer_id IS 'The customer; the subject itself where the identity graph does not know it yet. NULL while nobody is known.';
COMMENT ON COLUMN sales.order_lines_by_customer.subject_id IS 'The owner of the order.';
COMMENT ON COLUMN sales.order_lines_by_customer.channel IS 'The channel of the order.';
COMMENT ON COLUMN sales.order_lines_by_customer.placed_at IS 'When the order was first placed. NULL: it counts in no revenue.';
COMMENT ON COLUMN sales.order_lines_by_customer.cancelled_at IS 'When the order was first cancelled. Not NULL: it counts in no revenue.';
