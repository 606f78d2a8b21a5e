SELECT s.subject_id, f.stamp
FROM unnest($1::uuid[]) AS s (subject_id)
LEFT JOIN LATERAL (
    SELECT b.stamp FROM (
        (SELECT t.stamp FROM timeline t WHERE t.subject_id = s.subject_id AND NOT t.voided ORDER BY t.stamp LIMIT 1)
        UNION ALL
        (SELECT a.stamp FROM appearances a JOIN timeline t ON t.event_id = stamp_event(a.stamp)
         WHERE a.party = s.subject_id AND NOT t.voided ORDER BY a.stamp LIMIT 1)
    ) b ORDER BY b.stamp LIMIT 1
) f ON true
