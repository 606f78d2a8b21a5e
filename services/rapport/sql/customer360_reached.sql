SELECT g.schema_name, c.partition, c.next_offset
FROM backbone.generations AS g
LEFT JOIN backbone.checkpoints AS c
    ON c.model = g.model AND c.generation = g.generation AND c.definition = g.definition
WHERE g.model = 'customer360' AND g.state = 'live'
