//! The views of service, row by row.

use std::collections::{BTreeMap, BTreeSet};

use domain::{Interaction, money::Decimal};
use rapport_proto::v1::{self, interaction::Data};
use serde_json::{Value, json};

use super::{Rows, Set, owner, time};

/// Every digested view of service.
pub fn rows(set: &Set) -> Rows {
    let facts = set.facts();
    let mut rows = Rows::default();
    for kind in ["case", "call"] {
        let ids: BTreeSet<&str> =
            facts.iter().flat_map(|e| &e.entities).filter(|e| e.kind == kind).map(|e| e.key.as_str()).collect();
        for id in ids {
            let named: Vec<&Interaction> =
                facts.iter().copied().filter(|e| e.entities.iter().any(|n| n.kind == kind && n.key == id)).collect();
            if kind == "case" { case(id, &named, &mut rows) } else { call(id, &named, &mut rows) }
        }
    }
    threads(&facts, &mut rows);
    rows
}

/// Who wrote, to whom.
#[derive(PartialEq)]
enum Writer {
    Customer,
    Agent,
    Machine,
}

/// A message of a case: who, whether the customer can see it, its message id.
fn message<'a>(id: &str, event: &'a Interaction) -> Option<(Writer, bool, Option<&'a str>)> {
    let actor = event.wire.actor.as_deref();
    let ours = |auto: Option<bool>| match actor {
        Some("customer") => Writer::Customer,
        _ if auto == Some(true) => Writer::Machine,
        None => Writer::Agent,
        Some(who) if who.starts_with("human:") => Writer::Agent,
        Some(_) => Writer::Machine,
    };
    match event.wire.data.as_ref()? {
        Data::CaseReplied(r) if r.case_id.as_deref() == Some(id) => {
            Some((ours(r.auto), r.visibility.as_deref() == Some("public"), r.message_id.as_deref()))
        }
        Data::EmailMessageSent(m) => {
            let automatic = machine_mail(actor, m.auto, &m.from, &m.subject, &m.extra_json);
            Some((ours(Some(automatic)), true, m.message_id.as_deref()))
        }
        Data::MessageSent(m) => {
            Some((ours(m.auto), m.visibility.as_deref() != Some("internal"), m.message_id.as_deref()))
        }
        Data::EmailMessageReceived(_) | Data::MessageReceived(_) => Some((Writer::Customer, true, None)),
        _ => None,
    }
}

fn is_done(status: &str) -> bool {
    status == "solved" || status == "closed"
}

fn case(id: &str, facts: &[&Interaction], rows: &mut Rows) {
    let mine = |case: &Option<String>| case.as_deref() == Some(id);
    let is_about = |e: &&&Interaction| match e.wire.data.as_ref() {
        Some(Data::CaseOpened(b)) => mine(&b.case_id),
        Some(Data::CaseChanged(b)) => mine(&b.case_id),
        Some(Data::CaseReplied(b)) => mine(&b.case_id),
        Some(Data::CaseEscalated(b)) => mine(&b.case_id),
        _ => false,
    };
    if !facts.iter().any(|e| is_about(&e)) {
        return;
    }
    let is_message = |e: &Interaction| {
        matches!(
            &e.wire.data,
            Some(
                Data::EmailMessageSent(_)
                    | Data::EmailMessageReceived(_)
                    | Data::MessageSent(_)
                    | Data::MessageReceived(_)
            )
        )
    };
    let set_by = facts.iter().rev().find(|e| is_about(e) || is_message(e)).map(|e| e.event_id);

    // What it says of itself: later facts overwrite earlier ones; an opening states only what it names, title and
    // priority always.
    let mut says: BTreeMap<&str, Value> = BTreeMap::new();
    let mut stretches: Vec<(&str, i64, &Interaction)> = Vec::new();
    let (mut escalations, mut level) = (0, Value::Null);
    for event in facts.iter().filter(is_about) {
        match event.wire.data.as_ref() {
            Some(Data::CaseOpened(b)) => {
                says.insert("title", b.title.clone().into());
                says.insert("priority", b.priority.clone().into());
                for (name, value) in [
                    ("product", &b.product),
                    ("serial", &b.serial),
                    ("topic", &b.topic),
                    ("channel", &b.channel),
                    ("queue", &b.queue),
                ] {
                    if let Some(value) = value {
                        says.insert(name, value.clone().into());
                    }
                }
                if stretches.is_empty() {
                    stretches.push(("new", event.occurred_at, event));
                }
            }
            Some(Data::CaseChanged(b)) => {
                for (name, value) in [
                    ("assignee", &b.assignee),
                    ("priority", &b.priority),
                    ("queue", &b.queue),
                    ("topic", &b.topic),
                    ("merged_into", &b.merged_into),
                ] {
                    if let Some(value) = value {
                        says.insert(name, if value.is_empty() { Value::Null } else { value.clone().into() });
                    }
                }
                if let Some(status) =
                    b.status.as_deref().filter(|s| stretches.last().map(|(last, _, _)| *last) != Some(*s))
                {
                    stretches.push((status, event.occurred_at, event));
                }
            }
            Some(Data::CaseEscalated(b)) => {
                escalations += 1;
                level = b.level.map_or(level, Value::from);
            }
            _ => {}
        }
    }
    let mut spent: BTreeMap<&str, i64> = BTreeMap::new();
    let (mut solves, mut reopens, mut closed_at) = (Vec::new(), 0, None);
    for (n, (status, at, event)) in stretches.iter().enumerate() {
        let before = n.checked_sub(1).map(|n| stretches[n].0);
        let until = stretches.get(n + 1);
        let length = until.map(|(_, end, _)| end - at);
        *spent.entry(status).or_default() += length.unwrap_or(0);
        let was_open = before.is_none_or(|b| !is_done(b));
        if was_open && is_done(status) {
            solves.push(*at);
        }
        reopens += i32::from(!was_open && !is_done(status));
        if *status == "closed" {
            closed_at = Some(*at);
        }
        rows.push(
            "case_spans",
            &json!({"case_id": id, "span_no": n + 1, "status": status, "started_at": time(*at), "ended_at": until.map(|(_, end, _)| time(*end)),
                    "length_min": length.map(minutes), "set_by": until.map_or(event.event_id, |(_, _, next)| next.event_id)}),
        );
    }
    let time_in = |statuses: &[&str]| minutes(statuses.iter().filter_map(|s| spent.get(s)).sum());

    let replies = replies(id, facts);
    let customers: Vec<&Interaction> =
        facts.iter().copied().filter(|e| message(id, e).is_some_and(|(who, _, _)| who == Writer::Customer)).collect();
    let opening = facts.iter().find(|e| is_about(e) && matches!(&e.wire.data, Some(Data::CaseOpened(_))));
    let by_agent = opening.is_some_and(|e| e.wire.actor.as_deref().is_some_and(|a| a.starts_with("human:")));
    let asked = match opening {
        // "A case that an agent opened: from the customer's first message", whenever that was.
        Some(_) if by_agent => customers.first().copied(),
        other => other.copied(),
    };
    let answer = match (opening, asked) {
        (None, _) => replies.public.first().copied(),
        (Some(_), None) => None,
        (Some(_), Some(asked)) => replies.public.iter().find(|r| r.stamp > asked.stamp).copied(),
    };
    let from_opening =
        |to: Option<&i64>| opening.zip(to).map(|(o, to)| to - o.occurred_at).filter(|l| *l >= 0).map(minutes);
    let status = stretches.last().map(|(status, _, _)| *status);
    let mut row = json!({
        "case_id": id, "subject_id": owner(facts), "status": status, "opened_at": opening.map(|e| time(e.occurred_at)),
        "opened_by": opening.and_then(|e| e.wire.actor.clone()), "opened_by_agent": by_agent,
        "first_reply_at": answer.map(|e| time(e.occurred_at)),
        "first_reply_min": asked.zip(answer).map(|(asked, answer)| minutes(answer.occurred_at - asked.occurred_at)),
        "first_solved_at": solves.first().map(|t| time(*t)), "solved_at": solves.last().map(|t| time(*t)), "closed_at": closed_at.map(time),
        "resolution_min": from_opening(solves.last()), "first_resolution_min": from_opening(solves.first()),
        "agent_work_min": time_in(&["new", "open"]), "requester_wait_min": time_in(&["new", "open", "on_hold"]),
        "agent_wait_min": time_in(&["pending"]), "status_since": stretches.last().map(|(_, at, _)| time(*at)), "reopens": reopens,
        "escalations": escalations, "escalation_level": level, "replies_public_agent": replies.public.len(),
        "replies_internal": replies.internal, "messages_customer": customers.len(),
        "one_touch": replies.public.len() == 1 && status.is_some_and(is_done), "flags": [], "set_by": set_by,
    });
    for name in ["title", "priority", "assignee", "queue", "product", "serial", "topic", "channel", "merged_into"] {
        row[name] = says.remove(name).unwrap_or_default();
    }
    rows.push("cases", &row);
}

/// A message of ours: the event, who wrote it, whether the customer can see it.
type Written<'a> = (&'a Interaction, Writer, bool);

struct Replies<'a> {
    public: Vec<&'a Interaction>,
    internal: usize,
}

/// What we wrote: facts with one message id are one reply, at the first of them, public and by an agent if all are.
fn replies<'a>(id: &str, facts: &[&'a Interaction]) -> Replies<'a> {
    let mut groups: Vec<(Option<&str>, Vec<Written<'a>>)> = Vec::new();
    for &event in facts {
        let Some((who, public, message_id)) = message(id, event).filter(|(who, _, _)| *who != Writer::Customer) else {
            continue;
        };
        let message_id = message_id.filter(|m| !m.is_empty());
        match groups.iter_mut().find(|(known, _)| message_id.is_some() && *known == message_id) {
            Some((_, group)) => group.push((event, who, public)),
            None => groups.push((message_id, vec![(event, who, public)])),
        }
    }
    let public = |group: &[Written<'_>]| group.iter().all(|(_, _, public)| *public);
    let by_agent = |group: &[Written<'_>]| group.iter().all(|(_, who, _)| *who == Writer::Agent);
    Replies {
        internal: groups.iter().filter(|(_, g)| !public(g)).count(),
        public: groups.iter().filter(|(_, g)| public(g) && by_agent(g)).map(|(_, g)| g[0].0).collect(),
    }
}

/// What a record of a leg says or lets one work out. Times in microseconds, durations in milliseconds.
struct Leg<'a> {
    body: &'a v1::CallEnded,
    event: &'a Interaction,
    /// Unknown if what it is worked out of is absurd.
    offered: Option<i64>,
    answered: Option<i64>,
    wait: Option<i128>,
    talk: Option<i128>,
    /// Something of it lies outside the years 1900 to 9999.
    absurd: bool,
}

impl Leg<'_> {
    /// The leg stands at its offer, at its end if that is unknown.
    fn stands_at(&self) -> i64 {
        self.offered.unwrap_or(self.event.occurred_at)
    }
}

fn ms(seconds: &Option<String>) -> Option<i128> {
    Decimal::parse(seconds.as_deref()?).map(|d| d.to_minor(3))
}

/// A time in microseconds; `Err` if it lies outside the years 1900 to 9999.
fn sane(micros: i128) -> Result<i64, ()> {
    let year = |at: &i64| chrono::DateTime::from_timestamp_micros(*at).map(|t| chrono::Datelike::year(&t));
    i64::try_from(micros).ok().filter(|at| year(at).is_some_and(|y| (1900..10_000).contains(&y))).ok_or(())
}

/// The first of these times that is known and sane, and whether one before it was not sane.
fn first_sane(candidates: &[Option<i128>]) -> (Option<i64>, bool) {
    let tried: Vec<Result<i64, ()>> = candidates.iter().flatten().map(|at| sane(*at)).collect();
    let found = tried.iter().position(Result::is_ok);
    (found.and_then(|n| tried[n].ok()), tried[..found.unwrap_or(tried.len())].contains(&Err(())))
}

fn leg<'a>(body: &'a v1::CallEnded, event: &'a Interaction) -> Leg<'a> {
    let ended = i128::from(event.occurred_at);
    let (wait, talk, hold) = (ms(&body.wait_s), ms(&body.talk_s), ms(&body.hold_s).unwrap_or(0));
    let picked_up = matches!(body.disposition.as_deref(), Some("answered" | "transferred"));
    let by_duration = ms(&body.duration_s).map(|d| ended - d * 1_000);
    let (offered, absurd_offer) = first_sane(&[body.offered_at.map(i128::from), by_duration]);
    let by_wait = offered.zip(wait).map(|(o, w)| i128::from(o) + w * 1_000).filter(|_| picked_up);
    let by_talk = talk.map(|t| ended - (t + hold) * 1_000).filter(|_| picked_up);
    let (answered, absurd_answer) = first_sane(&[body.answered_at.map(i128::from), by_wait, by_talk]);
    let waited_until = answered.or(if picked_up { None } else { Some(event.occurred_at) });
    let talked = gap(answered, Some(event.occurred_at)).map(|d| d - hold).filter(|t| *t >= 0);
    Leg {
        body,
        event,
        offered,
        answered,
        wait: wait.or(gap(offered, waited_until)),
        talk: talk.or(talked),
        absurd: absurd_offer || absurd_answer,
    }
}

/// Whole milliseconds from one to the other; unknown if it would be negative.
fn gap(from: Option<i64>, to: Option<i64>) -> Option<i128> {
    from.zip(to).map(|(f, t)| i128::from(t - f)).filter(|d| *d >= 0).map(|d| d / 1_000)
}

fn call(id: &str, facts: &[&Interaction], rows: &mut Rows) {
    let mine = |call: &Option<String>| call.as_deref() == Some(id);
    let mut offers: Vec<(&v1::CallOffered, &Interaction)> = Vec::new();
    let mut answers: Vec<(&v1::CallAnswered, &Interaction)> = Vec::new();
    let mut records: BTreeMap<Option<&str>, (&v1::CallEnded, &Interaction)> = BTreeMap::new();
    let mut set_by = None;
    for &event in facts {
        match event.wire.data.as_ref() {
            Some(Data::CallOffered(b)) if mine(&b.call_id) => offers.push((b, event)),
            Some(Data::CallAnswered(b)) if mine(&b.call_id) => answers.push((b, event)),
            Some(Data::CallEnded(b)) if mine(&b.call_id) => {
                records.insert(b.leg_id.as_deref().filter(|l| !l.is_empty()), (b, event));
            }
            _ => continue,
        }
        set_by = Some(event.event_id);
    }
    let Some(set_by) = set_by else { return };
    let mut records: Vec<(&v1::CallEnded, &Interaction)> = records.into_values().collect();
    records.sort_by(|a, b| a.1.stamp.cmp(&b.1.stamp));
    let mut legs: Vec<Leg<'_>> = records.iter().map(|(b, e)| leg(b, e)).collect();
    legs.sort_by(|a, b| (a.stands_at(), &a.event.stamp).cmp(&(b.stands_at(), &b.event.stamp)));
    for (n, leg) in legs.iter().enumerate() {
        rows.push("call_legs", &leg.row(id, n + 1));
    }
    let first = |offer: &dyn Fn(&v1::CallOffered) -> Option<String>,
                 record: &dyn Fn(&v1::CallEnded) -> Option<String>| {
        offers.iter().find_map(|(b, _)| offer(b)).or_else(|| records.iter().find_map(|(b, _)| record(b)))
    };
    // Which queue comes first is told by the offers, not by which record was written first.
    let queue =
        offers.iter().find_map(|(b, _)| b.queue.as_ref()).or_else(|| legs.iter().find_map(|l| l.body.queue.as_ref()));
    let offered = offers.first().map(|(_, e)| e.occurred_at).or(legs.first().and_then(|l| l.offered));
    let shown_offer = offered.or(legs.first().map(Leg::stands_at));
    let answer = answers.first();
    let answered = answer.map(|(_, e)| e.occurred_at).or(legs.iter().filter_map(|l| l.answered).min());
    let ended = legs.iter().map(|l| l.event.occurred_at).max();
    let sum = |part: &dyn Fn(&Leg<'_>) -> Option<i128>| -> Option<i128> {
        let told: Vec<i128> = legs.iter().filter_map(part).collect();
        if told.is_empty() { None } else { Some(told.iter().sum()) }
    };
    let mut agents: Vec<(&Interaction, &String)> =
        answers.iter().filter_map(|(b, e)| Some((*e, b.agent_id.as_ref()?))).collect();
    agents.extend(records.iter().filter_map(|(b, e)| Some((*e, b.agent_id.as_ref()?))));
    let picked_up =
        |l: &Leg<'_>| matches!(l.body.disposition.as_deref(), Some("answered" | "transferred")) || l.answered.is_some();
    let was_answered = answer.is_some() || legs.iter().any(picked_up);
    // The call waited from its first offer to its first answer, or to its end. Somebody's word for it is better than a
    // difference of times, if it is about that very wait: there is but one leg, or its leg was offered and answered first.
    let but_one = offers.len() < 2 && legs.len() < 2;
    let by_answer = answer.and_then(|(b, _)| ms(&b.wait_s)).filter(|_| but_one);
    let by_events =
        offers.first().zip(answer).and_then(|((_, o), (_, a))| gap(Some(o.occurred_at), Some(a.occurred_at)));
    let by_record = legs
        .first()
        .filter(|l| {
            but_one || (l.offered.is_some() && l.offered == offered && l.answered.is_some() && l.answered == answered)
        })
        .and_then(|l| ms(&l.body.wait_s));
    let by_times = gap(offered, if was_answered { answered } else { ended });
    let wait = [by_answer, by_events, by_record, by_times].into_iter().flatten().next();
    let flags: &[&str] = if legs.iter().any(|l| l.absurd) { &["time_out_of_range"] } else { &[] };
    rows.push(
        "calls",
        &json!({
            "call_id": id, "subject_id": owner(facts),
            "direction": first(&|b| b.direction.clone(), &|b| b.direction.clone()).map(|d| if d.starts_with("in") { "inbound" } else { "outbound" }),
            "from_number": first(&|b| b.from.clone(), &|b| b.from.clone()), "to_number": first(&|b| b.to.clone(), &|b| b.to.clone()),
            "queue": queue,
            "agent_id": agents.iter().max_by(|a, b| a.0.stamp.cmp(&b.0.stamp)).map(|(_, agent)| *agent),
            "case_id": records.iter().rev().find_map(|(b, _)| b.case_id.clone()),
            "offered_at": shown_offer.map(time), "answered_at": answered.map(time), "ended_at": ended.map(time),
            "answered": was_answered, "disposition": legs.last().and_then(|l| l.body.disposition.clone()),
            "wait_s": wait.map(seconds),
            "talk_s": sum(&|l| l.talk).map(seconds), "hold_s": sum(&|l| ms(&l.body.hold_s)).map(seconds), "wrap_s": sum(&|l| ms(&l.body.wrap_s)).map(seconds),
            "duration_s": (if legs.len() > 1 { gap(offered, ended) } else { legs.first().and_then(|l| ms(&l.body.duration_s)) }).map(seconds),
            "leg_count": legs.len(), "flags": flags, "set_by": set_by,
        }),
    );
}

impl Leg<'_> {
    fn row(&self, call: &str, n: usize) -> Value {
        let b = self.body;
        json!({
            "call_id": call, "leg_no": n, "leg_id": b.leg_id.as_deref().filter(|l| !l.is_empty()), "queue": b.queue, "agent_id": b.agent_id,
            "offered_at": time(self.stands_at()), "answered_at": self.answered.map(time), "ended_at": time(self.event.occurred_at),
            "disposition": b.disposition, "wait_s": self.wait.map(seconds), "talk_s": self.talk.map(seconds),
            "hold_s": ms(&b.hold_s).map(seconds), "wrap_s": ms(&b.wrap_s).map(seconds), "duration_s": ms(&b.duration_s).map(seconds),
            "transfer_to": b.transfer_to, "reason": b.reason, "set_by": self.event.event_id,
        })
    }
}

/// Whether a mail is a machine's: as stated, else by what histories have of such signs. Against a named person only a
/// header counts.
fn machine_mail(
    actor: Option<&str>,
    auto: Option<bool>,
    from: &Option<String>,
    title: &Option<String>,
    extra: &[u8],
) -> bool {
    let Some(stated) = auto else {
        let lower = |text: &Option<String>| text.clone().unwrap_or_default().to_lowercase();
        let local = lower(from).split('@').next().unwrap_or_default().to_owned();
        let extra: Value = serde_json::from_slice(extra).unwrap_or_default();
        let header = extra["headers"]["Auto-Submitted"].as_str().unwrap_or("no");
        let looks = ["noreply", "no-reply", "mailer-daemon", "postmaster"].contains(&local.as_str())
            || ["automatic reply:", "out of office:"].iter().any(|begin| lower(title).starts_with(begin));
        let person = actor.is_some_and(|who| who.starts_with("human:"));
        return header != "no" || (looks && !person);
    };
    stated
}

/// What one event tells of a thread.
struct Told<'a> {
    event: &'a Interaction,
    /// Texts; two events that share one are in one thread.
    joins: BTreeSet<String>,
    /// Published threads that it names.
    keys: BTreeSet<String>,
    letter: Option<Letter>,
}

/// A message.
#[derive(Clone)]
struct Letter {
    /// Which one it is.
    id: String,
    published: Option<String>,
    /// The id that it answers.
    answers: Option<String>,
    in_reply_to: Option<String>,
    channel: String,
    outbound: bool,
    writer: &'static str,
    internal: bool,
    title: Option<String>,
    case_id: Option<String>,
    /// By its own date.
    sent_at: i64,
}

impl Letter {
    /// Of several tellings of one message the one with the least of these counts, of those the first.
    fn weight(&self) -> usize {
        if self.internal {
            return 0;
        }
        ["machine or partner", "agent", "customer"].iter().position(|w| w.contains(self.writer)).expect("a writer") + 1
    }
}

/// The ids in a text: all in angle brackets, else each word.
fn ids(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut rest = text;
    while let Some(open) = rest.find('<') {
        rest = &rest[open + 1..];
        // An opening bracket within an unclosed one begins anew.
        let end = rest.find(['<', '>']).unwrap_or(rest.len());
        if rest[end..].starts_with('>') {
            found.push(rest[..end].to_owned());
        }
        rest = &rest[end..];
    }
    if found.is_empty() {
        found = text.split_whitespace().map(|word| word.trim_matches(['<', '>']).to_owned()).collect();
    }
    let squeezed = |id: String| id.split_whitespace().collect::<String>();
    found.into_iter().map(squeezed).filter(|id| !id.is_empty()).map(|id| format!("<{id}>")).collect()
}

/// Empty text says nothing.
fn stated(text: &Option<String>) -> Option<String> {
    text.clone().filter(|text| !text.is_empty())
}

fn told(event: &Interaction) -> Option<Told<'_>> {
    let keys: BTreeSet<String> = event
        .entities
        .iter()
        .filter(|e| e.kind == "thread")
        .map(|e| if e.key.starts_with('<') && e.key.ends_with('>') { ids(&e.key).concat() } else { e.key.clone() })
        .collect();
    let actor = event.wire.actor.as_deref();
    let writer = |sent: bool, machine: bool| match actor {
        _ if machine => "machine",
        Some("customer") => "customer",
        _ if !sent => "customer",
        None => "agent",
        Some(who) if who.starts_with("human:") => "agent",
        Some(who) if who.starts_with("partner:") => "partner",
        Some(_) => "machine",
    };
    let outbound = |sent: bool| sent && actor != Some("customer");
    let mut joins = keys.clone();
    let letter = match event.wire.data.as_ref() {
        Some(
            Data::EmailMessageReceived(v1::EmailMessageReceived {
                message_id,
                from,
                subject,
                in_reply_to,
                references,
                case_id,
                sent_at,
                auto,
                extra_json,
                ..
            })
            | Data::EmailMessageSent(v1::EmailMessageSent {
                message_id,
                from,
                subject,
                in_reply_to,
                references,
                case_id,
                sent_at,
                auto,
                extra_json,
                ..
            }),
        ) => {
            let sent = matches!(event.wire.data, Some(Data::EmailMessageSent(_)));
            let id = ids(message_id.as_deref().unwrap_or_default()).into_iter().next();
            let id = id.unwrap_or_else(|| format!("event:{}", event.event_id));
            let named = in_reply_to.as_deref().unwrap_or_default();
            let prose = !named.contains('<') && named.split_whitespace().count() > 1;
            let answers = ids(named).pop().filter(|answered| !prose && *answered != id);
            joins.insert(id.clone());
            joins.extend(answers.clone());
            joins.extend(references.iter().flat_map(|r| ids(r)));
            Some(Letter {
                id,
                published: stated(message_id),
                answers,
                in_reply_to: stated(in_reply_to),
                channel: "email".to_owned(),
                outbound: outbound(sent),
                writer: writer(sent, machine_mail(actor, *auto, from, subject, extra_json)),
                internal: false,
                title: stated(subject),
                case_id: stated(case_id),
                sent_at: sent_at.unwrap_or(event.occurred_at),
            })
        }
        Some(
            Data::MessageReceived(v1::MessageReceived { channel, message_id, case_id, visibility, auto, .. })
            | Data::MessageSent(v1::MessageSent { channel, message_id, case_id, visibility, auto, .. }),
        ) => {
            let sent = matches!(event.wire.data, Some(Data::MessageSent(_)));
            let (channel, id) = (channel.clone().unwrap_or_default(), message_id.clone().unwrap_or_default());
            Some(Letter {
                id: format!("{:?}", (keys.first(), &channel, &id)),
                published: stated(message_id),
                answers: None,
                in_reply_to: None,
                channel,
                outbound: outbound(sent),
                writer: writer(sent, *auto == Some(true)),
                internal: visibility.as_deref() == Some("internal"),
                title: None,
                case_id: stated(case_id),
                sent_at: event.occurred_at,
            })
        }
        _ => None,
    };
    (!joins.is_empty()).then_some(Told { event, joins, keys, letter })
}

/// A message and the event that tells of it.
type Post<'a> = (&'a Interaction, &'a Letter);

/// All threads: grown from each event until nothing joins any more.
fn threads(facts: &[&Interaction], rows: &mut Rows) {
    let mut rest: Vec<Told<'_>> = facts.iter().filter_map(|e| told(e)).collect();
    while !rest.is_empty() {
        let mut thread = vec![rest.remove(0)];
        let mut joins = thread[0].joins.clone();
        while let Some(n) = rest.iter().position(|t| !t.joins.is_disjoint(&joins)) {
            let more = rest.remove(n);
            joins.extend(more.joins.iter().cloned());
            thread.push(more);
        }
        thread.sort_by(|a, b| a.event.stamp.cmp(&b.event.stamp));
        one_thread(&thread, rows);
    }
}

fn one_thread(thread: &[Told<'_>], rows: &mut Rows) {
    let all: Vec<Post<'_>> = thread.iter().filter_map(|t| Some((t.event, t.letter.as_ref()?))).collect();
    let outweighs =
        |a: &Post<'_>, b: &Post<'_>| a.1.id == b.1.id && (a.1.weight(), &a.0.stamp) < (b.1.weight(), &b.0.stamp);
    let letters: Vec<_> = all.iter().filter(|b| !all.iter().any(|a| outweighs(a, b))).copied().collect();
    let (Some((first, opening)), Some((last, _))) = (letters.first(), letters.last()) else { return };
    let id = thread.iter().flat_map(|t| &t.keys).min().unwrap_or(&opening.id).clone();
    let events: Vec<&Interaction> = thread.iter().map(|t| t.event).collect();
    let subject = owner(&events);

    let is_question = |l: &Letter| l.writer == "customer" && !l.internal;
    let is_answer = |l: &Letter| l.writer == "agent" && !l.internal;
    // Who asked, who answered, and when that was over.
    let mut waits: Vec<(Post<'_>, Option<Post<'_>>, i64)> = Vec::new();
    for (n, letter) in letters.iter().enumerate() {
        let waiting = waits.last().is_some_and(|(_, answer, _)| answer.is_none());
        if is_question(letter.1) {
            if !waiting {
                waits.push((*letter, None, 0));
            }
            // Somebody with a wrong clock may have answered this very message before it was written.
            let early = letters[..n].iter().find(|l| is_answer(l.1) && l.1.answers.as_ref() == Some(&letter.1.id));
            if let (Some(wait), Some(early)) = (waits.last_mut(), early) {
                (wait.1, wait.2) = (Some(*early), letter.0.occurred_at);
            }
        } else if is_answer(letter.1) && waiting {
            let wait = waits.last_mut().expect("somebody waits");
            (wait.1, wait.2) = (Some(*letter), letter.0.occurred_at);
        }
    }
    let length = |asked: &Interaction, answer: &Option<Post<'_>>| {
        let micros = answer.map(|(a, _)| a.occurred_at - asked.occurred_at).filter(|micros| *micros >= 0);
        micros.map(|micros| thousandths(domain::money::divide_half_away(i128::from(micros), 1_000)))
    };
    for (n, ((asked, question), answer, ended)) in waits.iter().enumerate() {
        let early = answer.is_some_and(|(a, _)| a.occurred_at < asked.occurred_at);
        rows.push(
            "thread_waits",
            &json!({
                "thread_id": id, "wait_no": n + 1, "subject_id": subject, "channel": question.channel, "title": opening.title,
                "asked_at": time(asked.occurred_at), "asked_message_id": question.published,
                "answered_at": answer.map(|(a, _)| time(a.occurred_at)),
                "answered_message_id": answer.and_then(|(_, l)| l.published.clone()),
                "answered_by": answer.and_then(|(a, _)| a.wire.actor.clone()), "wait_s": length(asked, answer),
                "next_asked_at": waits.get(n + 1).map(|((next, _), ..)| time(next.occurred_at)),
                "ended_at": answer.map(|_| time(*ended)),
                "flags": if early { vec!["answered_before_asked"] } else { vec![] }, "asked_event_id": asked.event_id,
                "set_by": answer.map_or(asked.event_id, |(a, _)| a.event_id),
            }),
        );
    }
    let first_wait = waits.first();
    rows.push(
        "threads",
        &json!({
            "thread_id": id, "subject_id": subject, "channel": opening.channel, "title": opening.title,
            "first_at": time(first.occurred_at), "last_at": time(last.occurred_at), "message_count": letters.len(),
            "messages_customer": letters.iter().filter(|l| is_question(l.1)).count(),
            "messages_agent": letters.iter().filter(|l| is_answer(l.1)).count(), "wait_count": waits.len(),
            "first_asked_at": first_wait.map(|((asked, _), ..)| time(asked.occurred_at)),
            "first_answered_at": first_wait.and_then(|(_, a, _)| *a).map(|(a, _)| time(a.occurred_at)),
            "first_wait_s": first_wait.and_then(|((asked, _), answer, _)| length(asked, answer)),
            "unanswered_since": waits.last().filter(|(_, a, _)| a.is_none()).map(|((asked, _), ..)| time(asked.occurred_at)),
            "flags": [], "set_by": all.last().map(|(e, _)| e.event_id),
        }),
    );
    for (event, letter) in &letters {
        // A parent is in its child's thread: they share its id.
        let parent = letters.iter().find(|(_, l)| letter.answers.as_ref() == Some(&l.id));
        let after = parent.map(|(_, p)| letter.sent_at - p.sent_at);
        rows.push(
            "messages",
            &json!({
                "message_id": letter.published, "thread_id": id, "subject_id": event.subject.as_ref().map(|s| s.id),
                "channel": letter.channel, "direction": if letter.outbound { "outbound" } else { "inbound" },
                "writer": letter.writer, "internal": letter.internal, "actor": event.wire.actor, "title": letter.title,
                "case_id": letter.case_id, "occurred_at": time(event.occurred_at), "in_reply_to": letter.in_reply_to,
                "parent_message_id": parent.and_then(|(_, l)| l.published.clone()),
                "parent_at": parent.map(|(_, p)| time(p.sent_at)), "sent_at": time(letter.sent_at),
                "reply_min": after.filter(|micros| *micros >= 0).map(minutes),
                "dated_before_parent": after.is_some_and(|micros| micros < 0), "set_by": event.event_id,
            }),
        );
    }
}

/// Microseconds as minutes with three digits, halves away from zero.
fn minutes(micros: i64) -> String {
    thousandths(domain::money::divide_half_away(i128::from(micros), 60_000))
}

/// Milliseconds as seconds with three digits.
fn seconds(ms: i128) -> String {
    thousandths(ms)
}

fn thousandths(n: i128) -> String {
    format!("{}{}.{:03}", if n < 0 { "-" } else { "" }, n.unsigned_abs() / 1_000, n.unsigned_abs() % 1_000)
}
