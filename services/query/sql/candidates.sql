-- What tells candidates apart: their identifiers.
SELECT w.customer_id, n.identifier, coalesce(n.hub, false) AS is_hub
FROM unnest($1::uuid[]) AS w (customer_id)
CROSS JOIN LATERAL (
    SELECT m.identifier, m.hub
    FROM components AS c
    JOIN identifiers AS m ON m.component = c.component
    WHERE c.customer_id = w.customer_id
    UNION
    SELECT u.identifier, true
    FROM subjects AS s
    CROSS JOIN LATERAL unnest(s.identifiers) AS u (identifier)
    WHERE s.subject_id = w.customer_id AND s.anchor IS NULL
    LIMIT $2
) AS n (identifier, hub)
