-- The subjects that name one of $1, as far as the log was known at $2 (next offset a partition, from 0 on) of events that had
-- occurred by $3 (NULL: any), each with the first event of it that counted then. At most $4 of each, those that
-- are known the longest.
SELECT i.identifier, x.subject_id, x.identifiers, x.event_id
FROM unnest($1::text[]) AS i (identifier)
CROSS JOIN LATERAL (
    SELECT s.subject_id, s.identifiers, f.stamp, f.event_id
    FROM naming AS n
    JOIN subjects AS s ON s.subject_id = n.subject_id
    CROSS JOIN LATERAL (
        SELECT e.stamp, e.event_id
        FROM (
            (
                SELECT t.stamp, t.event_id
                FROM timeline AS t
                WHERE t.subject_id = s.subject_id AND ($3::timestamptz IS NULL OR t.occurred_at <= $3)
                    AND (t.log_offset < ($2::bigint[])[t.partition + 1] OR EXISTS (
                        SELECT FROM arrivals AS c
                        WHERE c.event_id = t.event_id AND c.hash = t.hash AND c.log_offset < ($2)[c.partition + 1]
                    ))
                    AND NOT (t.voided AND EXISTS (
                        SELECT FROM voids AS v
                        JOIN timeline AS w ON w.event_id = v.void_id
                        WHERE v.target = t.event_id AND w.log_offset < ($2)[w.partition + 1]
                            AND ($3 IS NULL OR w.occurred_at <= $3)
                    ))
                ORDER BY t.stamp
                LIMIT 1
            )
            UNION ALL
            (
                SELECT t.stamp, t.event_id
                FROM appearances AS a
                JOIN timeline AS t ON t.event_id = stamp_event(a.stamp)
                WHERE a.party = s.subject_id AND ($3 IS NULL OR t.occurred_at <= $3)
                    AND (t.log_offset < ($2)[t.partition + 1] OR EXISTS (
                        SELECT FROM arrivals AS c
                        WHERE c.event_id = t.event_id AND c.hash = t.hash AND c.log_offset < ($2)[c.partition + 1]
                    ))
                    AND NOT (t.voided AND EXISTS (
                        SELECT FROM voids AS v
                        JOIN timeline AS w ON w.event_id = v.void_id
                        WHERE v.target = t.event_id AND w.log_offset < ($2)[w.partition + 1]
                            AND ($3 IS NULL OR w.occurred_at <= $3)
                    ))
                ORDER BY a.stamp
                LIMIT 1
            )
        ) AS e
        ORDER BY e.stamp
        LIMIT 1
    ) AS f
    WHERE n.identifier = i.identifier
    ORDER BY s.first_stamp
    LIMIT $4
) AS x
ORDER BY x.stamp
