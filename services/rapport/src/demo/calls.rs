//! The call centre: who rings, how long they wait, to whom they are put through.

use domain::time::SECOND;
use serde_json::{Value, json};

use super::company::{self, HOTLINE, PHONE};
use super::people::Person;
use super::tale::{Event, Tale};
use super::time::{self, DAY, HOUR, Moment};

/// A call that is over.
pub(super) struct Call {
    pub(super) call_id: String,
    /// Who answered last. Absent: nobody did.
    pub(super) agent: Option<String>,
    /// The middle of the talk, where there was one: when an agent writes down what they are told.
    pub(super) during: Moment,
    pub(super) ended: Moment,
}

/// One stretch of a call in one queue.
struct Leg<'a> {
    call_id: &'a str,
    number: usize,
    queue: &'static str,
    from: &'a str,
    offered: Moment,
    case_id: Option<&'a str>,
}

/// Somebody with a phone rings the hotline, at the next moment at which it is open.
pub(super) fn ring(tale: &mut Tale, person: &Person, from: Moment, case_id: Option<&str>) -> Call {
    let offered = time::at_work(&mut tale.dice, from);
    let call_id = tale.new_id("C");
    let number = person.phone.clone().unwrap_or_else(|| "withheld".to_owned());
    let queue = *tale.dice.pick(&["orders", "complaints", "complaints", "repairs"]);
    let mut leg = Leg { call_id: &call_id, number: 1, queue, from: &number, offered, case_id };
    offer(tale, person, &leg);
    let wait_s = tale.dice.heavy_tail(680, 512);
    // Some hang up at once, some when it takes too long.
    if tale.dice.chance(if wait_s > 60 { 500 } else { 15 }) {
        return given_up(tale, person, &leg, wait_s);
    }
    let transfer = tale.dice.chance(120);
    let (agent, during, ended) = talk(tale, person, &leg, wait_s, transfer.then_some("specialists"));
    if !transfer {
        return Call { call_id, agent: Some(agent), during, ended };
    }
    leg = Leg { number: 2, queue: "specialists", offered: ended + SECOND, ..leg };
    offer(tale, person, &leg);
    let wait_s = tale.dice.heavy_tail(500, 64);
    let (agent, during, ended) = talk(tale, person, &leg, wait_s, None);
    Call { call_id, agent: Some(agent), during, ended }
}

fn offer(tale: &mut Tale, person: &Person, leg: &Leg<'_>) {
    let path = if leg.number == 1 { "language>menu" } else { "transfer" };
    let data = json!({
        "call_id": leg.call_id, "direction": "inbound", "from": leg.from, "to": HOTLINE, "queue": leg.queue,
        "ivr_path": path,
    });
    tale.tell(Event::new(leg.offered, PHONE, "call.offered", data).about(&person.caller()).by("customer"));
}

fn given_up(tale: &mut Tale, person: &Person, leg: &Leg<'_>, wait_s: i64) -> Call {
    let ended = leg.offered + wait_s * SECOND;
    let mut data = ending(leg, "abandoned", wait_s);
    data["wait_s"] = wait_s.into();
    tale.tell(Event::new(ended, PHONE, "call.ended", data).about(&person.caller()).by("customer"));
    Call { call_id: leg.call_id.to_owned(), agent: None, during: ended, ended }
}

/// An agent answers, talks and writes it up; `onward`: the queue that the caller is put through to.
fn talk(
    tale: &mut Tale,
    person: &Person,
    leg: &Leg<'_>,
    wait_s: i64,
    onward: Option<&str>,
) -> (String, Moment, Moment) {
    let agent = company::agent(tale);
    let actor = format!("human:{agent}");
    let (talk_s, hold_s, wrap_s) =
        (60 + tale.dice.heavy_tail(820, 900), tale.dice.heavy_tail(400, 90) - 1, tale.dice.between(15, 120));
    let answered = leg.offered + wait_s * SECOND;
    let ended = answered + (talk_s + hold_s) * SECOND;
    let data = json!({"call_id": leg.call_id, "agent_id": agent, "wait_s": wait_s});
    tale.tell(Event::new(answered, PHONE, "call.answered", data).about(&person.caller()).by(&*actor));
    let mut data = ending(leg, if onward.is_some() { "transferred" } else { "answered" }, wait_s + talk_s + hold_s);
    let more = json!({
        "agent_id": agent, "answered_at": time::text(answered), "wait_s": wait_s, "talk_s": talk_s, "hold_s": hold_s,
        "wrap_s": wrap_s,
    });
    for (field, value) in more.as_object().into_iter().flatten() {
        data[field] = value.clone();
    }
    if let Some(queue) = onward {
        data["transfer_to"] = queue.into();
    }
    tale.tell(Event::new(ended, PHONE, "call.ended", data).about(&person.caller()).by(&*actor));
    for (at, state) in [(answered, "busy"), (ended, "wrap_up"), (ended + wrap_s * SECOND, "available")] {
        let data = json!({"agent_id": agent, "state": state, "queue": leg.queue});
        tale.tell(Event::new(at + SECOND / 4, PHONE, "agent.state.changed", data).by(&*actor));
    }
    (agent, answered + talk_s / 2 * SECOND, ended)
}

fn ending(leg: &Leg<'_>, disposition: &str, duration_s: i64) -> Value {
    let mut data = json!({
        "call_id": leg.call_id, "disposition": disposition, "duration_s": duration_s,
        "leg_id": leg.number.to_string(), "from": leg.from, "to": HOTLINE, "direction": "inbound", "queue": leg.queue,
        "offered_at": time::text(leg.offered),
    });
    if let Some(case_id) = leg.case_id {
        data["case_id"] = case_id.into();
    }
    data
}

/// Asks to be called back after waiting in vain; sometimes nobody does.
pub(super) fn call_back(tale: &mut Tale, person: &Person, call: &Call) {
    let Some(number) = &person.phone else { return };
    let (who, callback_id) = (person.caller(), tale.new_id("B"));
    let asked = tale.later(call.ended, (40, 300));
    let data = json!({"callback_id": callback_id, "number": number, "due_at": time::text(asked + DAY)});
    let asking = Event::new(asked, PHONE, "callback.requested", data).about(&who).by("customer");
    tale.tell(asking.part_of("call", &call.call_id));
    if tale.dice.chance(250) {
        return;
    }
    let at = time::at_work(&mut tale.dice, asked + 2 * HOUR);
    let outcome = tale.dice.weighted(&[("reached", 70), ("no_answer", 30)], |o| o.1).0;
    let agent = company::agent(tale);
    let data = json!({"callback_id": callback_id, "number": number, "outcome": outcome});
    tale.tell(Event::new(at, PHONE, "callback.attempted", data).about(&who).by(format!("human:{agent}")));
}
