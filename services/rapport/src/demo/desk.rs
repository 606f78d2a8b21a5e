//! The service desk: mails and their threads, cases and their lives, visits, promises, what customers say of it.

use domain::time::SECOND;
use serde_json::json;

use super::calls;
use super::company::{self, CRM, DESK, DOMAIN, ENGINEERS, MAIL, Product};
use super::people::Person;
use super::tale::{Event, Tale};
use super::time::{self, DAY, HOUR, Moment};

/// What somebody is unhappy with.
pub(super) struct Complaint {
    pub(super) topic: &'static str,
    pub(super) title: String,
    pub(super) product: Option<&'static Product>,
    pub(super) order_id: Option<String>,
}

impl Complaint {
    pub(super) fn late(order_id: &str) -> Self {
        let title = format!("Where is my order {order_id}?");
        Self { topic: "delivery", title, product: None, order_id: Some(order_id.to_owned()) }
    }

    pub(super) fn defect(product: &'static Product, order_id: &str) -> Self {
        let fault = match product.category {
            "kitchen" => "leaks",
            "laundry" => "stops in mid-programme",
            "light" => "flickers",
            _ => "does not switch on",
        };
        let title = format!("{} {fault}", product.name);
        Self { topic: "defect", title, product: Some(product), order_id: Some(order_id.to_owned()) }
    }

    /// About something that was not bought here, as far as anybody knows.
    pub(super) fn question(tale: &mut Tale) -> Self {
        let (topic, title) = *tale.dice.pick(&[
            ("billing", "I need an invoice for my company"),
            ("billing", "Charged twice"),
            ("product", "Spare parts for an older model"),
            ("delivery", "Delivery to a neighbour"),
        ]);
        Self { topic, title: title.to_owned(), product: None, order_id: None }
    }
}

/// What becomes of a case.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ending {
    /// Only a machine ever answers.
    Unanswered,
    /// Answered once, and that was it.
    OneTouch,
    /// Answered, asked back, solved.
    Solved,
    /// Solved, and then again.
    Reopened,
    /// Handed upwards, promised, solved late.
    Escalated,
    /// The same was reported twice.
    Merged,
    /// Somebody has to come.
    Visited,
}

const ENDINGS: [(Ending, u32); 6] = [
    (Ending::Unanswered, 14),
    (Ending::OneTouch, 34),
    (Ending::Solved, 30),
    (Ending::Reopened, 9),
    (Ending::Escalated, 8),
    (Ending::Merged, 5),
];

/// What becomes of a complaint of this kind.
pub(super) fn ending(tale: &mut Tale, complaint: &Complaint) -> Ending {
    let large = complaint.product.is_some_and(|p| p.category == "laundry");
    if large { Ending::Visited } else { tale.dice.weighted(&ENDINGS, |e| e.1).0 }
}

/// A mail of a thread.
struct Letter {
    message_id: String,
    references: Vec<String>,
    event: String,
}

/// A case and the thread that belongs to it.
pub(super) struct Case<'p> {
    pub(super) case_id: String,
    person: &'p Person,
    title: String,
    thread: Option<Letter>,
    agent: String,
    /// When the last thing in it happened.
    at: Moment,
}

/// Somebody writes a mail; a machine acknowledges it and opens a case.
pub(super) fn by_mail<'p>(tale: &mut Tale, person: &'p Person, complaint: &Complaint, from: Moment) -> Case<'p> {
    let at = time::leisure(&mut tale.dice, from, 1);
    let agent = company::agent(tale);
    let mut case = Case { case_id: tale.new_id("S"), person, title: complaint.title.clone(), thread: None, agent, at };
    case.hears(tale, &format!("{}. Please help. {}", complaint.title, person.first), at);
    case.opened(tale, complaint, at + 3 * SECOND, ("email", "bot:desk"));
    case.says(tale, "Thank you for writing. We read every mail and answer as soon as we can.", at + 40 * SECOND, true);
    case
}

/// Somebody rings; who answers opens a case. Nobody: they ask to be called back, and ring again the next day.
pub(super) fn by_phone<'p>(
    tale: &mut Tale,
    person: &'p Person,
    complaint: &Complaint,
    from: Moment,
) -> Option<Case<'p>> {
    let mut call = calls::ring(tale, person, from, None);
    if call.agent.is_none() {
        calls::call_back(tale, person, &call);
        call = calls::ring(tale, person, call.ended + DAY, None);
    }
    let agent = call.agent?;
    let mut case = Case {
        case_id: tale.new_id("S"),
        person,
        title: complaint.title.clone(),
        thread: None,
        agent,
        at: call.during,
    };
    let actor = case.actor();
    case.opened(tale, complaint, call.during, ("phone", &actor));
    case.at = call.ended;
    let data = json!({"text": format!("Rang about: {}", complaint.title), "about": "call", "visibility": "internal"});
    let note = Event::new(call.ended + 20 * SECOND, DESK, "note.added", data).about(&person.caller()).by(actor);
    tale.tell(note.part_of("case", &case.case_id));
    Some(case)
}

impl Case<'_> {
    fn actor(&self) -> String {
        format!("human:{}", self.agent)
    }

    fn opened(&mut self, tale: &mut Tale, complaint: &Complaint, at: Moment, (channel, actor): (&str, &str)) {
        let priority = if complaint.topic == "defect" { "high" } else { "normal" };
        let mut data = json!({
            "case_id": self.case_id, "title": complaint.title, "priority": priority, "topic": complaint.topic,
            "channel": channel, "queue": if complaint.topic == "defect" { "repairs" } else { "complaints" },
        });
        if let Some(product) = complaint.product {
            data["product"] = product.sku.into();
            data["serial"] = tale.new_id("SN").into();
        }
        let who = if channel == "phone" { self.person.caller() } else { self.person.correspondent() };
        let mut event = Event::new(at, DESK, "case.opened", data).about(&who).by(actor);
        if let Some(order_id) = &complaint.order_id {
            event = event.part_of("order", order_id);
        }
        if let Some(letter) = &self.thread {
            event = event.because_of(&letter.event);
        }
        tale.tell(event);
        let policy = if priority == "high" { ("gold", 240, 2 * 1440) } else { ("standard", 1440, 5 * 1440) };
        for (metric, target_min) in [("first_reply", policy.1), ("resolution", policy.2)] {
            let data = json!({
                "case_id": self.case_id, "policy_id": policy.0, "metric": metric, "target_min": target_min,
                "schedule_id": "desk",
            });
            tale.tell(Event::new(at + SECOND, DESK, "sla.applied", data).by("bot:desk"));
        }
        self.at = self.at.max(at);
    }

    /// The customer writes.
    fn hears(&mut self, tale: &mut Tale, text: &str, at: Moment) {
        let message_id = format!("<{}@example.com>", tale.new_id("M"));
        let mut data = json!({
            "message_id": message_id, "from": self.person.mail, "to": [format!("service@{DOMAIN}")],
            "sent_at": time::text(at), "subject": self.subject(), "text": text,
        });
        if self.thread.is_some() {
            data["case_id"] = self.case_id.clone().into();
        }
        self.threaded(&mut data);
        let event = Event::new(at, MAIL, "email.message.received", data).about(&self.person.correspondent());
        let event = tale.tell(event.by("customer"));
        self.continues(message_id, event, at);
    }

    /// The company writes: a machine, or the case's agent, whose mail is a reply of the case as well.
    fn says(&mut self, tale: &mut Tale, text: &str, at: Moment, auto: bool) {
        let message_id = format!("<{}@{DOMAIN}>", tale.new_id("M"));
        let mut data = json!({
            "message_id": message_id, "from": format!("service@{DOMAIN}"), "to": [self.person.mail],
            "sent_at": time::text(at), "subject": self.subject(), "text": text, "case_id": self.case_id,
        });
        if auto {
            data["auto"] = true.into();
        }
        self.threaded(&mut data);
        let actor = if auto { "bot:desk".to_owned() } else { self.actor() };
        let event = Event::new(at, MAIL, "email.message.sent", data).about(&self.person.correspondent());
        let event = tale.tell(event.by(&*actor));
        if !auto {
            let data = json!({
                "case_id": self.case_id, "visibility": "public", "text": text, "message_id": message_id,
            });
            tale.tell(Event::new(at + SECOND, DESK, "case.replied", data).by(actor));
        }
        self.continues(message_id, event, at);
    }

    fn subject(&self) -> String {
        if self.thread.is_some() { format!("Re: {}", self.title) } else { self.title.clone() }
    }

    fn threaded(&self, data: &mut serde_json::Value) {
        if let Some(last) = &self.thread {
            data["in_reply_to"] = last.message_id.clone().into();
            data["references"] = json!([&last.references[..], std::slice::from_ref(&last.message_id)].concat());
        }
    }

    fn continues(&mut self, message_id: String, event: String, at: Moment) {
        let references = self.thread.take().map_or_else(Vec::new, |mut last| {
            last.references.push(last.message_id);
            last.references
        });
        self.thread = Some(Letter { message_id, references, event });
        self.at = at;
    }

    fn changes(&mut self, tale: &mut Tale, at: Moment, actor: &str, what: serde_json::Value) {
        let mut data = json!({"case_id": self.case_id});
        for (field, value) in what.as_object().into_iter().flatten() {
            data[field] = value.clone();
        }
        tale.tell(Event::new(at, DESK, "case.changed", data).by(actor));
        self.at = at;
    }

    /// At the next moment after so many hours at which the agent works.
    fn next(&self, tale: &mut Tale, hours: i64) -> Moment {
        time::at_work(&mut tale.dice, self.at + hours * HOUR)
    }

    fn taken(&mut self, tale: &mut Tale) {
        let (at, actor) = (self.next(tale, 0), self.actor());
        self.changes(tale, at, &actor, json!({"status": "open", "assignee": self.agent}));
    }

    fn answered(&mut self, tale: &mut Tale, text: &str) {
        let hours = tale.dice.heavy_tail(520, 72);
        let at = self.next(tale, hours);
        self.says(tale, text, at, false);
    }

    fn asked_back(&mut self, tale: &mut Tale) {
        self.answered(tale, "Sorry to hear that. Could you tell us the serial number, on the underside?");
        let actor = self.actor();
        self.changes(tale, self.at + 2 * SECOND, &actor, json!({"status": "pending"}));
        let at = time::leisure(&mut tale.dice, self.at + HOUR, 2);
        self.hears(tale, "Here it is: see the photograph.", at);
        self.changes(tale, at + SECOND, "bot:desk", json!({"status": "open"}));
    }

    fn solved(&mut self, tale: &mut Tale, text: &str) {
        self.answered(tale, text);
        let actor = self.actor();
        self.changes(tale, self.at + 2 * SECOND, &actor, json!({"status": "solved"}));
    }

    fn closed(&mut self, tale: &mut Tale, content: i64) {
        let at = self.at + 4 * DAY;
        self.asked_how_it_was(tale, content);
        self.changes(tale, at, "bot:desk", json!({"status": "closed"}));
    }

    fn asked_how_it_was(&mut self, tale: &mut Tale, content: i64) {
        if !tale.dice.chance(450) {
            return;
        }
        let at = time::leisure(&mut tale.dice, self.at + HOUR, 2).min(self.at + 4 * DAY - SECOND);
        let (metric, most) =
            *tale.dice.weighted(&[("csat", 5), ("nps", 10), ("ces", 7)], |m| if m.1 == 5 { 6 } else { 2 });
        let score = (most * content / 5 + tale.dice.between(-1, 1)).clamp(1, most);
        let mut data = json!({
            "survey_id": format!("after-service-{metric}"), "metric": metric, "score": score,
            "respondent": self.person.mail, "case_id": self.case_id,
        });
        if score * 2 <= most {
            data["comment"] = "That took far too long.".into();
        }
        tale.tell(Event::new(at, CRM, "survey.answered", data).about(&self.person.correspondent()).by("customer"));
    }

    /// Lives its life to the end. Answers with when that was.
    pub(super) fn lives(mut self, tale: &mut Tale, ending: Ending) -> Moment {
        match ending {
            Ending::Unanswered => {}
            Ending::OneTouch => {
                self.taken(tale);
                self.solved(
                    tale,
                    "Thank you for your patience. We have put it right; you will not have to do anything.",
                );
                self.closed(tale, 5);
            }
            Ending::Solved => {
                self.taken(tale);
                self.asked_back(tale);
                self.solved(tale, "Thank you. A replacement is on its way.");
                self.closed(tale, 4);
            }
            Ending::Reopened => self.reopened(tale),
            Ending::Escalated => self.escalated(tale),
            Ending::Merged => self.merged(tale),
            Ending::Visited => self.visited(tale),
        }
        self.at
    }

    fn reopened(&mut self, tale: &mut Tale) {
        self.taken(tale);
        self.solved(tale, "Please switch it off for ten minutes; that helps in most cases.");
        let at = time::leisure(&mut tale.dice, self.at + 4 * HOUR, 2);
        self.hears(tale, "It does not help. It is just as before.", at);
        self.changes(tale, at + SECOND, "bot:desk", json!({"status": "open"}));
        self.solved(tale, "We are sorry. We send you a new one today, and you may keep the old one.");
        self.closed(tale, 3);
    }

    fn escalated(&mut self, tale: &mut Tale) {
        self.taken(tale);
        let at = time::leisure(&mut tale.dice, self.at + 3 * DAY, 3);
        self.hears(tale, "I have been waiting for days now. Is anybody there?", at);
        let (at, actor) = (self.next(tale, 2), self.actor());
        let data = json!({"case_id": self.case_id, "level": 1, "reason": "waits for days"});
        tale.tell(Event::new(at, DESK, "case.escalated", data).by(&*actor));
        self.changes(tale, at + SECOND, &actor, json!({"priority": "urgent", "queue": "specialists"}));
        let data = json!({
            "case_id": self.case_id, "visibility": "internal", "text": "The supplier has none in stock until next week.",
        });
        tale.tell(Event::new(at + 9 * SECOND, DESK, "case.replied", data).by(&*actor));
        self.answered(tale, "You are right, and we are sorry. You will have a new one within a week. I promise.");
        self.promised(tale, &actor);
        self.changes(tale, self.at + 2 * SECOND, &actor, json!({"status": "on_hold"}));
        self.at += 4 * DAY;
        self.solved(tale, "The new one left our warehouse this morning.");
        self.closed(tale, 2);
    }

    fn promised(&self, tale: &mut Tale, actor: &str) {
        let (who, promise_id) = (self.person.correspondent(), tale.new_id("P"));
        let due = self.at + 7 * DAY;
        let data = json!({
            "promise_id": promise_id, "by": self.agent, "text": "A new one within a week", "due_at": time::text(due),
            "about": self.case_id,
        });
        let event = Event::new(self.at + SECOND, CRM, "promise.made", data).about(&who).by(actor);
        tale.tell(match &self.thread {
            Some(letter) => event.because_of(&letter.event),
            None => event,
        });
        if tale.dice.chance(650) {
            let at = time::at_work(&mut tale.dice, due - 2 * DAY);
            let data = json!({"promise_id": promise_id, "kept": tale.dice.chance(800), "about": self.case_id});
            tale.tell(Event::new(at, CRM, "promise.settled", data).about(&who).by(actor));
        }
    }

    /// The same person opens a second case about the same; it becomes part of this one.
    fn merged(&mut self, tale: &mut Tale) {
        self.taken(tale);
        let (case_id, actor) = (tale.new_id("S"), self.actor());
        let at = time::leisure(&mut tale.dice, self.at + HOUR, 1);
        let form = json!({
            "form_id": "contact", "fields": {"subject": self.title, "mail": self.person.mail}, "case_id": case_id,
        });
        let who = self.person.correspondent();
        tale.tell(Event::new(at, company::WEB, "web.form.submitted", form).about(&who).by("customer"));
        let data = json!({
            "case_id": case_id, "title": self.title, "priority": "normal", "channel": "web", "queue": "complaints",
        });
        tale.tell(Event::new(at + SECOND, DESK, "case.opened", data).about(&who).by("bot:desk"));
        self.at = at;
        let at = self.next(tale, 1);
        let data = json!({"case_id": case_id, "merged_into": self.case_id, "status": "closed"});
        tale.tell(Event::new(at, DESK, "case.changed", data).by(&*actor));
        self.at = at;
        self.solved(tale, "You wrote to us twice; we answer both here. It is put right.");
        self.closed(tale, 4);
    }

    /// An engineer comes, the second time at the latest; one in five cases is still waiting for them.
    fn visited(&mut self, tale: &mut Tale) {
        self.taken(tale);
        self.answered(tale, "An engineer has to look at it. You will hear from us when they come.");
        if tale.dice.chance(200) {
            return;
        }
        for attempt in 0..2 {
            let (work_order_id, engineer) = (tale.new_id("W"), *tale.dice.pick(&ENGINEERS));
            let planned = self.next(tale, 3);
            let window = time::day(time::at_work(&mut tale.dice, planned + 3 * DAY)) + 9 * HOUR;
            let data = json!({
                "work_order_id": work_order_id, "case_id": self.case_id, "engineer": engineer,
                "window_from": time::text(window), "window_to": time::text(window + 4 * HOUR),
            });
            tale.tell(Event::new(planned, CRM, "visit.scheduled", data).by(self.actor()));
            let fixed = attempt == 1 || tale.dice.chance(700);
            let done = tale.later(window, (1800, 4 * 3600));
            let data = json!({
                "work_order_id": work_order_id, "case_id": self.case_id, "engineer": engineer, "fixed": fixed,
                "parts": if fixed { json!(["pump"]) } else { json!(["hose"]) },
            });
            tale.tell(Event::new(done, CRM, "visit.completed", data).by(format!("human:{engineer}")));
            self.at = done;
            if fixed {
                break;
            }
        }
        self.solved(tale, "Our engineer tells us that it runs again. Please write if it does not.");
        self.closed(tale, 4);
    }
}

/// A short question in a chat, on WhatsApp or by text message, and mostly an answer.
pub(super) fn chat(tale: &mut Tale, person: &Person, from: Moment) {
    let channel = tale.dice.weighted(&[("chat", 60), ("whatsapp", 25), ("sms", 10), ("letter", 5)], |c| c.1).0;
    let thread_id = tale.new_id("H");
    let (question, answer) = *tale.dice.pick(&[
        ("Does the kettle come with a filter?", "It does, and a spare one."),
        ("Do you deliver to islands?", "We do, with two days more."),
        ("Can I return it in a shop?", "In any of them, with the receipt."),
    ]);
    let who = if channel == "chat" || person.phone.is_none() { person.correspondent() } else { person.caller() };
    let at = time::at_work(&mut tale.dice, from);
    let message = |n: usize, text: &str| {
        json!({
            "channel": channel, "message_id": format!("{thread_id}-{n}"), "thread_id": thread_id, "text": text,
        })
    };
    tale.tell(Event::new(at, DESK, "message.received", message(1, question)).about(&who).by("customer"));
    if tale.dice.chance(150) {
        return;
    }
    let agent = company::agent(tale);
    let answered = tale.later(at, (30, 1500));
    let data = message(2, answer);
    tale.tell(Event::new(answered, DESK, "message.sent", data).about(&who).by(format!("human:{agent}")));
}
