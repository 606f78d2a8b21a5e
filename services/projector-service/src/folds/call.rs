//! One call.

use std::collections::BTreeMap;

use domain::{money::Decimal, owner::owner};
use projection::bounded::Fact;
use rapport_proto::v1::{self, interaction::Data};
use uuid::Uuid;

/// Microseconds in a millisecond: durations of calls are kept in milliseconds.
const MILLISECOND: i64 = 1_000;

/// The rows of one call. Without a `call` there are none at all.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct CallRows {
    /// The call.
    pub call: Option<Call>,
    /// Its legs: a row a call record.
    pub legs: Vec<CallLeg>,
}

/// A call. Times are microseconds UTC, durations (`_ms`) milliseconds.
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
    /// Until it was first answered, else until it ended.
    pub wait_ms: Option<i64>,
    /// The sum over its legs, like the next two; `None` if no leg tells.
    pub talk_ms: Option<i64>,
    /// See `talk_ms`.
    pub hold_ms: Option<i64>,
    /// See `talk_ms`.
    pub wrap_ms: Option<i64>,
    /// Of one leg what its record says; of several from the first offer to the last end.
    pub duration_ms: Option<i64>,
    /// How many legs have ended.
    pub leg_count: i32,
    /// `facts_capped`.
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
    /// As published, else the end less the duration.
    pub offered_at: i64,
    /// As published, else the offer and the wait, else the end less talk and hold. Only if it was answered.
    pub answered_at: Option<i64>,
    /// When the record happened.
    pub ended_at: i64,
    /// As published.
    pub disposition: Option<String>,
    /// As published, else from the offer to the answer or the end.
    pub wait_ms: Option<i64>,
    /// As published, else from the answer to the end less hold.
    pub talk_ms: Option<i64>,
    /// As published.
    pub hold_ms: Option<i64>,
    /// As published.
    pub wrap_ms: Option<i64>,
    /// As published.
    pub duration_ms: Option<i64>,
    /// Where it was transferred to.
    pub transfer_to: Option<String>,
    /// As published.
    pub reason: Option<String>,
    /// The record.
    pub set_by: Uuid,
}

/// Folds the facts of a call. There is a call as soon as one of `call.*` is about it. A `call.ended` alone is offered,
/// answered and ended.
///
/// What contradictory histories come to:
/// - Of several `call.offered` or `call.answered` the first tells the time; the agent is the last.
/// - Of several `call.ended` of one leg the last counts alone.
/// - What the events say goes before what a record says, and that before what can be worked out; a duration that would be
///   negative is unknown.
pub fn call(call_id: &str, facts: &[Fact<'_>], capped: bool) -> CallRows {
    let Some(history) = History::read(call_id, facts) else { return CallRows::default() };
    let legs = history.legs(call_id);
    let mut call =
        Call { call_id: call_id.to_owned(), subject_id: owner(facts.iter().map(|f| f.subject_id)), ..Call::default() };
    parties(&mut call, &history);
    course(&mut call, &history, &legs);
    if capped {
        call.flags.push("facts_capped");
    }
    call.set_by = history.last;
    CallRows { call: Some(call), legs }
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

    fn legs(&self, call_id: &str) -> Vec<CallLeg> {
        let mut legs: Vec<(CallLeg, Fact<'a>)> =
            self.records().into_iter().map(|(body, fact)| (leg(call_id, body, fact), fact)).collect();
        legs.sort_by_key(|(leg, fact)| (leg.offered_at, fact.stamp));
        let numbered = legs.into_iter().zip(1..);
        numbered.map(|((leg, _), leg_no)| CallLeg { leg_no, ..leg }).collect()
    }
}

fn leg(call_id: &str, body: &v1::CallEnded, fact: Fact<'_>) -> CallLeg {
    let ended_at = fact.occurred_at();
    let [duration_ms, wait, talk, hold_ms, wrap_ms] =
        [&body.duration_s, &body.wait_s, &body.talk_s, &body.hold_s, &body.wrap_s].map(|s| milliseconds(s.as_deref()));
    let back = |ms: i64| ended_at.saturating_sub(ms.saturating_mul(MILLISECOND));
    let offered_at = body.offered_at.unwrap_or_else(|| back(duration_ms.unwrap_or(0)));
    // An agent who transfers a call has answered it.
    let was_answered = matches!(body.disposition.as_deref(), Some("answered" | "transferred"));
    let answered_at = body.answered_at.or_else(|| {
        let by_wait = wait.map(|ms| offered_at.saturating_add(ms.saturating_mul(MILLISECOND)));
        let worked_out = by_wait.or_else(|| talk.map(|ms| back(ms.saturating_add(hold_ms.unwrap_or(0)))));
        worked_out.filter(|_| was_answered)
    });
    let until_answer = if was_answered { answered_at } else { answered_at.or(Some(ended_at)) };
    let talked = between(answered_at, Some(ended_at)).and_then(|ms| ms.checked_sub(hold_ms.unwrap_or(0)));
    CallLeg {
        call_id: call_id.to_owned(),
        leg_no: 0,
        leg_id: body.leg_id.clone().filter(|id| !id.is_empty()),
        queue: body.queue.clone(),
        agent_id: body.agent_id.clone(),
        offered_at,
        answered_at,
        ended_at,
        disposition: body.disposition.clone(),
        wait_ms: wait.or_else(|| between(Some(offered_at), until_answer)),
        talk_ms: talk.or(talked.filter(|ms| *ms >= 0)),
        hold_ms,
        wrap_ms,
        duration_ms,
        transfer_to: body.transfer_to.clone(),
        reason: body.reason.clone(),
        set_by: fact.event_id(),
    }
}

/// Who called whom, as the first fact that tells says.
fn parties(call: &mut Call, history: &History<'_>) {
    let records = history.records();
    let first = |offer: fn(&v1::CallOffered) -> &Option<String>, record: fn(&v1::CallEnded) -> &Option<String>| {
        let offered = history.offered.iter().find_map(|(body, _)| offer(body).clone());
        offered.or_else(|| records.iter().find_map(|(body, _)| record(body).clone()))
    };
    let direction = first(|b| &b.direction, |b| &b.direction);
    call.direction = direction.map(|d| if d.starts_with("in") { "inbound".to_owned() } else { "outbound".to_owned() });
    call.from = first(|b| &b.from, |b| &b.from);
    call.to = first(|b| &b.to, |b| &b.to);
    call.queue = first(|b| &b.queue, |b| &b.queue);
    call.case_id = records.iter().rev().find_map(|(body, _)| body.case_id.clone());
    let answered = history.answered.iter().map(|(body, fact)| (fact.stamp, body.agent_id.as_deref()));
    let by_record = records.iter().map(|(body, fact)| (fact.stamp, body.agent_id.as_deref()));
    let agents = answered.chain(by_record).filter_map(|(stamp, agent)| agent.map(|agent| (stamp, agent)));
    call.agent_id = agents.max().map(|(_, agent)| agent.to_owned());
}

/// When it was offered, answered and ended, and how long each part took.
fn course(call: &mut Call, history: &History<'_>, legs: &[CallLeg]) {
    let first_answer = history.answered.first();
    call.offered_at =
        history.offered.first().map(|(_, f)| f.occurred_at()).or_else(|| legs.first().map(|l| l.offered_at));
    call.answered_at =
        first_answer.map(|(_, f)| f.occurred_at()).or_else(|| legs.iter().filter_map(|l| l.answered_at).min());
    call.ended_at = legs.iter().map(|l| l.ended_at).max();
    let is_answered = |leg: &CallLeg| {
        matches!(leg.disposition.as_deref(), Some("answered" | "transferred")) || leg.answered_at.is_some()
    };
    call.answered = first_answer.is_some() || legs.iter().any(is_answered);
    call.disposition = legs.last().and_then(|l| l.disposition.clone());
    let sum = |of: fn(&CallLeg) -> Option<i64>| legs.iter().filter_map(of).reduce(i64::saturating_add);
    call.talk_ms = sum(|l| l.talk_ms);
    call.hold_ms = sum(|l| l.hold_ms);
    call.wrap_ms = sum(|l| l.wrap_ms);
    let stated = first_answer.and_then(|(body, _)| milliseconds(body.wait_s.as_deref()));
    let observed = || first_answer.and_then(|(_, f)| between(call.offered_at, Some(f.occurred_at())));
    call.wait_ms = stated.or_else(observed).or_else(|| legs.first().and_then(|l| l.wait_ms));
    call.duration_ms = match legs {
        [] => None,
        [only] => only.duration_ms,
        _ => between(call.offered_at, call.ended_at),
    };
    call.leg_count = i32::try_from(legs.len()).unwrap_or(i32::MAX);
}

/// Seconds as a decimal, in milliseconds, halves away from zero.
fn milliseconds(seconds: Option<&str>) -> Option<i64> {
    let decimal = Decimal::parse(seconds?)?;
    i64::try_from(decimal.to_minor(3)).ok()
}

/// Milliseconds from one time to another, cut to whole ones; `None` if one is unknown or the other comes first.
fn between(from: Option<i64>, to: Option<i64>) -> Option<i64> {
    from.zip(to).map(|(from, to)| to.saturating_sub(from)).filter(|us| *us >= 0).map(|us| us / MILLISECOND)
}
