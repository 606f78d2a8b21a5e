INSERT INTO affiliations (party, group_id, first_stamp, last_stamp)
SELECT party, group_id, first_stamp, last_stamp
FROM unnest($1::uuid[], $2::text[], $3::bytea[], $4::bytea[]) AS n (party, group_id, first_stamp, last_stamp)
ON CONFLICT (party, group_id) DO UPDATE
SET first_stamp = LEAST(affiliations.first_stamp, EXCLUDED.first_stamp),
    last_stamp = GREATEST(affiliations.last_stamp, EXCLUDED.last_stamp)
WHERE EXCLUDED.first_stamp < affiliations.first_stamp OR EXCLUDED.last_stamp > affiliations.last_stamp
