-- The companies, partners and households of a customer, latest first.
WITH parties AS (
    SELECT unnest($1::uuid[]) AS party
    UNION ALL
    SELECT entity_id FROM entities WHERE owner_subject = ANY ($1)
)
SELECT coalesce(
    json_agg(
        json_build_object(
            'identifier', g.group_id,
            'kind', split_part(g.group_id, ':', 1),
            'value', substr(g.group_id, strpos(g.group_id, ':') + 1),
            'first_seen_at', stamp_time(g.first_stamp),
            'last_seen_at', stamp_time(g.last_stamp),
            'set_by', stamp_event(g.last_stamp)
        )
        ORDER BY g.last_stamp DESC, g.group_id
    ),
    '[]'
)::text
FROM (
    SELECT
        a.group_id,
        (array_agg(a.first_stamp ORDER BY a.first_stamp))[1] AS first_stamp,
        (array_agg(a.last_stamp ORDER BY a.last_stamp DESC))[1] AS last_stamp
    FROM parties
    JOIN affiliations AS a ON a.party = parties.party
    GROUP BY a.group_id
) AS g
