use chrono::{DateTime, Duration, SecondsFormat, Utc};
use serde_json::{Map, Value, json};

/// When test histories begin, as seconds since 1970: Monday, 2 March 2026, 08:00 UTC. Builders
/// never read a clock.
pub const BASE_TIME: i64 = 1_772_438_400;

/// A CloudEvent in the making. Starts complete: a type, an id, the source `test`, [`BASE_TIME`]
/// and the type's required data where there is a function for it.
///
/// ```
/// let event = test_kit::Event::order_placed("o-1").subject("email:a@example.com").at_s(60).json();
/// assert_eq!(event["time"], "2026-03-02T08:01:00Z");
/// ```
#[derive(Debug, Clone)]
pub struct Event {
    attributes: Map<String, Value>,
    data: Map<String, Value>,
}

impl Event {
    /// Any type (bare or with its prefix) and any id, with empty data.
    pub fn new(event_type: &str, id: &str) -> Self {
        let mut attributes = Map::new();
        for (name, value) in [("specversion", "1.0"), ("id", id), ("source", "test"), ("type", event_type)] {
            attributes.insert(name.to_owned(), value.into());
        }
        Self { attributes, data: Map::new() }.at_s(0)
    }

    /// `order.placed` of the order `id`: one line of sku A, 1 x 100.00 EUR.
    pub fn order_placed(id: &str) -> Self {
        Self::new("order.placed", id)
            .data("order_id", id)
            .data("lines", json!([{"sku": "A", "quantity": 1, "unit_price": money(10_000)}]))
    }

    /// `payment.recorded` for `order_id`: captured, 100.00 EUR.
    pub fn payment_recorded(id: &str, order_id: &str) -> Self {
        Self::new("payment.recorded", id)
            .data("order_id", order_id)
            .data("kind", "captured")
            .data("amount", money(10_000))
    }

    /// `web.page.viewed` in the session `s-1`.
    pub fn page_viewed(id: &str) -> Self {
        Self::new("web.page.viewed", id).data("url", "https://shop.example/").data("session_id", "s-1")
    }

    /// `web.cart.changed`: one of sku A added to the cart.
    pub fn cart_added(id: &str, cart_id: &str) -> Self {
        Self::new("web.cart.changed", id)
            .data("op", "added")
            .data("cart_id", cart_id)
            .data("lines", json!([{"sku": "A", "quantity": 1, "unit_price": money(10_000)}]))
    }

    /// `email.message.received` from a@example.com.
    pub fn email_received(id: &str) -> Self {
        Self::new("email.message.received", id)
            .data("message_id", format!("<{id}@example.com>"))
            .data("from", "a@example.com")
            .data("to", json!(["service@shop.example"]))
            .data("sent_at", rfc3339(0))
            .data("subject", "A question")
    }

    /// `call.ended`: answered, 120 s.
    pub fn call_ended(id: &str, call_id: &str) -> Self {
        Self::new("call.ended", id).data("call_id", call_id).data("disposition", "answered").data("duration_s", 120)
    }

    /// `case.opened`: the case `id`, of normal priority.
    pub fn case_opened(id: &str) -> Self {
        Self::new("case.opened", id).data("case_id", id).data("title", "It broke").data("priority", "normal")
    }

    /// `case.changed` to `status`.
    pub fn case_changed(id: &str, case_id: &str, status: &str) -> Self {
        Self::new("case.changed", id).data("case_id", case_id).data("status", status)
    }

    /// `identity.link.asserted` between two `kind:value`.
    pub fn link_asserted(id: &str, left: &str, right: &str) -> Self {
        Self::new("identity.link.asserted", id).data("left", left).data("right", right)
    }

    /// `interaction.voided` of the event `voided_id` of the source `test`.
    pub fn voided(id: &str, voided_id: &str) -> Self {
        Self::new("interaction.voided", id).data("voided_source", "test").data("voided_id", voided_id)
    }

    /// Sets the source.
    pub fn source(self, source: &str) -> Self {
        self.attribute("source", source)
    }

    /// Sets the subject, `kind:value`.
    pub fn subject(self, subject: &str) -> Self {
        self.attribute("subject", subject)
    }

    /// Sets the further identifiers, comma-separated `kind:value`.
    pub fn identifiers(self, identifiers: &str) -> Self {
        self.attribute("identifiers", identifiers)
    }

    /// Sets the time to this RFC 3339 text.
    pub fn time(self, time: &str) -> Self {
        self.attribute("time", time)
    }

    /// Sets the time to so many seconds after [`BASE_TIME`].
    pub fn at_s(self, seconds: i64) -> Self {
        let time = rfc3339(seconds);
        self.attribute("time", time)
    }

    /// Sets any attribute or extension; `null` takes it away.
    pub fn attribute(mut self, name: &str, value: impl Into<Value>) -> Self {
        set(&mut self.attributes, name, value.into());
        self
    }

    /// Sets a field of the data; `null` takes it away.
    pub fn data(mut self, name: &str, value: impl Into<Value>) -> Self {
        set(&mut self.data, name, value.into());
        self
    }

    /// The CloudEvent in its structured JSON form.
    pub fn json(self) -> Value {
        let mut event = self.attributes;
        event.insert("data".to_owned(), Value::Object(self.data));
        Value::Object(event)
    }
}

fn set(map: &mut Map<String, Value>, name: &str, value: Value) {
    if value.is_null() {
        map.shift_remove(name);
    } else {
        map.insert(name.to_owned(), value);
    }
}

fn money(amount_minor: i64) -> Value {
    json!({"amount_minor": amount_minor, "currency": "EUR"})
}

fn rfc3339(seconds: i64) -> String {
    let base = DateTime::<Utc>::from_timestamp(BASE_TIME, 0).expect("the base time is a time");
    (base + Duration::seconds(seconds)).to_rfc3339_opts(SecondsFormat::AutoSi, true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_says_what_was_set_and_nothing_else() {
        let event = Event::case_opened("c-1").subject("email:a@example.com").data("title", Value::Null).json();
        let expected = json!({
            "specversion": "1.0", "id": "c-1", "source": "test", "type": "case.opened",
            "time": "2026-03-02T08:00:00Z", "subject": "email:a@example.com",
            "data": {"case_id": "c-1", "priority": "normal"},
        });
        assert_eq!(event, expected);
    }
}
