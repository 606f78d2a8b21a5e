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
-- Folds and services agree by advisory locks, whose keys everybody can see: whoever may only read must not take one.
-- Where this role may not change that (it is no superuser), the server's owner decides.
DO $$
DECLARE
    locking regprocedure;
BEGIN
    IF (SELECT rolsuper FROM pg_roles WHERE rolname = current_user) THEN
        FOR locking IN
            SELECT oid::regprocedure FROM pg_proc
            WHERE pronamespace = 'pg_catalog'::regnamespace AND proname ~ '^pg_(try_)?advisory_(xact_)?lock'
              AND coalesce(has_function_privilege('analyst', oid, 'EXECUTE'), false)
        LOOP
            EXECUTE format('REVOKE EXECUTE ON FUNCTION %s FROM PUBLIC', locking);
        END LOOP;
    END IF;
END
$$;
-- Whoever asks for too much, or leaves a transaction open, is ended before it holds anybody else up. What the server's owner
-- has set stays, and where this role may not alter that one, the owner decides.
DO $$
DECLARE
    setting text;
    length text;
BEGIN
    FOR setting, length IN VALUES ('statement_timeout', '5min'), ('idle_in_transaction_session_timeout', '10min')
    LOOP
        IF NOT EXISTS (
            SELECT FROM pg_roles AS r CROSS JOIN unnest(r.rolconfig) AS c (entry)
            WHERE r.rolname = 'analyst' AND split_part(c.entry, '=', 1) = setting
        ) THEN
            EXECUTE format('ALTER ROLE analyst SET %I = %L', setting, length);
        END IF;
    END LOOP;
EXCEPTION
    -- The last two: another database has just set the same.
    WHEN insufficient_privilege OR unique_violation OR internal_error THEN NULL;
END
$$;
CREATE SCHEMA IF NOT EXISTS workspace;
GRANT USAGE, CREATE ON SCHEMA workspace TO analyst;
COMMENT ON SCHEMA workspace IS 'The analysts'' own: tables and views that nothing here ever touches.';
-- For its functions: of its tables nothing is granted.
GRANT USAGE ON SCHEMA backbone TO analyst;
