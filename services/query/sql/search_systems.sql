-- The other systems that identifiers come from (external.crm): from one to the next by the index, however many each has.
WITH RECURSIVE systems AS (
    (
        SELECT split_part(identifier, ':', 1) AS kind
        FROM identifiers
        WHERE identifier >= 'external.' AND identifier < 'external/'
        ORDER BY identifier
        LIMIT 1
    )
    UNION ALL
    SELECT (
        SELECT split_part(i.identifier, ':', 1)
        FROM identifiers AS i
        WHERE i.identifier >= s.kind || ';' AND i.identifier < 'external/'
        ORDER BY i.identifier
        LIMIT 1
    )
    FROM systems AS s
    WHERE s.kind IS NOT NULL
)
SELECT kind FROM systems WHERE kind IS NOT NULL LIMIT 50
