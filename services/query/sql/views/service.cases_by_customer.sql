SELECT
    k.*,
    k.merged_into IS NULL AND coalesce(k.status, 'new') NOT IN ('solved', 'closed') AS is_open
FROM (
    SELECT k.*, m.customer_id
    FROM service.cases AS k
    JOIN backbone.customer360_subjects AS m ON m.subject_id = k.subject_id
    UNION ALL
    SELECT k.*, k.subject_id
    FROM service.cases AS k
    JOIN backbone.customer360_hub_subjects AS h ON h.subject_id = k.subject_id
    UNION ALL
    SELECT k.*, k.subject_id
    FROM service.cases AS k
    WHERE NOT EXISTS (SELECT FROM backbone.customer360_every_subject AS s WHERE s.subject_id = k.subject_id)
) AS k;

COMMENT ON VIEW service.cases_by_customer IS 'Cases with the customer each belongs to today. A case with merged_into became part of another and belongs in no count.';
COMMENT ON COLUMN service.cases_by_customer.customer_id IS 'The customer; the subject itself where the identity graph does not know it yet. NULL while nobody is known.';
COMMENT ON COLUMN service.cases_by_customer.is_open IS 'Neither solved nor closed, and not part of another case.';
