//! One case.

use projection::bounded::Fact;
use rapport_proto::v1::{self, interaction::Data};
use uuid::Uuid;

use super::{
    replies::{Replies, is_human},
    spans::{Span, Spans, is_open},
};

/// The rows of one case. Without a `case` there are none at all.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct CaseRows {
    /// The case.
    pub case: Option<Case>,
    /// Its history, a row a stretch in a status.
    pub spans: Vec<Span>,
}

/// A case. Times are microseconds UTC, durations (`_us`) microseconds.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Case {
    /// As published.
    pub case_id: String,
    /// Its owner.
    pub subject_id: Option<Uuid>,
    /// As last opened.
    pub title: Option<String>,
    /// As last opened or changed, like `queue` and `topic`.
    pub priority: Option<String>,
    /// `None` if neither an opening nor a change of it is known.
    pub status: Option<String>,
    /// As last changed; empty text takes it away.
    pub assignee: Option<String>,
    /// See `priority`.
    pub queue: Option<String>,
    /// As last opened.
    pub product: Option<String>,
    /// As last opened.
    pub serial: Option<String>,
    /// See `priority`.
    pub topic: Option<String>,
    /// As last opened.
    pub channel: Option<String>,
    /// When it was first opened.
    pub opened_at: Option<i64>,
    /// Who opened it, as published.
    pub opened_by: Option<String>,
    /// A person of ours did: the clock of the first reply starts when the customer first writes, also before that.
    pub opened_by_agent: bool,
    /// When a human agent first replied in public.
    pub first_reply_at: Option<i64>,
    /// From the opening (or the customer's first message) to it.
    pub first_reply_us: Option<i64>,
    /// First solved or closed.
    pub first_solved_at: Option<i64>,
    /// Last solved or closed, also if it has been reopened since.
    pub solved_at: Option<i64>,
    /// Last closed.
    pub closed_at: Option<i64>,
    /// Opened to last solved.
    pub resolution_us: Option<i64>,
    /// Opened to first solved.
    pub first_resolution_us: Option<i64>,
    /// In new and open, stretches that have ended, like the next two.
    pub agent_work_us: i64,
    /// In new, open and on_hold.
    pub requester_wait_us: i64,
    /// In pending.
    pub agent_wait_us: i64,
    /// Since when it is in its status.
    pub status_since: Option<i64>,
    /// Changes from solved or closed back to an open status.
    pub reopens: i32,
    /// How often it was escalated.
    pub escalations: i32,
    /// As last escalated.
    pub escalation_level: Option<i64>,
    /// Public replies of human agents.
    pub replies_public_agent: i32,
    /// Internal notes and replies.
    pub replies_internal: i32,
    /// Messages of the customer.
    pub messages_customer: i32,
    /// Solved or closed now, with exactly one public reply of a human agent.
    pub one_touch: bool,
    /// The case it became part of: it leaves every count then.
    pub merged_into: Option<String>,
    /// `facts_capped`.
    pub flags: Vec<&'static str>,
    /// The event that last set it.
    pub set_by: Uuid,
}

/// Folds the facts of a case; `owner` is whose it is. There is a case as soon as one of `case.*` is about it; messages
/// that name it count as its messages, and any fact that names it helps to tell its owner.
///
/// What contradictory histories come to:
/// - It is opened at the first `case.opened`; of two the last states title, priority, product and the like, except for
///   what a `case.changed` after it states again. An opening makes the status `new` only if none is known yet: a case
///   that was closed before it was opened is closed.
/// - Going from an open status straight to closed solves it too.
/// - A duration that would be negative (solved before opened) is unknown.
/// - A reply before the opening is counted, and is not the first reply; but a case that an agent opened has been waiting
///   since the customer's first message, which may come before the opening (a mail makes somebody open a case).
/// - Never opened: no duration from the opening; the first reply is simply the first.
pub fn case(case_id: &str, owner: Option<Uuid>, facts: &[Fact<'_>], capped: bool) -> CaseRows {
    let mut case = Case { case_id: case_id.to_owned(), subject_id: owner, ..Case::default() };
    let (mut spans, mut replies, mut opened) = (Spans::default(), Replies::default(), None);
    let mut exists = false;
    for &fact in facts {
        let about = |id: &Option<String>| id.as_deref() == Some(case_id);
        replies.note(case_id, fact);
        match fact.wire.data.as_ref() {
            Some(Data::CaseOpened(body)) if about(&body.case_id) => {
                state(&mut case, body);
                if opened.is_none() {
                    opened = Some(fact);
                }
                if spans.status().is_none() {
                    spans.turn(case_id, "new", fact.occurred_at(), fact.event_id());
                }
            }
            Some(Data::CaseChanged(body)) if about(&body.case_id) => {
                change(&mut case, body);
                if let Some(status) = body.status.as_deref() {
                    spans.turn(case_id, status, fact.occurred_at(), fact.event_id());
                }
            }
            Some(Data::CaseEscalated(body)) if about(&body.case_id) => {
                case.escalations += 1;
                case.escalation_level = body.level.or(case.escalation_level);
            }
            Some(Data::CaseReplied(body)) if about(&body.case_id) => {}
            Some(
                Data::EmailMessageSent(_)
                | Data::EmailMessageReceived(_)
                | Data::MessageSent(_)
                | Data::MessageReceived(_),
            ) => {
                case.set_by = fact.event_id();
                continue;
            }
            _ => continue,
        }
        exists = true;
        case.set_by = fact.event_id();
    }
    if !exists {
        return CaseRows::default();
    }
    if capped {
        case.flags.push("facts_capped");
    }
    opening(&mut case, opened, &replies);
    times(&mut case, &spans);
    case.one_touch = case.replies_public_agent == 1 && case.status.as_deref().is_some_and(|s| !is_open(s));
    CaseRows { case: Some(case), spans: spans.spans }
}

fn state(case: &mut Case, body: &v1::CaseOpened) {
    case.title = body.title.clone();
    case.priority = body.priority.clone();
    case.product = body.product.clone().or(case.product.take());
    case.serial = body.serial.clone().or(case.serial.take());
    case.topic = body.topic.clone().or(case.topic.take());
    case.channel = body.channel.clone().or(case.channel.take());
    case.queue = body.queue.clone().or(case.queue.take());
}

/// What a change does not name stays; empty text takes away.
fn change(case: &mut Case, body: &v1::CaseChanged) {
    let set = |field: &mut Option<String>, stated: &Option<String>| {
        if let Some(text) = stated {
            *field = (!text.is_empty()).then(|| text.clone());
        }
    };
    set(&mut case.assignee, &body.assignee);
    set(&mut case.priority, &body.priority);
    set(&mut case.queue, &body.queue);
    set(&mut case.topic, &body.topic);
    set(&mut case.merged_into, &body.merged_into);
}

/// Who opened it, and how long the customer waited for a person.
fn opening(case: &mut Case, opened: Option<Fact<'_>>, replies: &Replies<'_>) {
    case.replies_public_agent = replies.public_by_agents();
    case.replies_internal = replies.internal();
    case.messages_customer = replies.by_customer();
    let Some(opened) = opened else {
        case.first_reply_at = replies.first_after(None).map(|f| f.occurred_at());
        return;
    };
    case.opened_at = Some(opened.occurred_at());
    case.opened_by = opened.wire.actor.clone();
    case.opened_by_agent = opened.wire.actor.as_deref().is_some_and(is_human);
    let asked = if case.opened_by_agent { replies.first_of_customer() } else { Some(opened) };
    let Some(asked) = asked else { return };
    case.first_reply_at = replies.first_after(Some(asked.stamp)).map(|f| f.occurred_at());
    case.first_reply_us = since(Some(asked.occurred_at()), case.first_reply_at);
}

fn times(case: &mut Case, spans: &Spans) {
    case.status = spans.status().map(str::to_owned);
    case.status_since = spans.spans.last().map(|s| s.started_at);
    case.reopens = spans.reopens;
    case.first_solved_at = spans.first_solved_at;
    case.solved_at = spans.solved_at;
    case.closed_at = spans.closed_at;
    case.resolution_us = since(case.opened_at, spans.solved_at);
    case.first_resolution_us = since(case.opened_at, spans.first_solved_at);
    case.agent_work_us = spans.spent_in(&["new", "open"]);
    case.requester_wait_us = spans.spent_in(&["new", "open", "on_hold"]);
    case.agent_wait_us = spans.spent_in(&["pending"]);
}

/// From one to the other; `None` if one is unknown or the other comes first.
fn since(from: Option<i64>, to: Option<i64>) -> Option<i64> {
    from.zip(to).map(|(from, to)| to.saturating_sub(from)).filter(|length| *length >= 0)
}
