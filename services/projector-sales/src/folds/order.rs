//! One order.

use domain::time::DAY;
use projection::bounded::Fact;
use rapport_proto::v1::{self, interaction::Data};
use uuid::Uuid;

use super::{amount::Book, cart, flags, lines::Lines, lines::OrderLine};

/// The rows of one order. Without an `order` there are none at all.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct OrderRows {
    /// The order.
    pub order: Option<Order>,
    /// Its lines as they were last placed or changed.
    pub lines: Vec<OrderLine>,
    /// The refunds that count, each on its own day.
    pub refunds: Vec<Refund>,
}

/// An order. Times are microseconds UTC, amounts minor units of `currency`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Order {
    /// As published.
    pub order_id: String,
    /// Its owner.
    pub subject_id: Option<Uuid>,
    /// When it was first placed; `None` if nobody has said that it was: then it counts in no revenue.
    pub placed_at: Option<i64>,
    /// When it was last changed.
    pub changed_at: Option<i64>,
    /// When it was first cancelled.
    pub cancelled_at: Option<i64>,
    /// `shop` if the placing event names none.
    pub channel: Option<String>,
    /// The currency of its total, else of its first amount.
    pub currency: Option<String>,
    /// How many lines it has.
    pub line_count: i32,
    /// `total`, else the sum of the lines; `None` if it was neither placed nor changed.
    pub gross_minor: Option<i64>,
    /// The order's own discount.
    pub discount_minor: Option<i64>,
    /// Not part of `gross`.
    pub tax_minor: Option<i64>,
    /// Not part of `gross`.
    pub shipping_minor: Option<i64>,
    /// The sum of [`OrderRows::refunds`].
    pub refunds_minor: i64,
    /// gross - discount - refunds.
    pub net_minor: Option<i64>,
    /// `None` unless the cost of every line is known.
    pub cost_minor: Option<i64>,
    /// net - cost.
    pub margin_minor: Option<i64>,
    /// The payments of kind captured.
    pub captured_minor: i64,
    /// See [`payment_state`].
    pub payment_state: &'static str,
    /// The last status of a shipment.
    pub shipment_state: Option<String>,
    /// First shipped.
    pub shipped_at: Option<i64>,
    /// Last delivered.
    pub delivered_at: Option<i64>,
    /// As last announced.
    pub expected_at: Option<i64>,
    /// A day was announced, without a time: `expected_at` is its midnight, UTC, and stands for all of it.
    pub expected_is_day: bool,
    /// Placed, not cancelled, and no shipment has been shipped or delivered.
    pub unshipped: bool,
    /// As last named.
    pub carrier: Option<String>,
    /// As last named.
    pub tracking: Option<String>,
    /// When something last came back.
    pub returned_at: Option<i64>,
    /// Of the last cancellation that gives one.
    pub cancel_reason: Option<String>,
    /// As last placed, like the ids below.
    pub rep: Option<String>,
    /// The quote it comes from.
    pub quote_id: Option<String>,
    /// The cart it comes from, by its data, else by its correlation.
    pub cart_id: Option<String>,
    /// The checkout it comes from.
    pub checkout_id: Option<String>,
    /// The session it comes from.
    pub session_id: Option<String>,
    /// The opportunity it comes from.
    pub opportunity_id: Option<String>,
    /// The campaign it names.
    pub campaign_id: Option<String>,
    /// What is doubtful about it, sorted. Amounts beyond a `bigint` stand at its bound (`amount_out_of_range`); beyond the
    /// cap facts do not count (`facts_capped`); `foreign_currency`; something came back that was not ordered
    /// (`unmatched_return`); nobody has said that it was placed (`unplaced`); a line has no price (`unpriced_line`).
    pub flags: Vec<&'static str>,
    /// The event that last set it.
    pub set_by: Uuid,
}

/// One refund that counts.
#[derive(Clone, Debug, PartialEq)]
pub struct Refund {
    /// The order it is for.
    pub order_id: String,
    /// The payment, or the return.
    pub event_id: Uuid,
    /// Microseconds UTC.
    pub refunded_at: i64,
    /// `payment` or `return`.
    pub source: &'static str,
    /// Minor units.
    pub amount_minor: i64,
    /// The order's.
    pub currency: String,
}

/// Folds the facts of an order; `owner` is whose it is. There is an order as soon as one of `order.*`,
/// `payment.recorded`, `shipment.updated` and `return.received` is about it; other facts that name it only help to tell
/// its owner.
///
/// What contradictory histories come to:
/// - `order.placed` states everything: of two the last counts, and one after an `order.changed` undoes that. `placed_at`
///   is the first.
/// - `order.changed` states lines, a total or both. New lines without a total drop the old total, which was theirs; a
///   total alone leaves the lines. An empty list of lines says nothing. One before any `order.placed` counts until then.
/// - A cancellation is final, whatever comes after or is placed after it. It can be voided.
/// - Payments, shipments and returns count whenever they come, also before the order or after its end.
/// - Amounts in another currency than the order's are flagged and count nowhere.
pub fn order(order_id: &str, owner: Option<Uuid>, facts: &[Fact<'_>], capped: bool) -> OrderRows {
    let Some(history) = History::read(order_id, facts) else { return OrderRows::default() };
    let mut book = Book::new(history.amounts());
    let mut lines =
        history.stated_lines().map(|(lines, by)| Lines::read(order_id, lines, by, &mut book)).unwrap_or_default();
    let mut all_known = true;
    for (body, fact) in &history.returns {
        all_known &= lines.take_back(&body.lines, fact.event_id());
    }
    let refunds = refunds(order_id, &history, &mut book);
    let mut order = history.order(order_id, owner);
    sums(&mut order, &history, &lines, &refunds, &mut book);
    shipment(&mut order, &history);
    order.flags = flags(&[
        ("amount_out_of_range", book.out_of_range),
        ("facts_capped", capped),
        ("foreign_currency", book.foreign),
        ("unmatched_return", !all_known),
        ("unplaced", order.placed_at.is_none()),
        ("unpriced_line", lines.unpriced),
    ]);
    OrderRows { order: Some(order), lines: lines.lines, refunds }
}

/// The facts that are about one order, by what they say.
#[derive(Default)]
struct History<'a> {
    placed: Vec<(&'a v1::OrderPlaced, Fact<'a>)>,
    changed: Vec<(&'a v1::OrderChanged, Fact<'a>)>,
    cancelled: Vec<(&'a v1::OrderCancelled, Fact<'a>)>,
    payments: Vec<(&'a v1::PaymentRecorded, Fact<'a>)>,
    shipments: Vec<(&'a v1::ShipmentUpdated, Fact<'a>)>,
    returns: Vec<(&'a v1::ReturnReceived, Fact<'a>)>,
    last: Option<Fact<'a>>,
}

impl<'a> History<'a> {
    /// `None` if no fact is about this order. An event that names it by `correlationid` only is not.
    fn read(order_id: &str, facts: &[Fact<'a>]) -> Option<Self> {
        let about = |id: &Option<String>| id.as_deref() == Some(order_id);
        let mut history = Self::default();
        for &fact in facts {
            match fact.wire.data.as_ref() {
                Some(Data::OrderPlaced(body)) if about(&body.order_id) => history.placed.push((body, fact)),
                Some(Data::OrderChanged(body)) if about(&body.order_id) => history.changed.push((body, fact)),
                Some(Data::OrderCancelled(body)) if about(&body.order_id) => history.cancelled.push((body, fact)),
                Some(Data::PaymentRecorded(body)) if about(&body.order_id) => history.payments.push((body, fact)),
                Some(Data::ShipmentUpdated(body)) if about(&body.order_id) => history.shipments.push((body, fact)),
                Some(Data::ReturnReceived(body)) if about(&body.order_id) => history.returns.push((body, fact)),
                _ => continue,
            }
            history.last = Some(fact);
        }
        history.last.is_some().then_some(history)
    }

    /// The last statement of the whole order.
    fn statement(&self) -> Option<(&'a v1::OrderPlaced, Fact<'a>)> {
        self.placed.last().copied()
    }

    /// The changes that still count: those after the last statement.
    fn changes(&self) -> impl DoubleEndedIterator<Item = (&'a v1::OrderChanged, Fact<'a>)> {
        let after = self.statement().map(|(_, fact)| fact.stamp);
        self.changed.iter().copied().filter(move |(_, fact)| after.is_none_or(|stamp| fact.stamp > stamp))
    }

    /// The lines, and the event that states them.
    fn stated_lines(&self) -> Option<(&'a [v1::Line], Uuid)> {
        let changed = self.changes().rev().find(|(body, _)| !body.lines.is_empty());
        let stated = changed.map(|(body, fact)| (body.lines.as_slice(), fact));
        stated
            .or_else(|| self.statement().map(|(body, fact)| (body.lines.as_slice(), fact)))
            .map(|(lines, fact)| (lines, fact.event_id()))
    }

    /// The total, unless lines came after it without one.
    fn stated_total(&self) -> Option<&'a v1::Money> {
        for (body, _) in self.changes().rev() {
            if body.total.is_some() || !body.lines.is_empty() {
                return body.total.as_ref();
            }
        }
        self.statement().and_then(|(body, _)| body.total.as_ref())
    }

    /// Every amount, the ones that decide on the currency first.
    fn amounts(&self) -> impl Iterator<Item = Option<&'a v1::Money>> {
        let lines = self.stated_lines().map(|(lines, _)| lines).unwrap_or_default();
        let of_lines = lines.iter().flat_map(|l| [l.total.as_ref(), l.unit_price.as_ref()]);
        let of_order = self.statement().map(|(b, _)| [b.discount.as_ref(), b.tax.as_ref(), b.shipping.as_ref()]);
        let of_payments = self.payments.iter().map(|(b, f)| (f.stamp, b.amount.as_ref()));
        let mut others: Vec<_> =
            of_payments.chain(self.returns.iter().map(|(b, f)| (f.stamp, b.refund.as_ref()))).collect();
        others.sort_unstable_by_key(|(stamp, _)| *stamp);
        [self.stated_total()]
            .into_iter()
            .chain(of_lines)
            .chain(of_order.into_iter().flatten())
            .chain(others.into_iter().map(|(_, m)| m))
    }

    /// What needs no sum.
    fn order(&self, order_id: &str, subject_id: Option<Uuid>) -> Order {
        let statement = self.statement();
        let placed = statement.map(|(body, _)| body);
        let named = statement.and_then(|(_, fact)| cart::Names::of(fact.wire)).unwrap_or_default();
        let text = |of: fn(&v1::OrderPlaced) -> &Option<String>| placed.and_then(|body| of(body).clone());
        Order {
            order_id: order_id.to_owned(),
            subject_id,
            placed_at: self.placed.first().map(|(_, f)| f.occurred_at()),
            changed_at: self.changed.last().map(|(_, f)| f.occurred_at()),
            cancelled_at: self.cancelled.first().map(|(_, f)| f.occurred_at()),
            channel: placed.map(|body| body.channel.clone().unwrap_or_else(|| "shop".to_owned())),
            returned_at: self.returns.last().map(|(_, f)| f.occurred_at()),
            cancel_reason: self.cancelled.iter().rev().find_map(|(body, _)| body.reason.clone()),
            rep: text(|b| &b.rep),
            quote_id: text(|b| &b.quote_id),
            cart_id: named.cart_id.map(str::to_owned),
            checkout_id: named.checkout_id.map(str::to_owned),
            session_id: named.session_id.map(str::to_owned),
            opportunity_id: text(|b| &b.opportunity_id),
            campaign_id: text(|b| &b.campaign_id),
            set_by: self.last.map(|f| f.event_id()).unwrap_or_default(),
            ..Order::default()
        }
    }
}

/// The payments of kind refunded; if there is none in the order's currency, what the returns say was refunded.
fn refunds(order_id: &str, history: &History<'_>, book: &mut Book<'_>) -> Vec<Refund> {
    let Some(currency) = book.currency() else { return Vec::new() };
    let mut refund = |money: Option<&v1::Money>, fact: &Fact<'_>, source| {
        Some(Refund {
            order_id: order_id.to_owned(),
            event_id: fact.event_id(),
            refunded_at: fact.occurred_at(),
            source,
            amount_minor: book.read(money)?,
            currency: currency.to_owned(),
        })
    };
    let paid_back = history.payments.iter().filter(|(body, _)| body.kind.as_deref() == Some("refunded"));
    let by_payment: Vec<_> =
        paid_back.filter_map(|(body, fact)| refund(body.amount.as_ref(), fact, "payment")).collect();
    let by_return: Vec<_> =
        history.returns.iter().filter_map(|(body, fact)| refund(body.refund.as_ref(), fact, "return")).collect();
    if by_payment.is_empty() { by_return } else { by_payment }
}

fn sums(order: &mut Order, history: &History<'_>, lines: &Lines, refunds: &[Refund], book: &mut Book<'_>) {
    let mut captured = 0i128;
    for (body, _) in &history.payments {
        let amount = book.read(body.amount.as_ref());
        if body.kind.as_deref() == Some("captured") {
            captured += i128::from(amount.unwrap_or(0));
        }
    }
    let refunded: i128 = refunds.iter().map(|r| i128::from(r.amount_minor)).sum();
    order.currency = book.currency().map(str::to_owned);
    order.line_count = i32::try_from(lines.lines.len()).unwrap_or(i32::MAX);
    order.captured_minor = book.write(captured);
    order.refunds_minor = book.write(refunded);
    order.payment_state = payment_state(history, captured, refunded);
    if history.stated_lines().is_none() && history.stated_total().is_none() {
        return;
    }
    let placed = history.statement().map(|(body, _)| body);
    let gross = match history.stated_total() {
        Some(total) => book.read(Some(total)).map_or(0, i128::from),
        None => lines.total,
    };
    let discount = placed.and_then(|b| book.read(b.discount.as_ref())).unwrap_or(0);
    let net = gross - i128::from(discount) - refunded;
    order.gross_minor = Some(book.write(gross));
    order.discount_minor = Some(discount);
    order.tax_minor = placed.and_then(|b| book.read(b.tax.as_ref()));
    order.shipping_minor = placed.and_then(|b| book.read(b.shipping.as_ref()));
    order.net_minor = Some(book.write(net));
    order.cost_minor = lines.cost.map(|cost| book.write(cost));
    order.margin_minor = lines.cost.map(|cost| book.write(net - cost));
}

/// `refunded` (at least what was captured), `partially_refunded`, `captured`, else by the last payment `authorized` or
/// `failed`, else `none`.
fn payment_state(history: &History<'_>, captured: i128, refunded: i128) -> &'static str {
    let last = |kinds: &[&'static str]| {
        let kind = |body: &v1::PaymentRecorded| kinds.iter().copied().find(|k| body.kind.as_deref() == Some(*k));
        history.payments.iter().rev().find_map(|(body, _)| kind(body))
    };
    let was_captured = last(&["captured"]).is_some();
    match (was_captured, refunded > 0) {
        (_, true) if refunded >= captured => "refunded",
        (true, true) => "partially_refunded",
        (true, false) => "captured",
        (false, _) => last(&["authorized", "failed"]).unwrap_or("none"),
    }
}

fn shipment(order: &mut Order, history: &History<'_>) {
    let shipments = &history.shipments;
    let at = |wanted: &'static str| {
        let of_status = move |(body, _): &&(&v1::ShipmentUpdated, Fact<'_>)| body.status.as_deref() == Some(wanted);
        shipments.iter().filter(of_status).map(|(_, fact)| fact.occurred_at())
    };
    order.shipped_at = at("shipped").next();
    order.delivered_at = at("delivered").next_back();
    order.shipment_state = shipments.iter().rev().find_map(|(b, _)| b.status.clone());
    let announced = shipments.iter().rev().find(|(b, _)| b.expected_at.is_some());
    order.expected_at = announced.and_then(|(b, _)| b.expected_at);
    order.expected_is_day = announced.is_some_and(|(b, _)| is_day(b));
    order.carrier = shipments.iter().rev().find_map(|(b, _)| b.carrier.clone());
    order.tracking = shipments.iter().rev().find_map(|(b, _)| b.tracking.clone());
    let on_its_way = order.shipped_at.is_some() || order.delivered_at.is_some();
    order.unshipped = order.placed_at.is_some() && order.cancelled_at.is_none() && !on_its_way;
}

/// Whether `expected_at` was published as a date: the contract keeps its midnight, UTC, and beside it the text as it was
/// written. Which stretch of time that day is depends on the zone in which days are cut, so no fold can say.
fn is_day(shipment: &v1::ShipmentUpdated) -> bool {
    if shipment.expected_at.is_none_or(|at| at.rem_euclid(DAY) != 0) || shipment.extra_json.is_empty() {
        return false;
    }
    let extra: Option<Extra> = serde_json::from_slice(&shipment.extra_json).ok();
    extra.and_then(|extra| extra.expected_at).is_some_and(|text| rapport_proto::time::day(&text).is_some())
}

/// What is read of the keys that the contract keeps as they were written.
#[derive(serde::Deserialize)]
struct Extra {
    expected_at: Option<String>,
}
