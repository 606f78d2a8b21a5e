-- Whether all three models have come as far as a position that a publish answered, so that analysts can wait for it. It is
-- `p1.` and, in base64url, the log's id (16 bytes), the list of how far in each partition, that of from where, and how many
-- models were elsewhere: 0. A list is the number of its pairs, and these; a number has seven bits a byte, the lowest first.
CREATE FUNCTION backbone.has_reached(token text) RETURNS boolean
LANGUAGE plpgsql STABLE STRICT SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    encoded CONSTANT text := translate(substr(token, 4), '-_', '+/');
    bytes bytea;
    numbers bigint[] := '{}';
    number bigint := 0;
    scale bigint := 1;
    elsewhere integer;
BEGIN
    IF token !~ '^p1[.][A-Za-z0-9_-]+$' THEN
        RAISE invalid_parameter_value USING MESSAGE = 'this is no position: a publish answers one, a text like p1.AbC…';
    END IF;
    BEGIN
        bytes := decode(encoded || repeat('=', -length(encoded) & 3), 'base64');
        FOR i IN 16 .. length(bytes) - 1 LOOP
            number := number + (get_byte(bytes, i) & 127) * scale;
            IF get_byte(bytes, i) < 128 THEN
                numbers := numbers || number;
                number := 0;
                scale := 1;
            ELSE
                scale := scale * 128;
            END IF;
        END LOOP;
        elsewhere := 2 * numbers[1] + 2 * numbers[2 * numbers[1] + 2] + 3;
        IF scale > 1 OR numbers[elsewhere] IS NULL OR numbers[elsewhere] = 0 AND elsewhere < cardinality(numbers) THEN
            RAISE data_exception;
        END IF;
    EXCEPTION WHEN data_exception THEN
        RAISE invalid_parameter_value USING MESSAGE = 'this position is cut short or altered: give it as it was answered';
    END;
    IF numbers[elsewhere] > 0 THEN
        RAISE feature_not_supported USING
            MESSAGE = 'this position is a query''s that found the models at different points: give one that a publish answered';
    ELSIF encode(substr(bytes, 1, 16), 'hex')::uuid <> (SELECT log_id FROM backbone.log) THEN
        RAISE invalid_parameter_value USING MESSAGE = 'this position belongs to another log than the models do';
    END IF;
    RETURN NOT EXISTS (
        SELECT FROM unnest(ARRAY['customer360', 'sales', 'service']) AS m (model)
        CROSS JOIN generate_series(2, 2 * numbers[1], 2) AS i
        WHERE NOT EXISTS (
            SELECT FROM backbone.checkpoints AS c JOIN backbone.generations AS g USING (model, generation)
            WHERE g.state = 'live' AND c.model = m.model AND c.partition = numbers[i] AND c.next_offset >= numbers[i + 1]
        )
    );
END
$$;
COMMENT ON FUNCTION backbone.has_reached(text) IS
    'Whether sales, service and customer360 hold all that was published up to a position, a text like p1.AbC….';
