-- The columns of a view ($1, schema.name) in their order.
SELECT attname::text
FROM pg_catalog.pg_attribute
WHERE attrelid = to_regclass($1) AND attnum > 0 AND NOT attisdropped
ORDER BY attnum
