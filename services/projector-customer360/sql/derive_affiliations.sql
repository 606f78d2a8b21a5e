INSERT INTO affiliations (party, group_id, first_stamp, last_stamp)
SELECT r.party, g.group_id, (array_agg(r.stamp ORDER BY r.stamp))[1], (array_agg(r.stamp ORDER BY r.stamp DESC))[1]
FROM (
    SELECT t.subject_id AS party, t.groups, t.stamp
    FROM timeline t WHERE t.subject_id = ANY($1::uuid[]) AND NOT t.voided AND t.groups IS NOT NULL
    UNION ALL
    SELECT a.party, t.groups, t.stamp
    FROM appearances a JOIN timeline t ON t.event_id = stamp_event(a.stamp)
    WHERE a.party = ANY($2::uuid[]) AND t.subject_id IS NULL AND NOT t.voided AND t.groups IS NOT NULL
) r
CROSS JOIN LATERAL unnest(r.groups) AS g (group_id)
GROUP BY r.party, g.group_id
