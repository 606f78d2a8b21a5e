//! Orders and what becomes of them: paid, packed, late, delivered, sent back.

use domain::time::SECOND;
use serde_json::{Map, Value, json};

use super::company::{ERP, TILL, WEB, money};
use super::tale::{Event, Tale, Who};
use super::time::{self, DAY, HOUR, Moment};
use super::web::{Cart, Line, sum};

/// An order, and what is known of its fate.
pub(super) struct Order {
    pub(super) order_id: String,
    pub(super) lines: Vec<Line>,
    pub(super) currency: &'static str,
    pub(super) placed_at: Moment,
    /// Off the whole order, minor units, like the next two.
    pub(super) discount: i64,
    tax: i64,
    shipping: i64,
    /// When it came, if it did.
    pub(super) delivered_at: Option<Moment>,
    /// It came late or has not come.
    pub(super) late: bool,
    pub(super) cancelled: bool,
    /// The event that placed it.
    pub(super) placed_by: String,
}

/// How an order goes once it is placed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    /// As chance has it: a few are cancelled, changed, late or lost.
    Open,
    /// It arrives when it should.
    Well,
    /// It arrives late.
    Late,
}

/// An order about to be placed.
pub(super) struct Basket {
    lines: Vec<Line>,
    currency: &'static str,
    at: Moment,
    source: &'static str,
    discount: i64,
    tax: i64,
    shipping: i64,
    actor: String,
    /// Further fields of `order.placed`.
    more: Map<String, Value>,
}

/// From which sum on delivery is free, and what it costs below, minor units.
const FREE_FROM: i64 = 5000;
const SHIPPING: i64 = 490;

impl Basket {
    /// What is in a cart.
    pub(super) fn of_cart(cart: &Cart, at: Moment) -> Self {
        let mut basket = Self::new(cart.lines.clone(), cart.currency, at).sold(WEB, "web", "customer");
        basket.shipping = if sum(&basket.lines) < FREE_FROM { SHIPPING } else { 0 };
        let basket = basket.with("cart_id", &cart.cart_id).with("session_id", &cart.session_id);
        match &cart.checkout_id {
            Some(checkout_id) => basket.with("checkout_id", checkout_id),
            None => basket,
        }
    }

    pub(super) fn new(lines: Vec<Line>, currency: &'static str, at: Moment) -> Self {
        Self {
            lines,
            currency,
            at,
            source: ERP,
            discount: 0,
            tax: 0,
            shipping: 0,
            actor: "customer".to_owned(),
            more: Map::new(),
        }
    }

    /// Where and by whom it is sold.
    pub(super) fn sold(mut self, source: &'static str, channel: &str, actor: &str) -> Self {
        (self.source, self.actor) = (source, actor.to_owned());
        self.with("channel", channel)
    }

    /// With a further field.
    pub(super) fn with(mut self, field: &str, value: &str) -> Self {
        self.more.insert(field.to_owned(), value.into());
        self
    }

    /// So much off, minor units.
    pub(super) fn less(self, discount: i64) -> Self {
        Self { discount, ..self }
    }

    /// With tax of so many percent, rounded down: companies see prices without it.
    pub(super) fn taxed(self, percent: i64) -> Self {
        Self { tax: (sum(&self.lines) - self.discount) * percent / 100, ..self }
    }

    /// Places it.
    pub(super) fn order(self, tale: &mut Tale, who: &Who) -> Order {
        let Self { lines, currency, at, source, discount, tax, shipping, actor, more } = self;
        let order_id = tale.new_id("O");
        let mut data = json!({
            "order_id": order_id,
            "lines": lines.iter().map(|line| line.to_json(currency)).collect::<Vec<_>>(),
            "total": money(sum(&lines), currency),
        });
        for (field, minor) in [("discount", discount), ("tax", tax), ("shipping", shipping)] {
            if minor > 0 {
                data[field] = money(minor, currency);
            }
        }
        for (field, value) in more {
            data[field] = value;
        }
        let placed_by = tale.tell(Event::new(at, source, "order.placed", data).about(who).by(actor));
        Order {
            order_id,
            lines,
            currency,
            placed_at: at,
            discount,
            tax,
            shipping,
            delivered_at: None,
            late: false,
            cancelled: false,
            placed_by,
        }
    }
}

impl Order {
    /// What is to be paid, minor units.
    pub(super) fn due(&self) -> i64 {
        sum(&self.lines) - self.discount + self.tax + self.shipping
    }

    /// Its life from the first payment on. Nobody is named: the events are those of the order's owner.
    pub(super) fn runs(&mut self, tale: &mut Tale, fate: Fate) {
        let mut at = self.pay(tale, "authorized", self.placed_at + 2 * SECOND);
        let open = fate == Fate::Open;
        if open && tale.dice.chance(25) {
            at = tale.later(at, (1800, 20_000));
            let reason = *tale.dice.pick(&["changed my mind", "ordered twice", "found it cheaper"]);
            let data = json!({"order_id": self.order_id, "reason": reason});
            tale.tell(Event::new(at, WEB, "order.cancelled", data).by("customer"));
            self.cancelled = true;
            return;
        }
        if open && tale.dice.chance(20) {
            at = self.one_more(tale, at);
        }
        self.ships(tale, at, fate);
    }

    /// Bought over the counter: paid and taken home.
    pub(super) fn over_the_counter(&mut self, tale: &mut Tale) {
        self.delivered_at = Some(self.placed_at);
        let data = self.payment("captured", self.due(), "terminal");
        tale.tell(Event::new(self.placed_at + 20 * SECOND, TILL, "payment.recorded", data));
    }

    fn pay(&self, tale: &mut Tale, kind: &str, at: Moment) -> Moment {
        let mut at = at;
        if kind == "authorized" && tale.dice.chance(30) {
            let mut data = self.payment("failed", self.due(), "cardgate");
            data["reason"] = "insufficient_funds".into();
            tale.tell(Event::new(at, ERP, "payment.recorded", data).by("bot:payments"));
            at = tale.later(at, (40, 400));
        }
        let data = self.payment(kind, self.due(), "cardgate");
        tale.tell(Event::new(at, ERP, "payment.recorded", data).by("bot:payments"));
        at
    }

    fn payment(&self, kind: &str, minor: i64, gateway: &str) -> Value {
        json!({"order_id": self.order_id, "kind": kind, "amount": money(minor, self.currency), "gateway": gateway})
    }

    /// One piece more of the first line, before it is packed.
    fn one_more(&mut self, tale: &mut Tale, at: Moment) -> Moment {
        let at = tale.later(at, (600, 7000));
        self.lines[0].quantity += 1;
        let lines: Vec<_> = self.lines.iter().map(|line| line.to_json(self.currency)).collect();
        let data = json!({
            "order_id": self.order_id, "lines": lines, "total": money(sum(&self.lines), self.currency),
            "reason": "one more, please",
        });
        tale.tell(Event::new(at, WEB, "order.changed", data).by("customer"));
        at
    }

    fn ships(&mut self, tale: &mut Tale, at: Moment, fate: Fate) {
        let carrier = *tale.dice.pick(&["swiftpost", "an-carrier", "routier"]);
        let tracking = tale.new_id("T");
        let packed = time::at_work(&mut tale.dice, at + HOUR);
        let shipped = tale.later(packed, (3600, 6 * 3600));
        let expected = time::day(shipped) + 3 * DAY;
        let update = |status: &str, expected_at: Option<Moment>| {
            let mut data = json!({
                "order_id": self.order_id, "status": status, "carrier": carrier, "tracking": tracking,
            });
            if let Some(day) = expected_at {
                data["expected_at"] = time::date(day).into();
            }
            data
        };
        let data = update("packed", None);
        tale.tell(Event::new(packed, ERP, "shipment.updated", data).by("bot:warehouse"));
        self.pay(tale, "captured", packed + 90 * SECOND);
        tale.tell(Event::new(shipped, ERP, "shipment.updated", update("shipped", Some(expected))).by("bot:warehouse"));
        let mut arrives = time::day(shipped) + DAY * tale.dice.between(1, 3) + tale.later(9 * HOUR, (0, 8 * 3600));
        if fate == Fate::Late || (fate == Fate::Open && tale.dice.chance(90)) {
            self.late = true;
            let delayed = expected + 11 * HOUR;
            arrives = delayed + DAY * tale.dice.heavy_tail(500, 16) + 3 * HOUR;
            let data = update("delayed", Some(arrives));
            tale.tell(Event::new(delayed, ERP, "shipment.updated", data).by(format!("partner:{carrier}")));
        }
        let status = if self.late && fate == Fate::Open && tale.dice.chance(60) { "lost" } else { "delivered" };
        self.delivered_at = (status == "delivered").then_some(arrives);
        let data = update(status, None);
        tale.tell(Event::new(arrives, ERP, "shipment.updated", data).by(format!("partner:{carrier}")));
    }

    /// Sends the first line back, and gets what was paid for it. Answers with when.
    pub(super) fn goes_back(&self, tale: &mut Tale, reason: &str, from: Moment) -> Moment {
        let arrives = from + DAY * tale.dice.between(3, 12);
        let at = time::at_work(&mut tale.dice, arrives);
        let line = &self.lines[0];
        let refund = line.total() - self.discount * line.total() / sum(&self.lines).max(1);
        let data = json!({
            "order_id": self.order_id, "lines": [{"sku": line.product.sku, "quantity": line.quantity}],
            "refund": money(refund, self.currency), "reason": reason,
        });
        tale.tell(Event::new(at, ERP, "return.received", data).by("bot:warehouse"));
        let paid = tale.later(at, (3600, 2 * 86_400));
        let mut data = self.payment("refunded", refund, "cardgate");
        data["reason"] = reason.into();
        tale.tell(Event::new(paid, ERP, "payment.recorded", data).by("bot:payments"));
        paid
    }
}
