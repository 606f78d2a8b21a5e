//! Companies as customers: colleagues of one account, reps, quotes that differ, meetings, deals won and lost.

use domain::time::MINUTE;
use serde_json::json;

use super::company::{CRM, ERP, PARTNERS, PRODUCTS, REPS, RESELLERS, money};
use super::orders::{Basket, Fate};
use super::people::Person;
use super::tale::{Event, Tale, Who};
use super::time::{self, DAY, HOUR, Moment, START};
use super::web::{Line, sum};

const TRADES: [&str; 6] = ["Hotel", "Bakery", "Clinic", "Studio", "School", "Cafe"];

/// A company, and those of its people who deal with us.
struct Account {
    id: String,
    people: Vec<Person>,
}

impl Account {
    fn new(tale: &mut Tale, from: Moment) -> Self {
        let trade = *tale.dice.pick(&TRADES);
        let host = format!("{}-{}.example", trade.to_lowercase(), tale.key());
        let people = (0..tale.dice.between(2, 4) as usize).map(|n| Person::new(tale, n, false).at(&host)).collect();
        let account = Self { id: format!("account:A{}", tale.key()), people };
        let at = time::at_work(&mut tale.dice, from);
        for (n, person) in account.people.iter().enumerate() {
            let mut fields = person.profile();
            fields["company"] = format!("{trade} {}", account.people[0].last).into();
            fields["title"] = (["buyer", "manager", "accountant", "owner"][n]).into();
            let data = json!({"fields": fields});
            let event = Event::new(at + n as i64 * 4 * MINUTE, CRM, "customer.profile.updated", data);
            tale.tell(event.about(&account.who(n)).by("human:rep-byrne"));
        }
        account
    }

    /// One of its people: their address, and the company beside it.
    fn who(&self, n: usize) -> Who {
        self.people[n].correspondent().and(self.id.clone())
    }

    /// The others, as participants.
    fn others(&self) -> Vec<String> {
        self.people[1..].iter().map(Person::email).collect()
    }
}

/// A deal on its way.
struct Deal {
    opportunity_id: String,
    rep: &'static str,
    amount: i64,
    lines: Vec<Line>,
    at: Moment,
}

/// From a lead to a deal, or to nothing. `two_prices`: two reps quote two prices for the same thing at the same time.
pub(super) fn account(tale: &mut Tale, from: Moment, two_prices: bool) {
    let account = Account::new(tale, (from - 20 * DAY).max(START + 9 * HOUR));
    let lead_id = captured(tale, &account, from);
    if !two_prices && tale.dice.chance(150) {
        // Nobody takes it up.
        return;
    }
    let rep = *tale.dice.pick(&REPS);
    let at = assigned(tale, &account, (&lead_id, rep), from);
    if !two_prices && tale.dice.chance(300) {
        let data = json!({"lead_id": lead_id, "outcome": "lost", "reason": "no budget"});
        tale.tell(Event::new(at, CRM, "lead.closed", data).about(&account.who(0)).by(human(rep)));
        return;
    }
    let mut deal = opened(tale, &account, rep, at);
    let data = json!({
        "lead_id": lead_id, "outcome": "converted", "opportunity_id": deal.opportunity_id,
    });
    tale.tell(Event::new(deal.at + MINUTE, CRM, "lead.closed", data).about(&account.who(0)).by(human(rep)));
    meeting(tale, &account, &mut deal);
    let quote_id = quotes(tale, &account, &mut deal, two_prices);
    closed(tale, &account, deal, &quote_id);
}

fn human(rep: &str) -> String {
    format!("human:{rep}")
}

fn captured(tale: &mut Tale, account: &Account, at: Moment) -> String {
    let lead_id = tale.new_id("L");
    let origin = tale.dice.weighted(&[("web", 45), ("fair", 25), ("partner", 20), ("call", 10)], |o| o.1).0;
    let mut data = json!({
        "lead_id": lead_id, "origin": origin, "score": tale.dice.between(5, 95), "interest": "espresso machines",
    });
    if origin == "partner" {
        data["partner_id"] = (*tale.dice.pick(&RESELLERS)).into();
    }
    tale.tell(Event::new(at, CRM, "lead.captured", data).about(&account.who(0)));
    lead_id
}

/// Answers with when the rep first turns to it.
fn assigned(tale: &mut Tale, account: &Account, (lead_id, rep): (&str, &str), from: Moment) -> Moment {
    let hours = tale.dice.heavy_tail(600, 64);
    let at = time::at_work(&mut tale.dice, from + hours * HOUR);
    let data = json!({"lead_id": lead_id, "owner": rep});
    tale.tell(Event::new(at, CRM, "lead.assigned", data).about(&account.who(0)).by("bot:crm"));
    time::at_work(&mut tale.dice, at + DAY)
}

fn opened(tale: &mut Tale, account: &Account, rep: &'static str, at: Moment) -> Deal {
    let machine = &PRODUCTS[*tale.dice.pick(&[5usize, 10, 18])];
    let lines = vec![
        Line::new(machine, 2 + tale.dice.heavy_tail(500, 24), "EUR", at),
        Line::new(&PRODUCTS[7], tale.dice.between(4, 40), "EUR", at),
    ];
    let deal = Deal { opportunity_id: tale.new_id("Y"), rep, amount: sum(&lines), lines, at };
    let data = json!({
        "opportunity_id": deal.opportunity_id, "amount": money(deal.amount, "EUR"), "stage": "qualified", "owner": rep,
        "probability": 0.2, "expected_close": time::date(at + 60 * DAY), "name": format!("Machines, {}", account.id),
    });
    tale.tell(Event::new(at, CRM, "opportunity.opened", data).about(&account.who(0)).by(human(rep)));
    deal
}

fn meeting(tale: &mut Tale, account: &Account, deal: &mut Deal) {
    let planned = time::at_work(&mut tale.dice, deal.at + DAY);
    let coming = time::at_work(&mut tale.dice, planned + 5 * DAY);
    let starts = time::day(coming) + tale.dice.between(10, 15) * HOUR;
    let mut data = json!({
        "meeting_id": tale.new_id("G"), "starts_at": time::text(starts), "ends_at": time::text(starts + HOUR),
        "attendees": account.people.iter().map(|p| p.mail.as_str()).chain([deal.rep]).collect::<Vec<_>>(),
        "place": "at the customer's",
    });
    let (who, others, actor) = (account.who(0), account.others(), human(deal.rep));
    let event = Event::new(planned, CRM, "meeting.scheduled", data.clone());
    tale.tell(event.about(&who).with(&others).by(&*actor));
    if tale.dice.chance(120) {
        data["outcome"] = "put off".into();
        let event = Event::new(planned + DAY, CRM, "meeting.cancelled", data);
        tale.tell(event.about(&who).with(&others).by("customer"));
    } else {
        data["outcome"] = "wants a quote".into();
        tale.tell(Event::new(starts + HOUR, CRM, "meeting.held", data).about(&who).with(&others).by(&*actor));
    }
    deal.at = starts + HOUR;
    let data = json!({"opportunity_id": deal.opportunity_id, "stage": "proposal", "probability": 0.5});
    tale.tell(Event::new(deal.at + 5 * MINUTE, CRM, "opportunity.changed", data).about(&who).by(actor));
}

/// Quotes the deal; with two prices a second rep quotes less two days later, and neither knows of the other.
fn quotes(tale: &mut Tale, account: &Account, deal: &mut Deal, two_prices: bool) -> String {
    let at = time::at_work(&mut tale.dice, deal.at + 3 * HOUR);
    for line in &mut deal.lines {
        line.unit_price = line.unit_price * 95 / 100;
    }
    let quote_id = tale.new_id("Q");
    quote(tale, account, deal, (&quote_id, deal.rep, at));
    deal.at = at;
    let other = REPS.iter().find(|rep| **rep != deal.rep).copied().unwrap_or(deal.rep);
    let second = tale.new_id("Q");
    let later = time::at_work(&mut tale.dice, at + 2 * DAY);
    if two_prices {
        let mut cheaper = deal.lines.clone();
        cheaper[0].unit_price = cheaper[0].unit_price * 92 / 100;
        let lines = std::mem::replace(&mut deal.lines, cheaper);
        quote(tale, account, deal, (&second, other, later));
        deal.lines = lines;
        let data = json!({"text": "Asks why our prices differ", "about": second, "visibility": "internal"});
        let asked = time::at_work(&mut tale.dice, later + DAY);
        tale.tell(Event::new(asked, CRM, "note.added", data).about(&account.who(0)).by(human(deal.rep)));
        deal.at = asked;
    }
    if tale.dice.chance(120) {
        let at = deal.at + MINUTE;
        let data = json!({"quote_id": quote_id, "rep": deal.rep, "reason": "a new one follows"});
        tale.tell(Event::new(at, CRM, "quote.withdrawn", data).about(&account.who(0)).by(human(deal.rep)));
        quote(tale, account, deal, (&format!("{quote_id}b"), deal.rep, at + MINUTE));
        deal.at = at + MINUTE;
        return format!("{quote_id}b");
    }
    quote_id
}

fn quote(tale: &mut Tale, account: &Account, deal: &Deal, (quote_id, rep, at): (&str, &str, Moment)) {
    let data = json!({
        "quote_id": quote_id, "rep": rep, "lines": deal.lines.iter().map(|l| l.to_json("EUR")).collect::<Vec<_>>(),
        "valid_from": time::date(at), "valid_until": time::date(at + 30 * DAY), "opportunity_id": deal.opportunity_id,
    });
    let event = Event::new(at, CRM, "quote.issued", data).about(&account.who(0)).with(&account.others());
    tale.tell(event.by(human(rep)));
}

fn closed(tale: &mut Tale, account: &Account, deal: Deal, quote_id: &str) {
    let (who, actor) = (account.who(0), human(deal.rep));
    if tale.dice.chance(250) {
        // Nobody has said anything yet.
        return;
    }
    let days = tale.dice.between(4, 28);
    let at = time::at_work(&mut tale.dice, deal.at + days * DAY);
    let won = tale.dice.chance(550);
    let mut data = json!({
        "opportunity_id": deal.opportunity_id, "outcome": if won { "won" } else { "lost" },
        "amount": money(sum(&deal.lines), "EUR"),
    });
    if !won {
        data["reason"] = (*tale.dice.pick(&["price", "bought elsewhere", "no decision"])).into();
    }
    tale.tell(Event::new(at, CRM, "opportunity.closed", data).about(&who).by(&*actor));
    if !won {
        return;
    }
    let discount = sum(&deal.lines) / 50;
    let basket = Basket::new(deal.lines, "EUR", at + 20 * MINUTE)
        .sold(ERP, "partner", &actor)
        .with("quote_id", quote_id)
        .with("opportunity_id", &deal.opportunity_id)
        .with("rep", deal.rep)
        .less(discount)
        .taxed(23);
    let mut order = basket.order(tale, &who);
    order.runs(tale, Fate::Open);
    let data = json!({"kind": "810", "control_no": tale.new_id("D"), "direction": "outbound"});
    let invoice = Event::new(at + DAY, PARTNERS, "document.exchanged", data).about(&who).by("bot:edi");
    tale.tell(invoice.part_of("order", &order.order_id));
    let (promise_id, due) = (tale.new_id("P"), at + 21 * DAY);
    let data = json!({
        "promise_id": promise_id, "by": deal.rep, "text": "Training for your staff, free of charge",
        "due_at": time::text(due), "about": order.order_id,
    });
    tale.tell(Event::new(at + 30 * MINUTE, CRM, "promise.made", data).about(&who).by(&*actor));
    if tale.dice.chance(500) {
        let at = time::at_work(&mut tale.dice, due - DAY);
        let data = json!({"promise_id": promise_id, "kept": tale.dice.chance(850)});
        tale.tell(Event::new(at, CRM, "promise.settled", data).about(&who).by(actor));
    }
}
