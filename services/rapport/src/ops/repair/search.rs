//! Which records of the log say something of one entity or one customer, found from name to name.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::time::{Duration, Instant};

use domain::position::Offsets;
use domain::{Interaction, time};
use event_log::{Log, RangeReader, Record, Topic};
use projection::compare::Named;
use projection::repair::{Names, Said, Source, Stored};
use projector_customer360::Customer360;
use uuid::Uuid;

use crate::failure::{Exit, Failure, OrExit, Outcome};
use crate::say;

/// More records than this are not folded apart.
const RECORDS_MAX: usize = 200_000;
/// Of an identifier that is a hub, this many records are kept that nothing else asks for.
const OF_A_HUB_MAX: usize = 1_000;
/// While a log is read, its progress is told this often.
const TELL_INTERVAL: Duration = Duration::from_secs(5);
/// So many ids of events that say nothing of the names are kept in mind, of eight bytes each.
const UNPICKED_MAX: usize = 20_000_000;
/// The log is read this often at most: each time is for names that the one before brought.
const READINGS_MAX: u32 = 32;

/// A search in the log.
pub(super) struct Search<'a> {
    log: &'a Log,
    customer360: &'a Customer360,
    names: Names,
    /// The names for which all of the log has been read, up to `read`.
    passed: Names,
    starts: Offsets,
    read: Offsets,
    readings: u32,
    found: BTreeMap<(i32, i64), (Record, Said)>,
    /// What stands beside identifiers that many records name.
    crowds: HashMap<String, Crowd>,
    /// Events that were passed by, and such that were taken back by one: of any other no copy or void has been missed.
    unpicked: HashSet<u64>,
}

/// The records that name an identifier.
#[derive(Default)]
struct Crowd {
    records: usize,
    near: BTreeSet<String>,
    /// Some have not been kept.
    is_cut: bool,
}

impl<'a> Search<'a> {
    pub(super) async fn new(log: &'a Log, customer360: &'a Customer360, names: Names) -> Outcome<Self> {
        let starts = log.starts().await.or_exit(Exit::Unavailable)?;
        Ok(Self {
            log,
            customer360,
            names: Names { unfollowed: names.identifiers.clone(), ..names },
            passed: Names::default(),
            read: starts.clone(),
            starts,
            readings: 0,
            found: BTreeMap::new(),
            crowds: HashMap::new(),
            unpicked: HashSet::new(),
        })
    }

    /// Whether the log says anything of the names.
    pub(super) fn is_empty(&self) -> bool {
        self.found.is_empty()
    }

    /// Whether all that is known has been looked for.
    pub(super) fn is_done(&self) -> bool {
        self.readings > 0 && self.passed.covers(&self.names)
    }

    /// Identifiers that are shared by so many that nothing follows from them.
    pub(super) fn is_hub(&self, identifier: &str) -> bool {
        self.names.unfollowed.contains(identifier)
    }

    /// Reads all of the log for the names that are known now.
    pub(super) async fn read(&mut self) -> Outcome {
        if self.readings == READINGS_MAX {
            return Err(too_much());
        }
        self.readings += 1;
        let asked = self.names.clone();
        let ends = self.log.ends().await.or_exit(Exit::Unavailable)?;
        self.crowds.clear();
        let records = self.pick(self.starts.clone(), &ends, true).await?;
        for (partition, end) in ends {
            let read = self.read.entry(partition).or_default();
            *read = end.max(*read);
        }
        self.passed = asked;
        self.close()?;
        say::note(format_args!("{records} records read, {} of them say something of it", self.found.len()));
        Ok(())
    }

    /// Keeps what says something of the names. Returns how many records there were.
    async fn pick(&mut self, from: Offsets, to: &Offsets, is_told: bool) -> Outcome<u64> {
        let mut reader = RangeReader::between(self.log, Topic::Log, from, to).or_exit(Exit::Unavailable)?;
        let (began, mut told, mut records) = (Instant::now(), Instant::now(), 0_u64);
        while let Some(some) = reader.next().await.or_exit(Exit::Unavailable)? {
            records += some.len() as u64;
            for record in some {
                self.look_at(record)?;
            }
            if is_told && told.elapsed() > TELL_INTERVAL {
                let rate = records as f64 / began.elapsed().as_secs_f64();
                say::note(format_args!("{records} records read, {rate:.0} a second"));
                told = Instant::now();
            }
        }
        Ok(records)
    }

    fn look_at(&mut self, record: Record) -> Outcome {
        let place = (record.partition, record.offset);
        // What cannot be read is no event in any model.
        if record.created || self.found.contains_key(&place) {
            return Ok(());
        }
        let Ok(event) = Interaction::decode(&record.value, record.received_at, self.log.namespace()) else {
            return Ok(());
        };
        let said = Said { threads: projector_service::nodes(&event), ..self.customer360.said(&event) };
        if self.is_wanted(&said) {
            self.found.insert(place, (record, said));
            if self.found.len() > RECORDS_MAX {
                return Err(too_much());
            }
        } else if self.unpicked.len() < UNPICKED_MAX {
            self.unpicked.extend([said.event_id].into_iter().chain(said.voids).map(short));
        }
        Ok(())
    }

    fn is_wanted(&mut self, said: &Said) -> bool {
        let names = &self.names;
        let is_link = |(left, right): &(String, String)| [left, right].iter().any(|i| names.identifiers.contains(*i));
        let is_named = names.events.contains(&said.event_id)
            || said.voids.is_some_and(|target| names.events.contains(&target))
            || said.entities.iter().any(|entity| names.entities.contains(entity))
            || said.named.iter().any(|(subject, _)| names.subjects.contains(subject))
            || said.threads.iter().any(|node| names.threads.contains(node))
            || said.link.as_ref().is_some_and(is_link);
        let mut is_wanted = is_named;
        for (_, identifiers) in &said.named {
            for identifier in identifiers.iter().filter(|i| names.identifiers.contains(*i)) {
                let crowd = self.crowds.entry(identifier.clone()).or_default();
                crowd.records += 1;
                if crowd.records <= OF_A_HUB_MAX {
                    crowd.near.extend(identifiers.iter().cloned());
                    is_wanted = true;
                } else if is_named || !self.customer360.is_hub(identifier, &crowd.near) {
                    // A person of many events; as they name others, it may turn out to be a hub yet.
                    crowd.near.extend(identifiers.iter().cloned());
                    is_wanted = true;
                } else {
                    crowd.is_cut = true;
                }
            }
        }
        is_wanted
    }

    /// Adds the names that follow from what was found, until none is added.
    fn close(&mut self) -> Outcome {
        loop {
            self.find_hubs()?;
            let before = self.size();
            let mut more = Names::default();
            for (_, said) in self.found.values() {
                self.follow(said, &mut more);
            }
            self.names.add(more);
            self.names
                .unfollowed
                .extend(self.names.identifiers.iter().filter(|i| !self.passed.identifiers.contains(*i)).cloned());
            if self.size() == before {
                break;
            }
        }
        if self.readings > 0 {
            let unpicked = &self.unpicked;
            let is_whole = |event: &&Uuid| unpicked.len() < UNPICKED_MAX && !unpicked.contains(&short(**event));
            let whole: Vec<Uuid> = self.names.events.iter().filter(is_whole).copied().collect();
            self.passed.events.extend(whole);
        }
        Ok(())
    }

    fn size(&self) -> usize {
        let Names { events, entities, subjects, identifiers, threads, .. } = &self.names;
        events.len() + entities.len() + subjects.len() + identifiers.len() + threads.len()
    }

    /// What an event that was found leads to.
    fn follow(&self, said: &Said, more: &mut Names) {
        let names = &self.names;
        more.events.insert(said.event_id);
        more.events.extend(said.voids);
        let is_followed = |i: &String| names.identifiers.contains(i) && !names.unfollowed.contains(i);
        let mut is_about = said.entities.iter().any(|entity| names.entities.contains(entity));
        for (subject, identifiers) in &said.named {
            if names.subjects.contains(subject) || identifiers.iter().any(is_followed) {
                more.subjects.insert(*subject);
                more.identifiers.extend(identifiers.iter().cloned());
                is_about = true;
                if said.own == Some(*subject) {
                    more.entities.extend(said.entities.iter().cloned());
                }
            }
        }
        if let Some((left, right)) = &said.link
            && (names.identifiers.contains(left) || names.identifiers.contains(right))
        {
            more.identifiers.extend([left.clone(), right.clone()]);
        }
        if is_about || said.threads.iter().any(|node| names.threads.contains(node)) {
            more.threads.extend(said.threads.iter().cloned());
        }
    }

    /// Tells hubs by the events that count. An identifier for which the log has not been read yet is not followed either.
    fn find_hubs(&mut self) -> Outcome {
        let mut counting: HashMap<Uuid, &Said> = HashMap::new();
        for (_, said) in self.found.values() {
            let least = counting.entry(said.event_id).or_insert(said);
            if said.copy < least.copy {
                *least = said;
            }
        }
        let voided: HashSet<Uuid> = counting.values().filter_map(|said| said.voids).collect();
        let mut near: HashMap<&str, BTreeSet<String>> = HashMap::new();
        let counts = |said: &&&Said| said.voids.is_some() || !voided.contains(&said.event_id);
        for said in counting.values().filter(counts) {
            for (_, identifiers) in &said.named {
                for identifier in identifiers.iter().filter(|i| self.passed.identifiers.contains(*i)) {
                    near.entry(identifier).or_default().extend(identifiers.iter().cloned());
                }
            }
        }
        let mut unfollowed = BTreeSet::new();
        for identifier in &self.names.identifiers {
            let is_hub = near.get(identifier.as_str()).is_some_and(|near| self.customer360.is_hub(identifier, near));
            if !is_hub && self.crowds.get(identifier).is_some_and(|crowd| crowd.is_cut) {
                return Err(too_much());
            }
            if is_hub || !self.passed.identifiers.contains(identifier) {
                unfollowed.insert(identifier.clone());
            }
        }
        self.names.unfollowed = unfollowed;
        Ok(())
    }

    /// The events that were found, as they are told to people.
    pub(super) fn events(&self) -> BTreeMap<Uuid, Named> {
        let mut events = BTreeMap::new();
        for ((partition, log_offset), (record, said)) in &self.found {
            let Ok(event) = Interaction::decode(&record.value, record.received_at, self.log.namespace()) else {
                continue;
            };
            let named = Named {
                source: event.wire.source.clone().unwrap_or_default(),
                id: event.wire.id.clone().unwrap_or_default(),
                kind: event.kind().to_owned(),
                occurred_at: time::format(event.occurred_at).unwrap_or_default(),
                partition: *partition,
                log_offset: *log_offset,
            };
            events.entry(said.event_id).or_insert(named);
        }
        events
    }
}

impl Source for Search<'_> {
    type Error = Failure;

    async fn until(&mut self, next: &Offsets) -> Outcome<Option<Vec<Record>>> {
        let beyond: Offsets = next
            .iter()
            .map(|(partition, next)| (*partition, self.read.get(partition).copied().unwrap_or(0), *next))
            .filter(|(_, read, next)| read < next)
            .map(|(partition, read, _)| (partition, read))
            .collect();
        if !beyond.is_empty() {
            self.pick(beyond.clone(), next, false).await?;
            self.read.extend(beyond.keys().filter_map(|partition| Some((*partition, *next.get(partition)?))));
            self.close()?;
        }
        if !self.is_done() {
            return Ok(None);
        }
        // The copy that was received first comes first: nothing is taken back that need not be.
        let mut records: Vec<Record> = self.found.values().map(|(record, _)| record.clone()).collect();
        records.sort_by_key(|record| (record.received_at, record.partition, record.offset));
        Ok(Some(records))
    }

    fn takes(&mut self, stored: Stored) -> bool {
        let mut said: HashMap<Uuid, Vec<&Said>> = HashMap::new();
        for (_, event) in self.found.values() {
            said.entry(event.event_id).or_default().push(event);
        }
        let is_wrong = |(event, entity): &(Uuid, domain::Entity)| {
            let copies = said.get(event).map(Vec::as_slice).unwrap_or_default();
            self.passed.events.contains(event) && !copies.iter().any(|copy| copy.entities.contains(entity))
        };
        let wrong: Vec<_> = stored.said.into_iter().filter(is_wrong).collect();
        self.names.add(stored.names);
        self.names.entities.extend(wrong.into_iter().map(|(_, entity)| entity));
        self.close().is_ok() && self.is_done()
    }

    fn names(&self) -> &Names {
        &self.names
    }
}

fn short(event: Uuid) -> u64 {
    event.as_u64_pair().0
}

fn too_much() -> Failure {
    let sentence = format!(
        "too much hangs together here to be put right on its own (more than {RECORDS_MAX} events, or a customer whom everybody \
         shares something with); `rapport replay MODEL` folds all of a model anew"
    );
    Failure::new(Exit::BadInput, sentence)
}
