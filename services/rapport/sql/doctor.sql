SELECT
    current_setting('server_version_num')::integer AS version_num,
    current_setting('server_version') AS version,
    current_setting('server_encoding') AS encoding,
    current_setting('fsync') AS fsync,
    current_setting('full_page_writes') AS full_page_writes,
    current_setting('max_connections')::integer AS connections_max,
    (extract(epoch FROM clock_timestamp()) * 1000000)::bigint AS now_us,
    has_database_privilege(current_user, current_database(), 'CREATE') AS may_create,
    pg_is_in_recovery() AS is_replica,
    (SELECT rolcanlogin AND NOT rolsuper AND NOT rolcreaterole FROM pg_roles WHERE rolname = 'analyst') AS analyst_is_harmless,
    EXISTS (
        SELECT
        FROM pg_db_role_setting AS s
        JOIN pg_roles AS r ON r.oid = s.setrole
        CROSS JOIN unnest(s.setconfig) AS c (entry)
        WHERE r.rolname = 'analyst'
            AND (s.setdatabase = 0 OR s.setdatabase = (SELECT oid FROM pg_database WHERE datname = current_database()))
            AND split_part(c.entry, '=', 1) = 'statement_timeout' AND split_part(c.entry, '=', 2) !~ '^0+[a-z]*$'
    ) AS analyst_has_timeout,
    to_regnamespace('backbone') IS NOT NULL AS has_backbone
