SELECT asked.event_id
FROM unnest($1::uuid[]) AS asked (event_id)
WHERE EXISTS (SELECT FROM {schema}.timeline AS t WHERE t.event_id = asked.event_id)
   OR EXISTS (
       SELECT
       FROM backbone.dead_letters AS d
       JOIN backbone.generations AS g ON g.model = d.model AND g.generation = d.generation
       WHERE d.event_id = asked.event_id AND g.model = 'customer360' AND g.state = 'live'
   )
