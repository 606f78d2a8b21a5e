SELECT
    d.model, d.generation, d.partition, d.log_offset, d.event_id, d.type, d.error, d.fold, d.received_at,
    d.value, d.headers::text AS headers
FROM backbone.dead_letters AS d
WHERE d.model = $1 AND d.generation = $2 AND d.partition = $3 AND d.log_offset = $4
