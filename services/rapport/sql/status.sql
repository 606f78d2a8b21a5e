SELECT
    g.model,
    g.generation,
    g.schema_name,
    g.definition,
    g.state,
    g.loaded,
    g.failure,
    (SELECT count(*) FROM backbone.dead_letters AS d WHERE d.model = g.model AND d.generation = g.generation) AS dead_letters,
    w.workers,
    w.loading_events,
    c.partition,
    c.next_offset,
    l.epoch,
    l.holder,
    l.expires_at,
    (extract(epoch FROM l.expires_at - clock_timestamp()) * 1000)::bigint AS expires_in_ms,
    (extract(epoch FROM clock_timestamp()) * 1000000)::bigint AS now_us
FROM backbone.generations AS g
CROSS JOIN LATERAL (
    SELECT count(*) AS workers, max(w.loading_events) AS loading_events FROM backbone.workers AS w
    WHERE w.model = g.model AND w.generation = g.generation AND w.expires_at > clock_timestamp()
) AS w
LEFT JOIN backbone.checkpoints AS c ON c.model = g.model AND c.generation = g.generation
LEFT JOIN backbone.leases AS l ON l.model = g.model AND l.generation = g.generation AND l.partition = c.partition
ORDER BY g.model, g.generation, c.partition
