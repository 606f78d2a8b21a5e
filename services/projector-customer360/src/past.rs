//! Which events made a customer what it was at a past moment, found from what is known today.
//!
//! Who belonged to whom then is not stored: the graph is as of now. But whoever was linked then had been named together
//! in some event, or joined by an explicit link, and both are still to be found. So the search walks from identifier to
//! identifier over the events that had been known by the moment, and ends at those that were hubs *then*; what it brings is
//! enough to fold the same customer again, on its own. More than needed does no harm: it folds to somebody else.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use domain::position::Offsets;
use domain::{Interaction, time};
use futures::TryStreamExt as _;
use prost::Message as _;
use sqlx::PgConnection;
use uuid::Uuid;

use crate::effects::{self, Effects, Named};
use crate::identity::Node;
use crate::model::Customer360;

/// So many subjects of one identifier are looked at: of a hub no more are needed, and whoever is known by more without being
/// one has no past that could be folded while somebody waits.
const SUBJECTS_MAX: usize = 2_000;
/// What the copies of all events may take in memory.
const BYTES_MAX: usize = 64 * 1024 * 1024;
/// Of an identifier that was a hub and is asked for itself, so many subjects are followed.
const SHARED_MAX: usize = 200;

/// A moment in the past.
#[derive(Clone, Debug)]
pub struct Moment {
    /// How far customer360 had come: partition -> next offset.
    pub known: Offsets,
    /// How far the model that had come furthest had, partition by partition.
    pub reached: Offsets,
    /// The latest `occurred_at` that counts, microseconds UTC; `None`: any.
    pub occurred_by: Option<i64>,
}

/// Where a search begins.
#[derive(Clone, Debug)]
pub enum Seed {
    /// A subject's id, which may be a customer's.
    Subject(Uuid),
    /// An identifier that links, in normal form.
    Identifier(String),
    /// An account, partner or household.
    Group(String),
}

/// One copy of an event, as it stands in the log but for its headers.
#[derive(Clone, Debug)]
pub struct Copy {
    /// Which event.
    pub event_id: Uuid,
    /// The record's value.
    pub value: Vec<u8>,
    /// When it was received, microseconds UTC.
    pub received_at: i64,
    /// Where in the log it stands.
    pub partition: i32,
    /// Where in its partition.
    pub offset: i64,
}

/// Why a search found no answer.
#[derive(Debug, thiserror::Error)]
pub enum PastError {
    /// It would take more events than were allowed.
    #[error("more than {0} events would have to be folded again")]
    TooMuch(usize),
    /// A stored event cannot be read back.
    #[error("the timeline's row of event {event_id} cannot be read back: {reason}")]
    Row {
        /// Which.
        event_id: Uuid,
        /// Why.
        reason: String,
    },
    /// PostgreSQL refused a statement.
    #[error("the database refused a statement")]
    Database(#[from] sqlx::Error),
}

impl Customer360 {
    /// Every copy that was known at the moment of every event that made whoever `seed` stands for what they were: events of
    /// their subjects, of the entities those name, and of neighbours as far as they decide who is whom. `search_path` is the
    /// live generation's schema. `events_max`: how many events may come of it.
    ///
    /// # Errors
    /// There are more, or PostgreSQL refuses a statement.
    pub async fn past_events(
        &self,
        connection: &mut PgConnection,
        seed: &Seed,
        moment: &Moment,
        events_max: usize,
    ) -> Result<Vec<Copy>, PastError> {
        let mut search = Search { model: self, cut: Cut::of(moment), events_max, found: Found::default() };
        search.begin(connection, seed).await?;
        while !search.found.frontier.is_empty() {
            search.step(connection).await?;
        }
        search.finish(connection).await
    }
}

/// The moment as the statements take it.
struct Cut {
    known: Vec<i64>,
    reached: Vec<i64>,
    occurred_by: Option<chrono::DateTime<chrono::Utc>>,
    occurred_by_us: Option<i64>,
}

impl Cut {
    fn of(moment: &Moment) -> Self {
        Self {
            known: by_partition(&moment.known),
            reached: by_partition(&moment.reached),
            occurred_by: moment.occurred_by.map(time::to_chrono),
            occurred_by_us: moment.occurred_by,
        }
    }
}

/// The next offset of each partition from 0 on.
fn by_partition(offsets: &Offsets) -> Vec<i64> {
    let partitions = offsets.keys().last().map_or(0, |last| last + 1);
    (0..partitions).map(|partition| offsets.get(&partition).copied().unwrap_or(0)).collect()
}

#[derive(Default)]
struct Found {
    /// Identifiers whose neighbours are looked at next.
    frontier: BTreeSet<String>,
    /// Those that have been.
    visited: HashSet<String>,
    /// Identifiers that are asked for themselves, hubs or not.
    seeds: HashSet<String>,
    /// Subjects all of whose events are taken.
    subjects: BTreeSet<Uuid>,
    /// Entities all of whose events are taken.
    entities: BTreeSet<Uuid>,
    /// Events that are taken besides.
    events: BTreeSet<Uuid>,
}

/// What an event said when it counted: the subjects and entities it named, and the two sides of an explicit link.
struct Said {
    named: Vec<(Uuid, Vec<String>)>,
    entities: Vec<Uuid>,
    link: Option<(String, String)>,
}

impl Said {
    fn of(interaction: &Interaction, model: &Customer360) -> Self {
        let effects = Effects::of(interaction, &model.namespace);
        let identifiers = |named: &Named<'_>| named.identifiers.iter().map(ToString::to_string).collect();
        let link = effects.link.map(|link| {
            let (left, right) = link.pair.texts();
            (left.to_owned(), right.to_owned())
        });
        Self {
            named: effects.named.iter().map(|n| (n.id, identifiers(n))).collect(),
            entities: effects.entities.iter().map(|e| e.id).collect(),
            link,
        }
    }
}

/// A subject that named an identifier, and the first event of it.
struct Naming {
    subject: Uuid,
    identifiers: Vec<String>,
    event: Uuid,
}

struct Search<'m> {
    model: &'m Customer360,
    cut: Cut,
    events_max: usize,
    found: Found,
}

impl Search<'_> {
    async fn begin(&mut self, connection: &mut PgConnection, seed: &Seed) -> Result<(), PastError> {
        match seed {
            Seed::Identifier(identifier) => {
                self.found.seeds.insert(identifier.clone());
                self.found.frontier.insert(identifier.clone());
            }
            Seed::Subject(id) => self.begin_at(connection, &[*id]).await?,
            Seed::Group(group) => {
                let members: Vec<Uuid> = sqlx::query_scalar(
                    "SELECT coalesce(e.owner_subject, a.party) FROM affiliations AS a
                     LEFT JOIN entities AS e ON e.entity_id = a.party WHERE a.group_id = $1
                     ORDER BY a.first_stamp LIMIT $2",
                )
                .bind(group)
                .bind(SHARED_MAX as i64)
                .fetch_all(&mut *connection)
                .await?;
                self.begin_at(connection, &members).await?;
                let taken_back = self.taken_back(connection, std::slice::from_ref(group)).await?;
                let events: BTreeSet<Uuid> = taken_back.into_values().flatten().collect();
                for (event, said) in self.counted(connection, &events).await? {
                    self.found.events.insert(event);
                    self.found.entities.extend(said.entities);
                    self.found.frontier.extend(said.named.into_iter().flat_map(|(_, identifiers)| identifiers));
                }
            }
        }
        Ok(())
    }

    async fn begin_at(&mut self, connection: &mut PgConnection, subjects: &[Uuid]) -> Result<(), PastError> {
        self.found.subjects.extend(subjects);
        let identifiers: Vec<String> =
            sqlx::query_scalar("SELECT DISTINCT unnest(identifiers) FROM subjects WHERE subject_id = ANY($1)")
                .bind(subjects)
                .fetch_all(&mut *connection)
                .await?;
        self.found.frontier.extend(identifiers);
        // A subject that no counting event names any more.
        let names: Vec<String> = subjects.iter().map(Uuid::to_string).collect();
        let taken_back = self.taken_back(connection, &names).await?;
        let taken_back: BTreeSet<Uuid> = taken_back.into_values().flatten().collect();
        for (event, said) in self.counted(connection, &taken_back).await? {
            self.found.events.insert(event);
            self.found.entities.extend(said.entities);
            let own = said.named.into_iter().filter(|(subject, _)| subjects.contains(subject));
            self.found.frontier.extend(own.flat_map(|(_, identifiers)| identifiers));
        }
        Ok(())
    }

    /// Looks at the neighbours of the frontier.
    async fn step(&mut self, connection: &mut PgConnection) -> Result<(), PastError> {
        let at: Vec<String> = std::mem::take(&mut self.found.frontier).into_iter().collect();
        self.found.visited.extend(at.iter().cloned());
        let mut namings = self.namings(connection, &at).await?;
        let taken_back = self.taken_back(connection, &at).await?;
        let events: BTreeSet<Uuid> = taken_back.values().flatten().copied().collect();
        let counted = self.counted(connection, &events).await?;
        self.found.events.extend(counted.keys());
        self.found.entities.extend(counted.values().flat_map(|said| &said.entities));
        let mut next: BTreeSet<String> = BTreeSet::new();
        for (identifier, events) in taken_back {
            let of = namings.entry(identifier.clone()).or_default();
            for (event, said) in events.iter().filter_map(|event| counted.get_key_value(event)) {
                for (subject, identifiers) in said.named.iter().filter(|(_, named)| named.contains(&identifier)) {
                    of.push(Naming { subject: *subject, identifiers: identifiers.clone(), event: *event });
                }
                let linked = said.link.iter().filter(|(left, right)| [left, right].contains(&&identifier));
                next.extend(linked.flat_map(|(left, right)| [left.clone(), right.clone()]));
            }
        }
        for (identifier, namings) in namings {
            let followed = self.follow(&identifier, namings)?;
            next.extend(followed);
        }
        // Explicit links stay on at hubs.
        let links: Vec<(String, Uuid)> = sqlx::query_as(include_str!("../sql/past/links.sql"))
            .bind(&at)
            .bind(&self.cut.known)
            .bind(self.cut.occurred_by)
            .fetch_all(connection)
            .await?;
        for (other, event) in links {
            next.insert(other);
            self.found.events.insert(event);
        }
        next.retain(|identifier| !self.found.visited.contains(identifier));
        self.found.frontier = next;
        if self.found.visited.len() + self.found.frontier.len() > self.events_max {
            return Err(PastError::TooMuch(self.events_max));
        }
        Ok(())
    }

    /// What an identifier leads to. A hub leads nowhere; so much of its neighbours is taken that it is one again.
    fn follow(&mut self, identifier: &str, namings: Vec<Naming>) -> Result<Vec<String>, PastError> {
        let Some(node) = Node::parse(identifier) else { return Ok(Vec::new()) };
        let is_cut = namings.len() >= SUBJECTS_MAX;
        let mut near: BTreeSet<Node> = BTreeSet::new();
        let mut witnesses = Vec::new();
        for naming in &namings {
            let before = near.len();
            near.extend(naming.identifiers.iter().filter(|i| *i != identifier).filter_map(|i| Node::parse(i)));
            // The first of all: since when the identifier is known.
            if near.len() > before || witnesses.is_empty() {
                witnesses.push(naming.event);
            }
            if self.model.limits.exceeded(&node, &near) {
                self.found.events.extend(witnesses);
                let shared = if self.found.seeds.contains(identifier) { SHARED_MAX } else { 0 };
                return Ok(self.take(namings.into_iter().take(shared)));
            }
        }
        if is_cut {
            return Err(PastError::TooMuch(SUBJECTS_MAX));
        }
        Ok(self.take(namings.into_iter()))
    }

    fn take(&mut self, namings: impl Iterator<Item = Naming>) -> Vec<String> {
        let mut identifiers = Vec::new();
        for naming in namings {
            self.found.subjects.insert(naming.subject);
            identifiers.extend(naming.identifiers);
        }
        identifiers
    }

    /// Who names these identifiers, the earliest first.
    async fn namings(
        &self,
        connection: &mut PgConnection,
        identifiers: &[String],
    ) -> Result<BTreeMap<String, Vec<Naming>>, PastError> {
        let rows: Vec<(String, Uuid, Vec<String>, Uuid)> = sqlx::query_as(include_str!("../sql/past/subjects.sql"))
            .bind(identifiers)
            .bind(&self.cut.known)
            .bind(self.cut.occurred_by)
            .bind(SUBJECTS_MAX as i64)
            .fetch_all(connection)
            .await?;
        let mut namings: BTreeMap<String, Vec<Naming>> = BTreeMap::new();
        for (identifier, subject, identifiers, event) in rows {
            namings.entry(identifier).or_default().push(Naming { subject, identifiers, event });
        }
        Ok(namings)
    }

    /// The events that count no more and named one of these.
    async fn taken_back(
        &self,
        connection: &mut PgConnection,
        names: &[String],
    ) -> Result<BTreeMap<String, BTreeSet<Uuid>>, PastError> {
        let rows: Vec<(String, Uuid)> =
            sqlx::query_as("SELECT name, event_id FROM taken_back WHERE name = ANY($1) LIMIT $2")
                .bind(names)
                .bind(self.events_max as i64 + 1)
                .fetch_all(connection)
                .await?;
        if rows.len() > self.events_max {
            return Err(PastError::TooMuch(self.events_max));
        }
        let mut events: BTreeMap<String, BTreeSet<Uuid>> = BTreeMap::new();
        for (name, event) in rows {
            events.entry(name).or_default().insert(event);
        }
        Ok(events)
    }

    /// What each of these events said as it counted then; those that did not count are left out.
    async fn counted(
        &self,
        connection: &mut PgConnection,
        events: &BTreeSet<Uuid>,
    ) -> Result<BTreeMap<Uuid, Said>, PastError> {
        if events.is_empty() {
            return Ok(BTreeMap::new());
        }
        let voids = self.voids(connection, events).await?;
        let both: Vec<Uuid> = events.iter().chain(voids.values().flatten()).copied().collect();
        let copies = self.copies(connection, both, &self.cut.known).await?;
        let mut least: HashMap<Uuid, Interaction> = HashMap::new();
        for copy in &copies {
            let read = Interaction::decode(&copy.value, copy.received_at, &self.model.namespace)
                .map_err(|error| PastError::Row { event_id: copy.event_id, reason: error.to_string() })?;
            match least.get(&copy.event_id) {
                Some(known) if known.copy_order() <= read.copy_order() => {}
                _ => {
                    least.insert(copy.event_id, read);
                }
            }
        }
        least.retain(|_, read| self.cut.occurred_by_us.is_none_or(|by| read.occurred_at <= by));
        let voids_it = |void: &Uuid, event| least.get(void).is_some_and(|void| void.voids() == Some(event));
        let is_void = |event: &Uuid| least.get(event).is_some_and(|read| read.voids().is_some());
        let is_voided =
            |event: &Uuid| !is_void(event) && voids.get(event).into_iter().flatten().any(|void| voids_it(void, *event));
        let counted = events.iter().filter(|event| !is_voided(event));
        Ok(counted.filter_map(|event| Some((*event, Said::of(least.get(event)?, self.model)))).collect())
    }

    /// The voids of these events, whenever they came, and what may have been one.
    async fn voids(
        &self,
        connection: &mut PgConnection,
        events: &BTreeSet<Uuid>,
    ) -> Result<BTreeMap<Uuid, Vec<Uuid>>, PastError> {
        let rows: Vec<(Uuid, Uuid)> = sqlx::query_as(
            "SELECT target, void_id FROM voids WHERE target = ANY($1)
             UNION SELECT e.id, b.event_id FROM unnest($1) AS e (id) JOIN taken_back AS b ON b.name = e.id::text",
        )
        .bind(events.iter().copied().collect::<Vec<_>>())
        .fetch_all(connection)
        .await?;
        let mut voids: BTreeMap<Uuid, Vec<Uuid>> = BTreeMap::new();
        for (target, void) in rows {
            voids.entry(target).or_default().push(void);
        }
        Ok(voids)
    }

    /// Every copy of these events that stands before these offsets.
    async fn copies(
        &self,
        connection: &mut PgConnection,
        events: Vec<Uuid>,
        before: &[i64],
    ) -> Result<Vec<Copy>, PastError> {
        type Row = (Uuid, String, chrono::DateTime<chrono::Utc>, Vec<u8>, i32, i64);
        let mut rows = sqlx::query_as::<_, Row>(include_str!("../sql/past/copies.sql")).bind(events).fetch(connection);
        let (mut copies, mut bytes) = (Vec::new(), 0);
        while let Some((event_id, payload, received_at, hash, partition, offset)) = rows.try_next().await? {
            bytes += payload.len();
            if copies.len() >= 2 * self.events_max || bytes > BYTES_MAX {
                return Err(PastError::TooMuch(self.events_max));
            }
            let next = usize::try_from(partition).ok().and_then(|partition| before.get(partition));
            if next.is_none_or(|next| offset >= *next) {
                continue;
            }
            let received_at = received_at.timestamp_micros();
            let read = effects::read_back(&payload, &hash, received_at, &self.model.namespace)
                .map_err(|reason| PastError::Row { event_id, reason })?;
            copies.push(Copy { event_id, value: read.wire.encode_to_vec(), received_at, partition, offset });
        }
        Ok(copies)
    }

    /// The events of all that was found.
    async fn finish(mut self, connection: &mut PgConnection) -> Result<Vec<Copy>, PastError> {
        let subjects: Vec<Uuid> = std::mem::take(&mut self.found.subjects).into_iter().collect();
        let mut entities = std::mem::take(&mut self.found.entities);
        for named in self.events_of(connection, &subjects).await?.into_iter().flatten() {
            let (kind, key) = named.split_once(':').unwrap_or((&named, ""));
            entities.insert(self.model.namespace.entity_id(kind, key));
        }
        let entities: Vec<Uuid> = entities.into_iter().collect();
        self.events_of(connection, &entities).await?;
        let events = std::mem::take(&mut self.found.events);
        let voids = self.voids(connection, &events).await?;
        let all: BTreeSet<Uuid> = events.into_iter().chain(voids.into_values().flatten()).collect();
        self.copies(connection, all.into_iter().collect(), &self.cut.reached).await
    }

    /// Takes the events of these parties; returns the entities that they name.
    async fn events_of(
        &mut self,
        connection: &mut PgConnection,
        parties: &[Uuid],
    ) -> Result<Vec<Vec<String>>, PastError> {
        let rows: Vec<(Uuid, Option<Vec<String>>)> = sqlx::query_as(include_str!("../sql/past/events.sql"))
            .bind(parties)
            .bind(&self.cut.reached)
            .bind(self.cut.occurred_by)
            .bind(self.events_max as i64 + 1)
            .fetch_all(&mut *connection)
            .await?;
        self.found.events.extend(rows.iter().map(|(event, _)| *event));
        let names: Vec<String> = parties.iter().map(Uuid::to_string).collect();
        self.found.events.extend(self.taken_back(connection, &names).await?.into_values().flatten());
        if self.found.events.len() > self.events_max {
            return Err(PastError::TooMuch(self.events_max));
        }
        Ok(rows.into_iter().filter_map(|(_, entities)| entities).collect())
    }
}
