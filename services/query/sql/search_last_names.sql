-- Last words of names behind a place ($1 and the party $2) and below $3, in lower case, $4 at most, and whose each is.
SELECT f.key, f.party, CASE WHEN s.anchor IS NULL THEN s.subject_id ELSE c.customer_id END
FROM (
    SELECT left(lower(substring(p.value #>> '{}' FROM '[^ ]+$')), 64) AS key, p.party
    FROM profile_fields AS p
    WHERE p.field IN ('name', 'first_name', 'last_name', 'company') AND json_typeof(p.value) = 'string'
        AND (left(lower(substring(p.value #>> '{}' FROM '[^ ]+$')), 64) COLLATE "C", p.party) > ($1, $2)
        AND left(lower(substring(p.value #>> '{}' FROM '[^ ]+$')), 64) COLLATE "C" < $3
    ORDER BY left(lower(substring(p.value #>> '{}' FROM '[^ ]+$')), 64) COLLATE "C", p.party
    LIMIT $4
) AS f
LEFT JOIN entities AS e ON e.entity_id = f.party
LEFT JOIN subjects AS s ON s.subject_id = coalesce(e.owner_subject, f.party)
LEFT JOIN identifiers AS i ON i.identifier = s.anchor
LEFT JOIN components AS c ON c.component = i.component
ORDER BY f.key COLLATE "C", f.party
