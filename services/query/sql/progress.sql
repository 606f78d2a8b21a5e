-- What the live generations have reached. The log's row alone comes back while no model has a generation.
SELECT l.log_id, g.model, g.generation::bigint AS generation, g.schema_name, c.partition, c.next_offset
FROM (SELECT max(log_id::text)::uuid AS log_id FROM backbone.log) AS l
LEFT JOIN backbone.generations AS g ON g.state = 'live'
LEFT JOIN backbone.checkpoints AS c
    ON c.model = g.model AND c.generation = g.generation AND c.definition = g.definition
