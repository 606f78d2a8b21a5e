-- The subjects that are this customer.
SELECT s.subject_id
FROM components AS c
JOIN identifiers AS i ON i.component = c.component
JOIN naming AS n ON n.identifier = i.identifier
JOIN subjects AS s ON s.subject_id = n.subject_id AND s.anchor = i.identifier
WHERE c.customer_id = $1
UNION ALL
SELECT s.subject_id
FROM subjects AS s
WHERE s.subject_id = $1 AND s.anchor IS NULL
