//! Who meets the company, and how it goes with each: most look around and leave, some buy, a few buy for years.

use domain::time::{MINUTE, SECOND};
use serde_json::json;

use super::business;
use super::company::{self, CAMPAIGNS, CRM, DESK, PRODUCTS, SHOPS, TILL, WEB};
use super::desk::{self, Complaint, Ending};
use super::marketing;
use super::orders::{Basket, Fate, Order};
use super::people::Person;
use super::tale::{Event, Tale, Who};
use super::time::{self, DAY, END, HOUR, Moment, START};
use super::web::{self, Cart, Line, Visit};

/// A kind of tale.
type Life = fn(&mut Tale);

/// The tales at the beginning of every demo: one of each thing worth looking at.
const OPENING: [Life; 12] = [
    kettle,
    company::affairs,
    unheard_opt_out,
    quoted_twice,
    household,
    caller,
    |tale| troubled(tale, &PRODUCTS[1], Ending::Reopened),
    |tale| troubled(tale, &PRODUCTS[20], Ending::Merged),
    |tale| troubled(tale, &PRODUCTS[13], Ending::Escalated),
    |tale| troubled(tale, &PRODUCTS[18], Ending::Visited),
    ordered_twice,
    store_customer,
];

/// All others, and how many of a thousand they are.
const LIVES: [(Life, u32); 10] = [
    (passer_by, 506),
    (shopper, 360),
    (store_customer, 46),
    (caller, 30),
    (attendee, 18),
    (business, 12),
    (household, 12),
    (quoted_twice, 2),
    (ordered_twice, 4),
    (company::documents, 10),
];

/// Tells the tale with its index.
pub(super) fn tell(tale: &mut Tale) {
    let opening = usize::try_from(tale.index()).ok().and_then(|index| OPENING.get(index));
    let life = opening.copied().unwrap_or_else(|| tale.dice.weighted(&LIVES, |life| life.1).0);
    life(tale);
}

fn is_opening(tale: &Tale) -> bool {
    tale.index() < OPENING.len() as u64
}

/// When a tale begins: one that opens the demo early enough to come to its end.
fn begins(tale: &mut Tale) -> Moment {
    if is_opening(tale) {
        time::leisure(&mut tale.dice, START + 150 * DAY, 100)
    } else {
        time::first_visit(&mut tale.dice)
    }
}

fn business(tale: &mut Tale) {
    let from = begins(tale);
    business::account(tale, from, false);
}

fn quoted_twice(tale: &mut Tale) {
    let from = begins(tale);
    business::account(tale, from, true);
}

fn passer_by(tale: &mut Tale) {
    let person = Person::new(tale, 0, false);
    let who = person.visitor();
    let mut at = time::first_visit(&mut tale.dice);
    for _ in 0..tale.dice.heavy_tail(130, 32) {
        let pages = tale.dice.heavy_tail(330, 16) - 1;
        let mut visit = web::visit(tale, &who, at, pages);
        if tale.dice.chance(40) {
            marketing::experiment(tale, &who, at + SECOND, None);
        }
        if tale.dice.chance(50) {
            let read = tale.later(visit.at, (20, 200));
            web::consult(tale, &who, read, None);
        } else if tale.dice.chance(90) {
            web::fill_cart(tale, &who, &mut visit);
        }
        at = time::leisure(&mut tale.dice, visit.at + DAY, 40);
    }
}

fn shopper(tale: &mut Tale) {
    let phone = tale.dice.chance(230);
    let person = Person::new(tale, 0, phone);
    let mut at = time::first_visit(&mut tale.dice);
    for _ in 1..tale.dice.heavy_tail(250, 4) {
        let visit = web::visit(tale, &person.visitor(), at, 1);
        at = time::leisure(&mut tale.dice, visit.at + DAY, 12);
    }
    let first = web::visit(tale, &person.visitor(), at, 1);
    let wants_mail = tale.dice.chance(550);
    let joined = sign_up(tale, &person, &first, wants_mail);
    let times = tale.dice.heavy_tail(340, 512);
    shops(tale, &person, joined, times);
    if wants_mail {
        written_to(tale, &person, joined);
    }
    if tale.dice.chance(40) {
        let from = time::leisure(&mut tale.dice, joined, 60);
        desk::chat(tale, &person, from);
    }
}

/// Says who they are: what they did before on this device was theirs.
fn sign_up(tale: &mut Tale, person: &Person, visit: &Visit, wants_mail: bool) -> Moment {
    let at = tale.later(visit.at, (20, 200));
    let form = json!({
        "form_id": "sign-up", "fields": {"name": person.name(), "mail": person.mail, "language": person.language()},
    });
    let who = person.correspondent().and(person.anonymous_id()).and(person.device_id());
    tale.tell(Event::new(at, WEB, "web.form.submitted", form).about(&who).by("customer"));
    let who = person.customer().and(person.email());
    let profile = json!({"fields": person.profile()});
    tale.tell(Event::new(at + 2 * SECOND, CRM, "customer.profile.updated", profile).about(&who).by("customer"));
    if wants_mail {
        marketing::consent(tale, person, at + 3 * SECOND, true);
    }
    at + 5 * SECOND
}

/// Comes back so many times to buy, and often does not.
fn shops(tale: &mut Tale, person: &Person, joined: Moment, times: i64) {
    let mut at = joined + 20 * SECOND;
    // Who buys often comes back sooner.
    let pause = (150 / times).clamp(1, 90);
    for _ in 0..times {
        if at >= END {
            return;
        }
        if let Some(order) = goes_shopping(tale, person, at) {
            afterwards(tale, person, &order);
        }
        at = time::leisure(&mut tale.dice, at + DAY * pause / 3, pause * 2);
    }
}

/// One visit of a customer with a cart. `None`: the cart stays behind.
fn goes_shopping(tale: &mut Tale, person: &Person, at: Moment) -> Option<Order> {
    let who = person.customer();
    let pages = tale.dice.heavy_tail(300, 8) - 1;
    let mut visit = web::visit(tale, &who, at, pages);
    if tale.dice.chance(60) {
        marketing::offer(tale, person, visit.at + SECOND);
    }
    if tale.dice.chance(180) {
        return None;
    }
    let mut cart = web::fill_cart(tale, &who, &mut visit);
    if tale.dice.chance(80) {
        web::take_out(tale, &who, &mut cart);
    }
    let goes_on = tale.dice.chance(650) && !cart.lines.is_empty();
    if !goes_on {
        return None;
    }
    let steps = if tale.dice.chance(220) { tale.dice.between(1, 2) as usize } else { 3 };
    web::check_out(tale, &who, &mut cart, steps);
    if steps < 3 {
        return None;
    }
    Some(buys(tale, person, &cart))
}

/// Places the order of a cart, and lets it run.
fn buys(tale: &mut Tale, person: &Person, cart: &Cart) -> Order {
    let at = tale.later(cart.at, (10, 60));
    let mut basket = Basket::of_cart(cart, at);
    if let Some(campaign) = company::campaign_at(at).filter(|_| tale.dice.chance(300)) {
        basket = basket.with("campaign_id", &campaign.id_in(tale)).less(web::sum(&cart.lines) / 10);
    }
    let mut order = basket.order(tale, &person.customer());
    if tale.dice.chance(40) {
        let bought = Some((at, order.due()));
        marketing::experiment(tale, &person.customer(), at - SECOND, bought);
    }
    order.runs(tale, Fate::Open);
    order
}

/// What comes of an order for whoever placed it: a complaint, a return, or nothing.
fn afterwards(tale: &mut Tale, person: &Person, order: &Order) {
    if order.cancelled {
        return;
    }
    let Some(delivered) = order.delivered_at else {
        complains(tale, person, &Complaint::late(&order.order_id), order.placed_at + 12 * DAY);
        return;
    };
    if order.late && tale.dice.chance(300) {
        complains(tale, person, &Complaint::late(&order.order_id), order.placed_at + 5 * DAY);
    }
    let product = order.lines[0].product;
    if tale.dice.chance(product.faulty) {
        let from = delivered + DAY * tale.dice.between(1, 60);
        complains(tale, person, &Complaint::defect(product, &order.order_id), from);
        if tale.dice.chance(300) {
            order.goes_back(tale, "defect", from + 6 * DAY);
        }
    } else if tale.dice.chance(60) {
        let reason = *tale.dice.pick(&["does not suit", "too large", "two of them came"]);
        order.goes_back(tale, reason, delivered);
    }
}

/// Rings or writes, after an article of the help pages perhaps, and the case lives its life.
fn complains(tale: &mut Tale, person: &Person, complaint: &Complaint, from: Moment) {
    if tale.dice.chance(150) {
        web::consult(tale, &person.customer(), from - 20 * MINUTE, None);
    }
    let ending = desk::ending(tale, complaint);
    if person.phone.is_some() && tale.dice.chance(600) {
        if let Some(case) = desk::by_phone(tale, person, complaint, from) {
            let ended = case.lives(tale, ending);
            known_by_phone(tale, person, ended.min(from + 3 * DAY));
        }
    } else {
        desk::by_mail(tale, person, complaint, from).lives(tale, ending);
    }
}

/// An agent learns whose number it is.
fn known_by_phone(tale: &mut Tale, person: &Person, from: Moment) {
    let Some(phone) = &person.phone else { return };
    let at = time::at_work(&mut tale.dice, from);
    let data = json!({
        "left": person.customer_no(), "right": format!("phone:{phone}"), "rule": "said so on the phone",
    });
    let agent = company::agent(tale);
    tale.tell(Event::new(at, DESK, "identity.link.asserted", data).by(format!("human:{agent}")));
}

/// The campaigns of a customer who allowed mail, until they have had enough.
fn written_to(tale: &mut Tale, person: &Person, joined: Moment) {
    let mut campaigns = CAMPAIGNS.iter().filter(|c| c.begins() > joined && c.kind == "email").peekable();
    while let Some(campaign) = campaigns.next() {
        if !tale.dice.chance(550) {
            continue;
        }
        let at = tale.later(campaign.begins(), (0, 5 * 3600));
        let mail = marketing::mailing(tale, person, campaign, at);
        if marketing::received(tale, person, &mail) {
            if tale.dice.chance(300) {
                goes_shopping(tale, person, at + DAY);
            }
        } else if tale.dice.chance(60) {
            let again = campaigns.peek().copied().filter(|_| tale.dice.chance(200));
            marketing::opt_out(tale, person, &mail, again);
            return;
        }
    }
}

/// Buys in a shop with a card; the card may get a name later, rarely a wrong one.
fn store_customer(tale: &mut Tale) {
    let person = Person::new(tale, 0, false);
    let (shop, _) = *tale.dice.pick(&SHOPS);
    let mut at = begins(tale);
    let most = if is_opening(tale) { 2 } else { 16 };
    for _ in 0..tale.dice.heavy_tail(400, most) {
        at = time::at_work(&mut tale.dice, at);
        let product = tale.dice.weighted(&PRODUCTS, |p| p.appeal);
        let mut line = Line::new(product, 1, "EUR", at);
        if tale.dice.chance(120) {
            line.discount = line.unit_price / 20;
        }
        let basket = Basket::new(vec![line], "EUR", at).sold(TILL, "shop", &format!("human:{shop}"));
        basket.order(tale, &Who::by(person.card())).over_the_counter(tale);
        at = time::leisure(&mut tale.dice, at + 10 * DAY, 120);
    }
    if tale.dice.chance(400) || is_opening(tale) {
        let first = web::visit(tale, &person.visitor(), at, 1);
        let joined = sign_up(tale, &person, &first, false);
        let link = json!({"left": person.card(), "right": person.customer_no(), "rule": "loyalty card"});
        tale.tell(Event::new(joined + MINUTE, CRM, "identity.link.asserted", link.clone()).by("bot:loyalty"));
        if tale.dice.chance(60) || is_opening(tale) {
            let at = time::at_work(&mut tale.dice, joined + 9 * DAY);
            let mut link = link;
            link["reason"] = "typed the wrong card number".into();
            let agent = company::agent(tale);
            tale.tell(Event::new(at, CRM, "identity.link.revoked", link).by(format!("human:{agent}")));
        }
        warranty(tale, &person, joined);
    }
}

/// A type of this company's own, which no catalogue knows.
fn warranty(tale: &mut Tale, person: &Person, at: Moment) {
    if tale.dice.chance(300) {
        let data = json!({"sku": tale.dice.pick(&PRODUCTS).sku, "years": 2});
        let event = Event::custom(at + 5 * MINUTE, WEB, "example.northlight.warranty.registered", data);
        tale.tell(event.about(&person.customer()).by("customer"));
    }
}

/// Rings before anybody knows who it is; later it turns out.
fn caller(tale: &mut Tale) {
    let person = Person::new(tale, 0, true);
    let from = begins(tale);
    let complaint = Complaint::question(tale);
    let ending = desk::ending(tale, &complaint);
    let Some(case) = desk::by_phone(tale, &person, &complaint, from) else { return };
    let ended = case.lives(tale, ending);
    if tale.dice.chance(500) || is_opening(tale) {
        let at = time::leisure(&mut tale.dice, ended + DAY, 20);
        let first = web::visit(tale, &person.visitor(), at, 1);
        let joined = sign_up(tale, &person, &first, false);
        shops(tale, &person, joined, 1);
        known_by_phone(tale, &person, joined + DAY);
    }
}

fn attendee(tale: &mut Tale) {
    let person = Person::new(tale, 0, false);
    marketing::workshop(tale, &person);
}

/// Two people in one home, at one device, each with a name and a number of their own.
fn household(tale: &mut Tale) {
    let phone = tale.dice.chance(300);
    let one = Person::new(tale, 0, phone);
    let other = Person::new(tale, 1, false).living_with(&one);
    let home = format!("household:H{}", tale.key());
    let mut at = begins(tale);
    for person in [&one, &other] {
        let visit = web::visit(tale, &person.visitor(), at, 1);
        let joined = sign_up(tale, person, &visit, false);
        let fields = json!({"fields": {"household": home}});
        let who = person.customer().and(one.device_id()).and(home.clone());
        tale.tell(Event::new(joined + MINUTE, CRM, "customer.profile.updated", fields).about(&who).by("bot:crm"));
        shops(tale, person, joined + HOUR, 1);
        at = time::leisure(&mut tale.dice, joined + DAY, 30);
    }
}

/// The customer whose page is worth a look: a kettle that leaks, a mail that nobody answers, an order that is late, a
/// call about it, and a cart that waits.
fn kettle(tale: &mut Tale) {
    let person = kettle_owner(tale);
    let data = json!({"fields": {"name": person.name(), "language": person.language()}});
    let who = Who::by(person.customer_no()).and(marker(tale.run())).and(person.email());
    tale.tell(Event::new(START + 9 * HOUR, CRM, "customer.profile.updated", data).about(&who).by("bot:crm"));
    let visit = web::visit(tale, &person.visitor(), START + 440 * DAY + 19 * HOUR, 2);
    let joined = sign_up(tale, &person, &visit, true);
    let bought = purchase(tale, &person, joined + MINUTE, &PRODUCTS[1]);
    let complaint = Complaint::defect(&PRODUCTS[1], &bought.order_id);
    desk::by_mail(tale, &person, &complaint, START + 500 * DAY).lives(tale, Ending::Unanswered);
    let mut second = purchase_only(tale, &person, START + 515 * DAY + 20 * HOUR, &PRODUCTS[13]);
    second.runs(tale, Fate::Late);
    let complaint = Complaint::late(&second.order_id);
    if let Some(case) = desk::by_phone(tale, &person, &complaint, START + 521 * DAY) {
        case.lives(tale, Ending::Unanswered);
        known_by_phone(tale, &person, START + 522 * DAY);
    }
    let mut visit = web::visit(tale, &person.customer(), START + 545 * DAY + 20 * HOUR, 0);
    visit.at = tale.later(visit.at, (20, 60));
    web::look_at(tale, &person.customer(), &mut visit, &PRODUCTS[15], Some("offers"));
    web::fill_cart(tale, &person.customer(), &mut visit);
}

/// Whose tale the first one is.
pub(super) fn kettle_owner(tale: &mut Tale) -> Person {
    Person::new(tale, 0, true).named("Ada", "Quinn")
}

/// The identifier that the first event of a demo names, and no other event: where it is known, a demo of this seed has
/// been loaded to its end.
pub(super) fn marker(seed: u64) -> String {
    format!("external.oldcrm:Q{seed}")
}

/// Buys one product by way of cart and checkout; the order runs well.
fn purchase(tale: &mut Tale, person: &Person, at: Moment, product: &'static company::Product) -> Order {
    let mut order = purchase_only(tale, person, at, product);
    order.runs(tale, Fate::Well);
    order
}

fn purchase_only(tale: &mut Tale, person: &Person, at: Moment, product: &'static company::Product) -> Order {
    let who = person.customer();
    let mut visit = web::visit(tale, &who, at, 0);
    visit.at = tale.later(visit.at, (20, 60));
    web::look_at(tale, &who, &mut visit, product, None);
    let mut cart = web::fill_cart(tale, &who, &mut visit);
    web::check_out(tale, &who, &mut cart, 3);
    let at = tale.later(cart.at, (10, 60));
    Basket::of_cart(&cart, at).order(tale, &who)
}

/// Says that they want no more mail, and gets one all the same.
fn unheard_opt_out(tale: &mut Tale) {
    let person = Person::new(tale, 0, false);
    let visit = web::visit(tale, &person.visitor(), START + 120 * DAY + 20 * HOUR, 2);
    let joined = sign_up(tale, &person, &visit, true);
    shops(tale, &person, joined, 2);
    let mail = marketing::mailing(tale, &person, &CAMPAIGNS[1], CAMPAIGNS[1].begins());
    marketing::opt_out(tale, &person, &mail, Some(&CAMPAIGNS[3]));
}

/// Buys something that fails, and has the trouble that `ending` says.
fn troubled(tale: &mut Tale, product: &'static company::Product, ending: Ending) {
    let person = Person::new(tale, 0, false);
    let at = time::leisure(&mut tale.dice, START + 260 * DAY, 120);
    let visit = web::visit(tale, &person.visitor(), at, 1);
    let joined = sign_up(tale, &person, &visit, true);
    let order = purchase(tale, &person, joined + MINUTE, product);
    let complaint = Complaint::defect(product, &order.order_id);
    desk::by_mail(tale, &person, &complaint, joined + 20 * DAY).lives(tale, ending);
}

/// Presses the button twice; the second order is taken back as if it had never been.
fn ordered_twice(tale: &mut Tale) {
    let person = Person::new(tale, 0, false);
    let at = time::leisure(&mut tale.dice, START + 200 * DAY, 200);
    let visit = web::visit(tale, &person.visitor(), at, 1);
    let joined = sign_up(tale, &person, &visit, false);
    let mut order = purchase_only(tale, &person, joined + MINUTE, &PRODUCTS[9]);
    let basket = Basket::new(order.lines.clone(), order.currency, order.placed_at + SECOND);
    let again = basket.sold(WEB, "web", "customer").order(tale, &person.customer());
    let data = json!({"voided_source": WEB, "voided_id": again.placed_by, "reason": "the button was pressed twice"});
    let noticed = time::at_work(&mut tale.dice, order.placed_at);
    tale.tell(Event::new(noticed, CRM, "interaction.voided", data).by("human:rep-walsh"));
    order.runs(tale, Fate::Open);
}
