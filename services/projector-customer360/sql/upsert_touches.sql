INSERT INTO touches (party, channel, direction, stamp)
SELECT party, channel, direction, stamp
FROM unnest($1::uuid[], $2::text[], $3::text[], $4::bytea[]) AS n (party, channel, direction, stamp)
ON CONFLICT (party, channel, direction) DO UPDATE SET stamp = EXCLUDED.stamp WHERE touches.stamp < EXCLUDED.stamp
