-- The events on the timelines of these parties (subjects, entities; $1) that were known at $2 and had occurred by $3, voided
-- or not, with the entities they name. At most $4.
SELECT e.event_id, e.entities
FROM (
    SELECT t.event_id, t.entities, t.occurred_at, t.partition, t.log_offset
    FROM timeline AS t
    WHERE t.subject_id = ANY ($1)
    UNION
    SELECT t.event_id, t.entities, t.occurred_at, t.partition, t.log_offset
    FROM appearances AS a
    JOIN timeline AS t ON t.event_id = stamp_event(a.stamp) AND t.stamp = a.stamp
    WHERE a.party = ANY ($1)
) AS e
WHERE ($3::timestamptz IS NULL OR e.occurred_at <= $3)
    AND (e.log_offset < ($2::bigint[])[e.partition + 1] OR EXISTS (
        SELECT FROM arrivals AS c WHERE c.event_id = e.event_id AND c.log_offset < ($2)[c.partition + 1]
    ))
LIMIT $4
