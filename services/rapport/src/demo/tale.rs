//! A tale: what happens around one person, or around a few who know each other. Its events are collected, then put in
//! the order of their times.

use rapport_proto::catalogue::PREFIX;
use serde::Serialize;
use serde_json::Value;

use super::people::Numbers;
use super::rng::Dice;
use super::time::{self, END, Moment};

/// How many events of a thousand are sent a second time, as a sender does that saw no answer.
const RETRIED: u32 = 4;

/// Who an event is about. Values hold no comma and no percent sign: nothing needs encoding.
#[derive(Clone, Debug, Default)]
pub(super) struct Who {
    subject: Option<String>,
    identifiers: Vec<String>,
    currency: Option<&'static str>,
}

impl Who {
    /// Known by this identifier, `kind:value`.
    pub(super) fn by(identifier: impl Into<String>) -> Self {
        Self { subject: Some(identifier.into()), ..Self::default() }
    }

    /// Known by one more.
    pub(super) fn and(mut self, identifier: impl Into<String>) -> Self {
        self.identifiers.push(identifier.into());
        self
    }

    /// Sees prices in this currency.
    pub(super) fn paying(self, currency: &'static str) -> Self {
        Self { currency: Some(currency), ..self }
    }

    /// In what they see prices.
    pub(super) fn currency(&self) -> &'static str {
        self.currency.unwrap_or("EUR")
    }

    /// A partner.
    pub(super) fn partner(id: &str) -> Self {
        Self::by(format!("partner:{id}"))
    }
}

/// One event about to be told.
#[derive(Clone, Debug)]
pub(super) struct Event {
    at: Moment,
    source: &'static str,
    kind: &'static str,
    is_custom: bool,
    who: Who,
    participants: Option<String>,
    actor: Option<String>,
    correlation: Option<String>,
    causation: Option<String>,
    traceparent: Option<String>,
    data: Value,
}

impl Event {
    /// `kind`: the bare name of a type.
    pub(super) fn new(at: Moment, source: &'static str, kind: &'static str, data: Value) -> Self {
        Self {
            at,
            source,
            kind,
            is_custom: false,
            who: Who::default(),
            participants: None,
            actor: None,
            correlation: None,
            causation: None,
            traceparent: None,
            data,
        }
    }

    /// Of a type that is in no catalogue; its name is written as it is.
    pub(super) fn custom(at: Moment, source: &'static str, kind: &'static str, data: Value) -> Self {
        Self { is_custom: true, ..Self::new(at, source, kind, data) }
    }

    /// Whom it is about.
    pub(super) fn about(self, who: &Who) -> Self {
        Self { who: who.clone(), ..self }
    }

    /// Others involved, as identifiers.
    pub(super) fn with(self, participants: &[String]) -> Self {
        Self { participants: Some(participants.join(",")), ..self }
    }

    /// Who did it.
    pub(super) fn by(self, actor: impl Into<String>) -> Self {
        Self { actor: Some(actor.into()), ..self }
    }

    /// The entity it belongs to, `kind:id`.
    pub(super) fn part_of(self, kind: &str, id: &str) -> Self {
        Self { correlation: Some(format!("{kind}:{id}")), ..self }
    }

    /// The event that caused it.
    pub(super) fn because_of(self, id: &str) -> Self {
        Self { causation: Some(id.to_owned()), ..self }
    }
}

/// What is told of one person or a few.
pub(super) struct Tale<'a> {
    pub(super) dice: Dice,
    /// Phone numbers that nobody has yet.
    pub(super) numbers: &'a mut Numbers,
    index: u64,
    seed: u64,
    told: Vec<(String, Event)>,
    ids: usize,
}

impl<'a> Tale<'a> {
    /// The tale with this index: everything in it depends on it, on the seed and on the numbers given out before.
    pub(super) fn new(seed: u64, index: u64, numbers: &'a mut Numbers) -> Self {
        Self { dice: Dice::new(seed, index), numbers, index, seed, told: Vec::new(), ids: 0 }
    }

    /// Its place among all tales.
    pub(super) fn index(&self) -> u64 {
        self.index
    }

    /// What is in every id of this run, so that two seeds can stand in one log.
    pub(super) fn run(&self) -> u64 {
        self.seed
    }

    /// An id that no other tale has: a letter for the kind of thing, a number within the tale.
    pub(super) fn id(&self, letter: &str, number: usize) -> String {
        format!("{letter}{}-{}-{number}", self.seed, self.index)
    }

    /// A new id, never given out before in this tale.
    pub(super) fn new_id(&mut self, letter: &str) -> String {
        self.ids += 1;
        self.id(letter, self.ids)
    }

    /// A name for the tale's people and companies: `1-42`.
    pub(super) fn key(&self) -> String {
        format!("{}-{}", self.seed, self.index)
    }

    /// Later than `from` by something between two numbers of seconds.
    pub(super) fn later(&mut self, from: Moment, seconds: (i64, i64)) -> Moment {
        time::later(&mut self.dice, from, seconds)
    }

    /// Tells an event and answers with its id.
    pub(super) fn tell(&mut self, event: Event) -> String {
        let id = format!("{}-{}-{}", self.seed, self.index, self.told.len());
        self.told.push((id.clone(), event));
        id
    }

    /// The events as CloudEvents in JSON, by time, those from [`END`] on left out, a few of them twice. Whoever tells
    /// something tells its causes too, and earlier: what is left stays a story.
    pub(super) fn finish(mut self) -> Vec<Vec<u8>> {
        self.told.retain(|(_, event)| event.at < END);
        self.told.sort_by_key(|(_, event)| event.at);
        let mut all = Vec::with_capacity(self.told.len() + 1);
        for (id, event) in &self.told {
            all.push(json(id, event));
            // The first event of all tells whether the demo is there: it comes once.
            if !(self.index == 0 && all.len() == 1) && self.dice.chance(RETRIED) {
                let trace = self.dice.chance(500).then(|| format!("00-{0}{0}-{0}-01", self.dice.token()));
                all.push(json(id, &Event { traceparent: trace, ..event.clone() }));
            }
        }
        all
    }
}

/// A CloudEvent as it is written.
#[derive(Serialize)]
struct Written<'a> {
    specversion: &'static str,
    id: &'a str,
    source: &'static str,
    #[serde(rename = "type")]
    kind: String,
    time: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    subject: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    identifiers: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    participants: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    actor: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    correlationid: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    causationid: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    traceparent: Option<&'a str>,
    data: &'a Value,
}

fn json(id: &str, event: &Event) -> Vec<u8> {
    let who = &event.who;
    let written = Written {
        specversion: "1.0",
        id,
        source: event.source,
        kind: if event.is_custom { event.kind.to_owned() } else { format!("{PREFIX}{}", event.kind) },
        time: time::text(event.at),
        subject: who.subject.as_deref(),
        identifiers: (!who.identifiers.is_empty()).then(|| who.identifiers.join(",")),
        participants: event.participants.as_deref(),
        actor: event.actor.as_deref(),
        correlationid: event.correlation.as_deref(),
        causationid: event.causation.as_deref(),
        traceparent: event.traceparent.as_deref(),
        data: &event.data,
    };
    serde_json::to_vec(&written).expect("texts and JSON values can be written as JSON")
}
