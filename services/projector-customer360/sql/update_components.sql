UPDATE components c
SET size = n.size, uniques = n.uniques, customer_id = n.customer_id, first_at = n.first_at, kind_rank = n.kind_rank
FROM unnest($1::bigint[], $2::integer[], $3::smallint[], $4::uuid[], $5::bigint[], $6::smallint[])
    AS n (component, size, uniques, customer_id, first_at, kind_rank)
WHERE c.component = n.component
