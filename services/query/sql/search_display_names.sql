-- The name that each of these customers ($1) has now, as far as a subject of theirs set it.
SELECT w.customer_id, n.value #>> '{}'
FROM unnest($1::uuid[]) AS w (customer_id)
CROSS JOIN LATERAL (
    SELECT p.value
    FROM (
        SELECT s.subject_id
        FROM components AS c
        JOIN identifiers AS i ON i.component = c.component
        JOIN naming AS m ON m.identifier = i.identifier
        JOIN subjects AS s ON s.subject_id = m.subject_id AND s.anchor = i.identifier
        WHERE c.customer_id = w.customer_id
        UNION ALL
        SELECT w.customer_id
    ) AS own
    JOIN profile_fields AS p ON p.party = own.subject_id AND p.field = 'name'
    ORDER BY p.stamp DESC
    LIMIT 1
) AS n
WHERE json_typeof(n.value) = 'string'
