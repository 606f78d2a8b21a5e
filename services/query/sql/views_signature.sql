-- The columns of these relations ($1, schema.name) with the relation each is of. One that is made anew has another oid.
SELECT coalesce(string_agg(concat_ws(' ', a.attrelid, a.attnum, a.attname), ',' ORDER BY a.attrelid, a.attnum), '')
FROM pg_catalog.pg_attribute AS a
WHERE a.attrelid = ANY (ARRAY(SELECT to_regclass(name) FROM unnest($1::text[]) AS n (name))::oid[])
    AND a.attnum > 0 AND NOT a.attisdropped
