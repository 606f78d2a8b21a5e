UPDATE touches t SET stamp = n.stamp
FROM unnest($1::uuid[], $2::text[], $3::text[], $4::bytea[]) AS n (party, channel, direction, stamp)
WHERE t.party = n.party AND t.channel = n.channel AND t.direction = n.direction AND t.stamp < n.stamp
