-- The indexes of tables that a load writes at its end, sorted.
CREATE UNIQUE INDEX entities_entity ON entities (entity_id);
CREATE INDEX entities_owner ON entities (owner_subject);
CREATE UNIQUE INDEX touches_party ON touches (party, channel, direction);
CREATE UNIQUE INDEX subjects_subject ON subjects (subject_id);
CREATE UNIQUE INDEX naming_identifier ON naming (identifier, subject_id);
CREATE UNIQUE INDEX identifiers_identifier ON identifiers (identifier);
CREATE INDEX identifiers_component ON identifiers (component);
CREATE UNIQUE INDEX neighbours_identifier ON neighbours (identifier, neighbour);
CREATE UNIQUE INDEX components_component ON components (component);
CREATE INDEX components_cluster ON components (cluster) WHERE conflicted;
CREATE INDEX components_customer ON components (customer_id);
