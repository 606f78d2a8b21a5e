-- Whose an identifier is. Of a hub, which links nobody by itself, everybody's whose subjects name it.
SELECT DISTINCT found.customer_id
FROM (
    SELECT c.customer_id
    FROM identifiers AS i
    JOIN components AS c ON c.component = i.component
    WHERE i.identifier = $1
    UNION ALL
    SELECT CASE WHEN s.anchor IS NULL THEN s.subject_id ELSE c.customer_id END
    FROM identifiers AS h
    JOIN naming AS n ON n.identifier = h.identifier
    JOIN subjects AS s ON s.subject_id = n.subject_id
    LEFT JOIN identifiers AS i ON i.identifier = s.anchor
    LEFT JOIN components AS c ON c.component = i.component
    WHERE h.identifier = $1 AND (h.hub OR h.component IS NULL)
) AS found
WHERE found.customer_id IS NOT NULL
ORDER BY found.customer_id
LIMIT $2
