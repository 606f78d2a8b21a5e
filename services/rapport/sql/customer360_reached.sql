SELECT g.schema_name, c.partition, c.next_offset,
    -- A load shows nothing until it is committed.
    NOT g.loaded AND EXISTS (
        SELECT FROM backbone.leases AS l
        WHERE l.model = g.model AND l.generation = g.generation AND l.expires_at > clock_timestamp()
    ) AS is_loading
FROM backbone.generations AS g
LEFT JOIN backbone.checkpoints AS c
    ON c.model = g.model AND c.generation = g.generation AND c.definition = g.definition
WHERE g.model = 'customer360' AND g.state = 'live'
