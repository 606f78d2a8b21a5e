//! What happens at a company: mostly people looking at pages, and a tenth each of orders, cases, calls, and mails with
//! profiles. Each channel knows its customer by an identifier of its own. The same seed tells the same story.

use std::fmt::Write as _;

use rand::{Rng, SeedableRng, rngs::StdRng};

/// 2026-03-01T00:00:00Z in microseconds: the first event.
const START: i64 = 1_772_323_200_000_000;
/// Between two events, microseconds.
const STEP: i64 = 50_000;
/// One customer for so many events: some visits, an order, a call.
const EVENTS_PER_CUSTOMER: usize = 25;
/// An order, a case or a call is talked about while it is one of the last so many.
const OPEN_ENTITIES: u64 = 500;

/// An event, as it is published.
#[derive(Clone, Debug)]
pub(crate) struct Told {
    /// The CloudEvent in its structured form.
    pub(crate) json: String,
    /// Its subject: an identifier of whom it is about.
    pub(crate) subject: String,
}

/// How many customers so many events are about.
pub(crate) fn customers(events: usize) -> usize {
    (events / EVENTS_PER_CUSTOMER).max(10)
}

/// Tells `events` events.
pub(crate) fn tell(seed: u64, events: usize) -> Vec<Told> {
    let customers = customers(events);
    let mut teller = Teller { rng: StdRng::seed_from_u64(seed), customers, orders: 1, cases: 1, calls: 1, at: START };
    (0..events).map(|n| teller.event(n)).collect()
}

struct Teller {
    rng: StdRng,
    customers: usize,
    orders: u64,
    cases: u64,
    calls: u64,
    at: i64,
}

impl Teller {
    fn event(&mut self, n: usize) -> Told {
        self.at += STEP;
        let customer = self.rng.random_range(0..self.customers);
        let time = domain::time::format(self.at).expect("2026 and some days is a year of four digits");
        let (event_type, data) = self.body(n, customer, &time);
        let (first, second) = self.known_by(event_type);
        let subject = identifier(first, customer);
        let mut json = format!(
            r#"{{"specversion":"1.0","id":"e-{n}","source":"bench","type":"{event_type}","time":"{time}","subject":"{subject}""#
        );
        if let Some(second) = second {
            let second = identifier(second, customer);
            write!(json, r#","identifiers":"{second}""#).expect("a string takes everything");
        }
        write!(json, r#","data":{data}}}"#).expect("a string takes everything");
        Told { json, subject }
    }

    /// By what a channel knows its customer, and by what else in one event of some: this is how the graph grows together.
    fn known_by(&mut self, event_type: &str) -> (Known, Option<Known>) {
        let (first, second, one_in) = match event_type.split('.').next() {
            // Most visitors are not logged in; who logs in is known by both.
            Some("web") if self.rng.random_ratio(2, 3) => (Known::Anonymous, Known::User, 10),
            Some("web") => (Known::User, Known::Anonymous, 10),
            Some("call") => (Known::Phone, Known::User, 10),
            Some("case" | "email") => (Known::Email, Known::User, 10),
            _ => (Known::User, Known::Email, 2),
        };
        (first, self.rng.random_ratio(1, one_in).then_some(second))
    }

    fn body(&mut self, n: usize, customer: usize, time: &str) -> (&'static str, String) {
        let page = self.rng.random_range(0..2_000);
        match self.rng.random_range(0..100) {
            0..40 => (
                "web.page.viewed",
                format!(
                    r#"{{"url":"https://shop.example/kitchen/kettles/{page}?sort=price","session_id":"s-{customer}-{}","title":"Kettles and cans, page {page}","referrer":"https://search.example/?q=kettle"}}"#,
                    n / 5_000
                ),
            ),
            40..60 => (
                "web.product.viewed",
                format!(
                    r#"{{"sku":"SKU-{page}","session_id":"s-{customer}-{}","name":"Kettle number {page}","category":"kitchen","price":{{"amount_minor":{},"currency":"EUR"}}}}"#,
                    n / 5_000,
                    990 + page
                ),
            ),
            60..70 => self.order(page),
            70..80 => self.case(),
            80..90 => self.call(),
            90..94 => ("email.message.received", mail(n, customer, time, true)),
            94..97 => ("email.message.sent", mail(n, customer, time, false)),
            _ => (
                "customer.profile.updated",
                format!(r#"{{"fields":{{"name":"Customer {customer}","language":"de","segment":"s{}"}}}}"#, page % 7),
            ),
        }
    }

    fn order(&mut self, page: u64) -> (&'static str, String) {
        let order = self.recent(self.orders);
        match self.rng.random_range(0..10) {
            0..6 => {
                self.orders += 1;
                let new = self.orders;
                let quantity = self.rng.random_range(1..4);
                (
                    "order.placed",
                    format!(
                        r#"{{"order_id":"{new}","channel":"web","lines":[{{"sku":"SKU-{page}","name":"Kettle","quantity":{quantity},"unit_price":{{"amount_minor":4990,"currency":"EUR"}}}},{{"sku":"FILTER","quantity":1,"unit_price":{{"amount_minor":1290,"currency":"EUR"}}}}]}}"#
                    ),
                )
            }
            6 | 7 => (
                "payment.recorded",
                format!(
                    r#"{{"order_id":"{order}","kind":"captured","amount":{{"amount_minor":6280,"currency":"EUR"}},"gateway":"card"}}"#
                ),
            ),
            8 => (
                "shipment.updated",
                format!(r#"{{"order_id":"{order}","status":"shipped","carrier":"post","tracking":"T{page}"}}"#),
            ),
            _ => (
                "order.changed",
                format!(
                    r#"{{"order_id":"{order}","lines":[{{"sku":"SKU-{page}","quantity":1,"unit_price":{{"amount_minor":4990,"currency":"EUR"}}}}]}}"#
                ),
            ),
        }
    }

    fn case(&mut self) -> (&'static str, String) {
        let case = self.recent(self.cases);
        match self.rng.random_range(0..10) {
            0..3 => {
                self.cases += 1;
                (
                    "case.opened",
                    format!(
                        r#"{{"case_id":"{}","title":"The kettle leaks at the lid","priority":"normal","topic":"repair","channel":"email"}}"#,
                        self.cases
                    ),
                )
            }
            3..7 => {
                let status = ["open", "pending", "solved", "closed"][self.rng.random_range(0..4)];
                ("case.changed", format!(r#"{{"case_id":"{case}","status":"{status}","assignee":"ann"}}"#))
            }
            _ => (
                "case.replied",
                format!(
                    r#"{{"case_id":"{case}","visibility":"public","text":"Thank you for writing to us. We have looked into it and send you a new lid."}}"#
                ),
            ),
        }
    }

    fn call(&mut self) -> (&'static str, String) {
        let call = self.recent(self.calls);
        match self.rng.random_range(0..10) {
            0..3 => {
                self.calls += 1;
                (
                    "call.offered",
                    format!(
                        r#"{{"call_id":"{}","direction":"inbound","from":"+4930111111","to":"+4930222222","queue":"help"}}"#,
                        self.calls
                    ),
                )
            }
            3..6 => ("call.answered", format!(r#"{{"call_id":"{call}","agent_id":"ann","wait_s":7}}"#)),
            _ => (
                "call.ended",
                format!(r#"{{"call_id":"{call}","disposition":"answered","duration_s":180,"talk_s":160,"wait_s":7}}"#),
            ),
        }
    }

    /// One of the entities opened last.
    fn recent(&mut self, newest: u64) -> u64 {
        self.rng.random_range(newest.saturating_sub(OPEN_ENTITIES).max(1)..=newest)
    }
}

/// By what a customer is known.
#[derive(Clone, Copy, Debug)]
enum Known {
    User,
    Email,
    Phone,
    Anonymous,
}

fn identifier(known: Known, customer: usize) -> String {
    match known {
        Known::User => format!("user_id:u{customer}"),
        Known::Email => format!("email:customer.{customer}@mail.example"),
        Known::Phone => format!("phone:+4930{}", 1_000_000 + customer),
        Known::Anonymous => format!("anonymous_id:a-{customer}"),
    }
}

fn mail(n: usize, customer: usize, time: &str, received: bool) -> String {
    let (theirs, ours) = (format!("customer.{customer}@mail.example"), "service@shop.example");
    let (from, to) = if received { (theirs.as_str(), ours) } else { (ours, theirs.as_str()) };
    format!(
        r#"{{"message_id":"<m{n}@mail.example>","from":"{from}","to":["{to}"],"sent_at":"{time}","subject":"My kettle","text":"Good day, it is about the kettle that I bought from you last week."}}"#
    )
}
