-- The people of a company, partner or household.
SELECT DISTINCT CASE WHEN s.anchor IS NULL THEN s.subject_id ELSE c.customer_id END AS customer_id
FROM affiliations AS a
LEFT JOIN entities AS e ON e.entity_id = a.party
JOIN subjects AS s ON s.subject_id = coalesce(e.owner_subject, a.party)
LEFT JOIN identifiers AS i ON i.identifier = s.anchor
LEFT JOIN components AS c ON c.component = i.component
WHERE a.group_id = $1 AND (s.anchor IS NULL OR c.customer_id IS NOT NULL)
ORDER BY customer_id
LIMIT $2
