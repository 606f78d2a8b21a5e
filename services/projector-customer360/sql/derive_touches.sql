INSERT INTO touches (party, channel, direction, stamp)
SELECT DISTINCT ON (r.party, r.channel, r.direction) r.party, r.channel, r.direction, r.stamp
FROM (
    SELECT t.subject_id AS party, t.channel, t.direction, t.stamp
    FROM timeline t WHERE t.subject_id = ANY($1::uuid[]) AND NOT t.voided
    UNION ALL
    SELECT a.party, t.channel, t.direction, t.stamp
    FROM appearances a JOIN timeline t ON t.event_id = stamp_event(a.stamp)
    WHERE a.party = ANY($2::uuid[]) AND t.subject_id IS NULL AND NOT t.voided
) r
WHERE r.channel IS NOT NULL AND r.direction IN ('in', 'out')
ORDER BY r.party, r.channel, r.direction, r.stamp DESC
