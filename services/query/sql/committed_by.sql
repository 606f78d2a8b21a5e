-- Of each of these models ($2) the next offsets that it had committed by then ($1), and since when that is noted.
SELECT
    m.model,
    (
        SELECT c.next_offsets FROM backbone.moments AS c
        WHERE c.model = m.model AND c.at <= $1
        ORDER BY c.at DESC
        LIMIT 1
    ) AS next_offsets,
    (
        SELECT to_char(min(c.at) AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"')
        FROM backbone.moments AS c
        WHERE c.model = m.model
    ) AS since
FROM unnest($2::text[]) AS m (model)
ORDER BY m.model
