-- The indexes of tables that a load writes at its end, sorted.
CREATE UNIQUE INDEX entities_entity ON entities (entity_id);
CREATE INDEX entities_owner ON entities (owner_subject);
CREATE UNIQUE INDEX profile_fields_party ON profile_fields (party, field);
CREATE UNIQUE INDEX touches_party ON touches (party, channel, direction);
CREATE UNIQUE INDEX affiliations_party ON affiliations (party, group_id);
CREATE INDEX affiliations_group ON affiliations (group_id);
CREATE UNIQUE INDEX subjects_subject ON subjects (subject_id);
-- From an identifier to the subjects that it stands for, and those that nothing but hubs stand for.
CREATE INDEX subjects_anchor ON subjects (anchor);
CREATE UNIQUE INDEX naming_identifier ON naming (identifier, subject_id);
CREATE UNIQUE INDEX identifiers_identifier ON identifiers (identifier);
-- In the order of the code, byte by byte: links are walked in it.
CREATE INDEX identifiers_order ON identifiers (identifier COLLATE "C");
CREATE INDEX identifiers_component ON identifiers (component);
CREATE UNIQUE INDEX neighbours_identifier ON neighbours (identifier, neighbour);
CREATE UNIQUE INDEX link_events_left ON link_events (left_id, right_id, stamp);
CREATE INDEX link_events_right ON link_events (right_id);
CREATE UNIQUE INDEX components_component ON components (component);
CREATE INDEX components_cluster ON components (cluster) WHERE conflicted;
CREATE INDEX components_customer ON components (customer_id);
-- Search by name: the whole of it, and its last word.
CREATE INDEX profile_fields_name ON profile_fields (left(lower(value #>> '{}'), 64) COLLATE "C", party)
    WHERE field IN ('name', 'first_name', 'last_name', 'company') AND json_typeof(value) = 'string';
CREATE INDEX profile_fields_last_name
    ON profile_fields (left(lower(substring(value #>> '{}' FROM '[^ ]+$')), 64) COLLATE "C", party)
    WHERE field IN ('name', 'first_name', 'last_name', 'company') AND json_typeof(value) = 'string';
