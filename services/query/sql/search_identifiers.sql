-- Identifiers in ranges ($1, included, to below $2), range by range, $3 at most, and whose each is. Hubs are nobody's.
SELECT p.n, f.identifier, f.customer_id
FROM unnest($1::text[], $2::text[]) WITH ORDINALITY AS p (low, high, n)
CROSS JOIN LATERAL (
    SELECT i.identifier, c.customer_id
    FROM identifiers AS i
    JOIN components AS c ON c.component = i.component
    WHERE i.identifier >= p.low AND i.identifier < p.high AND c.customer_id IS NOT NULL
    ORDER BY i.identifier
    LIMIT $3
) AS f
ORDER BY p.n, f.identifier
LIMIT $3
