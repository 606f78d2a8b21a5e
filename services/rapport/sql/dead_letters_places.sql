SELECT d.model, d.generation, d.partition, d.log_offset, d.type
FROM backbone.dead_letters AS d
ORDER BY d.model, d.generation, d.partition, d.log_offset
