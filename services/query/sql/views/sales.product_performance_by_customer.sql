SELECT
    sku,
    count(*) FILTER (WHERE customer_id IS NOT NULL) AS buyers,
    count(*) FILTER (WHERE customer_id IS NOT NULL AND orders > 1) AS repeat_buyers,
    round(
        count(*) FILTER (WHERE customer_id IS NOT NULL AND orders > 1)::numeric
            / NULLIF(count(*) FILTER (WHERE customer_id IS NOT NULL), 0),
        4
    ) AS repeat_rate,
    sum(orders)::bigint AS orders,
    coalesce(sum(orders) FILTER (WHERE customer_id IS NULL), 0)::bigint AS orders_without_customer
FROM (
    SELECT sku, customer_id, count(DISTINCT order_id) AS orders
    FROM (
        SELECT l.sku, l.order_id, m.customer_id
        FROM sales.order_lines AS l
        JOIN sales.orders AS o ON o.order_id = l.order_id
        JOIN backbone.customer360_subjects AS m ON m.subject_id = o.subject_id
        WHERE o.placed_at IS NOT NULL AND o.cancelled_at IS NULL
        UNION ALL
        SELECT l.sku, l.order_id, o.subject_id
        FROM sales.order_lines AS l
        JOIN sales.orders AS o ON o.order_id = l.order_id
        JOIN backbone.customer360_hub_subjects AS h ON h.subject_id = o.subject_id
        WHERE o.placed_at IS NOT NULL AND o.cancelled_at IS NULL
        UNION ALL
        SELECT l.sku, l.order_id, o.subject_id
        FROM sales.order_lines AS l
        JOIN sales.orders AS o ON o.order_id = l.order_id
        WHERE o.placed_at IS NOT NULL AND o.cancelled_at IS NULL
            AND NOT EXISTS (SELECT FROM backbone.customer360_every_subject AS s WHERE s.subject_id = o.subject_id)
    ) AS bought
    WHERE sku IS NOT NULL
    GROUP BY sku, customer_id
) AS buyers
GROUP BY sku;

COMMENT ON VIEW sales.product_performance_by_customer IS 'Who buys a product, and who comes back for it: one row a sku. Orders that were cancelled, or never placed, count nowhere.';
COMMENT ON COLUMN sales.product_performance_by_customer.sku IS 'The product.';
COMMENT ON COLUMN sales.product_performance_by_customer.buyers IS 'Customers who ordered it.';
COMMENT ON COLUMN sales.product_performance_by_customer.repeat_buyers IS 'Those of them who ordered it in more than one order.';
COMMENT ON COLUMN sales.product_performance_by_customer.repeat_rate IS 'repeat_buyers / buyers, to four digits. NULL without buyers.';
COMMENT ON COLUMN sales.product_performance_by_customer.orders IS 'Orders that hold it.';
COMMENT ON COLUMN sales.product_performance_by_customer.orders_without_customer IS 'Those of them of which nobody knows the customer.';
