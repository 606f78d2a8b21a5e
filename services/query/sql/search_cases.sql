-- Cases whose number lies in a range ($1, included, to below $2), $3 at most, and whose each is.
SELECT k.case_id, CASE WHEN s.anchor IS NULL THEN k.subject_id ELSE coalesce(c.customer_id, k.subject_id) END
FROM (
    SELECT case_id, subject_id FROM service.cases WHERE case_id >= $1 AND case_id < $2 ORDER BY case_id LIMIT $3
) AS k
LEFT JOIN subjects AS s ON s.subject_id = k.subject_id
LEFT JOIN identifiers AS i ON i.identifier = s.anchor
LEFT JOIN components AS c ON c.component = i.component
ORDER BY k.case_id
