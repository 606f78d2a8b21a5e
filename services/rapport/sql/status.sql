SELECT
    g.model,
    g.generation,
    g.schema_name,
    g.definition,
    (SELECT count(*) FROM backbone.dead_letters AS d WHERE d.model = g.model AND d.generation = g.generation) AS dead_letters,
    (
        SELECT count(*) FROM backbone.workers AS w
        WHERE w.model = g.model AND w.generation = g.generation AND w.expires_at > clock_timestamp()
    ) AS workers,
    c.partition,
    c.next_offset,
    l.epoch,
    l.holder,
    l.expires_at,
    (extract(epoch FROM l.expires_at - clock_timestamp()) * 1000)::bigint AS expires_in_ms,
    (extract(epoch FROM clock_timestamp()) * 1000000)::bigint AS now_us
FROM backbone.generations AS g
LEFT JOIN backbone.checkpoints AS c ON c.model = g.model AND c.generation = g.generation
LEFT JOIN backbone.leases AS l ON l.model = g.model AND l.generation = g.generation AND l.partition = c.partition
WHERE g.state = 'live'
ORDER BY g.model, c.partition
