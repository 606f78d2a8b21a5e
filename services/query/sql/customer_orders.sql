-- The newest orders of these owners.
SELECT coalesce(json_agg(row_to_json(o) ORDER BY o.placed_at DESC NULLS LAST, o.order_id), '[]')::text
FROM (
    SELECT * FROM {sales}.orders
    WHERE subject_id = ANY ($1)
    ORDER BY placed_at DESC NULLS LAST, order_id
    LIMIT $2
) AS o
