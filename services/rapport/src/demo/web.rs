//! On the web site: looking around, filling a cart, getting to the checkout.

use serde_json::{Value, json};

use super::company::{self, ARTICLES, DOMAIN, PRODUCTS, Product, WEB, list_price, money, unit_cost};
use super::tale::{Event, Tale, Who};
use super::time::Moment;

/// One visit of the site, so far.
pub(super) struct Visit {
    pub(super) session_id: String,
    /// When the last thing in it happened.
    pub(super) at: Moment,
    pub(super) seen: Vec<&'static Product>,
}

/// Comes to the site and looks at `pages` more pages or products.
pub(super) fn visit(tale: &mut Tale, who: &Who, at: Moment, pages: i64) -> Visit {
    let mut visit = Visit { session_id: tale.new_id("s"), at, seen: Vec::new() };
    land(tale, who, &visit);
    for _ in 0..pages {
        visit.at = tale.later(visit.at, (15, 190));
        match tale.dice.between(0, 99) {
            0..14 => search(tale, who, &mut visit),
            14..30 => page(tale, who, &visit),
            _ => {
                let product = tale.dice.weighted(&PRODUCTS, |p| p.appeal);
                look_at(tale, who, &mut visit, product, None);
            }
        }
    }
    visit
}

fn land(tale: &mut Tale, who: &Who, visit: &Visit) {
    let device = tale.dice.weighted(&[("mobile", 58), ("desktop", 34), ("tablet", 8)], |d| d.1).0;
    let mut data = json!({"url": format!("https://{DOMAIN}/"), "session_id": visit.session_id, "title": "Northlight", "device": device});
    let campaign = company::campaign_at(visit.at).filter(|_| tale.dice.chance(250));
    if let Some(campaign) = campaign {
        data["utm"] = json!({"source": "newsletter", "medium": campaign.kind, "campaign": campaign.id_in(tale)});
    } else if tale.dice.chance(450) {
        data["referrer"] = (*tale.dice.pick(&["https://search.example/", "https://reviews.example/kettles"])).into();
    }
    tale.tell(Event::new(visit.at, WEB, "web.page.viewed", data).about(who).by("customer"));
}

fn page(tale: &mut Tale, who: &Who, visit: &Visit) {
    let path = *tale.dice.pick(&["/", "/delivery", "/shops", "/offers", "/contact"]);
    let data = json!({"url": format!("https://{DOMAIN}{path}"), "session_id": visit.session_id});
    tale.tell(Event::new(visit.at, WEB, "web.page.viewed", data).about(who).by("customer"));
}

fn search(tale: &mut Tale, who: &Who, visit: &mut Visit) {
    let product = tale.dice.weighted(&PRODUCTS, |p| p.appeal);
    let results = PRODUCTS.iter().filter(|p| p.category == product.category).count();
    let data = json!({"query": product.category, "session_id": visit.session_id, "results": results});
    tale.tell(Event::new(visit.at, WEB, "web.search.performed", data).about(who).by("customer"));
    visit.at = tale.later(visit.at, (8, 40));
    look_at(tale, who, visit, product, Some("search"));
}

/// Opens the page of a product.
pub(super) fn look_at(tale: &mut Tale, who: &Who, visit: &mut Visit, product: &'static Product, list: Option<&str>) {
    let mut data = json!({
        "sku": product.sku, "session_id": visit.session_id, "price": money(list_price(product, who.currency(), visit.at), who.currency()),
        "name": product.name, "category": product.category,
    });
    if let Some(list) = list {
        data["list_id"] = list.into();
    }
    tale.tell(Event::new(visit.at, WEB, "web.product.viewed", data).about(who).by("customer"));
    visit.seen.push(product);
}

/// Reads a page that helps; whether it did.
pub(super) fn consult(tale: &mut Tale, who: &Who, at: Moment, case_id: Option<&str>) {
    let (article, topic) = *tale.dice.pick(&ARTICLES);
    let outcome = tale.dice.weighted(&[("solved", 35), ("unsolved", 25), ("viewed", 40)], |o| o.1).0;
    let mut data = json!({"article_id": article, "outcome": outcome, "topic": topic});
    if let Some(case_id) = case_id {
        data["case_id"] = case_id.into();
    }
    tale.tell(Event::new(at, WEB, "article.consulted", data).about(who).by("customer"));
}

/// Some pieces of one product at one price.
#[derive(Clone)]
pub(super) struct Line {
    pub(super) product: &'static Product,
    pub(super) quantity: i64,
    /// Minor units.
    pub(super) unit_price: i64,
    /// Off the whole line, minor units.
    pub(super) discount: i64,
}

impl Line {
    /// At the price of the list.
    pub(super) fn new(product: &'static Product, quantity: i64, currency: &str, at: Moment) -> Self {
        Self { product, quantity, unit_price: list_price(product, currency, at), discount: 0 }
    }

    pub(super) fn total(&self) -> i64 {
        self.unit_price * self.quantity - self.discount
    }

    pub(super) fn to_json(&self, currency: &str) -> Value {
        let product = self.product;
        let mut line = json!({
            "sku": product.sku, "quantity": self.quantity, "unit_price": money(self.unit_price, currency),
            "total": money(self.total(), currency), "name": product.name, "category": product.category,
            "unit_cost": money(unit_cost(product, currency), currency),
        });
        if self.discount > 0 {
            line["discount"] = money(self.discount, currency);
        }
        line
    }

    /// As it stands in a cart: what it costs the company is nobody's business there.
    fn in_cart(&self, currency: &str) -> Value {
        let product = self.product;
        json!({
            "sku": product.sku, "quantity": self.quantity, "unit_price": money(self.unit_price, currency),
            "name": product.name, "category": product.category,
        })
    }
}

/// The sum of lines, minor units.
pub(super) fn sum(lines: &[Line]) -> i64 {
    lines.iter().map(Line::total).sum()
}

/// A cart, and the checkout if it got that far.
pub(super) struct Cart {
    pub(super) cart_id: String,
    pub(super) checkout_id: Option<String>,
    pub(super) session_id: String,
    pub(super) lines: Vec<Line>,
    pub(super) currency: &'static str,
    pub(super) at: Moment,
}

/// Puts into a cart what was looked at (or something else), and what goes with it.
pub(super) fn fill_cart(tale: &mut Tale, who: &Who, visit: &mut Visit) -> Cart {
    let mut cart = Cart {
        cart_id: tale.new_id("k"),
        checkout_id: None,
        session_id: visit.session_id.clone(),
        lines: Vec::new(),
        currency: who.currency(),
        at: visit.at,
    };
    if visit.seen.is_empty() {
        visit.at = tale.later(visit.at, (10, 60));
        let product = tale.dice.weighted(&PRODUCTS, |p| p.appeal);
        look_at(tale, who, visit, product, Some("offers"));
    }
    cart.at = visit.at;
    let wanted = tale.dice.heavy_tail(250, 3) as usize;
    for product in visit.seen.clone().into_iter().rev().take(wanted) {
        if cart.lines.iter().all(|line| line.product.sku != product.sku) {
            let quantity = if list_price(product, "EUR", cart.at) < 3000 { tale.dice.heavy_tail(250, 4) } else { 1 };
            add(tale, who, &mut cart, product, quantity);
        }
    }
    let companion = cart.lines[0].product.companion.map(|index| &PRODUCTS[index]);
    if let Some(product) = companion.filter(|_| tale.dice.chance(380))
        && cart.lines.iter().all(|line| line.product.sku != product.sku)
    {
        add(tale, who, &mut cart, product, 1);
    }
    visit.at = cart.at;
    cart
}

fn add(tale: &mut Tale, who: &Who, cart: &mut Cart, product: &'static Product, quantity: i64) {
    cart.at = tale.later(cart.at, (12, 120));
    let line = Line::new(product, quantity, cart.currency, cart.at);
    cart.lines.push(line.clone());
    change(tale, who, cart, "added", Some(&line));
}

/// Takes the last line out again, or all of them.
pub(super) fn take_out(tale: &mut Tale, who: &Who, cart: &mut Cart) {
    cart.at = tale.later(cart.at, (20, 300));
    if cart.lines.len() > 1 {
        let line = cart.lines.pop();
        change(tale, who, cart, "removed", line.as_ref());
    } else {
        cart.lines.clear();
        change(tale, who, cart, "emptied", None);
    }
}

fn change(tale: &mut Tale, who: &Who, cart: &Cart, op: &str, line: Option<&Line>) {
    let mut data = json!({
        "op": op, "cart_id": cart.cart_id, "session_id": cart.session_id,
        "total_after": money(sum(&cart.lines), cart.currency),
    });
    if let Some(line) = line {
        data["lines"] = json!([line.in_cart(cart.currency)]);
    }
    tale.tell(Event::new(cart.at, WEB, "web.cart.changed", data).about(who).by("customer"));
}

/// Goes to the checkout and through so many of its steps. A card may be refused on the way.
pub(super) fn check_out(tale: &mut Tale, who: &Who, cart: &mut Cart, steps: usize) {
    let checkout_id = tale.new_id("x");
    for step in ["address", "delivery", "payment"].into_iter().take(steps) {
        cart.at = tale.later(cart.at, (15, 110));
        let data = json!({
            "step": step, "cart_id": cart.cart_id, "checkout_id": checkout_id, "session_id": cart.session_id,
        });
        if step == "payment" && tale.dice.chance(70) {
            let mut failed = data.clone();
            failed["error"] = "card_declined".into();
            tale.tell(Event::new(cart.at, WEB, "web.checkout.step_reached", failed).about(who).by("customer"));
            cart.at = tale.later(cart.at, (20, 120));
        }
        tale.tell(Event::new(cart.at, WEB, "web.checkout.step_reached", data).about(who).by("customer"));
    }
    cart.checkout_id = Some(checkout_id);
}
