//! One thread: a component of messages, and how long its customer waited for answers.

#[cfg(test)]
mod tests;

use std::collections::HashMap;

use domain::owner::owner;
use uuid::Uuid;

use super::telling::{Message, Telling, Writer};

/// The rows of one thread. Without a `thread` there are none at all.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ThreadRows {
    /// The thread.
    pub thread: Option<Thread>,
    /// How often the customer waited, in order.
    pub waits: Vec<Wait>,
}

/// A thread. Times are microseconds UTC, durations (`_us`) microseconds.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Thread {
    /// The least published id of a thread in it, else the id of its first message.
    pub thread_id: String,
    /// Its owner: the subject of the first identified event of it.
    pub subject_id: Option<Uuid>,
    /// Of its first message.
    pub channel: String,
    /// The subject line of its first message.
    pub title: Option<String>,
    /// When its first message was written.
    pub first_at: i64,
    /// When its last was.
    pub last_at: i64,
    /// How many messages it has, automatic and internal ones among them.
    pub message_count: i32,
    /// Those that the customer wrote by hand.
    pub messages_customer: i32,
    /// Those that the customer can see and a human agent wrote.
    pub messages_agent: i32,
    /// How often the customer waited, the wait that lasts included.
    pub wait_count: i32,
    /// When the first wait began.
    pub first_asked_at: Option<i64>,
    /// When a human agent ended it.
    pub first_answered_at: Option<i64>,
    /// How long it was.
    pub first_wait_us: Option<i64>,
    /// Since when the customer has been waiting; `None` if nobody waits.
    pub unanswered_since: Option<i64>,
    /// `facts_capped`.
    pub flags: Vec<&'static str>,
    /// The last event that tells of a message of it.
    pub set_by: Uuid,
}

/// One wait of the customer: from a message to the first answer of a human agent after it. What the customer writes
/// meanwhile belongs to it and does not begin it anew.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Wait {
    /// The thread, as [`Thread::thread_id`].
    pub thread_id: String,
    /// The owner of the thread.
    pub subject_id: Option<Uuid>,
    /// The subject line of the thread's first message.
    pub title: Option<String>,
    /// From 1, in order.
    pub wait_no: i32,
    /// Where the message that began it was written.
    pub channel: String,
    /// When that was, microseconds UTC.
    pub asked_at: i64,
    /// That message, as published.
    pub asked_message_id: Option<String>,
    /// When a human agent answered; `None` while nobody has.
    pub answered_at: Option<i64>,
    /// The answer, as published.
    pub answered_message_id: Option<String>,
    /// Who answered, as published.
    pub answered_by: Option<String>,
    /// From the one to the other, microseconds; `None` if the answer is dated before the question.
    pub wait_us: Option<i64>,
    /// When it was over, microseconds UTC: when the answer was written, or where that is dated before the message which
    /// it answers, when that message was.
    pub ended_at: Option<i64>,
    /// When the next wait of the thread began.
    pub next_asked_at: Option<i64>,
    /// `answered_before_asked`, and those of the thread.
    pub flags: Vec<&'static str>,
    /// The event that began it.
    pub asked_event_id: Uuid,
    /// The event that ended it.
    pub answered_event_id: Option<Uuid>,
}

/// A message and the event of it that counts.
type Counted<'t> = (&'t Telling, &'t Message);

/// Folds what events tell of one component, in the order of facts. `capped`: there are more, which do not count.
///
/// - Of several events with one message's id one counts: see [`Message::standing`].
/// - A wait begins with a message of the customer while none lasts, and ends with the next message after it that a human
///   agent wrote and the customer can see. What machines and partners write, on either side, neither begins nor ends one.
/// - An answer that names the customer's message (In-Reply-To) is one though its date is before that message's: clocks
///   differ. How long the customer waited is unknown then, and flagged; it is never negative.
/// - Events that name the thread without being messages help to tell its owner; they alone make no thread.
pub fn thread(tellings: &[Telling], capped: bool) -> ThreadRows {
    let messages = counted(tellings);
    let Some(&(first, first_message)) = messages.first() else { return ThreadRows::default() };
    let mut waits = waits(&messages);
    let named = tellings.iter().filter_map(|t| t.thread_key.as_ref()).min();
    let last = tellings.iter().rev().find(|t| t.message.is_some()).unwrap_or(first);
    let thread = Thread {
        thread_id: named.unwrap_or(&first_message.key).clone(),
        subject_id: owner(tellings.iter().map(|t| t.subject_id)),
        channel: first_message.channel.clone(),
        title: first_message.title.clone(),
        first_at: first.stamp.occurred_at(),
        last_at: messages.last().map_or(first, |(t, _)| t).stamp.occurred_at(),
        message_count: count(messages.iter()),
        messages_customer: count(messages.iter().filter(|(_, m)| asks(m))),
        messages_agent: count(messages.iter().filter(|(_, m)| answers(m))),
        wait_count: count(waits.iter()),
        first_asked_at: waits.first().map(|w| w.asked_at),
        first_answered_at: waits.first().and_then(|w| w.answered_at),
        first_wait_us: waits.first().and_then(|w| w.wait_us),
        unanswered_since: waits.last().filter(|w| w.answered_at.is_none()).map(|w| w.asked_at),
        flags: if capped { vec!["facts_capped"] } else { Vec::new() },
        set_by: last.stamp.event_id(),
    };
    for wait in &mut waits {
        wait.thread_id.clone_from(&thread.thread_id);
        wait.subject_id = thread.subject_id;
        wait.title.clone_from(&thread.title);
        wait.flags.extend(&thread.flags);
    }
    ThreadRows { thread: Some(thread), waits }
}

/// Each message once, in the order of facts.
fn counted(tellings: &[Telling]) -> Vec<Counted<'_>> {
    let mut by_key: HashMap<&str, Counted<'_>> = HashMap::with_capacity(tellings.len());
    for telling in tellings {
        let Some(message) = &telling.message else { continue };
        let counts = by_key.entry(&message.key).or_insert((telling, message));
        // Of equal standing the first counts, and they come in order.
        if message.standing() < counts.1.standing() {
            *counts = (telling, message);
        }
    }
    let mut messages: Vec<Counted<'_>> = by_key.into_values().collect();
    messages.sort_unstable_by_key(|(telling, _)| &telling.stamp);
    messages
}

fn asks(message: &Message) -> bool {
    message.writer == Writer::Customer && !message.internal
}

fn answers(message: &Message) -> bool {
    message.writer == Writer::Agent && !message.internal
}

fn waits(messages: &[Counted<'_>]) -> Vec<Wait> {
    // The first answer to each mail that is dated before it. (One dated later ends the wait in its own place.)
    let mut early: HashMap<&str, Counted<'_>> = HashMap::new();
    let mut waits: Vec<Wait> = Vec::new();
    let mut lasts = false;
    for &(telling, message) in messages {
        if answers(message) {
            if let Some(parent) = message.parent_key.as_deref() {
                early.entry(parent).or_insert((telling, message));
            }
            if lasts {
                answer(waits.last_mut(), telling, message, telling.stamp.occurred_at());
                lasts = false;
            }
        } else if asks(message) {
            if !lasts {
                ask(&mut waits, telling, message);
                lasts = true;
            }
            if let Some((answering, by)) = early.get(message.key.as_str()) {
                answer(waits.last_mut(), answering, by, telling.stamp.occurred_at());
                lasts = false;
            }
        }
    }
    waits
}

fn ask(waits: &mut Vec<Wait>, telling: &Telling, message: &Message) {
    let asked_at = telling.stamp.occurred_at();
    if let Some(before) = waits.last_mut() {
        before.next_asked_at = Some(asked_at);
    }
    waits.push(Wait {
        wait_no: i32::try_from(waits.len() + 1).unwrap_or(i32::MAX),
        channel: message.channel.clone(),
        asked_at,
        asked_message_id: message.message_id.clone(),
        asked_event_id: telling.stamp.event_id(),
        ..Wait::default()
    });
}

fn answer(wait: Option<&mut Wait>, telling: &Telling, message: &Message, ended_at: i64) {
    let Some(wait) = wait else { return };
    let answered_at = telling.stamp.occurred_at();
    let length = answered_at.saturating_sub(wait.asked_at);
    wait.answered_at = Some(answered_at);
    wait.ended_at = Some(ended_at);
    wait.answered_message_id = message.message_id.clone();
    wait.answered_by = message.actor.clone();
    wait.answered_event_id = Some(telling.stamp.event_id());
    if length < 0 {
        wait.flags.push("answered_before_asked");
    } else {
        wait.wait_us = Some(length);
    }
}

fn count<T>(items: impl Iterator<Item = T>) -> i32 {
    i32::try_from(items.count()).unwrap_or(i32::MAX)
}
