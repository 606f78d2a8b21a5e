-- Statements that give the columns of a view ($1) that have no comment the one of the view below it ($2).
SELECT format('COMMENT ON COLUMN %s.%I IS %L', $1::text, a.attname, col_description(b.attrelid, b.attnum))
FROM pg_catalog.pg_attribute AS a
JOIN pg_catalog.pg_attribute AS b ON b.attrelid = to_regclass($2::text) AND b.attname = a.attname AND b.attnum > 0
WHERE a.attrelid = to_regclass($1::text) AND a.attnum > 0 AND NOT a.attisdropped
    AND col_description(a.attrelid, a.attnum) IS NULL AND col_description(b.attrelid, b.attnum) IS NOT NULL
