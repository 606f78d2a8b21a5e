SELECT c.*, m.customer_id
FROM service.calls AS c
JOIN backbone.customer360_subjects AS m ON m.subject_id = c.subject_id
UNION ALL
SELECT c.*, c.subject_id
FROM service.calls AS c
JOIN backbone.customer360_hub_subjects AS h ON h.subject_id = c.subject_id
UNION ALL
SELECT c.*, c.subject_id
FROM service.calls AS c
WHERE NOT EXISTS (SELECT FROM backbone.customer360_every_subject AS s WHERE s.subject_id = c.subject_id);

COMMENT ON VIEW service.calls_by_customer IS 'Calls with the customer each belongs to today.';
COMMENT ON COLUMN service.calls_by_customer.customer_id IS 'The customer; the subject itself where the identity graph does not know it yet. NULL while nobody is known.';
