-- The last event a channel and direction.
WITH parties AS (
    SELECT unnest($1::uuid[]) AS party
    UNION ALL
    SELECT entity_id FROM entities WHERE owner_subject = ANY ($1)
)
SELECT coalesce(
    json_agg(
        json_build_object(
            'channel', t.channel, 'direction', t.direction, 'occurred_at', stamp_time(t.stamp), 'set_by', stamp_event(t.stamp)
        )
        ORDER BY t.stamp DESC
    ),
    '[]'
)::text
FROM (
    SELECT DISTINCT ON (t.channel, t.direction) t.channel, t.direction, t.stamp
    FROM parties
    JOIN touches AS t ON t.party = parties.party
    ORDER BY t.channel, t.direction, t.stamp DESC
) AS t
