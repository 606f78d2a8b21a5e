SELECT l.*, m.customer_id, o.subject_id, o.channel, o.placed_at, o.cancelled_at
FROM sales.order_lines AS l
JOIN sales.orders AS o ON o.order_id = l.order_id
JOIN backbone.customer360_subjects AS m ON m.subject_id = o.subject_id
UNION ALL
SELECT l.*, o.subject_id, o.subject_id, o.channel, o.placed_at, o.cancelled_at
FROM sales.order_lines AS l
JOIN sales.orders AS o ON o.order_id = l.order_id
JOIN backbone.customer360_hub_subjects AS h ON h.subject_id = o.subject_id
UNION ALL
SELECT l.*, o.subject_id, o.subject_id, o.channel, o.placed_at, o.cancelled_at
FROM sales.order_lines AS l
JOIN sales.orders AS o ON o.order_id = l.order_id
WHERE NOT EXISTS (
    SELECT FROM customer360.subjects AS s WHERE s.subject_id = o.subject_id AND s.customer_id IS NOT NULL
);

COMMENT ON VIEW sales.order_lines_by_customer IS 'Order lines with the customer each belongs to today, and when its order was placed and cancelled.';
COMMENT ON COLUMN sales.order_lines_by_customer.customer_id IS 'The customer; the subject itself where the identity graph does not know it yet. NULL while nobody is known.';
COMMENT ON COLUMN sales.order_lines_by_customer.subject_id IS 'The owner of the order.';
COMMENT ON COLUMN sales.order_lines_by_customer.channel IS 'The channel of the order.';
COMMENT ON COLUMN sales.order_lines_by_customer.placed_at IS 'When the order was first placed. NULL: it counts in no revenue.';
COMMENT ON COLUMN sales.order_lines_by_customer.cancelled_at IS 'When the order was first cancelled. Not NULL: it counts in no revenue.';
