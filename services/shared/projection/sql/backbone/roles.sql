-- Roles belong to the whole server: two databases may meet here at once.
DO $$
BEGIN
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'analyst') THEN
        CREATE ROLE analyst LOGIN;
    END IF;
EXCEPTION
    WHEN duplicate_object OR unique_violation THEN NULL;
END
$$;
CREATE SCHEMA IF NOT EXISTS workspace;
GRANT USAGE, CREATE ON SCHEMA workspace TO analyst;
COMMENT ON SCHEMA workspace IS 'The analysts'' own: tables and views that nothing here ever touches.';
