SELECT t.event_id
FROM timeline t WHERE t.subject_id = ANY($1::uuid[]) AND NOT t.voided AND t.type = 'customer.profile.updated'
UNION
SELECT t.event_id
FROM appearances a JOIN timeline t ON t.event_id = stamp_event(a.stamp)
WHERE a.party = ANY($2::uuid[]) AND t.subject_id IS NULL AND NOT t.voided AND t.type = 'customer.profile.updated'
