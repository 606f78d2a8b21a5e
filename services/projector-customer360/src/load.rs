//! Loading: the timeline's rows are written as they come; registers and the identity graph are gathered in memory, each
//! row once, and written at the end.

use domain::{Interaction, Stamp};
use foldhash::{HashMap, HashMapExt as _};
use projection::copy::CopyBuffer;
use projection::{BatchTx, Event, Load, Pace};
use uuid::Uuid;

use crate::effects::{self, Effects};
use crate::graph;
use crate::identity::{LinkEvent, Node, SubjectRow};
use crate::model::Customer360;
use crate::timeline::{self, Entry};

/// What a row held in memory takes beside its texts, in bytes, about.
const ROW_BYTES: usize = 128;

/// An entity, and the first event that names a subject beside it.
struct Claimed {
    kind: &'static str,
    key: String,
    owner: Option<(Stamp, Uuid)>,
}

/// Everything gathered so far.
pub struct Gathered {
    model: Customer360,
    rows: timeline::Rows,
    /// Channels that were met: few, so that touches hold a number.
    channels: Vec<String>,
    touches: HashMap<(Uuid, u32, &'static str), Stamp>,
    entities: HashMap<Uuid, Claimed>,
    fields: HashMap<(Uuid, String), (Stamp, String)>,
    affiliations: HashMap<(Uuid, String), (Stamp, Stamp)>,
    subjects: HashMap<Uuid, (Stamp, Vec<Node>)>,
    links: Vec<LinkEvent>,
    held_bytes: usize,
    /// What [`Load::prepare`] has made of all this.
    registers: Vec<(&'static str, CopyBuffer)>,
    graph: graph::Rows,
}

impl Gathered {
    pub(crate) fn new(model: &Customer360) -> Self {
        Self {
            model: model.clone(),
            rows: timeline::Rows::default(),
            channels: Vec::new(),
            touches: HashMap::new(),
            entities: HashMap::new(),
            fields: HashMap::new(),
            affiliations: HashMap::new(),
            subjects: HashMap::new(),
            links: Vec::new(),
            held_bytes: 0,
            registers: Vec::new(),
            graph: graph::Rows::default(),
        }
    }

    fn set(&mut self, effects: &Effects<'_>) {
        for named in &effects.named {
            self.subject(effects.stamp, named);
        }
        if let Some(link) = &effects.link {
            self.held_bytes += ROW_BYTES + 2 * ROW_BYTES;
            self.links.push(link.clone());
        }
        if let Some((channel, direction)) = effects.touch {
            let channel = self.channel(channel);
            for party in effects.parties() {
                let held = &mut self.held_bytes;
                latest(self.touches.entry((party, channel, direction)), effects.stamp, || *held += ROW_BYTES);
            }
        }
        for entity in &effects.entities {
            let claimed = self.entities.entry(entity.id).or_insert_with(|| {
                self.held_bytes += ROW_BYTES + entity.key.len();
                Claimed { kind: entity.kind, key: entity.key.to_owned(), owner: None }
            });
            if let Some(own) = effects.own
                && claimed.owner.as_ref().is_none_or(|(stamp, _)| effects.stamp < stamp)
            {
                claimed.owner = Some((effects.stamp.clone(), own));
            }
        }
        self.profile(effects);
        self.groups(effects);
    }

    fn subject(&mut self, stamp: &Stamp, named: &effects::Named<'_>) {
        match self.subjects.get_mut(&named.id) {
            Some((first, _)) if stamp < first => first.clone_from(stamp),
            Some(_) => {}
            None => {
                let nodes = named.nodes();
                self.held_bytes += ROW_BYTES + nodes.len() * 2 * ROW_BYTES;
                self.subjects.insert(named.id, (stamp.clone(), nodes));
            }
        }
    }

    fn channel(&mut self, channel: &str) -> u32 {
        let known = self.channels.iter().position(|c| c == channel);
        let number = known.unwrap_or_else(|| {
            self.channels.push(channel.to_owned());
            self.channels.len() - 1
        });
        u32::try_from(number).expect("an event brings at most one channel, and memory ends before their numbers do")
    }

    fn profile(&mut self, effects: &Effects<'_>) {
        for (field, value) in &effects.fields {
            for party in effects.parties() {
                let entry = self.fields.entry((party, field.clone()));
                let held = &mut self.held_bytes;
                let (stamp, known) = entry.or_insert_with(|| {
                    *held += ROW_BYTES + field.len() + value.len();
                    (effects.stamp.clone(), value.clone())
                });
                if (&*stamp, &*known) < (effects.stamp, value) {
                    (*stamp, *known) = (effects.stamp.clone(), value.clone());
                }
            }
        }
    }

    fn groups(&mut self, effects: &Effects<'_>) {
        for group in &effects.groups {
            for party in effects.parties() {
                let held = &mut self.held_bytes;
                let (first, last) = self.affiliations.entry((party, group.clone())).or_insert_with(|| {
                    *held += ROW_BYTES + group.len();
                    (effects.stamp.clone(), effects.stamp.clone())
                });
                if effects.stamp < first {
                    first.clone_from(effects.stamp);
                }
                if effects.stamp > last {
                    last.clone_from(effects.stamp);
                }
            }
        }
    }

    /// The rows of the registers, each table's sorted as its index is.
    fn registers(&mut self, pace: &Pace) -> [(&'static str, CopyBuffer); 4] {
        let mut touches = CopyBuffer::with_capacity(4, self.touches.len() * 96);
        let channels = &self.channels;
        let channel = |number: u32| channels[number as usize].as_str();
        let mut sorted: Vec<_> = std::mem::take(&mut self.touches).into_iter().collect();
        sorted.sort_unstable_by_key(|((party, number, direction), _)| (*party, channel(*number), *direction));
        for ((party, number, direction), stamp) in pace.along(sorted) {
            let row = touches.begin_row();
            row.put_uuid(party).put_text(channel(number)).put_text(direction).put_bytes(stamp.as_bytes());
        }

        let mut entities = CopyBuffer::with_capacity(5, self.entities.len() * 128);
        for (id, Claimed { kind, key, owner }) in pace.along(sorted_by_key(&mut self.entities)) {
            entities
                .begin_row()
                .put_uuid(id)
                .put_text(kind)
                .put_text(&key)
                .put_opt(owner.as_ref(), |to, (stamp, _)| to.put_bytes(stamp.as_bytes()))
                .put_opt(owner.as_ref(), |to, (_, subject)| to.put_uuid(*subject));
        }

        let mut fields = CopyBuffer::with_capacity(4, self.fields.len() * 128);
        for ((party, field), (stamp, value)) in pace.along(sorted_by_key(&mut self.fields)) {
            fields.begin_row().put_uuid(party).put_text(&field).put_bytes(stamp.as_bytes()).put_text(&value);
        }

        let mut affiliations = CopyBuffer::with_capacity(4, self.affiliations.len() * 128);
        for ((party, group), (first, last)) in pace.along(sorted_by_key(&mut self.affiliations)) {
            let row = affiliations.begin_row();
            row.put_uuid(party).put_text(&group).put_bytes(first.as_bytes()).put_bytes(last.as_bytes());
        }
        [
            ("COPY touches (party, channel, direction, stamp) FROM STDIN BINARY", touches),
            ("COPY entities (entity_id, kind, key, owner_stamp, owner_subject) FROM STDIN BINARY", entities),
            ("COPY profile_fields (party, field, stamp, value) FROM STDIN BINARY", fields),
            ("COPY affiliations (party, group_id, first_stamp, last_stamp) FROM STDIN BINARY", affiliations),
        ]
    }

    /// Writes what was prepared.
    pub(crate) async fn write(self, cx: &mut BatchTx<'_>) -> Result<(), sqlx::Error> {
        for (statement, rows) in self.registers.into_iter().chain(self.graph.statements) {
            cx.copy_in_steps(statement, rows).await?;
        }
        if self.graph.components > 0 {
            let last = "SELECT setval('component_numbers', $1)";
            sqlx::query(last).bind(self.graph.components).execute(&mut **cx).await?;
        }
        Ok(())
    }
}

impl Load for Gathered {
    fn add(&mut self, event: &Event) {
        let interaction: &Interaction = &event.interaction;
        let namespace = self.model.namespace;
        let entry = Entry { event, effects: Effects::of(interaction, &namespace), voided: false };
        self.rows.put(&entry);
        self.set(&entry.effects);
    }

    fn take_rows(&mut self) -> Vec<(String, CopyBuffer)> {
        let next = timeline::Rows::like(&self.rows);
        std::mem::replace(&mut self.rows, next).into_statements().map(|(s, rows)| (s.to_owned(), rows)).into()
    }

    fn row_bytes(&self) -> usize {
        self.rows.bytes()
    }

    fn held_bytes(&self) -> usize {
        self.held_bytes
    }

    fn prepare(&mut self, pace: &Pace) {
        self.registers = self.registers(pace).into();
        let row = |(id, (first, identifiers))| SubjectRow { id, identifiers, first };
        let subjects: Vec<SubjectRow> = pace.along(sorted_by_key(&mut self.subjects)).map(row).collect();
        self.graph = graph::rows(&self.model.limits, &subjects, &self.links, pace);
    }
}

/// A map's entries, taken out and sorted.
fn sorted_by_key<K: Ord, V>(map: &mut HashMap<K, V>) -> Vec<(K, V)> {
    let mut entries: Vec<(K, V)> = std::mem::take(map).into_iter().collect();
    entries.sort_unstable_by(|(a, _), (b, _)| a.cmp(b));
    entries
}

/// The later of two stamps stays; `new` is called where there was none.
fn latest<K>(entry: std::collections::hash_map::Entry<'_, K, Stamp>, stamp: &Stamp, new: impl FnOnce()) {
    match entry {
        std::collections::hash_map::Entry::Occupied(mut known) if stamp > known.get() => {
            known.get_mut().clone_from(stamp);
        }
        std::collections::hash_map::Entry::Occupied(_) => {}
        std::collections::hash_map::Entry::Vacant(vacant) => {
            new();
            vacant.insert(stamp.clone());
        }
    }
}
