//! Northlight: an online shop for household and audio appliances with shops of its own, a call centre and partners. What
//! it sells, who works for it, and what it does as a company.

use domain::time::MINUTE;
use serde_json::{Value, json};

use super::tale::{Event, Tale, Who};
use super::time::{self, DAY, HOUR, Moment, START};

/// Its domain, one of those that are reserved for examples.
pub(super) const DOMAIN: &str = "northlight.example";

/// The number of its call centre, in a range reserved for fiction.
pub(super) const HOTLINE: &str = "+353209100000";

/// What its systems are called as sources of events.
pub(super) const WEB: &str = "/northlight/web";
pub(super) const TILL: &str = "/northlight/till";
pub(super) const ERP: &str = "/northlight/erp";
pub(super) const MAIL: &str = "/northlight/mail";
pub(super) const PHONE: &str = "/northlight/telephony";
pub(super) const DESK: &str = "/northlight/desk";
pub(super) const CRM: &str = "/northlight/crm";
pub(super) const PARTNERS: &str = "/northlight/partners";

/// Something it sells; what it costs at a given time: [`list_price`].
#[derive(Debug)]
pub(super) struct Product {
    pub(super) sku: &'static str,
    pub(super) name: &'static str,
    pub(super) category: &'static str,
    /// Euro cents, tax included.
    price: i64,
    /// What it costs the company, in a hundredth of its price.
    cost_percent: i64,
    /// How often it is looked at, beside the others.
    pub(super) appeal: u32,
    /// How many of a thousand give reason to complain.
    pub(super) faulty: u32,
    /// What is often bought with it: an index of [`PRODUCTS`].
    pub(super) companion: Option<usize>,
}

const fn product(
    (sku, name, category): (&'static str, &'static str, &'static str),
    (price, cost_percent): (i64, i64),
    (appeal, faulty): (u32, u32),
    companion: Option<usize>,
) -> Product {
    Product { sku, name, category, price, cost_percent, appeal, faulty, companion }
}

const KITCHEN: &str = "kitchen";
const AUDIO: &str = "audio";
const LIGHT: &str = "light";
const LAUNDRY: &str = "laundry";
const READING: &str = "reading";

/// All it sells. The second kettle leaks: four in ten complaints of defects are about it.
pub(super) const PRODUCTS: [Product; 22] = [
    product(("KETTLE-1", "Kettle Classic 1.7 l", KITCHEN), (3490, 52), (60, 20), Some(2)),
    product(("KETTLE-2", "Kettle Glow 1.5 l", KITCHEN), (5990, 48), (70, 260), Some(2)),
    product(("DESCALER", "Descaler, 6 sachets", KITCHEN), (890, 35), (40, 2), None),
    product(("TOASTER-1", "Toaster Duo", KITCHEN), (4490, 55), (50, 30), None),
    product(("COFFEE-1", "Filter coffee maker", KITCHEN), (7990, 58), (55, 30), Some(6)),
    product(("COFFEE-9", "Espresso machine Alba", KITCHEN), (64_900, 66), (30, 70), Some(7)),
    product(("FILTERS", "Paper filters, 100", KITCHEN), (390, 30), (35, 1), None),
    product(("BEANS-1", "Espresso beans, 1 kg", KITCHEN), (1890, 60), (45, 5), None),
    product(("MIXER-3", "Hand mixer Trio", KITCHEN), (3990, 54), (35, 25), None),
    product(("SPEAKER-1", "Bluetooth speaker Pebble", AUDIO), (5990, 50), (80, 30), Some(11)),
    product(("SPEAKER-5", "Shelf speakers Fjord, pair", AUDIO), (34_900, 61), (40, 25), Some(12)),
    product(("CASE-SP", "Case for Pebble", AUDIO), (1490, 30), (20, 3), None),
    product(("CABLE-5", "Speaker cable, 5 m", AUDIO), (1290, 28), (25, 3), None),
    product(("PHONES-2", "Headphones Hush", AUDIO), (17_900, 57), (90, 45), None),
    product(("RADIO-4", "Kitchen radio", AUDIO), (8990, 56), (45, 20), None),
    product(("LAMP-1", "Desk lamp Arc", LIGHT), (6990, 46), (50, 15), Some(17)),
    product(("LAMP-7", "Floor lamp Reed", LIGHT), (14_900, 51), (35, 15), Some(17)),
    product(("BULB-E27", "LED bulb E27, 3 pieces", LIGHT), (1190, 40), (60, 8), None),
    product(("WASHER-8", "Washing machine 8 kg", LAUNDRY), (57_900, 72), (40, 80), None),
    product(("DRYER-8", "Heat-pump dryer 8 kg", LAUNDRY), (74_900, 74), (25, 60), None),
    product(("READER-6", "E-reader Leaf", READING), (12_900, 70), (75, 30), Some(21)),
    product(("COVER-6", "Cover for Leaf", READING), (2490, 25), (30, 3), None),
];

/// When some prices rose: 2026-02-01.
const RISE: Moment = START + 306 * DAY;

/// The price of the list in force then, in minor units of the currency (`EUR` or `GBP`).
pub(super) fn list_price(product: &Product, currency: &str, at: Moment) -> i64 {
    let risen = if at >= RISE && rises(product) { product.price * 105 / 100 / 10 * 10 } else { product.price };
    if currency == "GBP" { risen * 86 / 1000 * 10 + 9 } else { risen }
}

fn rises(product: &Product) -> bool {
    product.category == KITCHEN && product.price > 1000
}

/// What one piece costs the company, in minor units of the currency.
pub(super) fn unit_cost(product: &Product, currency: &str) -> i64 {
    list_price(product, currency, START) * product.cost_percent / 100
}

/// An amount.
pub(super) fn money(amount_minor: i64, currency: &str) -> Value {
    json!({"amount_minor": amount_minor, "currency": currency})
}

/// Its shops: an id and a town.
pub(super) const SHOPS: [(&str, &str); 4] =
    [("shop-dublin", "Dublin"), ("shop-cork", "Cork"), ("shop-london", "London"), ("shop-hamburg", "Hamburg")];

/// Sales reps, by the names they go by in events.
pub(super) const REPS: [&str; 5] = ["rep-byrne", "rep-okafor", "rep-lindqvist", "rep-moreau", "rep-walsh"];

/// Engineers who visit.
pub(super) const ENGINEERS: [&str; 4] = ["eng-nolan", "eng-petit", "eng-singh", "eng-weber"];

/// Agents of one team of the call centre and the desk.
const TEAM: u64 = 8;

/// So many tales are the work of one team: a larger company has more teams, and the first one stays as it is.
const TALES_A_TEAM: u64 = 20_000;

/// An agent of the team whose work this tale is.
pub(super) fn agent(tale: &mut Tale) -> String {
    let team = tale.index() / TALES_A_TEAM;
    format!("agent-{:03}", team * TEAM + tale.dice.between(1, TEAM as i64) as u64)
}

/// Partners who sell for it.
pub(super) const RESELLERS: [&str; 3] = ["fenwick-retail", "maison-claire", "nordhaus"];

/// Pages that help: an id and a topic.
pub(super) const ARTICLES: [(&str, &str); 4] =
    [("art-descale", "defect"), ("art-returns", "return"), ("art-delivery", "delivery"), ("art-invoice", "billing")];

/// A campaign, and on which day of the eighteen months it begins.
pub(super) struct Campaign {
    pub(super) id: &'static str,
    pub(super) name: &'static str,
    pub(super) kind: &'static str,
    begins: i64,
    budget: i64,
}

/// All of its campaigns, oldest first.
pub(super) const CAMPAIGNS: [Campaign; 4] = [
    Campaign { id: "spring-25", name: "Spring cleaning", kind: "email", begins: 14, budget: 1_800_000 },
    Campaign { id: "xmas-25", name: "Northern lights", kind: "email", begins: 222, budget: 5_200_000 },
    Campaign { id: "reader-26", name: "A leaf to read", kind: "web", begins: 330, budget: 2_400_000 },
    Campaign { id: "summer-26", name: "Sound of summer", kind: "email", begins: 440, budget: 3_100_000 },
];

/// How long a campaign lasts.
const CAMPAIGN_DAYS: i64 = 45;

impl Campaign {
    /// Its first moment.
    pub(super) fn begins(&self) -> Moment {
        START + self.begins * DAY + 7 * HOUR
    }

    /// What it sends to everybody.
    pub(super) fn material(&self) -> String {
        format!("mat-{}", self.id)
    }

    /// Its id in the events of one run: two seeds do not count into one campaign.
    pub(super) fn id_in(&self, tale: &Tale) -> String {
        format!("{}-{}", self.id, tale.run())
    }
}

/// The last campaign that had begun by then and still lasts.
pub(super) fn campaign_at(at: Moment) -> Option<&'static Campaign> {
    CAMPAIGNS.iter().rev().find(|c| (c.begins()..c.begins() + CAMPAIGN_DAYS * DAY).contains(&at))
}

/// What the company as such does: its hours, its prices, its campaigns, its partners.
pub(super) fn affairs(tale: &mut Tale) {
    let day = |from: &str, to: &str| {
        let of = |day: &str| json!({"day": day, "from": from, "to": to});
        ["mon", "tue", "wed", "thu", "fri"].map(of)
    };
    let mut weekly = day("08:00", "20:00").to_vec();
    weekly.push(json!({"day": "sat", "from": "10:00", "to": "16:00"}));
    let data =
        json!({"schedule_id": "desk", "timezone": "Europe/Dublin", "weekly": weekly, "holidays": time::HOLIDAYS});
    tale.tell(Event::new(START + MINUTE, DESK, "schedule.defined", data));
    prices(tale);
    campaigns(tale);
    partners(tale);
}

fn prices(tale: &mut Tale) {
    for (at, changed) in [(START, false), (RISE, true)] {
        for (currency, list) in [("EUR", "web-eur"), ("GBP", "web-gbp")] {
            for (n, product) in PRODUCTS.iter().enumerate().filter(|(_, p)| !changed || rises(p)) {
                let data = json!({
                    "sku": product.sku, "price": money(list_price(product, currency, at), currency),
                    "valid_from": time::date(at), "list": list, "name": product.name, "category": product.category,
                });
                tale.tell(Event::new(at + n as i64 * 1_000_000, ERP, "price.published", data));
            }
        }
    }
}

fn campaigns(tale: &mut Tale) {
    for campaign in &CAMPAIGNS {
        let (begins, id) = (campaign.begins(), campaign.id_in(tale));
        let data = json!({
            "campaign_id": id, "name": campaign.name, "kind": campaign.kind, "starts_at": time::text(begins),
            "ends_at": time::text(begins + CAMPAIGN_DAYS * DAY), "budget": money(campaign.budget, "EUR"),
            "material_id": campaign.material(),
        });
        tale.tell(Event::new(begins - 5 * DAY, CRM, "campaign.launched", data));
        for part in 0..3 {
            let at = begins + part * 14 * DAY + 3 * HOUR;
            let spent = campaign.budget * tale.dice.between(24, 33) / 100;
            let data = json!({"campaign_id": id, "amount": money(spent, "EUR")});
            tale.tell(Event::new(at, ERP, "campaign.cost.recorded", data));
        }
    }
}

fn partners(tale: &mut Tale) {
    for (n, partner) in RESELLERS.iter().enumerate() {
        let (at, who) = (START + n as i64 * HOUR + 9 * HOUR, Who::partner(partner));
        let data = json!({"partner_id": partner, "scope": "orders"});
        tale.tell(Event::new(at, PARTNERS, "partner.access.granted", data.clone()).about(&who));
        if n == 2 {
            tale.tell(Event::new(at + 400 * DAY, PARTNERS, "partner.access.revoked", data).about(&who));
        }
    }
}

/// A reseller's order by the trading documents that went to and fro.
pub(super) fn documents(tale: &mut Tale) {
    let partner = *tale.dice.pick(&RESELLERS);
    let who = Who::partner(partner);
    let visit = time::first_visit(&mut tale.dice);
    let mut at = time::at_work(&mut tale.dice, visit);
    for (n, (kind, direction)) in
        [("850", "inbound"), ("997", "outbound"), ("855", "outbound"), ("856", "outbound"), ("810", "outbound")]
            .into_iter()
            .enumerate()
    {
        let control_no = tale.id("D", n);
        let data = json!({"kind": kind, "control_no": control_no, "direction": direction, "ack": "accepted"});
        let actor = format!("partner:{partner}");
        let event = Event::new(at, PARTNERS, "document.exchanged", data).about(&who);
        tale.tell(if direction == "inbound" { event.by(actor) } else { event.by("bot:edi") });
        at = time::later(&mut tale.dice, at, (600, 90_000));
    }
}
