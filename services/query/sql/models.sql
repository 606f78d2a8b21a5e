-- Live generations with what is not in their checkpoints.
SELECT
    g.model,
    g.definition::text AS definition,
    (SELECT count(*) FROM backbone.dead_letters AS d WHERE d.model = g.model AND d.generation = g.generation) AS dead_letters,
    (extract(epoch FROM now()) * 1000000)::bigint AS now
FROM backbone.generations AS g
WHERE g.state = 'live'
ORDER BY g.model
