-- The newest calls of these owners.
SELECT coalesce(
    json_agg(row_to_json(c) ORDER BY coalesce(c.offered_at, c.answered_at, c.ended_at) DESC NULLS LAST, c.call_id),
    '[]'
)::text
FROM (
    SELECT * FROM {service}.calls
    WHERE subject_id = ANY ($1)
    ORDER BY coalesce(offered_at, answered_at, ended_at) DESC NULLS LAST, call_id
    LIMIT $2
) AS c
