-- Most touches are known: an update costs less than a conflict. What is absent may still be written by another worker.
WITH n AS (
    SELECT party, channel, direction, stamp
    FROM unnest($1::uuid[], $2::text[], $3::text[], $4::bytea[]) AS n (party, channel, direction, stamp)
), later AS (
    UPDATE touches t SET stamp = n.stamp FROM n
    WHERE t.party = n.party AND t.channel = n.channel AND t.direction = n.direction AND t.stamp < n.stamp
)
INSERT INTO touches (party, channel, direction, stamp)
SELECT n.party, n.channel, n.direction, n.stamp FROM n
WHERE NOT EXISTS (
    SELECT FROM touches t WHERE t.party = n.party AND t.channel = n.channel AND t.direction = n.direction
)
ON CONFLICT (party, channel, direction) DO UPDATE SET stamp = EXCLUDED.stamp WHERE touches.stamp < EXCLUDED.stamp
