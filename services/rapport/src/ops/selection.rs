//! Which events of the log are meant: what `log read` and `log forward` have in common.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use domain::identifier::{Normalized, Normalizer};
use domain::interaction::DecodeError;
use domain::nearest::nearest;
use domain::position::Offsets;
use domain::{Identifier, Interaction, Namespace, time};
use event_log::{Log, Record, Topic};
use rapport_proto::catalogue;
use service_kit::Config;

use crate::cli::SelectionArgs;
use crate::failure::{Exit, Failure, OrExit, Outcome};
use crate::say;

/// Partition -> offsets of single records.
pub(super) type Places = BTreeMap<i32, BTreeSet<i64>>;

/// Which events are wanted.
#[derive(Default)]
pub(super) struct Selection {
    /// Times of receipt, microseconds UTC: from, and before.
    from: Option<i64>,
    to: Option<i64>,
    /// Without the catalogue's prefix, sorted; empty: of any type.
    kinds: Vec<String>,
    channel: Option<String>,
    subject: Option<Identifier>,
    partition: Option<i32>,
    /// Only what stands at these.
    places: Option<Arc<Places>>,
}

impl Selection {
    pub(super) fn new(config: &Config, args: &SelectionArgs) -> Outcome<Self> {
        let mut kinds: Vec<_> = args.kind.iter().map(|kind| bare(kind).to_owned()).collect();
        kinds.sort_unstable();
        kinds.dedup();
        for warning in kinds.iter().filter_map(|kind| unknown_type(kind)) {
            say::note(format_args!("{warning}"));
        }
        if let Some(warning) = args.channel.as_deref().and_then(unknown_channel) {
            say::note(format_args!("{warning}"));
        }
        Ok(Self {
            from: moment("--from", args.from.as_deref())?,
            to: moment("--to", args.to.as_deref())?,
            kinds,
            channel: args.channel.clone(),
            subject: args.subject.as_deref().map(|text| identifier(config, text)).transpose()?,
            partition: args.partition,
            places: None,
        })
    }

    /// The same of these records only.
    pub(super) fn at(self, places: Places) -> Self {
        Self { places: Some(Arc::new(places)), ..self }
    }

    pub(super) fn places(&self) -> Option<&Arc<Places>> {
        self.places.as_ref()
    }

    /// Where reading begins, in each partition that can hold something wanted.
    pub(super) async fn starts(&self, log: &Log) -> Outcome<Offsets> {
        // Kafka's own time of a record is never before the event's receipt: nothing is skipped, the selection is exact.
        let asked = match self.from {
            Some(from) => log.offsets_at(Topic::Log, from.div_euclid(1000)).await,
            None => log.starts().await,
        };
        let mut starts = asked.or_exit(Exit::Unavailable)?;
        if let Some(partition) = self.partition {
            let last = log.partitions() - 1;
            starts.retain(|there, _| *there == partition);
            if starts.is_empty() {
                let sentence = format_args!("the log has no partition {partition}; name one from 0 to {last}");
                return Err(Failure::new(Exit::BadInput, sentence));
            }
        }
        Ok(self.narrowed(starts))
    }

    /// What of these partitions holds a wanted place, from the first one.
    fn narrowed(&self, starts: Offsets) -> Offsets {
        let Some(places) = &self.places else { return starts };
        let first = |partition, start| places.get(partition)?.range(start..).next().copied();
        starts.iter().filter_map(|(partition, start)| Some((*partition, first(partition, *start)?))).collect()
    }

    /// The event in a record, if it is wanted. The record that names the log is none.
    ///
    /// # Errors
    /// It cannot be read, so that nobody knows whether it is.
    pub(super) fn pick(&self, record: &Record, namespace: &Namespace) -> Result<Option<Interaction>, DecodeError> {
        // What is known without reading the value comes first: most records need no more.
        if record.created || !self.admits_record(record) {
            return Ok(None);
        }
        let event = Interaction::decode(&record.value, record.received_at, namespace)?;
        Ok(Some(event).filter(|event| self.admits(event)))
    }

    fn admits_record(&self, record: &Record) -> bool {
        let is_one = |places: &Arc<Places>| places.get(&record.partition).is_some_and(|p| p.contains(&record.offset));
        self.from.is_none_or(|from| record.received_at >= from)
            && self.to.is_none_or(|to| record.received_at < to)
            && self.partition.is_none_or(|partition| record.partition == partition)
            && self.places.as_ref().is_none_or(is_one)
    }

    fn admits(&self, event: &Interaction) -> bool {
        let kind = bare(event.wire.r#type.as_deref().unwrap_or_default());
        (self.kinds.is_empty() || self.kinds.iter().any(|wanted| wanted == kind))
            && self.channel.as_deref().is_none_or(|channel| event.wire.channel() == channel)
            && self.subject.as_ref().is_none_or(|wanted| names(event, wanted))
    }

    /// What was asked for, in words that are the same for the same selection. Whom it is about stands there as an id that
    /// the log's secret makes: these words are kept in files.
    pub(super) fn words(&self, customer: Option<&str>, namespace: &Namespace) -> BTreeMap<String, String> {
        let whom = |text: &str| namespace.entity_id("selected", text).to_string();
        let at = |micros: i64| time::format(micros).unwrap_or_default();
        let kinds = (!self.kinds.is_empty()).then(|| self.kinds.join(","));
        [
            ("--from", self.from.map(at)),
            ("--to", self.to.map(at)),
            ("--type", kinds),
            ("--channel", self.channel.clone()),
            ("--subject", self.subject.as_ref().map(|subject| whom(&subject.to_string()))),
            ("--customer", customer.map(whom)),
            ("--partition", self.partition.map(|partition| partition.to_string())),
        ]
        .into_iter()
        .filter_map(|(flag, value)| Some((flag.to_owned(), value?)))
        .collect()
    }
}

/// Says that a record is not among what is wanted because it cannot be read.
pub(super) fn left_out(record: &Record, error: &DecodeError) {
    say::note(format_args!("record {}-{} is left out: {error}", record.partition, record.offset));
}

fn bare(kind: &str) -> &str {
    kind.strip_prefix(catalogue::PREFIX).unwrap_or(kind)
}

/// What to say of a type that no catalogue has: it may be one of a sender's own, or misspelt.
fn unknown_type(kind: &str) -> Option<String> {
    let known = || catalogue::all().iter().map(|info| info.name);
    (!known().any(|name| name == kind)).then(|| {
        format!(
            "--type {kind} is not in the catalogue{}: only events of exactly this type are taken",
            hint(kind, known())
        )
    })
}

/// The same of a channel that no type of the catalogue has: an event may name another.
fn unknown_channel(channel: &str) -> Option<String> {
    let named = |info: &'static catalogue::TypeInfo| {
        info.fields.iter().filter(|f| f.name == "channel").flat_map(|f| f.permitted)
    };
    let types = catalogue::all().iter();
    let known: BTreeSet<&str> = types
        .flat_map(|info| named(info).copied().chain([info.channel]))
        .filter(|channel| !channel.is_empty())
        .collect();
    (!known.contains(channel)).then(|| {
        format!(
            "--channel {channel} is no channel of the catalogue's types{}: only events that name exactly this one are taken",
            hint(channel, known.iter().copied())
        )
    })
}

fn hint<'a>(given: &str, known: impl IntoIterator<Item = &'a str>) -> String {
    nearest(given, known).map_or_else(String::new, |name| format!(" (did you mean {name}?)"))
}

fn names(event: &Interaction, wanted: &Identifier) -> bool {
    let own = event.subject.iter().flat_map(|s| &s.identifiers);
    own.chain(&event.groups).chain(&event.participants).any(|named| named == wanted)
}

fn moment(flag: &str, text: Option<&str>) -> Outcome<Option<i64>> {
    let Some(text) = text else { return Ok(None) };
    match time::parse(text) {
        Some(micros) => Ok(Some(micros)),
        None => Err(Failure::new(
            Exit::BadInput,
            format_args!("{flag} {text:?} is no RFC 3339 time, like 2026-03-01T10:00:00Z"),
        )),
    }
}

fn identifier(config: &Config, text: &str) -> Outcome<Identifier> {
    let normalizer =
        Normalizer::new(config.text("default_region"), config.list("placeholders")).or_exit(Exit::Configuration)?;
    match normalizer.normalize(text) {
        Normalized::Identifier(identifier) => Ok(identifier),
        Normalized::Kept(why) => {
            Err(Failure::new(Exit::BadInput, format_args!("--subject {text:?} identifies nobody: {why}")))
        }
        Normalized::Dropped => {
            Err(Failure::new(Exit::BadInput, format_args!("--subject {text:?} is a placeholder and identifies nobody")))
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use uuid::Uuid;

    use super::*;

    const NAMESPACE: Namespace = Namespace::new(Uuid::from_u128(0xf0));

    #[test]
    fn a_name_that_no_catalogue_has_is_told_the_nearest() {
        for (kind, says) in [
            ("order.placed", None),
            ("order.palced", Some("(did you mean order.placed?)")),
            ("my.own.type", Some("my.own.type is not in the catalogue:")),
        ] {
            let said = unknown_type(kind);
            assert_eq!(said.is_some(), says.is_some(), "{said:?}");
            assert!(says.is_none_or(|says| said.as_ref().is_some_and(|said| said.contains(says))), "{said:?}");
        }
        assert_eq!(unknown_channel("email"), None);
        assert_eq!(unknown_channel("web"), None);
        let said = unknown_channel("emial").expect("no channel");
        assert!(said.contains("(did you mean email?)"), "{said}");
    }

    /// A record at 0-`offset`, received at as many microseconds, and the event in it.
    fn record(offset: i64, kind: &str) -> (Record, Interaction) {
        let event = json!({"specversion": "1.0", "id": offset.to_string(), "source": "s", "type": kind,
                           "subject": "email:ann@example.com", "data": {"url": "https://shop.example/"}});
        let wire = rapport_proto::json::read(event.to_string().as_bytes()).expect("an event");
        let event = Interaction::from_wire(wire, [0; 32], offset, &NAMESPACE).expect("an event of ours");
        (Record::bare(0, offset, offset, Vec::<u8>::new().into()), event)
    }

    fn picked(selection: &Selection) -> Vec<i64> {
        let records = [record(1, "web.page.viewed"), record(2, "app.b"), record(3, "io.rapport.web.page.viewed")];
        let is_picked = |(r, e): &&(Record, Interaction)| selection.admits_record(r) && selection.admits(e);
        records.iter().filter(is_picked).map(|(r, _)| r.offset).collect()
    }

    #[test]
    fn each_condition_selects() {
        let kinds = |of: &[&str]| of.iter().map(|kind| (*kind).to_owned()).collect::<Vec<_>>();
        let none = Selection::default;
        for (selection, expected) in [
            (none(), &[1, 2, 3][..]),
            (Selection { from: Some(2), ..none() }, &[2, 3]),
            (Selection { to: Some(2), ..none() }, &[1]),
            (Selection { kinds: kinds(&["web.page.viewed"]), ..none() }, &[1, 3]),
            (Selection { kinds: kinds(&["app.b", "web.page.viewed"]), ..none() }, &[1, 2, 3]),
            (Selection { channel: Some("other".to_owned()), ..none() }, &[2]),
            (Selection { channel: Some("web".to_owned()), from: Some(2), ..none() }, &[3]),
            (Selection { subject: Identifier::parse("email:ann@example.com"), ..none() }, &[1, 2, 3]),
            (Selection { subject: Identifier::parse("email:ben@example.com"), ..none() }, &[]),
            (Selection { partition: Some(0), ..none() }, &[1, 2, 3]),
            (Selection { partition: Some(1), ..none() }, &[]),
            (none().at(Places::from([(0, BTreeSet::from([2]))])), &[2]),
            (none().at(Places::from([(1, BTreeSet::from([2]))])), &[]),
        ] {
            assert_eq!(picked(&selection), expected, "{:?}", selection.words(None, &NAMESPACE));
        }
    }

    #[test]
    fn reading_begins_at_the_first_place() {
        let places = Places::from([(0, BTreeSet::from([3, 8])), (2, BTreeSet::from([4]))]);
        let selection = Selection::default().at(places);
        assert_eq!(selection.narrowed(Offsets::from([(0, 0), (1, 0), (2, 9)])), Offsets::from([(0, 3)]));
        assert_eq!(selection.narrowed(Offsets::from([(0, 4)])), Offsets::from([(0, 8)]));
    }

    #[test]
    fn a_selection_has_words_of_its_own_and_names_nobody() {
        let ann =
            Selection { subject: Identifier::parse("email:ann@example.com"), to: Some(0), ..Selection::default() };
        let words = ann.words(Some("email:ben@example.com"), &NAMESPACE);
        assert_eq!(words.keys().collect::<Vec<_>>(), ["--customer", "--subject", "--to"]);
        assert!(words.values().all(|value| !value.contains("example")), "{words:?}");
        assert_ne!(words, ann.words(Some("email:eve@example.com"), &NAMESPACE));
        assert_eq!(words, ann.words(Some("email:ben@example.com"), &NAMESPACE));
    }
}
