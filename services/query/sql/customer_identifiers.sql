-- The identifiers of a customer ($1) and the hubs that its subjects ($2) name, each with the first event that named it.
SELECT own.identifier, own.is_hub, f.first_stamp
FROM (
    SELECT m.identifier, m.hub AS is_hub
    FROM components AS c
    JOIN identifiers AS m ON m.component = c.component
    WHERE c.customer_id = $1
    UNION
    SELECT u.identifier, true
    FROM subjects AS s
    CROSS JOIN LATERAL unnest(s.identifiers) AS u (identifier)
    JOIN identifiers AS h ON h.identifier = u.identifier AND h.hub
    WHERE s.subject_id = ANY ($2)
) AS own
CROSS JOIN LATERAL (
    SELECT s.first_stamp
    FROM naming AS n
    JOIN subjects AS s ON s.subject_id = n.subject_id
    WHERE n.identifier = own.identifier
    ORDER BY s.first_stamp
    LIMIT 1
) AS f
