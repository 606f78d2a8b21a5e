-- How many cases and calls these owners have. A merged case leaves every count.
SELECT row_to_json(n)::text
FROM (
    SELECT
        count(*) FILTER (WHERE coalesce(status, 'new') NOT IN ('solved', 'closed')) AS cases_open,
        count(*) AS cases,
        (SELECT count(*) FROM {service}.calls WHERE subject_id = ANY ($1)) AS calls
    FROM {service}.cases
    WHERE subject_id = ANY ($1) AND merged_into IS NULL
) AS n
