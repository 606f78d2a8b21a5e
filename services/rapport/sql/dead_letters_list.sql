SELECT d.model, d.generation, d.partition, d.log_offset, d.event_id, d.type, d.error, d.fold, d.received_at
FROM backbone.dead_letters AS d
ORDER BY d.created_at DESC, d.model, d.partition, d.log_offset
LIMIT $1
