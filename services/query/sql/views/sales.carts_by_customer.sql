SELECT c.*, w.customer_id
-- Whose a cart is comes from few columns of it, whether it was bought is worked out for the rows that are shown.
FROM (
    SELECT c.cart_id, c.named_by, m.customer_id
    FROM sales.cart_contents AS c
    JOIN backbone.customer360_subjects AS m ON m.subject_id = c.subject_id
    UNION ALL
    SELECT c.cart_id, c.named_by, c.subject_id
    FROM sales.cart_contents AS c
    JOIN backbone.customer360_hub_subjects AS h ON h.subject_id = c.subject_id
    UNION ALL
    SELECT c.cart_id, c.named_by, c.subject_id
    FROM sales.cart_contents AS c
    WHERE NOT EXISTS (SELECT FROM backbone.customer360_every_subject AS s WHERE s.subject_id = c.subject_id)
) AS w
JOIN sales.carts AS c ON c.cart_id = w.cart_id AND c.named_by = w.named_by;

COMMENT ON VIEW sales.carts_by_customer IS 'Carts with the customer each belongs to today, as of now and with 60 minutes to be abandoned after.';
COMMENT ON COLUMN sales.carts_by_customer.customer_id IS 'The customer; the subject itself where the identity graph does not know it yet. NULL while nobody is known.';
