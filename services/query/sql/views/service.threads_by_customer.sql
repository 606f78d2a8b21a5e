SELECT t.*, m.customer_id
FROM service.threads AS t
JOIN backbone.customer360_subjects AS m ON m.subject_id = t.subject_id
UNION ALL
SELECT t.*, t.subject_id
FROM service.threads AS t
JOIN backbone.customer360_hub_subjects AS h ON h.subject_id = t.subject_id
UNION ALL
SELECT t.*, t.subject_id
FROM service.threads AS t
WHERE NOT EXISTS (SELECT FROM backbone.customer360_every_subject AS s WHERE s.subject_id = t.subject_id);

COMMENT ON VIEW service.threads_by_customer IS 'Threads of mail and messages with the customer each belongs to today.';
COMMENT ON COLUMN service.threads_by_customer.customer_id IS 'The customer; the subject itself where the identity graph does not know it yet. NULL while nobody is known.';
