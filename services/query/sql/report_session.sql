-- What a report's transaction is: the role analyst's, in UTC, within a time ($1, milliseconds), free to scan.
SELECT
    set_config('role', 'analyst', true),
    set_config('statement_timeout', $1, true),
    set_config('search_path', 'pg_catalog', true),
    set_config('timezone', 'UTC', true),
    set_config('enable_seqscan', 'on', true),
    set_config('plan_cache_mode', 'auto', true)
