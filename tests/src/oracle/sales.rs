//! The views of sales, row by row: each order told as a story, event after event; carts and sessions: [`super::carts`].

use std::collections::{BTreeMap, BTreeSet};

use domain::{Interaction, money::Decimal};
use rapport_proto::v1::{self, Money, interaction::Data};
use serde_json::{Value, json};
use uuid::Uuid;

use super::{Rows, Set, decimal, owner, time};

/// Microseconds in a day.
const DAY: i64 = 86_400_000_000;

/// Every digested view of sales.
pub fn rows(set: &Set) -> Rows {
    let facts = set.facts();
    let mut rows = Rows::default();
    let mut sums = Sums::default();
    let ids: BTreeSet<&str> =
        facts.iter().flat_map(|e| &e.entities).filter(|e| e.kind == "order").map(|e| e.key.as_str()).collect();
    for id in ids {
        let named: Vec<&Interaction> =
            facts.iter().copied().filter(|e| e.entities.iter().any(|n| n.kind == "order" && n.key == id)).collect();
        if let Some(story) = Story::tell(id, &named) {
            story.write(owner(&named), &mut rows, &mut sums);
        }
    }
    for ((day, channel, currency), sums) in sums.revenue {
        rows.push("revenue", &sums.row(day, &channel, currency.as_deref()));
    }
    for ((sku, currency), sums) in sums.products {
        rows.push("product_performance", &sums.row(&sku, currency.as_deref()));
    }
    super::carts::rows(&facts, &sums.bought, &mut rows);
    rows
}

/// What orders add up to.
#[derive(Default)]
struct Sums {
    revenue: BTreeMap<(i64, String, Option<String>), Day>,
    products: BTreeMap<(String, Option<String>), Product>,
    /// The sessions in which each sku was bought.
    bought: BTreeMap<String, BTreeSet<String>>,
}

/// The names of a cart, a session and a checkout that an event tells: by its data, else by its correlation.
pub(super) fn cart_names(event: &Interaction) -> [Option<String>; 3] {
    let event = published(&event.wire);
    let data = |field: &str| event["data"][field].as_str().map(str::to_owned);
    let correlated = |kind: &str| event["correlationid"].as_str()?.strip_prefix(kind).map(str::to_owned);
    [
        data("cart_id").or_else(|| correlated("cart:")),
        data("session_id"),
        data("checkout_id").or_else(|| correlated("checkout:")),
    ]
}

/// What became of an order so far.
#[derive(Default)]
struct Story<'a> {
    id: String,
    placed_at: Option<i64>,
    changed_at: Option<i64>,
    cancelled_at: Option<i64>,
    cancel_reason: Option<&'a String>,
    placed: Option<&'a v1::OrderPlaced>,
    placed_by: Option<&'a Interaction>,
    lines: Option<(&'a [v1::Line], Uuid)>,
    total: Option<&'a Money>,
    payments: Vec<(&'a v1::PaymentRecorded, &'a Interaction)>,
    returns: Vec<(&'a v1::ReturnReceived, &'a Interaction)>,
    /// Refunds and payments as they came, to find the currency of an order that has no other amount.
    moved: Vec<&'a Money>,
    shipments: Vec<(&'a v1::ShipmentUpdated, i64)>,
    set_by: Option<Uuid>,
}

impl<'a> Story<'a> {
    fn tell(id: &str, facts: &[&'a Interaction]) -> Option<Self> {
        let mut story = Self { id: id.to_owned(), ..Self::default() };
        for event in facts.iter().copied() {
            story.happen(event);
        }
        story.set_by.is_some().then_some(story)
    }

    fn happen(&mut self, event: &'a Interaction) {
        let (at, by) = (event.occurred_at, event.event_id);
        let mine = |id: &Option<String>| id.as_deref() == Some(self.id.as_str());
        match event.wire.data.as_ref() {
            Some(Data::OrderPlaced(o)) if mine(&o.order_id) => {
                self.placed_at.get_or_insert(at);
                self.placed_by = Some(event);
                (self.placed, self.lines, self.total) = (Some(o), Some((o.lines.as_slice(), by)), o.total.as_ref());
            }
            Some(Data::OrderChanged(o)) if mine(&o.order_id) => {
                self.changed_at = Some(at);
                if !o.lines.is_empty() {
                    (self.lines, self.total) = (Some((o.lines.as_slice(), by)), o.total.as_ref());
                } else if o.total.is_some() {
                    self.total = o.total.as_ref();
                }
            }
            Some(Data::OrderCancelled(o)) if mine(&o.order_id) => {
                self.cancelled_at.get_or_insert(at);
                self.cancel_reason = o.reason.as_ref().or(self.cancel_reason);
            }
            Some(Data::PaymentRecorded(p)) if mine(&p.order_id) => {
                self.moved.extend(p.amount.as_ref());
                self.payments.push((p, event));
            }
            Some(Data::ShipmentUpdated(s)) if mine(&s.order_id) => self.shipments.push((s, at)),
            Some(Data::ReturnReceived(r)) if mine(&r.order_id) => {
                self.moved.extend(r.refund.as_ref());
                self.returns.push((r, event));
            }
            _ => return,
        }
        self.set_by = Some(by);
    }

    fn currency(&self) -> Option<&'a str> {
        let lines = self.lines.map(|(lines, _)| lines).unwrap_or_default();
        let mut amounts: Vec<Option<&Money>> = vec![self.total];
        amounts.extend(lines.iter().flat_map(|l| [l.total.as_ref(), l.unit_price.as_ref()]));
        amounts
            .extend(self.placed.into_iter().flat_map(|o| [o.discount.as_ref(), o.tax.as_ref(), o.shipping.as_ref()]));
        amounts.extend(self.moved.iter().copied().map(Some));
        amounts.into_iter().flatten().find_map(|m| m.currency.as_deref())
    }

    fn write(&self, owner: Option<Uuid>, rows: &mut Rows, sums: &mut Sums) {
        let currency = self.currency();
        let mut purse = Purse { currency, foreign: false };
        let mut lines = self.priced(&mut purse);
        let unmatched = self.take_back(&mut lines);
        let refunds = self.refunds(&mut purse);
        let refunded: i64 = refunds.iter().map(|(_, _, _, amount)| amount).sum();
        let captured: i64 = self
            .payments
            .iter()
            .filter(|(p, _)| p.kind.as_deref() == Some("captured"))
            .filter_map(|(p, _)| purse.take(&p.amount))
            .sum();
        self.payments.iter().for_each(|(p, _)| _ = purse.take(&p.amount));
        let stated = self.lines.is_some() || self.total.is_some();
        let gross = match self.total {
            Some(total) => purse.of(total).unwrap_or(0),
            None => lines.iter().filter_map(|l| l.total).sum(),
        };
        let of_placed = |field: fn(&v1::OrderPlaced) -> &Option<Money>, purse: &mut Purse<'_>| {
            self.placed.and_then(|o| purse.take(field(o)))
        };
        let discount = of_placed(|o| &o.discount, &mut purse).unwrap_or(0);
        let (tax, shipping) = (of_placed(|o| &o.tax, &mut purse), of_placed(|o| &o.shipping, &mut purse));
        let cost: Option<i64> = if lines.is_empty() { None } else { lines.iter().map(|l| l.cost).sum() };
        let net = gross - discount - refunded;
        let when = |yes: bool, value: i64| if yes { Some(value) } else { None };
        let (gross, discount, net) = (when(stated, gross), when(stated, discount), when(stated, net));
        let cost = cost.filter(|_| stated);
        let margin = net.zip(cost).map(|(n, c)| n - c);
        let flags: Vec<&str> = [
            ("foreign_currency", purse.foreign),
            ("unmatched_return", unmatched),
            ("unplaced", self.placed_at.is_none()),
            ("unpriced_line", lines.iter().any(|l| l.total.is_none())),
        ]
        .into_iter()
        .filter_map(|(flag, up)| up.then_some(flag))
        .collect();

        let mut row = json!({
            "order_id": self.id, "subject_id": owner, "placed_at": self.placed_at.map(time), "changed_at": self.changed_at.map(time),
            "cancelled_at": self.cancelled_at.map(time), "currency": currency, "line_count": lines.len(),
            "channel": self.placed.map(|o| o.channel.clone().unwrap_or_else(|| "shop".into())),
            "payment_state": self.payment_state(captured, refunded), "cancel_reason": self.cancel_reason,
            "returned_at": self.returns.last().map(|(_, e)| time(e.occurred_at)), "flags": flags, "set_by": self.set_by,
        });
        for (name, minor) in [
            ("gross", gross),
            ("discount", discount),
            ("tax", tax.filter(|_| stated)),
            ("shipping", shipping.filter(|_| stated)),
            ("refunds", Some(refunded)),
            ("net", net),
            ("cost", cost),
            ("margin", margin),
            ("captured", Some(captured)),
        ] {
            row[name] = decimal(minor.map(i128::from), currency);
            row[format!("{name}_minor")] = minor.into();
        }
        self.shipped(&mut row);
        if let Some(o) = self.placed {
            for (name, value) in [
                ("rep", &o.rep),
                ("quote_id", &o.quote_id),
                ("opportunity_id", &o.opportunity_id),
                ("campaign_id", &o.campaign_id),
            ] {
                row[name] = value.clone().into();
            }
        }
        let [cart_id, session_id, checkout_id] = self.placed_by.map(cart_names).unwrap_or_default();
        row["cart_id"] = cart_id.into();
        row["session_id"] = session_id.clone().into();
        row["checkout_id"] = checkout_id.into();
        rows.push("orders", &row);
        self.sell(&lines, session_id, currency, sums);
        let revenue = &mut sums.revenue;
        for (n, line) in lines.iter().enumerate() {
            rows.push("order_lines", &line.row(&self.id, n + 1, currency));
        }
        for (event, at, source, amount) in &refunds {
            rows.push(
                "order_refunds",
                &json!({"order_id": self.id, "event_id": event, "refunded_at": time(*at), "source": source, "currency": currency,
                        "amount": decimal(Some((*amount).into()), currency), "amount_minor": amount, "set_by": event}),
            );
        }
        if let (Some(at), None) = (self.placed_at, self.cancelled_at) {
            let channel = row["channel"].as_str().unwrap_or_default().to_owned();
            let placed = revenue.entry((at.div_euclid(DAY), channel.clone(), currency.map(str::to_owned))).or_default();
            placed.orders += 1;
            placed.gross += i128::from(gross.unwrap_or(0));
            placed.discount += i128::from(discount.unwrap_or(0));
            placed.without_cost += i64::from(cost.is_none());
            placed.cost += i128::from(cost.unwrap_or(0));
            for (_, at, _, amount) in &refunds {
                let day =
                    revenue.entry((at.div_euclid(DAY), channel.clone(), currency.map(str::to_owned))).or_default();
                day.refunds += i128::from(*amount);
            }
        }
    }

    /// Adds its lines to what is known of their products.
    fn sell(&self, lines: &[Line<'a>], session: Option<String>, currency: Option<&str>, sums: &mut Sums) {
        for line in lines {
            let sku = line.line.sku.clone().expect("lines have a sku");
            if let (Some(session), Some(_)) = (&session, self.placed_at) {
                sums.bought.entry(sku.clone()).or_default().insert(session.clone());
            }
            if self.placed_at.is_some() && self.cancelled_at.is_none() {
                let product = sums.products.entry((sku, currency.map(str::to_owned))).or_default();
                product.orders.insert(self.id.clone());
                product.lines += 1;
                product.units += nanos(line.line.quantity.as_deref());
                product.returns += line.returned;
                product.revenue += i128::from(line.total.unwrap_or(0));
                product.without_price += i64::from(line.total.is_none());
                let margin = line.total.zip(line.cost).map(|(total, cost)| total - cost);
                product.margin += i128::from(margin.unwrap_or(0));
                product.without_cost += i64::from(margin.is_none());
            }
        }
    }

    fn priced(&self, purse: &mut Purse<'_>) -> Vec<Line<'a>> {
        let Some((lines, by)) = self.lines else { return Vec::new() };
        lines
            .iter()
            .map(|line| {
                let quantity = line.quantity.as_deref().and_then(Decimal::parse);
                let times = |price: Option<i64>| {
                    Some(quantity?.times(price?)).map(|p| i64::try_from(p).expect("small histories"))
                };
                let price = purse.take(&line.unit_price);
                let discount = purse.take(&line.discount).unwrap_or(0);
                let total =
                    if line.total.is_some() { purse.take(&line.total) } else { times(price).map(|t| t - discount) };
                let cost = match (&line.margin, &line.cost) {
                    (Some(margin), _) => total.zip(purse.of(margin)).map(|(t, m)| t - m),
                    (None, Some(cost)) => purse.of(cost),
                    (None, None) => times(purse.take(&line.unit_cost)),
                };
                Line { line, price, discount, total, cost, returned: 0, set_by: by }
            })
            .collect()
    }

    /// Returned goods fill the lines of their sku from the first on. Says whether some were never ordered.
    fn take_back(&self, lines: &mut [Line<'a>]) -> bool {
        let mut unmatched = false;
        for (body, event) in &self.returns {
            let mut skus: BTreeMap<&str, i128> = BTreeMap::new();
            for line in &body.lines {
                *skus.entry(line.sku.as_deref().unwrap_or_default()).or_default() += nanos(line.quantity.as_deref());
            }
            for (sku, mut rest) in skus {
                let of_sku: Vec<usize> =
                    (0..lines.len()).filter(|n| lines[*n].line.sku.as_deref() == Some(sku)).collect();
                unmatched |= of_sku.is_empty();
                for (nth, n) in of_sku.iter().enumerate() {
                    let room = (nanos(lines[*n].line.quantity.as_deref()) - lines[*n].returned).max(0);
                    let taken = if nth + 1 == of_sku.len() { rest } else { rest.min(room) };
                    rest -= taken;
                    if taken != 0 {
                        lines[*n].returned += taken;
                        lines[*n].set_by = event.event_id;
                    }
                }
            }
        }
        unmatched
    }

    /// Event, time, source and amount of each refund that counts.
    fn refunds(&self, purse: &mut Purse<'_>) -> Vec<(Uuid, i64, &'static str, i64)> {
        if purse.currency.is_none() {
            return Vec::new();
        }
        let mut paid = Vec::new();
        for (body, event) in self.payments.iter().filter(|(p, _)| p.kind.as_deref() == Some("refunded")) {
            paid.extend(purse.take(&body.amount).map(|a| (event.event_id, event.occurred_at, "payment", a)));
        }
        let mut returned = Vec::new();
        for (body, event) in &self.returns {
            returned.extend(purse.take(&body.refund).map(|a| (event.event_id, event.occurred_at, "return", a)));
        }
        if paid.is_empty() { returned } else { paid }
    }

    fn payment_state(&self, captured: i64, refunded: i64) -> &'a str {
        let kinds: Vec<&str> = self.payments.iter().filter_map(|(p, _)| p.kind.as_deref()).collect();
        if refunded > 0 && refunded >= captured {
            "refunded"
        } else if kinds.contains(&"captured") {
            if refunded > 0 { "partially_refunded" } else { "captured" }
        } else {
            kinds.iter().rev().find(|k| **k == "authorized" || **k == "failed").copied().unwrap_or("none")
        }
    }

    fn shipped(&self, row: &mut Value) {
        let at = |status: &str| -> Vec<i64> {
            self.shipments.iter().filter(|(s, _)| s.status.as_deref() == Some(status)).map(|(_, at)| *at).collect()
        };
        let last =
            |of: &dyn Fn(&v1::ShipmentUpdated) -> Option<Value>| self.shipments.iter().rev().find_map(|(s, _)| of(s));
        let (shipped, delivered) = (at("shipped"), at("delivered"));
        // As it was published, and the last instant that is not late: of a day its last one. Reports cut days in UTC here.
        let announced = last(&|s| published(s)["expected_at"].as_str().map(Value::from));
        let expected = self.shipments.iter().rev().find_map(|(s, _)| s.expected_at);
        let state = self.shipments.last().and_then(|(s, _)| s.status.as_deref());
        let is_day = announced.as_ref().and_then(Value::as_str).is_some_and(|text| text.len() == "2026-03-01".len());
        let deadline = expected.map(|e| if is_day { e + DAY - 1 } else { e });
        row["shipment_state"] = state.into();
        row["shipped_at"] = shipped.first().map_or(Value::Null, |t| time(*t));
        row["delivered_at"] = delivered.last().map_or(Value::Null, |t| time(*t));
        row["expected_at"] = expected.map_or(Value::Null, time);
        row["expected_is_day"] = is_day.into();
        row["carrier"] = last(&|s| s.carrier.clone().map(Value::from)).into();
        row["tracking"] = last(&|s| s.tracking.clone().map(Value::from)).into();
        let too_late = delivered.last().zip(deadline).is_some_and(|(d, until)| *d > until);
        row["late"] = (too_late || matches!(state, Some("delayed" | "lost"))).into();
        row["unshipped"] =
            (self.placed_at.is_some() && self.cancelled_at.is_none() && shipped.is_empty() && delivered.is_empty())
                .into();
    }
}

/// Takes amounts in one currency, and remembers that there were others.
pub(super) struct Purse<'a> {
    pub(super) currency: Option<&'a str>,
    pub(super) foreign: bool,
}

impl Purse<'_> {
    fn of(&mut self, money: &Money) -> Option<i64> {
        let ours = money.currency.as_deref() == self.currency;
        self.foreign |= !ours;
        money.amount_minor.filter(|_| ours)
    }

    pub(super) fn take(&mut self, money: &Option<Money>) -> Option<i64> {
        money.as_ref().and_then(|m| self.of(m))
    }
}

struct Line<'a> {
    line: &'a v1::Line,
    price: Option<i64>,
    discount: i64,
    total: Option<i64>,
    cost: Option<i64>,
    returned: i128,
    set_by: Uuid,
}

impl Line<'_> {
    fn row(&self, order: &str, n: usize, currency: Option<&str>) -> Value {
        let mut row = json!({
            "order_id": order, "line_no": n, "sku": self.line.sku, "name": self.line.name, "category": self.line.category,
            "quantity": self.line.quantity.as_deref().map(|q| plain(nanos(Some(q)))), "returned_quantity": plain(self.returned),
            "currency": currency, "set_by": self.set_by,
        });
        let margin = self.total.zip(self.cost).map(|(t, c)| t - c);
        for (name, minor) in [
            ("unit_price", self.price),
            ("discount", Some(self.discount)),
            ("total", self.total),
            ("cost", self.cost),
            ("margin", margin),
        ] {
            row[name] = decimal(minor.map(i128::from), currency);
            row[format!("{name}_minor")] = minor.into();
        }
        row
    }
}

/// A message as it was published.
pub(super) fn published(message: &impl rapport_proto::json::ToJson) -> Value {
    serde_json::from_slice(&rapport_proto::json::write(message, Vec::new())).expect("what was JSON is JSON again")
}

/// A quantity in units of 10^-9.
pub(super) fn nanos(text: Option<&str>) -> i128 {
    text.and_then(Decimal::parse).map_or(0, |d| d.to_minor(9))
}

pub(super) fn plain(nanos: i128) -> String {
    let (sign, nanos) = (if nanos < 0 { "-" } else { "" }, nanos.unsigned_abs());
    let text = format!("{sign}{}.{:09}", nanos / 1_000_000_000, nanos % 1_000_000_000);
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// A product's sales in one currency. Quantities are in units of 10^-9.
#[derive(Default)]
struct Product {
    orders: BTreeSet<String>,
    lines: i64,
    units: i128,
    returns: i128,
    revenue: i128,
    margin: i128,
    without_cost: i64,
    without_price: i64,
}

impl Product {
    fn row(&self, sku: &str, currency: Option<&str>) -> Value {
        let margin = (self.without_cost == 0).then_some(self.margin);
        let rate = (self.units != 0).then(|| {
            let (sign, units) = (self.units.signum() * self.returns.signum(), self.units.abs());
            let digits = domain::money::divide_half_away(self.returns.abs() * 10_000, units);
            format!("{}{}.{:04}", if sign < 0 && digits > 0 { "-" } else { "" }, digits / 10_000, digits % 10_000)
        });
        json!({
            "sku": sku, "currency": currency, "orders": self.orders.len(), "lines": self.lines, "units": plain(self.units),
            "returns": plain(self.returns), "return_rate": rate, "lines_without_cost": self.without_cost,
            "lines_without_price": self.without_price, "revenue": decimal(Some(self.revenue), currency),
            "revenue_minor": self.revenue.to_string(), "margin": decimal(margin, currency),
            "margin_minor": margin.map(|m| m.to_string()),
        })
    }
}

/// A day of revenue in one channel and currency.
#[derive(Default)]
struct Day {
    orders: i64,
    without_cost: i64,
    gross: i128,
    discount: i128,
    refunds: i128,
    cost: i128,
}

impl Day {
    fn row(&self, day: i64, channel: &str, currency: Option<&str>) -> Value {
        let net = self.gross - self.discount - self.refunds;
        let margin = (self.without_cost == 0).then_some(net - self.cost);
        // To four digits, halves away from zero, from minor units of two.
        let average = (self.orders > 0).then(|| {
            let hundredths = domain::money::divide_half_away((self.gross - self.discount) * 100, self.orders.into());
            let (sign, value) = (if hundredths < 0 { "-" } else { "" }, hundredths.unsigned_abs());
            format!("{sign}{}.{:04}", value / 10_000, value % 10_000)
        });
        let mut row = json!({
            "day": time(day * DAY).as_str().map(|t| t[..10].to_owned()), "channel": channel, "currency": currency, "orders": self.orders,
            "orders_without_cost": self.without_cost, "average_order_value": average,
        });
        for (name, minor) in [
            ("gross", Some(self.gross)),
            ("discount", Some(self.discount)),
            ("refunds", Some(self.refunds)),
            ("net", Some(net)),
            ("margin", margin),
        ] {
            row[name] = decimal(minor, currency);
            row[format!("{name}_minor")] = minor.map(|m| m.to_string()).into();
        }
        row
    }
}
