INSERT INTO copies (event_id, hash, received_at, payload, partition, log_offset)
SELECT event_id, hash, received_at, payload::json, partition, log_offset
FROM unnest($1::uuid[], $2::bytea[], $3::timestamptz[], $4::text[], $5::integer[], $6::bigint[])
    AS n (event_id, hash, received_at, payload, partition, log_offset)
ON CONFLICT (event_id, hash) DO UPDATE
SET received_at = EXCLUDED.received_at, partition = EXCLUDED.partition, log_offset = EXCLUDED.log_offset
WHERE EXCLUDED.received_at < copies.received_at
