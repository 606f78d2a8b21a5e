SELECT w.*, m.customer_id
-- Subject by subject: PostgreSQL pushes no join into a view that is a union of selections, and would read all waits for the
-- sake of one customer.
FROM backbone.customer360_subjects AS m
CROSS JOIN LATERAL (SELECT * FROM service.waiting WHERE subject_id = m.subject_id OFFSET 0) AS w
WHERE EXISTS (SELECT FROM service.threads AS t WHERE t.subject_id = m.subject_id)
UNION ALL
SELECT w.*, w.subject_id
FROM service.waiting AS w
JOIN backbone.customer360_hub_subjects AS h ON h.subject_id = w.subject_id
UNION ALL
SELECT w.*, w.subject_id
FROM service.waiting AS w
WHERE NOT EXISTS (SELECT FROM backbone.customer360_every_subject AS s WHERE s.subject_id = w.subject_id);

COMMENT ON VIEW service.waiting_by_customer IS 'Who waits for an answer, as of now, with the customer whose thread it is today. Ask by customer_id; look up a thread in service.waiting: by any other column all subjects with threads are gone through.';
COMMENT ON COLUMN service.waiting_by_customer.customer_id IS 'The customer; the subject itself where the identity graph does not know it yet. NULL while nobody is known.';
