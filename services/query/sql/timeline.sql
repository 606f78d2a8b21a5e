-- One page of a customer's timeline, newest first: the events of its subjects ($1), of the entities they own, and those
-- they took part in. $2 <= stamp < $3; $4 channel, $5 types (NULL: any); $6 events and $7 bytes of payload at most.
WITH own AS (
    SELECT unnest($1::uuid[]) AS party
),
parties AS (
    SELECT party FROM own
    UNION ALL
    SELECT e.entity_id FROM entities AS e WHERE e.owner_subject = ANY ($1)
),
picked AS (
    SELECT found.stamp, found.event_id
    FROM (
        SELECT t.stamp, t.event_id
        FROM own
        CROSS JOIN LATERAL (
            SELECT t.stamp, t.event_id
            FROM timeline AS t
            WHERE t.subject_id = own.party AND t.stamp >= $2 AND t.stamp < $3 AND NOT t.voided
                AND ($4::text IS NULL OR t.channel = $4) AND ($5::text[] IS NULL OR t.type = ANY ($5))
            ORDER BY t.stamp DESC
            LIMIT $6
        ) AS t
        UNION
        SELECT t.stamp, t.event_id
        FROM parties
        CROSS JOIN LATERAL (
            SELECT a.stamp, t.event_id
            FROM appearances AS a
            JOIN timeline AS t ON t.event_id = stamp_event(a.stamp) AND t.stamp = a.stamp
            WHERE a.party = parties.party AND a.stamp >= $2 AND a.stamp < $3 AND NOT t.voided
                AND ($4::text IS NULL OR t.channel = $4) AND ($5::text[] IS NULL OR t.type = ANY ($5))
            ORDER BY a.stamp DESC
            LIMIT $6
        ) AS t
    ) AS found
    ORDER BY found.stamp DESC
    LIMIT $6
),
sized AS (
    SELECT
        p.stamp,
        t.event_id,
        sum(octet_length(t.payload)) OVER newest_first AS bytes,
        row_number() OVER newest_first AS number,
        count(*) OVER () AS picked
    FROM picked AS p
    JOIN timeline AS t ON t.event_id = p.event_id
    WINDOW newest_first AS (ORDER BY p.stamp DESC)
)
SELECT s.stamp, s.picked, row_to_json(v)::text AS item
FROM sized AS s
CROSS JOIN LATERAL (
    SELECT
        t.event_id, t.source, t.id, t.type, t.occurred_at, t.received_at, t.subject_id, t.entity, t.entities,
        t.channel, t.direction, t.summary, t.payload::json AS payload, t.partition, t.log_offset
    FROM {customer360}.timeline AS t
    WHERE t.event_id = s.event_id
) AS v
WHERE s.bytes <= $7 OR s.number = 1
ORDER BY s.stamp DESC
