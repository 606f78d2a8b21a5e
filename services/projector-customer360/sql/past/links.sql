-- The identifiers that an explicit link event known at $2 named together with one of $1, and that event.
SELECT l.other, t.event_id
FROM (
    SELECT right_id AS other, stamp FROM link_events WHERE left_id = ANY ($1)
    UNION ALL
    SELECT left_id, stamp FROM link_events WHERE right_id = ANY ($1)
) AS l
JOIN timeline AS t ON t.event_id = stamp_event(l.stamp)
WHERE ($3::timestamptz IS NULL OR t.occurred_at <= $3)
    AND (t.log_offset < ($2::bigint[])[t.partition + 1] OR EXISTS (
        SELECT FROM arrivals AS c WHERE c.event_id = t.event_id AND c.log_offset < ($2)[c.partition + 1]
    ))
