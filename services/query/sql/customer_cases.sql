-- The cases of these owners: open ones first, then the newest.
SELECT coalesce(json_agg(row_to_json(c) ORDER BY c.is_open DESC, c.opened_at DESC NULLS LAST, c.case_id), '[]')::text
FROM (
    SELECT *, merged_into IS NULL AND coalesce(status, 'new') NOT IN ('solved', 'closed') AS is_open
    FROM {service}.cases
    WHERE subject_id = ANY ($1)
    ORDER BY is_open DESC, opened_at DESC NULLS LAST, case_id
    LIMIT $2
) AS c
