-- Links left out because they would give the customer two values of a unique kind.
SELECT coalesce(
    json_agg(
        json_build_object(
            'left_identifier', k.left_id, 'right_identifier', k.right_id, 'kind', k.kind,
            'left_value', k.left_value, 'right_value', k.right_value,
            'since_at', stamp_time(k.stamp), 'set_by', stamp_event(k.stamp)
        )
        ORDER BY k.stamp, k.left_id, k.right_id
    ),
    '[]'
)::text
FROM components AS c
JOIN conflicts AS k ON k.cluster = c.cluster
WHERE c.customer_id = $1
    AND EXISTS (
        SELECT FROM identifiers AS i
        WHERE i.component = c.component AND i.identifier IN (k.left_id, k.right_id)
    )
