//! Random histories, small and spiteful: few people, few entities, equal times, missing identifiers, differing copies,
//! voids before and after, links asserted and revoked, aliases, hubs and conflicts. The same seed gives the same history.

use domain::{identifier::Normalizer, receipt};
use prost::Message;
use rand::{Rng, SeedableRng, rngs::StdRng, seq::IndexedRandom, seq::SliceRandom};
use rapport_proto::v1;
use serde_json::{Value, json};

/// A record as it would stand in the log.
#[derive(Clone, Debug)]
pub struct Recorded {
    /// The encoded Interaction.
    pub value: Vec<u8>,
    /// The key a collector would choose.
    pub key: String,
    /// Microseconds UTC.
    pub received_at: i64,
}

/// 2026-03-01T00:00:00Z in microseconds: the first instant of a history.
pub const START: i64 = 1_772_323_200_000_000;

/// A history of about `events` events. Copies and voids are among them.
pub fn history(seed: u64, events: usize) -> Vec<Recorded> {
    told(seed, events).into_iter().map(|(event, received_at)| recorded(&event, received_at)).collect()
}

/// The same as CloudEvents, each with the time of its receipt, microseconds UTC.
pub fn told(seed: u64, events: usize) -> Vec<(Value, i64)> {
    let mut teller = Teller { rng: StdRng::seed_from_u64(seed), told: Vec::new(), clock: START };
    for n in 0..events {
        teller.tell(n);
    }
    teller.told
}

/// What a collector would append for this CloudEvent.
pub fn recorded(event: &Value, received_at: i64) -> Recorded {
    let (key, value) = appended(event).unwrap_or_else(|faults| panic!("{faults} in {event}"));
    Recorded { key, value, received_at }
}

/// The key and the value that a collector would append for this CloudEvent, or what it would reject it for.
pub fn appended(event: &Value) -> Result<(String, Vec<u8>), String> {
    let read = rapport_proto::json::read(event.to_string().as_bytes());
    let mut wire: v1::Interaction = read.map_err(|faults| format!("{faults:?}"))?;
    let normalizer = Normalizer::new("DE", &[]).expect("DE is a region");
    receipt::normalize(&mut wire, &normalizer);
    Ok((receipt::key(&wire), wire.encode_to_vec()))
}

/// The same records in another order, some of them twice.
pub fn shuffled(records: &[Recorded], seed: u64) -> Vec<Recorded> {
    let mut rng = StdRng::seed_from_u64(seed);
    let mut again: Vec<_> = records.to_vec();
    for record in records {
        if rng.random_bool(0.15) {
            again.push(record.clone());
        }
    }
    again.shuffle(&mut rng);
    again
}

/// Splits records into batches of random sizes, also of one.
pub fn batches(records: Vec<Recorded>, seed: u64) -> Vec<Vec<Recorded>> {
    let mut rng = StdRng::seed_from_u64(seed);
    let mut rest = records.into_iter().peekable();
    let mut all = Vec::new();
    while rest.peek().is_some() {
        let size = if rng.random_bool(0.2) { 1 } else { rng.random_range(1..40) };
        all.push(rest.by_ref().take(size).collect());
    }
    all
}

struct Teller {
    rng: StdRng,
    told: Vec<(Value, i64)>,
    clock: i64,
}

impl Teller {
    fn tell(&mut self, n: usize) {
        self.clock += self.rng.random_range(0..3) * 1_000_000;
        match self.rng.random_range(0..100) {
            0..8 if !self.told.is_empty() => self.copy(),
            8..14 if !self.told.is_empty() => self.void(n),
            _ => self.fresh(n),
        }
    }

    /// A differing copy of an earlier event: another time, one identifier more, other data, or the very same again.
    fn copy(&mut self) {
        let (mut event, received_at) = self.told.choose(&mut self.rng).expect("not empty").clone();
        match self.rng.random_range(0..4) {
            0 => event["time"] = self.time(),
            1 => event["identifiers"] = self.identifiers(2).into(),
            2 => {
                let other = self.event("copy");
                event["type"] = other["type"].clone();
                event["data"] = other["data"].clone();
            }
            _ => {}
        }
        let shift = self.rng.random_range(-3..4) * 500_000;
        self.told.push((event, received_at + shift));
    }

    /// Takes an event back: one told, one not yet told, or another void.
    fn void(&mut self, n: usize) {
        let target = if self.rng.random_bool(0.8) {
            self.told.choose(&mut self.rng).expect("not empty").0["id"].clone()
        } else {
            format!("e{}", n + self.rng.random_range(1..20)).into()
        };
        let mut event = self.event(&format!("e{n}"));
        event["type"] = "interaction.voided".into();
        event["data"] = json!({"voided_source": "test", "voided_id": target});
        self.push(event);
    }

    fn fresh(&mut self, n: usize) {
        let event = self.event(&format!("e{n}"));
        self.push(event);
    }

    fn push(&mut self, event: Value) {
        let received_at = self.clock + self.rng.random_range(0..5) * 100_000;
        self.told.push((event, received_at));
    }

    fn event(&mut self, id: &str) -> Value {
        let (kind, data) = self.body();
        let mut event = json!({"specversion": "1.0", "source": "test", "id": id, "type": kind, "data": data});
        if self.rng.random_bool(0.95) {
            event["time"] = self.time();
        }
        if self.rng.random_bool(0.7) {
            event["subject"] = self.identifier().into();
        }
        if self.rng.random_bool(0.35) {
            let count = self.rng.random_range(1..4);
            event["identifiers"] = self.identifiers(count).into();
        }
        if self.rng.random_bool(0.08) {
            let count = self.rng.random_range(1..3);
            event["participants"] = self.identifiers(count).into();
        }
        if self.rng.random_bool(0.2) {
            event["sequence"] =
                ["1", "2", "10", "b"].choose(&mut self.rng).map(|s| Value::from(*s)).unwrap_or_default();
        }
        if self.rng.random_bool(0.2) {
            event["actor"] = ["human:ann", "bot:b1", "customer", "human:bob"]
                .choose(&mut self.rng)
                .map(|s| Value::from(*s))
                .unwrap_or_default();
        }
        if self.rng.random_bool(0.1) {
            let kind = ["order", "case", "call", "cart", "checkout", "thread", "nonsense"]
                .choose(&mut self.rng)
                .expect("not empty");
            event["correlationid"] = format!("{kind}:{}", self.rng.random_range(1..4)).into();
        }
        event
    }

    /// A mail of a few. What it answers and refers to may be there, come later, or never.
    fn mail(&mut self, case: &str) -> (&'static str, Value) {
        let kind = if self.rng.random_bool(0.5) { "email.message.received" } else { "email.message.sent" };
        let from = self.pick(&["a@b.example", "a@b.example", "a@b.example", "noreply@b.example"]);
        let title = self.pick(&["Hi", "Hi", "Re: Hi", "Automatic reply: Hi"]);
        let id = format!("<m{}>", self.rng.random_range(1..14));
        let mut data =
            json!({"message_id": id, "from": from, "to": ["c@d.example"], "sent_at": self.time(), "subject": title});
        if self.rng.random_bool(0.4) {
            let n = self.rng.random_range(1..14);
            let forms = [
                format!("<m{n}>"),
                format!("m{n}"),
                format!("Ann <a@b.example> wrote <m{n}>"),
                "Ann's message".to_owned(),
            ];
            data["in_reply_to"] = forms.choose(&mut self.rng).expect("not empty").clone().into();
        }
        if self.rng.random_bool(0.3) {
            let count = self.rng.random_range(1..3);
            data["references"] =
                (0..count).map(|_| format!("<m{}>", self.rng.random_range(1..14))).collect::<Vec<_>>().into();
        }
        if self.rng.random_bool(0.2) {
            data["auto"] = self.rng.random_bool(0.5).into();
        }
        if self.rng.random_bool(0.15) {
            data["headers"] = json!({"Auto-Submitted": self.pick(&["no", "auto-replied"])});
        }
        if self.rng.random_bool(0.3) {
            data["case_id"] = case.into();
        }
        (kind, data)
    }

    /// A message of another channel; now and then its thread is that of a mail.
    fn chat(&mut self) -> (&'static str, Value) {
        let kind = if self.rng.random_bool(0.5) { "message.received" } else { "message.sent" };
        let mut data = json!({"channel": self.pick(&["chat", "sms"]), "message_id": self.pick(&["1", "2", "3"]),
            "thread_id": self.pick(&["1", "2", "3", "<m1>"]), "text": "Hi"});
        if self.rng.random_bool(0.3) {
            data["visibility"] = self.pick(&["public", "internal"]).into();
        }
        if self.rng.random_bool(0.2) {
            data["auto"] = self.rng.random_bool(0.5).into();
        }
        (kind, data)
    }

    /// Few distinct instants, so that ties are frequent; three days, so that some fall on other days and late ones exist.
    fn time(&mut self) -> Value {
        let at = START + self.rng.random_range(0..40) * 6_480_000_000;
        domain::time::format(at).expect("a year of four digits").into()
    }

    fn identifier(&mut self) -> String {
        match self.rng.random_range(0..100) {
            0..10 => format!("customer_no:{}", self.rng.random_range(1..5)),
            10..30 => format!("user_id:u{}", self.rng.random_range(1..9)),
            // One shared mailbox: a hub once more than five users have used it.
            30..38 => "email:info@shared.example".into(),
            38..58 => format!("email:p{}@mail.example", self.rng.random_range(1..9)),
            58..68 => format!("phone:+4930{}", 1_000_000 + self.rng.random_range(1..6)),
            68..72 => format!("card:{}", self.rng.random_range(1..4)),
            72..76 => format!("external.crm:{}", self.rng.random_range(1..4)),
            76..88 => format!("anonymous_id:a{}", self.rng.random_range(1..13)),
            88..93 => format!("device_id:d{}", self.rng.random_range(1..6)),
            93..96 => format!("account:acme{}", self.rng.random_range(1..3)),
            96..98 => "household:h1".into(),
            _ => "fax:12345".into(),
        }
    }

    fn identifiers(&mut self, count: usize) -> String {
        (0..count).map(|_| self.identifier()).collect::<Vec<_>>().join(",")
    }

    fn money(&mut self) -> Value {
        let currency = if self.rng.random_bool(0.92) { "EUR" } else { "USD" };
        json!({"amount_minor": self.rng.random_range(-200..20_000), "currency": currency})
    }

    fn pick(&mut self, from: &[&str]) -> String {
        (*from.choose(&mut self.rng).expect("not empty")).to_owned()
    }

    fn lines(&mut self) -> Value {
        let count = self.rng.random_range(0..4);
        (0..count)
            .map(|_| {
                let mut line = json!({"sku": self.pick(&["A", "B", "C"]), "quantity": self.rng.random_range(1..5)});
                if self.rng.random_bool(0.3) {
                    line["quantity"] = serde_json::from_str("1.5").expect("a number");
                }
                let field = self.pick(&["unit_price", "total", "total"]);
                line[field] = self.money();
                if self.rng.random_bool(0.3) {
                    let field = self.pick(&["discount", "cost", "unit_cost", "margin"]);
                    line[field] = self.money();
                }
                line
            })
            .collect::<Vec<_>>()
            .into()
    }

    /// Names a cart, a session, a checkout, some of them or none. Their texts are the same, and so are those of
    /// `correlationid`.
    fn name_cart(&mut self, data: &mut Value) {
        for (name, often) in [("cart_id", 0.4), ("session_id", 0.5), ("checkout_id", 0.25)] {
            if self.rng.random_bool(often) {
                data[name] = format!("{}", self.rng.random_range(1..4)).into();
            }
        }
    }

    /// Lines that may lack their price.
    fn cart_lines(&mut self) -> Value {
        let mut lines = self.lines();
        for line in lines.as_array_mut().into_iter().flatten() {
            if self.rng.random_bool(0.1) {
                line["unit_price"] = Value::Null;
                line["total"] = Value::Null;
            }
        }
        lines
    }

    fn cart_changed(&mut self) -> Value {
        let mut data = json!({"op": self.pick(&["added", "added", "removed", "set", "emptied"])});
        // An empty list says something else than none.
        if self.rng.random_bool(0.8) {
            data["lines"] = self.cart_lines();
        }
        if self.rng.random_bool(0.2) {
            data["total_after"] = self.money();
        }
        self.name_cart(&mut data);
        data
    }

    /// Seconds, now and then more of them than there are in the years that a time may have.
    fn seconds(&mut self) -> Value {
        let text = match self.rng.random_range(0..12) {
            0 => self.pick(&["999999999999999999", "9223372036854775.808", "300000000000", "4000000000"]),
            1 => "0.0005".to_owned(),
            _ => self.rng.random_range(0..600).to_string(),
        };
        serde_json::from_str(&text).expect("a number")
    }

    /// The record of a call, or of one of a few legs of it that overlap.
    fn call_record(&mut self, call: &str) -> Value {
        let disposition = self.pick(&["answered", "abandoned", "voicemail", "failed", "transferred"]);
        let mut data = json!({"call_id": call, "disposition": disposition, "duration_s": self.seconds()});
        if self.rng.random_bool(0.5) {
            data["leg_id"] = self.pick(&["", "a", "b"]).into();
        }
        if self.rng.random_bool(0.5) {
            data["queue"] = self.pick(&["sales", "support"]).into();
        }
        for part in ["wait_s", "talk_s", "hold_s", "wrap_s"] {
            if self.rng.random_bool(0.4) {
                data[part] = self.seconds();
            }
        }
        for time in ["offered_at", "answered_at"] {
            if self.rng.random_bool(0.15) {
                data[time] = self.time();
            }
        }
        data
    }

    fn body(&mut self) -> (&'static str, Value) {
        let order = format!("{}", self.rng.random_range(1..6));
        let case = format!("{}", self.rng.random_range(1..5));
        let call = format!("{}", self.rng.random_range(1..4));
        match self.rng.random_range(0..33) {
            0 | 1 => ("web.page.viewed", json!({"url": "https://shop.example/"})),
            2..5 => {
                let mut data = json!({"order_id": order, "lines": self.lines()});
                if self.rng.random_bool(0.3) {
                    data["total"] = self.money();
                }
                if self.rng.random_bool(0.3) {
                    data["discount"] = self.money();
                }
                if self.rng.random_bool(0.2) {
                    data["channel"] = self.pick(&["web", "phone"]).into();
                }
                if self.rng.random_bool(0.5) {
                    self.name_cart(&mut data);
                }
                ("order.placed", data)
            }
            5 => ("order.changed", json!({"order_id": order, "lines": self.lines()})),
            6 => ("order.cancelled", json!({"order_id": order, "reason": "no longer wanted"})),
            7 => {
                let kind = self.pick(&["authorized", "captured", "refunded", "failed"]);
                ("payment.recorded", json!({"order_id": order, "kind": kind, "amount": self.money()}))
            }
            8 => {
                let status = self.pick(&["packed", "shipped", "delivered", "delivered", "delayed", "lost"]);
                let mut data = json!({"order_id": order, "status": status});
                if self.rng.random_bool(0.5) {
                    // A day, and an instant that is its first.
                    let days = ["2026-03-01", "2026-03-02", "2026-03-02T00:00:00Z", "2026-03-02T01:00:00+01:00"];
                    data["expected_at"] = self.pick(&days).into();
                }
                ("shipment.updated", data)
            }
            9 => {
                let sku = self.pick(&["A", "B", "C"]);
                (
                    "return.received",
                    json!({"order_id": order, "lines": [{"sku": sku, "quantity": 1}], "refund": self.money()}),
                )
            }
            10 | 11 => {
                let priority = self.pick(&["low", "normal", "high", "urgent"]);
                ("case.opened", json!({"case_id": case, "title": "It broke", "priority": priority, "topic": "repair"}))
            }
            12 | 13 => {
                let mut data = json!({"case_id": case});
                if self.rng.random_bool(0.8) {
                    data["status"] = self.pick(&["new", "open", "pending", "on_hold", "solved", "closed"]).into();
                }
                if self.rng.random_bool(0.2) {
                    data["assignee"] = "ann".into();
                }
                if self.rng.random_bool(0.05) {
                    data["merged_into"] = "1".into();
                }
                ("case.changed", data)
            }
            14 => {
                let visibility = self.pick(&["public", "internal"]);
                let mut data = json!({"case_id": case, "visibility": visibility, "text": "We look into it."});
                if self.rng.random_bool(0.3) {
                    data["message_id"] = format!("<m{}>", self.rng.random_range(1..4)).into();
                }
                ("case.replied", data)
            }
            15 => ("case.escalated", json!({"case_id": case, "level": 2})),
            16 => self.mail(&case),
            31 | 32 => self.chat(),
            17 => (
                "call.offered",
                json!({"call_id": call, "direction": "inbound", "from": "+4930111111", "to": "+4930222222", "queue": "help"}),
            ),
            18 => {
                let mut data = json!({"call_id": call, "agent_id": "ann"});
                if self.rng.random_bool(0.5) {
                    data["wait_s"] = self.seconds();
                }
                ("call.answered", data)
            }
            19 => ("call.ended", self.call_record(&call)),
            20 => {
                let (left, right) = (self.identifier(), self.identifier());
                let kind = if self.rng.random_bool(0.65) { "identity.link.asserted" } else { "identity.link.revoked" };
                (kind, json!({"left": left, "right": right}))
            }
            21 => {
                let (left, right) = (
                    format!("user_id:u{}", self.rng.random_range(1..5)),
                    format!("user_id:u{}", self.rng.random_range(1..5)),
                );
                ("identity.link.asserted", json!({"left": left, "right": right, "rule": "alias"}))
            }
            22 => (
                "customer.profile.updated",
                json!({"fields": {"name": self.pick(&["Ann", "Bob"]), "title": self.pick(&["Dr", "Prof"])}}),
            ),
            23 | 24 => {
                let mut data = json!({"sku": self.pick(&["A", "B", "C"])});
                if self.rng.random_bool(0.7) {
                    data["session_id"] = format!("{}", self.rng.random_range(1..4)).into();
                }
                ("web.product.viewed", data)
            }
            25..29 => ("web.cart.changed", self.cart_changed()),
            29 => {
                let mut data = json!({"step": self.pick(&["1", "2", "10", "shipping", "payment"])});
                self.name_cart(&mut data);
                ("web.checkout.step_reached", data)
            }
            _ => ("com.example.custom", json!({"anything": [1, 2.50, null]})),
        }
    }
}
