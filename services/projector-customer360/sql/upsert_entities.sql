INSERT INTO entities (entity_id, kind, key, owner_stamp, owner_subject)
SELECT entity_id, kind, key, owner_stamp, owner_subject
FROM unnest($1::uuid[], $2::text[], $3::text[], $4::bytea[], $5::uuid[])
    AS n (entity_id, kind, key, owner_stamp, owner_subject)
ON CONFLICT (entity_id) DO UPDATE SET owner_stamp = EXCLUDED.owner_stamp, owner_subject = EXCLUDED.owner_subject
WHERE EXCLUDED.owner_stamp IS NOT NULL
  AND (entities.owner_stamp IS NULL OR EXCLUDED.owner_stamp < entities.owner_stamp)
