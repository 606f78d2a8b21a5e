-- Orders whose number lies in a range ($1, included, to below $2), $3 at most, and whose each is.
SELECT o.order_id, CASE WHEN s.anchor IS NULL THEN o.subject_id ELSE coalesce(c.customer_id, o.subject_id) END
FROM (
    SELECT order_id, subject_id FROM sales.orders WHERE order_id >= $1 AND order_id < $2 ORDER BY order_id LIMIT $3
) AS o
LEFT JOIN subjects AS s ON s.subject_id = o.subject_id
LEFT JOIN identifiers AS i ON i.identifier = s.anchor
LEFT JOIN components AS c ON c.component = i.component
ORDER BY o.order_id
