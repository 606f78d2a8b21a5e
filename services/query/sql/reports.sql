-- The views that an analyst may read in the models' schemas, or the one named ($1, schema.name), each with its comment,
-- its columns, and the arguments of the function that takes the time it depends on, if there is one.
SELECT
    n.nspname || '.' || c.relname AS name,
    coalesce(obj_description(c.oid, 'pg_class'), '') AS comment,
    (
        SELECT coalesce(
            json_agg(
                json_build_object(
                    'name', a.attname,
                    'type', format_type(a.atttypid, NULL),
                    'comment', coalesce(col_description(a.attrelid, a.attnum), '')
                )
                ORDER BY a.attnum
            ),
            '[]'
        )::text
        FROM pg_catalog.pg_attribute AS a
        WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
    ) AS columns,
    (
        SELECT (
            SELECT coalesce(
                json_agg(
                    json_build_object(
                        'name', p.proargnames[t.n],
                        'type', format_type(t.type, NULL),
                        'default', pg_get_function_arg_default(p.oid, t.n::integer)
                    )
                    ORDER BY t.n
                ),
                '[]'
            )::text
            FROM unnest(p.proargtypes::oid[]) WITH ORDINALITY AS t (type, n)
        )
        FROM pg_catalog.pg_proc AS p
        WHERE p.pronamespace = c.relnamespace AND p.proname = c.relname || '_at' AND p.prokind = 'f' AND p.proretset
            AND has_function_privilege('analyst', p.oid, 'EXECUTE')
        ORDER BY p.oid
        LIMIT 1
    ) AS arguments
FROM pg_catalog.pg_class AS c
JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
WHERE n.nspname IN ('sales', 'service', 'customer360') AND c.relkind IN ('v', 'm')
    AND has_table_privilege('analyst', c.oid, 'SELECT')
    AND ($1::text IS NULL OR n.nspname || '.' || c.relname = $1)
ORDER BY n.nspname, c.relname
