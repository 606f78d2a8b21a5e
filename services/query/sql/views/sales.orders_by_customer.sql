SELECT o.*, w.customer_id, w.customer_order_no,
    CASE WHEN w.customer_order_no = 1 THEN 'new' WHEN w.customer_order_no > 1 THEN 'repeat' END AS new_or_repeat
-- Whose and which of whose an order is comes from few columns of it, the rest is fetched, and amounts worked out, for the rows
-- that are shown.
FROM (
    SELECT
        o.order_id,
        o.customer_id,
        CASE
            WHEN o.customer_id IS NOT NULL AND o.placed_at IS NOT NULL
            THEN row_number() OVER (PARTITION BY o.customer_id ORDER BY o.placed_at NULLS LAST, o.order_id)
        END AS customer_order_no
    FROM (
        SELECT o.order_id, o.placed_at, m.customer_id
        FROM sales.orders AS o
        JOIN backbone.customer360_subjects AS m ON m.subject_id = o.subject_id
        UNION ALL
        SELECT o.order_id, o.placed_at, o.subject_id
        FROM sales.orders AS o
        JOIN backbone.customer360_hub_subjects AS h ON h.subject_id = o.subject_id
        UNION ALL
        SELECT o.order_id, o.placed_at, o.subject_id
        FROM sales.orders AS o
        WHERE NOT EXISTS (SELECT FROM backbone.customer360_every_subject AS s WHERE s.subject_id = o.subject_id)
    ) AS o
) AS w
JOIN sales.orders AS o ON o.order_id = w.order_id;

COMMENT ON VIEW sales.orders_by_customer IS 'Orders with the customer each belongs to today: new or repeat by the customer''s first order in event time. An earlier order that comes late, a merge or a split renumbers. Ask by customer_id; look up an order in sales.orders: by any other column all orders are numbered first.';
COMMENT ON COLUMN sales.orders_by_customer.customer_id IS 'The customer; the subject itself where the identity graph does not know it yet. NULL while nobody is known.';
COMMENT ON COLUMN sales.orders_by_customer.customer_order_no IS 'The place of the order among the customer''s, from 1, by placed_at, then order_id; cancelled ones have a place as well. NULL if not placed, or if nobody is known.';
COMMENT ON COLUMN sales.orders_by_customer.new_or_repeat IS 'new: the customer''s first order; repeat: a later one. NULL if not placed, or if nobody is known.';
