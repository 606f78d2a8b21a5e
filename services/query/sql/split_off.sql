-- Customers that were one with the asked id ($1) until a link between them was revoked. $2: the customer it resolves to
-- today. A customer id stood for its whole component; any other subject id for its own identifiers alone.
WITH own AS (
    SELECT m.identifier
    FROM components AS c
    JOIN identifiers AS m ON m.component = c.component
    WHERE c.customer_id = $1
    UNION
    SELECT n.identifier
    FROM subjects AS s
    CROSS JOIN LATERAL unnest(s.identifiers) AS n (identifier)
    WHERE s.subject_id = $1
),
said AS (
    SELECT o.identifier AS own_id, e.right_id AS other_id, e.stamp, e.asserted
    FROM own AS o
    JOIN link_events AS e ON e.left_id = o.identifier
    UNION ALL
    SELECT o.identifier, e.left_id, e.stamp, e.asserted
    FROM own AS o
    JOIN link_events AS e ON e.right_id = o.identifier
),
revoked AS (
    SELECT own_id, other_id, bool_or(asserted) AS was_asserted
    FROM said
    GROUP BY own_id, other_id
    HAVING NOT (array_agg(asserted ORDER BY stamp DESC))[1]
)
SELECT DISTINCT c.customer_id
FROM revoked AS r
JOIN identifiers AS i ON i.identifier = r.other_id
JOIN components AS c ON c.component = i.component
WHERE c.customer_id <> $2
    -- A link that nothing ever made was never a reason to be one.
    AND (
        r.was_asserted
        OR EXISTS (
            SELECT FROM naming AS a
            JOIN naming AS b ON b.subject_id = a.subject_id
            WHERE a.identifier = r.own_id AND b.identifier = r.other_id
        )
    )
ORDER BY c.customer_id
LIMIT $3
