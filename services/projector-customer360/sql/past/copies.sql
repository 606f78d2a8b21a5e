-- Every record of these events, with what it said.
SELECT event_id, payload, received_at, hash, partition, log_offset FROM timeline WHERE event_id = ANY ($1)
UNION
SELECT a.event_id, p.payload, a.received_at, a.hash, a.partition, a.log_offset
FROM arrivals AS a
JOIN (
    SELECT event_id, hash, payload FROM timeline WHERE event_id = ANY ($1)
    UNION ALL
    SELECT event_id, hash, payload::text FROM copies WHERE event_id = ANY ($1)
) AS p ON p.event_id = a.event_id AND p.hash = a.hash
WHERE a.event_id = ANY ($1)
