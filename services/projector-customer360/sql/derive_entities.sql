INSERT INTO entities (entity_id, kind, key, owner_stamp, owner_subject)
SELECT e.entity_id, e.kind, e.key, o.stamp, o.subject_id
FROM unnest($1::uuid[], $2::text[], $3::text[]) AS e (entity_id, kind, key)
LEFT JOIN LATERAL (
    SELECT a.stamp, t.subject_id
    FROM appearances a JOIN timeline t ON t.event_id = stamp_event(a.stamp)
    WHERE a.party = e.entity_id AND NOT t.voided AND t.subject_id IS NOT NULL ORDER BY a.stamp LIMIT 1
) o ON true
WHERE EXISTS (
    SELECT FROM appearances a JOIN timeline t ON t.event_id = stamp_event(a.stamp)
    WHERE a.party = e.entity_id AND NOT t.voided
)
