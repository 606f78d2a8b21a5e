//! Carts, sessions and products in them: what happened to each told from its beginning, with plain lists.

use std::collections::{BTreeMap, BTreeSet};

use domain::{Interaction, money};
use rapport_proto::v1::{self, interaction::Data};
use serde_json::{Value, json};
use uuid::Uuid;

use super::{
    Rows, decimal, owner,
    sales::{Purse, cart_names, nanos, plain, published},
    time,
};

/// The digested views of carts, sessions and their products; `bought` is in which sessions each sku was bought.
pub(super) fn rows(facts: &[&Interaction], bought: &BTreeMap<String, BTreeSet<String>>, rows: &mut Rows) {
    let mut carts: BTreeMap<(&str, String), Vec<&Interaction>> = BTreeMap::new();
    let mut sessions: BTreeSet<String> = BTreeSet::new();
    for &event in facts {
        let [cart, session, checkout] = cart_names(event);
        let named = |field, id: Option<String>| id.map(|id| (field, id));
        let cart = named("cart_id", cart).or(named("session_id", session.clone())).or(named("checkout_id", checkout));
        if let (Some(cart), Some(Data::WebCartChanged(_) | Data::WebCheckoutStepReached(_))) = (cart, &event.wire.data)
        {
            carts.entry(cart).or_default().push(event);
        }
        sessions.extend(session.filter(|_| is_of_session(event)));
    }
    for (name, acts) in &carts {
        cart(facts, name, acts, rows);
    }
    let mut products: BTreeMap<String, [usize; 3]> =
        bought.iter().map(|(sku, sessions)| (sku.clone(), [0, 0, sessions.len()])).collect();
    for id in &sessions {
        session(facts, id, &mut products, rows);
    }
    for (sku, [viewed, carted, bought]) in products {
        rows.push("product_sessions", &json!({"sku": sku, "viewed": viewed, "carted": carted, "bought": bought}));
    }
}

fn is_of_session(event: &Interaction) -> bool {
    const TYPES: [&str; 4] = ["web.product.viewed", "web.cart.changed", "web.checkout.step_reached", "order.placed"];
    TYPES.contains(&event.kind())
}

/// Something in a cart: how much of it, in units of 10^-9, and what that is worth.
struct Item {
    sku: String,
    name: Option<String>,
    category: Option<String>,
    nanos: i128,
    worth: Option<i128>,
    set_by: Uuid,
}

/// What is in a cart so far, and the purse that its amounts come from.
struct Contents<'a> {
    items: Vec<Item>,
    /// Additions that do not say of what.
    unlisted: usize,
    purse: Purse<'a>,
}

fn cart(facts: &[&Interaction], (named_by, id): &(&str, String), acts: &[&Interaction], rows: &mut Rows) {
    let changes: Vec<&v1::WebCartChanged> = acts
        .iter()
        .filter_map(|e| if let Some(Data::WebCartChanged(change)) = &e.wire.data { Some(change) } else { None })
        .collect();
    let Some(last) = changes.last() else { return };
    let mut amounts = vec![&last.total_after];
    amounts.extend(changes.iter().flat_map(|c| &c.lines).flat_map(|l| [&l.total, &l.unit_price]));
    amounts.extend(changes.iter().map(|c| &c.total_after));
    let currency = amounts.into_iter().flatten().find_map(|m| m.currency.as_deref());
    let mut contents = Contents { items: Vec::new(), unlisted: 0, purse: Purse { currency, foreign: false } };
    let (mut line_counts, mut values, mut stated) = (Vec::new(), Vec::new(), None);
    for event in acts {
        if let Some(Data::WebCartChanged(change)) = &event.wire.data {
            contents.happen(change, event.event_id);
            stated = contents.purse.take(&change.total_after);
        }
        line_counts.push(contents.items.len() + contents.unlisted);
        let sum: i128 = contents.items.iter().filter_map(|i| i.worth).sum();
        values.extend(currency.map(|_| stated.map_or(sum, i128::from)));
    }
    let Contents { mut items, unlisted, purse } = contents;
    items.sort_by(|a, b| a.sku.cmp(&b.sku));
    let value = values.last().copied();
    let values: Vec<i64> = values.iter().map(|v| i64::try_from(*v).expect("a value within a bigint")).collect();
    let flags: Vec<&str> = [
        ("foreign_currency", purse.foreign),
        ("unlisted_lines", unlisted > 0),
        ("unpriced_line", items.iter().any(|i| i.worth.is_none())),
    ]
    .into_iter()
    .filter_map(|(flag, up)| up.then_some(flag))
    .collect();
    let at: Vec<i64> = acts.iter().map(|e| e.occurred_at).collect();
    let idle = |until: usize| (0..until).filter(|n| line_counts[*n] > 0).map(|n| at[n + 1] - at[n]).max().unwrap_or(0);
    let names: Vec<[Option<String>; 3]> = acts.iter().map(|e| cart_names(e)).collect();
    let all = |which: usize| names.iter().filter_map(|n| n[which].clone()).collect::<BTreeSet<_>>();
    let latest = |which: usize| names.iter().rev().find_map(|n| n[which].clone());
    let kind = named_by.trim_end_matches("_id");
    let naming: Vec<&Interaction> =
        facts.iter().copied().filter(|e| e.entities.iter().any(|n| n.kind == kind && n.key == *id)).collect();
    rows.push(
        "cart_contents",
        &json!({
            "cart_id": id, "named_by": named_by, "subject_id": owner(&naming), "session_id": latest(1),
            "checkout_id": latest(2), "session_ids": all(1), "checkout_ids": all(2), "currency": currency,
            "value": decimal(value, currency), "value_minor": value.map(|v| v.to_string()), "furthest_step": furthest(acts),
            "active_at": at.iter().map(|at| time(*at)).collect::<Vec<_>>(), "line_counts": line_counts,
            "values_minor": values,
            "longest_idle_us": (0..at.len()).map(idle).collect::<Vec<_>>(), "flags": flags,
            "set_by": acts.last().map(|e| e.event_id),
        }),
    );
    for (n, item) in items.iter().enumerate() {
        let worth = item.worth;
        rows.push(
            "cart_lines",
            &json!({
                "cart_id": id, "named_by": named_by, "line_no": n + 1, "sku": item.sku, "name": item.name,
                "category": item.category, "quantity": plain(item.nanos),
                "currency": currency, "value": decimal(worth, currency), "value_minor": worth.map(|w| w.to_string()),
                "set_by": item.set_by,
            }),
        );
    }
}

impl Contents<'_> {
    /// What one change makes of it.
    fn happen(&mut self, change: &v1::WebCartChanged, by: Uuid) {
        let op = change.op.as_deref().expect("a change says what it is");
        let told = published(change);
        self.purse.take(&change.total_after);
        match (op, told["lines"].as_array().map(Vec::len)) {
            ("set", None) => return,
            ("set" | "emptied", _) => (_, self.unlisted) = (self.items.clear(), 0),
            ("added", None | Some(0)) => self.unlisted += 1,
            ("removed", None | Some(0)) => self.unlisted = self.unlisted.saturating_sub(1),
            _ => {}
        }
        for line in change.lines.iter().filter(|_| op != "emptied") {
            let (sku, nanos) = (line.sku.clone().expect("lines have a sku"), nanos(line.quantity.as_deref()));
            let place = self.items.iter().position(|i| i.sku == sku);
            let before = place.map(|place| self.items.remove(place));
            match (op, before) {
                ("removed", None) => {}
                ("removed", Some(item)) => {
                    let rest = item.nanos - nanos;
                    let worth = item.worth.map(|worth| money::divide_half_away(worth * rest, item.nanos));
                    self.items.push(Item { nanos: rest, worth, set_by: by, ..item });
                }
                (_, before) => {
                    let nothing = Item { sku, name: None, category: None, nanos: 0, worth: Some(0), set_by: by };
                    let had = before.unwrap_or(nothing);
                    let worth = had.worth.zip(self.worth(line)).map(|(a, b)| a + b);
                    let (name, category) = (line.name.clone().or(had.name), line.category.clone().or(had.category));
                    let nanos = had.nanos + nanos;
                    self.items.push(Item { sku: had.sku, name, category, nanos, worth, set_by: by });
                }
            }
            self.items.retain(|i| i.nanos > 0);
        }
    }

    fn worth(&mut self, line: &v1::Line) -> Option<i128> {
        let (price, discount) = (self.purse.take(&line.unit_price), self.purse.take(&line.discount).unwrap_or(0));
        let product =
            |price| money::divide_half_away(i128::from(price) * nanos(line.quantity.as_deref()), 1_000_000_000);
        match &line.total {
            Some(_) => self.purse.take(&line.total).map(i128::from),
            None => price.map(|price: i64| product(price) - i128::from(discount)),
        }
    }
}

/// Where all steps are numbers the greatest, else the one whose first time is the latest.
fn furthest(acts: &[&Interaction]) -> Option<String> {
    let mut steps: Vec<&String> = Vec::new();
    for event in acts {
        if let Some(Data::WebCheckoutStepReached(step)) = &event.wire.data {
            let step = step.step.as_ref().expect("a step has a name");
            if !steps.contains(&step) {
                steps.push(step);
            }
        }
    }
    if steps.iter().all(|s| s.bytes().all(|b| b.is_ascii_digit())) {
        steps.sort_by_key(|s| s.parse::<i64>().expect("a number"));
    }
    steps.last().map(|s| (*s).clone())
}

fn session(facts: &[&Interaction], id: &str, products: &mut BTreeMap<String, [usize; 3]>, rows: &mut Rows) {
    let inside: Vec<&Interaction> =
        facts.iter().copied().filter(|e| is_of_session(e) && published(&e.wire)["data"]["session_id"] == id).collect();
    let data = |event: &Interaction| published(&event.wire)["data"].clone();
    let lines = |event: &Interaction| data(event)["lines"].as_array().cloned().unwrap_or_default();
    let viewed: Vec<&Interaction> = inside.iter().copied().filter(|e| e.kind() == "web.product.viewed").collect();
    let carted: Vec<&Interaction> = inside
        .iter()
        .copied()
        .filter(|e| e.kind() == "web.cart.changed")
        .filter(|e| data(e)["op"] == "added" || (data(e)["op"] == "set" && !lines(e).is_empty()))
        .collect();
    let checkout = inside.iter().copied().find(|e| e.kind() == "web.checkout.step_reached");
    let firsts = [viewed.first().copied(), carted.first().copied(), checkout];
    let Some(last) = firsts.iter().flatten().max_by_key(|e| &e.stamp) else { return };
    let at = |event: Option<&Interaction>| event.map_or(Value::Null, |e| time(e.occurred_at));
    rows.push(
        "sessions",
        &json!({
            "session_id": id, "subject_id": owner(&inside), "viewed_at": at(firsts[0]), "carted_at": at(firsts[1]),
            "checkout_at": at(checkout), "flags": [], "set_by": last.event_id,
        }),
    );
    let mut skus: BTreeMap<String, [Option<&Interaction>; 2]> = BTreeMap::new();
    for event in &viewed {
        let sku = data(event)["sku"].as_str().expect("a view has a sku").to_owned();
        skus.entry(sku).or_default()[0].get_or_insert(event);
    }
    for event in &carted {
        for line in lines(event) {
            let sku = line["sku"].as_str().expect("a line has a sku").to_owned();
            skus.entry(sku).or_default()[1].get_or_insert(event);
        }
    }
    for (n, (sku, [viewed, carted])) in skus.into_iter().enumerate() {
        let counts = products.entry(sku.clone()).or_default();
        counts[0] += usize::from(viewed.is_some());
        counts[1] += usize::from(carted.is_some());
        let last = viewed.into_iter().chain(carted).max_by_key(|e| &e.stamp).expect("it was viewed or carted");
        rows.push(
            "session_products",
            &json!({
                "session_id": id, "product_no": n + 1, "sku": sku, "viewed_at": at(viewed), "carted_at": at(carted),
                "set_by": last.event_id,
            }),
        );
    }
}
