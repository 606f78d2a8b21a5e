-- Field by field, the last writer by event time among a customer's subjects ($1) and the entities they own.
WITH parties AS (
    SELECT unnest($1::uuid[]) AS party
    UNION ALL
    SELECT entity_id FROM entities WHERE owner_subject = ANY ($1)
)
SELECT coalesce(
    json_object_agg(
        f.field,
        json_build_object('value', f.value, 'set_at', stamp_time(f.stamp), 'set_by', stamp_event(f.stamp))
        ORDER BY f.field
    ),
    '{}'
)::text
FROM (
    SELECT DISTINCT ON (p.field) p.field, p.value, p.stamp
    FROM parties
    JOIN profile_fields AS p ON p.party = parties.party
    ORDER BY p.field, p.stamp DESC
) AS f
WHERE f.value::text <> 'null'
