//! One call.

use std::collections::BTreeMap;

use domain::{
    money::Decimal,
    time::{EARLIEST, LATEST},
};
use projection::bounded::Fact;
use rapport_proto::v1::{self, interaction::Data};
use uuid::Uuid;

/// Microseconds in a millisecond: durations of calls are kept in milliseconds.
const MILLISECOND: i128 = 1_000;

/// The rows of one call. Without a `call` there are none at all.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct CallRows {
    /// The call.
    pub call: Option<Call>,
    /// Its legs: a row a call record.
    pub legs: Vec<CallLeg>,
}

/// A call. Times are microseconds UTC, durations (`_ms`) milliseconds: these hold whatever an event may state.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Call {
    /// As published.
    pub call_id: String,
    /// Its owner.
    pub subject_id: Option<Uuid>,
    /// As first named, like `from` and `to`.
    pub direction: Option<String>,
    /// See `direction`.
    pub from: Option<String>,
    /// See `direction`.
    pub to: Option<String>,
    /// The queue it was first offered to.
    pub queue: Option<String>,
    /// The agent who last had it.
    pub agent_id: Option<String>,
    /// The case that a record of it names.
    pub case_id: Option<String>,
    /// When it was offered: `call.offered`, else by its first record.
    pub offered_at: Option<i64>,
    /// When it was first answered.
    pub answered_at: Option<i64>,
    /// When its last leg ended; `None` while it lasts.
    pub ended_at: Option<i64>,
    /// Somebody answered it.
    pub answered: bool,
    /// Of its last leg.
    pub disposition: Option<String>,
    /// From the offer until it was first answered, else until it ended.
    pub wait_ms: Option<i128>,
    /// The sum over its legs, like the next two; `None` if no leg tells.
    pub talk_ms: Option<i128>,
    /// See `talk_ms`.
    pub hold_ms: Option<i128>,
    /// See `talk_ms`.
    pub wrap_ms: Option<i128>,
    /// Of one leg what its record says; of several from the first offer to the last end.
    pub duration_ms: Option<i128>,
    /// How many legs have ended.
    pub leg_count: i32,
    /// `facts_capped`, `time_out_of_range`.
    pub flags: Vec<&'static str>,
    /// The event that last set it.
    pub set_by: Uuid,
}

/// One leg of a call: what its record says, and what follows from it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct CallLeg {
    /// The call.
    pub call_id: String,
    /// From 1, by the time of the offer.
    pub leg_no: i32,
    /// As published; `None` for a call that is one leg.
    pub leg_id: Option<String>,
    /// As published.
    pub queue: Option<String>,
    /// As published.
    pub agent_id: Option<String>,
    /// As published, else the end less the duration, else the end.
    pub offered_at: i64,
    /// As published, else the offer and the wait, else the end less talk and hold. Only if it was answered.
    pub answered_at: Option<i64>,
    /// When the record happened.
    pub ended_at: i64,
    /// As published.
    pub disposition: Option<String>,
    /// As published, else from the offer to the answer or the end.
    pub wait_ms: Option<i128>,
    /// As published, else from the answer to the end less hold.
    pub talk_ms: Option<i128>,
    /// As published.
    pub hold_ms: Option<i128>,
    /// As published.
    pub wrap_ms: Option<i128>,
    /// As published.
    pub duration_ms: Option<i128>,
    /// Where it was transferred to.
    pub transfer_to: Option<String>,
    /// As published.
    pub reason: Option<String>,
    /// The record.
    pub set_by: Uuid,
}

/// Folds the facts of a call; `owner` is whose it is. There is a call as soon as one of `call.*` is about it. A
/// `call.ended` alone is offered, answered and ended.
///
/// What contradictory histories come to:
/// - Of several `call.offered` or `call.answered` the first tells the time; the agent is the last.
/// - Of several `call.ended` of one leg the last counts alone.
/// - What the events say goes before what a record says, and that before what can be worked out; a duration that would be
///   negative is unknown.
/// - A record's time outside the years 1900 to 9999 (one worked out of a duration of centuries) is unknown and flagged; a
///   leg whose offer is unknown stands at its end.
pub fn call(call_id: &str, owner: Option<Uuid>, facts: &[Fact<'_>], capped: bool) -> CallRows {
    let Some(history) = History::read(call_id, facts) else { return CallRows::default() };
    let legs = history.legs(call_id);
    let mut call = Call { call_id: call_id.to_owned(), subject_id: owner, ..Call::default() };
    parties(&mut call, &history, &legs);
    course(&mut call, &history, &legs);
    if capped {
        call.flags.push("facts_capped");
    }
    if legs.iter().any(|leg| leg.is_out_of_range) {
        call.flags.push("time_out_of_range");
    }
    call.set_by = history.last;
    CallRows { call: Some(call), legs: legs.into_iter().map(|leg| leg.row).collect() }
}

/// The facts that are about one call, by what they say.
#[derive(Default)]
struct History<'a> {
    offered: Vec<(&'a v1::CallOffered, Fact<'a>)>,
    answered: Vec<(&'a v1::CallAnswered, Fact<'a>)>,
    /// The last record of each leg.
    ended: BTreeMap<Option<&'a str>, (&'a v1::CallEnded, Fact<'a>)>,
    last: Uuid,
}

impl<'a> History<'a> {
    /// `None` if no fact is about this call.
    fn read(call_id: &str, facts: &[Fact<'a>]) -> Option<Self> {
        let about = |id: &Option<String>| id.as_deref() == Some(call_id);
        let (mut history, mut exists) = (Self::default(), false);
        for &fact in facts {
            match fact.wire.data.as_ref() {
                Some(Data::CallOffered(body)) if about(&body.call_id) => history.offered.push((body, fact)),
                Some(Data::CallAnswered(body)) if about(&body.call_id) => history.answered.push((body, fact)),
                Some(Data::CallEnded(body)) if about(&body.call_id) => {
                    history.ended.insert(body.leg_id.as_deref().filter(|id| !id.is_empty()), (body, fact));
                }
                _ => continue,
            }
            exists = true;
            history.last = fact.event_id();
        }
        exists.then_some(history)
    }

    /// The records that count, in order.
    fn records(&self) -> Vec<(&'a v1::CallEnded, Fact<'a>)> {
        let mut records: Vec<_> = self.ended.values().copied().collect();
        records.sort_unstable_by_key(|(_, fact)| fact.stamp);
        records
    }

    /// The legs, by the time of their offers.
    fn legs(&self, call_id: &str) -> Vec<Leg<'a>> {
        let mut legs: Vec<Leg<'a>> = self.records().into_iter().map(|(body, fact)| leg(call_id, body, fact)).collect();
        legs.sort_by_key(|leg| (leg.row.offered_at, leg.fact.stamp));
        for (leg, leg_no) in legs.iter_mut().zip(1..) {
            leg.row.leg_no = leg_no;
        }
        legs
    }
}

/// A leg's row, and what it does not tell.
struct Leg<'a> {
    row: CallLeg,
    fact: Fact<'a>,
    /// `None` if it is unknown and the row has the end instead.
    offered_at: Option<i64>,
    /// As published.
    wait_ms: Option<i128>,
    is_out_of_range: bool,
}

/// Lets times pass that an event may have, which PostgreSQL can hold too, and remembers that it met another.
#[derive(Default)]
struct Years {
    is_out_of_range: bool,
}

impl Years {
    fn pass(&mut self, micros: i128) -> Option<i64> {
        let at = i64::try_from(micros).ok().filter(|at| (EARLIEST..=LATEST).contains(at));
        self.is_out_of_range |= at.is_none();
        at
    }

    fn stated(&mut self, micros: Option<i64>) -> Option<i64> {
        self.pass(i128::from(micros?))
    }

    /// So many milliseconds after `at`.
    fn after(&mut self, at: i64, ms: i128) -> Option<i64> {
        self.pass(i128::from(at) + ms * MILLISECOND)
    }
}

fn leg<'a>(call_id: &str, body: &v1::CallEnded, fact: Fact<'a>) -> Leg<'a> {
    let ended_at = fact.occurred_at();
    let [duration_ms, wait, talk, hold_ms, wrap_ms] =
        [&body.duration_s, &body.wait_s, &body.talk_s, &body.hold_s, &body.wrap_s].map(|s| milliseconds(s.as_deref()));
    let mut years = Years::default();
    let offered_at = years.stated(body.offered_at).or_else(|| years.after(ended_at, -duration_ms.unwrap_or(0)));
    // An agent who transfers a call has answered it.
    let was_answered = matches!(body.disposition.as_deref(), Some("answered" | "transferred"));
    let mut answered_at = years.stated(body.answered_at);
    if answered_at.is_none() && was_answered {
        let by_wait = offered_at.zip(wait).and_then(|(at, ms)| years.after(at, ms));
        let by_talk = |ms: i128| years.after(ended_at, -(ms + hold_ms.unwrap_or(0)));
        answered_at = by_wait.or_else(|| talk.and_then(by_talk));
    }
    let until_answer = if was_answered { answered_at } else { answered_at.or(Some(ended_at)) };
    let talked = between(answered_at, Some(ended_at)).map(|ms| ms - hold_ms.unwrap_or(0));
    let row = CallLeg {
        call_id: call_id.to_owned(),
        leg_no: 0,
        leg_id: body.leg_id.clone().filter(|id| !id.is_empty()),
        queue: body.queue.clone(),
        agent_id: body.agent_id.clone(),
        offered_at: offered_at.unwrap_or(ended_at),
        answered_at,
        ended_at,
        disposition: body.disposition.clone(),
        wait_ms: wait.or_else(|| between(offered_at, until_answer)),
        talk_ms: talk.or(talked.filter(|ms| *ms >= 0)),
        hold_ms,
        wrap_ms,
        duration_ms,
        transfer_to: body.transfer_to.clone(),
        reason: body.reason.clone(),
        set_by: fact.event_id(),
    };
    Leg { row, fact, offered_at, wait_ms: wait, is_out_of_range: years.is_out_of_range }
}

/// Who called whom, as the first fact that tells says.
fn parties(call: &mut Call, history: &History<'_>, legs: &[Leg<'_>]) {
    let records = history.records();
    let first = |offer: fn(&v1::CallOffered) -> &Option<String>, record: fn(&v1::CallEnded) -> &Option<String>| {
        let offered = history.offered.iter().find_map(|(body, _)| offer(body).clone());
        offered.or_else(|| records.iter().find_map(|(body, _)| record(body).clone()))
    };
    let direction = first(|b| &b.direction, |b| &b.direction);
    call.direction = direction.map(|d| if d.starts_with("in") { "inbound".to_owned() } else { "outbound".to_owned() });
    call.from = first(|b| &b.from, |b| &b.from);
    call.to = first(|b| &b.to, |b| &b.to);
    // Whose record comes first does not tell to which queue it was offered first.
    let offered = history.offered.iter().find_map(|(body, _)| body.queue.clone());
    call.queue = offered.or_else(|| legs.iter().find_map(|leg| leg.row.queue.clone()));
    call.case_id = records.iter().rev().find_map(|(body, _)| body.case_id.clone());
    let answered = history.answered.iter().map(|(body, fact)| (fact.stamp, body.agent_id.as_deref()));
    let by_record = records.iter().map(|(body, fact)| (fact.stamp, body.agent_id.as_deref()));
    let agents = answered.chain(by_record).filter_map(|(stamp, agent)| agent.map(|agent| (stamp, agent)));
    call.agent_id = agents.max().map(|(_, agent)| agent.to_owned());
}

/// When it was offered, answered and ended, and how long each part took.
fn course(call: &mut Call, history: &History<'_>, legs: &[Leg<'_>]) {
    let (offer, answer) = (history.offered.first(), history.answered.first());
    let offered_at = offer.map(|(_, f)| f.occurred_at()).or_else(|| legs.first().and_then(|l| l.offered_at));
    call.offered_at = offered_at.or_else(|| legs.first().map(|l| l.row.offered_at));
    call.answered_at =
        answer.map(|(_, f)| f.occurred_at()).or_else(|| legs.iter().filter_map(|l| l.row.answered_at).min());
    call.ended_at = legs.iter().map(|l| l.row.ended_at).max();
    let is_answered = |leg: &Leg<'_>| {
        matches!(leg.row.disposition.as_deref(), Some("answered" | "transferred")) || leg.row.answered_at.is_some()
    };
    call.answered = answer.is_some() || legs.iter().any(is_answered);
    call.disposition = legs.last().and_then(|l| l.row.disposition.clone());
    let sum = |of: fn(&CallLeg) -> Option<i128>| legs.iter().filter_map(|l| of(&l.row)).reduce(|sum, ms| sum + ms);
    call.talk_ms = sum(|l| l.talk_ms);
    call.hold_ms = sum(|l| l.hold_ms);
    call.wrap_ms = sum(|l| l.wrap_ms);
    call.wait_ms = wait(call, history, legs, offered_at);
    call.duration_ms = match legs {
        [] => None,
        [only] => only.row.duration_ms,
        _ => between(offered_at, call.ended_at),
    };
    call.leg_count = i32::try_from(legs.len()).unwrap_or(i32::MAX);
}

/// How long it took from the offer of the call until it was first answered, else until it ended. A stated wait is that of
/// one leg: it is the call's where that leg is the only one, or was both first offered and first answered.
fn wait(call: &Call, history: &History<'_>, legs: &[Leg<'_>], offered_at: Option<i64>) -> Option<i128> {
    let is_only_one = history.offered.len() <= 1 && legs.len() <= 1;
    let answer = history.answered.first();
    let told = answer.and_then(|(body, _)| milliseconds(body.wait_s.as_deref())).filter(|_| is_only_one);
    let by_events = || {
        let (_, offered) = history.offered.first()?;
        between(Some(offered.occurred_at()), Some(answer?.1.occurred_at()))
    };
    let by_record = || {
        let leg = legs.first()?;
        let is_first = leg.offered_at.is_some() && leg.offered_at == offered_at;
        let is_first_answered = leg.row.answered_at.is_some() && leg.row.answered_at == call.answered_at;
        leg.wait_ms.filter(|_| is_only_one || (is_first && is_first_answered))
    };
    let until = if call.answered { call.answered_at } else { call.ended_at };
    told.or_else(by_events).or_else(by_record).or_else(|| between(offered_at, until))
}

/// Seconds as a decimal, in milliseconds, halves away from zero.
fn milliseconds(seconds: Option<&str>) -> Option<i128> {
    Decimal::parse(seconds?).map(|decimal| decimal.to_minor(3))
}

/// Milliseconds from one time to another, cut to whole ones; `None` if one is unknown or the other comes first.
fn between(from: Option<i64>, to: Option<i64>) -> Option<i128> {
    let length = from.zip(to).map(|(from, to)| i128::from(to) - i128::from(from));
    length.filter(|us| *us >= 0).map(|us| us / MILLISECOND)
}
