//! Random histories over few people, so that everything meets everything.

use projection::Event;
use serde_json::{Value, json};

use crate::world;

/// A generator of numbers that a seed decides (SplitMix64).
pub(crate) struct Dice(pub(crate) u64);

impl Dice {
    pub(crate) fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % sides
    }

    fn pick<'v, T>(&mut self, values: &'v [T]) -> &'v T {
        &values[self.roll(values.len() as u64) as usize]
    }

    fn one_in(&mut self, n: u64) -> bool {
        self.roll(n) == 0
    }

    pub(crate) fn shuffle<T>(&mut self, values: &mut [T]) {
        for i in (1..values.len()).rev() {
            values.swap(i, self.roll(i as u64 + 1) as usize);
        }
    }

    /// An identifier of few, of any linking kind; weaker kinds more often.
    fn identifier(&mut self) -> String {
        let value = self.roll(3) + 1;
        match self.roll(12) {
            0 => format!("customer_no:{value}"),
            1 | 2 => format!("user_id:u{value}"),
            3..=5 => format!("email:e{value}@x.example"),
            6 | 7 => format!("phone:+4930123450{value}"),
            8 => format!("card:c{value}"),
            9 => format!("external.crm:{value}"),
            10 => format!("device_id:d{value}"),
            _ => format!("anonymous_id:a{value}"),
        }
    }

    fn identifiers(&mut self, most: u64) -> Vec<String> {
        (0..=self.roll(most)).map(|_| self.identifier()).collect()
    }
}

/// One history: records in the order they were received.
pub(crate) fn history(seed: u64) -> Vec<Event> {
    let dice = &mut Dice(seed);
    let count = 4 + dice.roll(28);
    let mut records: Vec<Event> = Vec::new();
    for n in 0..count {
        let id = format!("e{n}");
        let received_at = test_kit::BASE_TIME * 1_000_000 + dice.roll(5_000_000) as i64;
        let event = event(dice, &id, count);
        records.push(world::record(&event, received_at, records.len() as i64));
        if dice.one_in(5) {
            // The same copy, received at another time.
            let again = test_kit::BASE_TIME * 1_000_000 + dice.roll(5_000_000) as i64;
            records.push(world::record(&event, again, records.len() as i64));
        }
        for _ in 0..dice.roll(8).saturating_sub(5) {
            // A differing copy, perhaps received earlier, perhaps of another type.
            let mut copy = self::event(dice, &id, count);
            if dice.one_in(2) {
                copy = with_time(event.clone(), dice);
            }
            let again = test_kit::BASE_TIME * 1_000_000 + dice.roll(5_000_000) as i64;
            records.push(world::record(&copy, again, records.len() as i64));
        }
    }
    records
}

fn with_time(mut event: Value, dice: &mut Dice) -> Value {
    event["time"] = json!(format!("2026-03-02T08:00:0{}Z", dice.roll(6)));
    event
}

fn event(dice: &mut Dice, id: &str, count: u64) -> Value {
    let mut event = match dice.roll(16) {
        0..=2 => test_kit::Event::page_viewed(id),
        3 => test_kit::Event::order_placed(&format!("o{}", dice.roll(3))).attribute("id", id),
        4 => test_kit::Event::case_opened(&format!("k{}", dice.roll(3))).attribute("id", id),
        5 => test_kit::Event::email_received(id),
        6 | 7 => test_kit::Event::new("customer.profile.updated", id).data("fields", profile(dice)),
        8..=10 => test_kit::Event::link_asserted(id, &dice.identifier(), &dice.identifier()),
        11 => test_kit::Event::new("identity.link.revoked", id)
            .data("left", dice.identifier())
            .data("right", dice.identifier()),
        12 | 13 => test_kit::Event::voided(id, &format!("e{}", dice.roll(count))),
        14 => test_kit::Event::new("com.example.thing", id).data("any", dice.roll(3)),
        _ => test_kit::Event::new("message.sent", id)
            .data("channel", *dice.pick(&["sms", "chat"]))
            .data("message_id", id)
            .data("thread_id", format!("t{}", dice.roll(2)))
            .data("text", "hello"),
    };
    if !dice.one_in(5) {
        let identifiers = dice.identifiers(3);
        event = event.subject(&identifiers[0]);
        if identifiers.len() > 1 {
            event = event.identifiers(&identifiers[1..].join(","));
        }
    }
    if dice.one_in(5) {
        event = event.attribute("participants", dice.identifiers(2).join(","));
    }
    if dice.one_in(6) {
        event = event.attribute("identifiers", format!("account:acme{},{}", dice.roll(2), dice.identifier()));
    }
    if dice.one_in(4) {
        event = event.attribute("correlationid", format!("case:k{}", dice.roll(3)));
    }
    if dice.one_in(6) {
        event = event.attribute("sequence", dice.roll(3));
    }
    let event = event.json();
    if dice.one_in(10) {
        let mut event = event;
        event.as_object_mut().expect("an object").remove("time");
        return event;
    }
    with_time(event, dice)
}

fn profile(dice: &mut Dice) -> Value {
    let value = |dice: &mut Dice| {
        [json!("A"), json!("B"), json!(1.50), Value::Null, json!({"street": "x"})][dice.roll(5) as usize].clone()
    };
    let mut fields = serde_json::Map::new();
    for name in ["name", "company", "language"] {
        if dice.one_in(2) {
            fields.insert(name.to_owned(), value(dice));
        }
    }
    Value::Object(fields)
}

/// The records in another order, some twice, cut into batches.
pub(crate) fn batches(records: &[Event], dice: &mut Dice) -> Vec<Vec<Event>> {
    let mut records = records.to_vec();
    for _ in 0..dice.roll(5) {
        records.push(dice.pick(&records).clone());
    }
    dice.shuffle(&mut records);
    let mut batches = vec![Vec::new()];
    let cut = 1 + dice.roll(12);
    for record in records {
        if dice.one_in(cut) {
            batches.push(Vec::new());
        }
        batches.last_mut().expect("there is one").push(record);
    }
    batches.retain(|b| !b.is_empty());
    batches
}
