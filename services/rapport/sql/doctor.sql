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
    to_regnamespace('backbone') IS NOT NULL AS has_backbone
