-- A subject and the customer it is. Without an anchor (nothing but hubs) it is a customer of its own.
SELECT CASE WHEN s.anchor IS NULL THEN s.subject_id ELSE c.customer_id END AS customer_id
FROM subjects AS s
LEFT JOIN identifiers AS i ON i.identifier = s.anchor
LEFT JOIN components AS c ON c.component = i.component
WHERE s.subject_id = $1
