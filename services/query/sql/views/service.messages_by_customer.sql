SELECT w.*, m.customer_id
FROM service.messages AS w
JOIN backbone.customer360_subjects AS m ON m.subject_id = w.subject_id
UNION ALL
SELECT w.*, w.subject_id
FROM service.messages AS w
JOIN backbone.customer360_hub_subjects AS h ON h.subject_id = w.subject_id
UNION ALL
SELECT w.*, w.subject_id
FROM service.messages AS w
WHERE NOT EXISTS (SELECT FROM backbone.customer360_every_subject AS s WHERE s.subject_id = w.subject_id);

COMMENT ON VIEW service.messages_by_customer IS 'Mails and messages with the customer whom each names, today. Who owns the thread it is in: threads_by_customer.';
COMMENT ON COLUMN service.messages_by_customer.customer_id IS 'The customer; the subject itself where the identity graph does not know it yet. NULL if the message names nobody.';
