INSERT INTO profile_fields (party, field, stamp, value)
SELECT party, field, stamp, value::json
FROM unnest($1::uuid[], $2::text[], $3::bytea[], $4::text[]) AS n (party, field, stamp, value)
ON CONFLICT (party, field) DO UPDATE SET stamp = EXCLUDED.stamp, value = EXCLUDED.value
WHERE profile_fields.stamp < EXCLUDED.stamp
