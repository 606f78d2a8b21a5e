-- Those with an identifier that is no hub by inner joins, so that they are found from either end; the others by themselves.
CREATE OR REPLACE VIEW {model}.subjects AS
SELECT subject_id, customer_id, identifiers, {schema}.stamp_time(first_stamp) AS first_seen_at,
       {schema}.stamp_event(first_stamp) AS set_by
FROM (
    SELECT s.subject_id, c.customer_id, s.identifiers, s.first_stamp
    FROM {schema}.subjects s
    JOIN {schema}.identifiers i ON i.identifier = s.anchor
    JOIN {schema}.components c ON c.component = i.component
    UNION ALL
    SELECT subject_id, subject_id, identifiers, first_stamp FROM {schema}.subjects WHERE anchor IS NULL
) s;

COMMENT ON VIEW {model}.subjects IS 'Every set of linking identifiers that an event named, and the customer it is. A merge or a split changes customer_id here and no fact anywhere.';
COMMENT ON COLUMN {model}.subjects.subject_id IS 'What facts carry: a function of the identifiers and the log''s secret. Every one resolves to a customer for ever.';
COMMENT ON COLUMN {model}.subjects.customer_id IS 'The customer: the subject_id of the earliest subject of the same person.';
COMMENT ON COLUMN {model}.subjects.identifiers IS 'The identifiers (kind:value), strongest first.';
COMMENT ON COLUMN {model}.subjects.first_seen_at IS 'When the first event that names it occurred.';
COMMENT ON COLUMN {model}.subjects.set_by IS 'That event.';

CREATE OR REPLACE VIEW {model}.identifiers AS
SELECT i.identifier, split_part(i.identifier, ':', 1) AS kind, substr(i.identifier, strpos(i.identifier, ':') + 1) AS value,
       c.customer_id, i.hub AS is_hub, {schema}.stamp_time(f.first_stamp) AS first_seen_at,
       {schema}.stamp_event(f.first_stamp) AS set_by
FROM {schema}.identifiers i
LEFT JOIN {schema}.components c ON c.component = i.component
CROSS JOIN LATERAL (
    SELECT s.first_stamp FROM {schema}.naming n JOIN {schema}.subjects s ON s.subject_id = n.subject_id
    WHERE n.identifier = i.identifier ORDER BY s.first_stamp LIMIT 1
) f;

COMMENT ON VIEW {model}.identifiers IS 'Every linking identifier that an event named, and whose it is.';
COMMENT ON COLUMN {model}.identifiers.identifier IS 'kind:value, normalized.';
COMMENT ON COLUMN {model}.identifiers.kind IS 'customer_no, user_id, email, phone, card, external.<system>, device_id or anonymous_id.';
COMMENT ON COLUMN {model}.identifiers.value IS 'The value.';
COMMENT ON COLUMN {model}.identifiers.customer_id IS 'The customer. NULL: a hub, which says nothing about who somebody is, or a value that only ever stood beside a conflicting one.';
COMMENT ON COLUMN {model}.identifiers.is_hub IS 'Shared by more identifiers of one kind than the limits allow: links nobody, unless an event says so.';
COMMENT ON COLUMN {model}.identifiers.first_seen_at IS 'When the first event that names it occurred.';
COMMENT ON COLUMN {model}.identifiers.set_by IS 'That event.';

-- Walked from one left identifier to the next, in their order, each with its own pairs: who asks for the first thousand has
-- no others worked out.
CREATE OR REPLACE VIEW {model}.links AS
SELECT i.identifier COLLATE "C" AS left_identifier, p.right_id COLLATE "C" AS right_identifier, revoked.stamp IS NULL OR asserted.stamp IS NOT NULL AS is_on,
       asserted.stamp IS NOT NULL OR revoked.stamp IS NOT NULL AS is_explicit,
       EXISTS (
           SELECT FROM {schema}.conflicts c WHERE c.left_id = i.identifier AND c.right_id = p.right_id
       ) AS is_conflict,
       {schema}.stamp_time(since.stamp) AS since_at, {schema}.stamp_event(since.stamp) AS set_by
FROM {schema}.identifiers i
CROSS JOIN LATERAL (
    SELECT pair.right_id, (array_agg(pair.stamp ORDER BY pair.stamp) FILTER (WHERE pair.stamp IS NOT NULL))[1] AS implied
    FROM (
        -- Implied: the strongest identifier of a subject and each of its others that is no hub.
        SELECT other.identifier AS right_id, s.first_stamp AS stamp
        FROM {schema}.subjects s
        CROSS JOIN LATERAL unnest(s.identifiers) AS n (identifier)
        JOIN {schema}.identifiers other ON other.identifier = n.identifier
        WHERE s.anchor = i.identifier AND n.identifier COLLATE "C" > i.identifier AND NOT other.hub
        UNION ALL
        SELECT s.anchor, s.first_stamp
        FROM {schema}.naming n
        JOIN {schema}.subjects s ON s.subject_id = n.subject_id
        WHERE n.identifier = i.identifier AND NOT i.hub AND s.anchor COLLATE "C" > i.identifier
        UNION ALL
        SELECT e.right_id, NULL FROM {schema}.link_events e WHERE e.left_id = i.identifier
    ) pair
    GROUP BY pair.right_id
) p
LEFT JOIN LATERAL (
    SELECT e.stamp FROM {schema}.link_events e
    WHERE e.left_id = i.identifier AND e.right_id = p.right_id AND NOT e.asserted
    ORDER BY e.stamp DESC LIMIT 1
) revoked ON true
LEFT JOIN LATERAL (
    SELECT e.stamp FROM {schema}.link_events e
    WHERE e.left_id = i.identifier AND e.right_id = p.right_id AND e.asserted
        AND (revoked.stamp IS NULL OR e.stamp > revoked.stamp)
    ORDER BY e.stamp LIMIT 1
) asserted ON true
CROSS JOIN LATERAL (
    SELECT CASE
        WHEN revoked.stamp IS NULL THEN LEAST(asserted.stamp, p.implied)
        ELSE COALESCE(asserted.stamp, revoked.stamp)
    END AS stamp
) since;

COMMENT ON VIEW {model}.links IS 'Which identifiers are of one person, since when, by which event. A link is on if its last explicit event asserts it, or if there is none and an event implies it.';
COMMENT ON COLUMN {model}.links.left_identifier IS 'The one whose text sorts first; a link has no direction.';
COMMENT ON COLUMN {model}.links.right_identifier IS 'The other one.';
COMMENT ON COLUMN {model}.links.is_on IS 'Whether it counts. Off: revoked last.';
COMMENT ON COLUMN {model}.links.is_explicit IS 'Asserted or revoked by an event, not only implied by one that names both.';
COMMENT ON COLUMN {model}.links.is_conflict IS 'On, but left out: it would join two values of a unique kind (see conflicts).';
COMMENT ON COLUMN {model}.links.since_at IS 'On: when they were first linked after the last revocation. Off: when they were last revoked.';
COMMENT ON COLUMN {model}.links.set_by IS 'The event that did.';

-- Views of customers go from one to the next in order of their ids, each the one of its subjects that it is named after: who
-- asks for one, or for the first thousand, has no others worked out. The condition is a CASE since PostgreSQL takes an
-- equation of two columns for nearly never true.
CREATE OR REPLACE VIEW {model}.customers AS
SELECT c.customer_id, i.identifiers, g.subject_count, {schema}.stamp_time(g.first_stamp) AS first_seen_at,
       {schema}.stamp_event(g.first_stamp) AS set_by
FROM (
    SELECT subject_id AS customer_id, anchor FROM {schema}.subject_customers
    WHERE CASE WHEN customer_id = subject_id THEN true END
) c
CROSS JOIN LATERAL (
    SELECT count(*) AS subject_count, (array_agg(s.first_stamp ORDER BY s.first_stamp))[1] AS first_stamp
    FROM (
        SELECT s.subject_id AS party FROM {schema}.components k
        JOIN {schema}.identifiers i ON i.component = k.component
        JOIN {schema}.subjects s ON s.anchor = i.identifier
        WHERE k.customer_id = c.customer_id
        UNION ALL
        SELECT c.customer_id WHERE c.anchor IS NULL
    ) own
    JOIN {schema}.subjects s ON s.subject_id = own.party
) g
CROSS JOIN LATERAL (
    SELECT array_agg(n.identifier ORDER BY n.identifier COLLATE "C") AS identifiers
    FROM (
        SELECT m.identifier FROM {schema}.components k JOIN {schema}.identifiers m ON m.component = k.component
        WHERE k.customer_id = c.customer_id
        UNION ALL
        SELECT unnest(s.identifiers) FROM {schema}.subjects s WHERE s.subject_id = c.customer_id AND s.anchor IS NULL
    ) n (identifier)
) i;

COMMENT ON VIEW {model}.customers IS 'One row a customer: a component of the identity graph. Former ids redirect: look any subject_id up in subjects.';
COMMENT ON COLUMN {model}.customers.customer_id IS 'The subject_id of the earliest subject.';
COMMENT ON COLUMN {model}.customers.identifiers IS 'All identifiers of the person, in order of their text.';
COMMENT ON COLUMN {model}.customers.subject_count IS 'How many different sets of identifiers named the person.';
COMMENT ON COLUMN {model}.customers.first_seen_at IS 'When the first event that names the person occurred.';
COMMENT ON COLUMN {model}.customers.set_by IS 'That event.';

CREATE OR REPLACE VIEW {model}.conflicts AS
SELECT k.left_id AS left_identifier, k.right_id AS right_identifier, k.kind, k.left_value, k.right_value,
       lc.customer_id AS left_customer_id, rc.customer_id AS right_customer_id,
       {schema}.stamp_time(k.stamp) AS since_at, {schema}.stamp_event(k.stamp) AS set_by
FROM {schema}.conflicts k
JOIN {schema}.identifiers l ON l.identifier = k.left_id
LEFT JOIN {schema}.components lc ON lc.component = l.component
JOIN {schema}.identifiers r ON r.identifier = k.right_id
LEFT JOIN {schema}.components rc ON rc.component = r.component;

COMMENT ON VIEW {model}.conflicts IS 'Links left out because they would give one person two values of a unique kind. Revoke the wrong link, or assert that the two values are one.';
COMMENT ON COLUMN {model}.conflicts.left_identifier IS 'One end of the link.';
COMMENT ON COLUMN {model}.conflicts.right_identifier IS 'The other end.';
COMMENT ON COLUMN {model}.conflicts.kind IS 'The unique kind: customer_no or user_id.';
COMMENT ON COLUMN {model}.conflicts.left_value IS 'Its value on the left side.';
COMMENT ON COLUMN {model}.conflicts.right_value IS 'Its value on the right side.';
COMMENT ON COLUMN {model}.conflicts.left_customer_id IS 'The customer on the left side, if any.';
COMMENT ON COLUMN {model}.conflicts.right_customer_id IS 'The customer on the right side, if any.';
COMMENT ON COLUMN {model}.conflicts.since_at IS 'When the link was first made.';
COMMENT ON COLUMN {model}.conflicts.set_by IS 'The event that made it.';

CREATE OR REPLACE VIEW {model}.affiliations AS
SELECT a.customer_id, a.group_id AS group_identifier, split_part(a.group_id, ':', 1) AS kind,
       {schema}.stamp_time((array_agg(a.first_stamp ORDER BY a.first_stamp))[1]) AS first_seen_at,
       {schema}.stamp_time((array_agg(a.last_stamp ORDER BY a.last_stamp DESC))[1]) AS last_seen_at,
       {schema}.stamp_event((array_agg(a.last_stamp ORDER BY a.last_stamp DESC))[1]) AS set_by
-- A branch for each way from a customer to a party, of inner joins alone: so each is walked from either end.
FROM (
    SELECT k.customer_id, a.group_id, a.first_stamp, a.last_stamp
    FROM {schema}.affiliations a
    JOIN {schema}.subjects s ON s.subject_id = a.party
    JOIN {schema}.identifiers i ON i.identifier = s.anchor
    JOIN {schema}.components k ON k.component = i.component
    UNION ALL
    SELECT s.subject_id, a.group_id, a.first_stamp, a.last_stamp
    FROM {schema}.affiliations a
    JOIN {schema}.subjects s ON s.subject_id = a.party AND s.anchor IS NULL
    UNION ALL
    SELECT k.customer_id, a.group_id, a.first_stamp, a.last_stamp
    FROM {schema}.affiliations a
    JOIN {schema}.entities e ON e.entity_id = a.party
    JOIN {schema}.subjects s ON s.subject_id = e.owner_subject
    JOIN {schema}.identifiers i ON i.identifier = s.anchor
    JOIN {schema}.components k ON k.component = i.component
    UNION ALL
    SELECT s.subject_id, a.group_id, a.first_stamp, a.last_stamp
    FROM {schema}.affiliations a
    JOIN {schema}.entities e ON e.entity_id = a.party
    JOIN {schema}.subjects s ON s.subject_id = e.owner_subject AND s.anchor IS NULL
) a
WHERE a.customer_id IS NOT NULL
GROUP BY a.customer_id, a.group_id;

COMMENT ON VIEW {model}.affiliations IS 'Who belongs to which company, partner or household. A group never merges people.';
COMMENT ON COLUMN {model}.affiliations.customer_id IS 'The customer.';
COMMENT ON COLUMN {model}.affiliations.group_identifier IS 'The group as kind:value.';
COMMENT ON COLUMN {model}.affiliations.kind IS 'account, partner or household.';
COMMENT ON COLUMN {model}.affiliations.first_seen_at IS 'When the first event that names both occurred.';
COMMENT ON COLUMN {model}.affiliations.last_seen_at IS 'When the last one did.';
COMMENT ON COLUMN {model}.affiliations.set_by IS 'That last event.';

CREATE OR REPLACE VIEW {model}.accounts AS
SELECT a.group_id AS group_identifier, split_part(a.group_id, ':', 1) AS kind,
       substr(a.group_id, strpos(a.group_id, ':') + 1) AS value, count(DISTINCT CASE WHEN s.anchor IS NULL THEN s.subject_id ELSE c.customer_id END) AS people_count,
       {schema}.stamp_time((array_agg(a.first_stamp ORDER BY a.first_stamp))[1]) AS first_seen_at,
       {schema}.stamp_time((array_agg(a.last_stamp ORDER BY a.last_stamp DESC))[1]) AS last_seen_at,
       {schema}.stamp_event((array_agg(a.last_stamp ORDER BY a.last_stamp DESC))[1]) AS set_by
FROM {schema}.affiliations a
LEFT JOIN {schema}.entities e ON e.entity_id = a.party
LEFT JOIN {schema}.subjects s ON s.subject_id = COALESCE(e.owner_subject, a.party)
LEFT JOIN {schema}.identifiers i ON i.identifier = s.anchor
LEFT JOIN {schema}.components c ON c.component = i.component
GROUP BY a.group_id;

COMMENT ON VIEW {model}.accounts IS 'Companies, partners and households that an event named together with a person or an entity.';
COMMENT ON COLUMN {model}.accounts.group_identifier IS 'kind:value.';
COMMENT ON COLUMN {model}.accounts.kind IS 'account, partner or household.';
COMMENT ON COLUMN {model}.accounts.value IS 'The value.';
COMMENT ON COLUMN {model}.accounts.people_count IS 'How many customers are affiliated with it.';
COMMENT ON COLUMN {model}.accounts.first_seen_at IS 'When the first event that names it occurred.';
COMMENT ON COLUMN {model}.accounts.last_seen_at IS 'When the last one did.';
COMMENT ON COLUMN {model}.accounts.set_by IS 'That last event.';

CREATE OR REPLACE VIEW {model}.duplicates AS
SELECT c.event_id, t.payload::json ->> 'source' AS source, t.payload::json ->> 'id' AS id, encode(c.hash, 'hex') AS hash,
       false AS is_counted, c.payload, c.received_at, c.partition, c.log_offset
FROM {schema}.copies c
JOIN {schema}.timeline t ON t.event_id = c.event_id
WHERE NOT t.voided
UNION ALL
SELECT t.event_id, t.payload::json ->> 'source', t.payload::json ->> 'id', encode(t.hash, 'hex'),
       true, t.payload::json, t.received_at, t.partition, t.log_offset
FROM {schema}.timeline t
WHERE NOT t.voided AND t.event_id IN (SELECT event_id FROM {schema}.copies);

COMMENT ON VIEW {model}.duplicates IS 'Every copy of each event (same source and id) that came with different contents. The one received first counts.';
COMMENT ON COLUMN {model}.duplicates.event_id IS 'The event.';
COMMENT ON COLUMN {model}.duplicates.source IS 'Its source as published.';
COMMENT ON COLUMN {model}.duplicates.id IS 'Its id as published.';
COMMENT ON COLUMN {model}.duplicates.hash IS 'SHA-256 of this copy.';
COMMENT ON COLUMN {model}.duplicates.is_counted IS 'Whether this copy is the one that counts.';
COMMENT ON COLUMN {model}.duplicates.payload IS 'This copy.';
COMMENT ON COLUMN {model}.duplicates.received_at IS 'When this copy was first received.';
COMMENT ON COLUMN {model}.duplicates.partition IS 'Where in the log it stands.';
COMMENT ON COLUMN {model}.duplicates.log_offset IS 'Where in its partition.';

CREATE OR REPLACE VIEW {model}.profiles AS
SELECT c.customer_id, f.field, f.value, {schema}.stamp_time(f.stamp) AS set_at, {schema}.stamp_event(f.stamp) AS set_by
FROM (
    SELECT subject_id AS customer_id, anchor FROM {schema}.subject_customers
    WHERE CASE WHEN customer_id = subject_id THEN true END
) c
CROSS JOIN LATERAL (
    WITH own AS (
        SELECT s.subject_id AS party FROM {schema}.components k
        JOIN {schema}.identifiers i ON i.component = k.component
        JOIN {schema}.subjects s ON s.anchor = i.identifier
        WHERE k.customer_id = c.customer_id
        UNION ALL
        SELECT c.customer_id WHERE c.anchor IS NULL
    ), parties AS (
        SELECT party FROM own
        UNION ALL
        SELECT e.entity_id FROM own JOIN {schema}.entities e ON e.owner_subject = own.party
    )
    SELECT DISTINCT ON (p.field) p.field, p.value, p.stamp
    FROM parties
    JOIN {schema}.profile_fields p ON p.party = parties.party
    ORDER BY p.field, p.stamp DESC
) f
WHERE f.value::text <> 'null';

COMMENT ON VIEW {model}.profiles IS 'What is known of a customer, field by field: the last writer by event time wins; null clears a field.';
COMMENT ON COLUMN {model}.profiles.customer_id IS 'The customer.';
COMMENT ON COLUMN {model}.profiles.field IS 'The field: name, company, title, birthday, address, language ...';
COMMENT ON COLUMN {model}.profiles.value IS 'Its value as published, JSON.';
COMMENT ON COLUMN {model}.profiles.set_at IS 'When the event that set it occurred.';
COMMENT ON COLUMN {model}.profiles.set_by IS 'That event.';

CREATE OR REPLACE VIEW {model}.timeline AS
SELECT event_id, payload::json ->> 'source' AS source, payload::json ->> 'id' AS id, type, occurred_at, received_at, subject_id,
       entities[1] AS entity, entities, channel, direction, summary, payload::json AS payload, partition, log_offset, stamp
FROM {schema}.timeline
WHERE NOT voided;

COMMENT ON VIEW {model}.timeline IS 'Every interaction of every type that no event took back.';
COMMENT ON COLUMN {model}.timeline.event_id IS 'UUIDv5 of source and id.';
COMMENT ON COLUMN {model}.timeline.source IS 'As published.';
COMMENT ON COLUMN {model}.timeline.id IS 'As published.';
COMMENT ON COLUMN {model}.timeline.type IS 'The catalogue''s name without prefix (order.placed), or any other as published.';
COMMENT ON COLUMN {model}.timeline.occurred_at IS 'When it happened.';
COMMENT ON COLUMN {model}.timeline.received_at IS 'When the collector received the copy that counts.';
COMMENT ON COLUMN {model}.timeline.subject_id IS 'The identifiers it names, as a subject; NULL: none that links.';
COMMENT ON COLUMN {model}.timeline.entity IS 'The first entity it names, kind:id.';
COMMENT ON COLUMN {model}.timeline.entities IS 'All entities it names, in order.';
COMMENT ON COLUMN {model}.timeline.channel IS 'web, email, phone, chat, sms ...';
COMMENT ON COLUMN {model}.timeline.direction IS 'in: from the customer; out: to the customer; none.';
COMMENT ON COLUMN {model}.timeline.summary IS 'One line for people.';
COMMENT ON COLUMN {model}.timeline.payload IS 'The event as published, a CloudEvent in JSON.';
COMMENT ON COLUMN {model}.timeline.partition IS 'Where in the log it stands.';
COMMENT ON COLUMN {model}.timeline.log_offset IS 'Where in its partition.';
COMMENT ON COLUMN {model}.timeline.stamp IS 'The order of facts: sort by it.';

CREATE OR REPLACE VIEW {model}.last_touches AS
SELECT c.customer_id, t.channel, t.direction, {schema}.stamp_time(t.stamp) AS occurred_at, {schema}.stamp_event(t.stamp) AS set_by
FROM (
    SELECT subject_id AS customer_id, anchor FROM {schema}.subject_customers
    WHERE CASE WHEN customer_id = subject_id THEN true END
) c
CROSS JOIN LATERAL (
    WITH own AS (
        SELECT s.subject_id AS party FROM {schema}.components k
        JOIN {schema}.identifiers i ON i.component = k.component
        JOIN {schema}.subjects s ON s.anchor = i.identifier
        WHERE k.customer_id = c.customer_id
        UNION ALL
        SELECT c.customer_id WHERE c.anchor IS NULL
    ), parties AS (
        SELECT party FROM own
        UNION ALL
        SELECT e.entity_id FROM own JOIN {schema}.entities e ON e.owner_subject = own.party
    )
    SELECT DISTINCT ON (t.channel, t.direction) t.channel, t.direction, t.stamp
    FROM parties
    JOIN {schema}.touches t ON t.party = parties.party
    ORDER BY t.channel, t.direction, t.stamp DESC
) t;

COMMENT ON VIEW {model}.last_touches IS 'The last event from and to each customer on each channel.';
COMMENT ON COLUMN {model}.last_touches.customer_id IS 'The customer.';
COMMENT ON COLUMN {model}.last_touches.channel IS 'web, email, phone, chat, sms ...';
COMMENT ON COLUMN {model}.last_touches.direction IS 'in: from the customer; out: to the customer.';
COMMENT ON COLUMN {model}.last_touches.occurred_at IS 'When it happened.';
COMMENT ON COLUMN {model}.last_touches.set_by IS 'That event.';

-- Not for analysts: every subject with its customer, to be looked up by subject_id, or walked in order of it.
CREATE OR REPLACE VIEW backbone.{model}_every_subject AS
SELECT subject_id, customer_id, identifiers, {schema}.stamp_time(first_stamp) AS first_seen_at
FROM {schema}.subject_customers;

COMMENT ON VIEW backbone.{model}_every_subject IS 'Every subject and the customer it is.';

-- Not for analysts: which customer a subject is, as inner joins alone, so that the views over more than one model can be
-- walked by indexes from either end. Who is in neither stands for itself.
CREATE OR REPLACE VIEW backbone.{model}_subjects AS
SELECT s.subject_id, c.customer_id, {schema}.stamp_time(s.first_stamp) AS first_seen_at
FROM {schema}.components c
JOIN {schema}.identifiers i ON i.component = c.component
JOIN {schema}.subjects s ON s.anchor = i.identifier
WHERE c.customer_id IS NOT NULL;

COMMENT ON VIEW backbone.{model}_subjects IS 'Subjects with an identifier that is no hub, and the customer each is.';

CREATE OR REPLACE VIEW backbone.{model}_hub_subjects AS
SELECT subject_id, {schema}.stamp_time(first_stamp) AS first_seen_at
FROM {schema}.subjects
WHERE anchor IS NULL;

COMMENT ON VIEW backbone.{model}_hub_subjects IS 'Subjects that name nothing but hubs: each is a customer of its own.';
