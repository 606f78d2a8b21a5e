//! What the company sends to people, what they allow, and what they answer.

use serde_json::{Value, json};

use super::company::{CRM, Campaign, DOMAIN, MAIL, PRODUCTS, SHOPS, WEB};
use super::people::Person;
use super::tale::{Event, Tale, Who};
use super::time::{self, DAY, HOUR, Moment};

/// Says whether they want mail.
pub(super) fn consent(tale: &mut Tale, person: &Person, at: Moment, granted: bool) {
    let evidence = if granted { "ticked at sign-up" } else { "link in a mail" };
    let data = json!({"purpose": "marketing", "channel": "email", "granted": granted, "evidence": evidence});
    tale.tell(Event::new(at, WEB, "consent.changed", data).about(&person.customer()).by("customer"));
}

/// A campaign writes to somebody.
pub(super) struct Mailing {
    pub(super) campaign_id: String,
    message_id: String,
    pub(super) at: Moment,
}

/// Writes to them. Answers with the mail.
pub(super) fn mailing(tale: &mut Tale, person: &Person, campaign: &Campaign, at: Moment) -> Mailing {
    let (who, campaign_id) = (person.correspondent(), campaign.id_in(tale));
    let contact = json!({"campaign_id": campaign_id, "channel": "email", "material_id": campaign.material()});
    tale.tell(Event::new(at, CRM, "campaign.member.contacted", contact).about(&who).by("bot:campaigns"));
    let message_id = format!("<{}@{DOMAIN}>", tale.new_id("N"));
    let data = json!({
        "message_id": message_id, "from": format!("news@{DOMAIN}"), "to": [person.mail], "sent_at": time::text(at),
        "subject": campaign.name, "auto": true, "purpose": "marketing",
    });
    tale.tell(Event::new(at + 200_000, MAIL, "email.message.sent", data).about(&who).by("bot:campaigns"));
    Mailing { campaign_id, message_id, at }
}

/// What becomes of it: delivered or not, opened, clicked, answered.
pub(super) fn received(tale: &mut Tale, person: &Person, mail: &Mailing) -> bool {
    let bounced = tale.dice.chance(20);
    let at = tale.later(mail.at, (2, 30));
    status(tale, person, mail, if bounced { "bounced" } else { "delivered" }, at);
    if bounced || !tale.dice.chance(420) {
        return false;
    }
    let opened = time::leisure(&mut tale.dice, mail.at + HOUR, 3);
    status(tale, person, mail, "opened", opened);
    if !tale.dice.chance(300) {
        return false;
    }
    let clicked = tale.later(opened, (5, 120));
    status(tale, person, mail, "clicked", clicked);
    let data = json!({"campaign_id": mail.campaign_id, "channel": "email", "response": "clicked"});
    let event = Event::new(clicked + 100_000, CRM, "campaign.member.responded", data);
    tale.tell(event.about(&person.correspondent()).by("customer"));
    true
}

/// One update of what became of a mail.
pub(super) fn status(tale: &mut Tale, person: &Person, mail: &Mailing, status: &str, at: Moment) {
    let mut data = json!({"message_id": mail.message_id, "status": status});
    if status == "clicked" {
        data["link"] = format!("https://{DOMAIN}/offers").into();
    }
    if status == "bounced" {
        data["reason"] = "mailbox full".into();
    }
    tale.tell(Event::new(at, MAIL, "email.delivery.updated", data).about(&person.correspondent()));
}

/// Has had enough: unsubscribes. `written_to_again`: and the next campaign comes all the same.
pub(super) fn opt_out(tale: &mut Tale, person: &Person, mail: &Mailing, written_to_again: Option<&Campaign>) {
    let at = time::leisure(&mut tale.dice, mail.at + HOUR, 1);
    status(tale, person, mail, "unsubscribed", at);
    consent(tale, person, at + 1_000_000, false);
    if let Some(campaign) = written_to_again {
        let next = campaign.begins().max(at + 5 * DAY);
        let mail = mailing(tale, person, campaign, next);
        status(tale, person, &mail, "delivered", next + 3_000_000);
    }
}

/// The experiment on the site.
const EXPERIMENT: &str = "one-page-checkout";

/// Is put into a group of the experiment; whether they bought then decides.
pub(super) fn experiment(tale: &mut Tale, who: &Who, at: Moment, bought: Option<(Moment, i64)>) {
    let variant = *tale.dice.pick(&["control", "one-page"]);
    let experiment_id = format!("{EXPERIMENT}-{}", tale.run());
    let group = json!({"experiment_id": experiment_id, "variant": variant});
    tale.tell(Event::new(at, WEB, "experiment.assigned", group.clone()).about(who).by("bot:web"));
    if let Some((at, minor)) = bought {
        let mut data = group;
        // The amount in whole units and hundredths, digits as they are.
        data["value"] = hundredths(minor);
        tale.tell(Event::new(at + 50_000, WEB, "experiment.converted", data).about(who).by("bot:web"));
    }
}

fn hundredths(minor: i64) -> Value {
    let text = format!("{}.{:02}", minor / 100, minor % 100);
    serde_json::from_str(&text).expect("digits around a point are a JSON number")
}

/// Is shown something on the site, and takes it or not.
pub(super) fn offer(tale: &mut Tale, person: &Person, at: Moment) {
    let product = tale.dice.weighted(&PRODUCTS, |p| p.appeal);
    let offer_id = tale.new_id("F");
    let data = json!({"offer_id": offer_id, "sku": product.sku, "variant": "banner"});
    tale.tell(Event::new(at, WEB, "offer.presented", data).about(&person.customer()).by("bot:offers"));
    if tale.dice.chance(600) {
        let accepted = tale.dice.chance(180);
        let mut data = json!({"offer_id": offer_id, "decision": if accepted { "accepted" } else { "declined" }, "sku": product.sku});
        if !accepted {
            data["reason"] = "closed it".into();
        }
        let at = tale.later(at, (4, 60));
        tale.tell(Event::new(at, WEB, "offer.decided", data).about(&person.customer()).by("customer"));
    }
}

/// Comes to a workshop of one of the shops; some are never told whether they may.
pub(super) fn workshop(tale: &mut Tale, person: &Person) {
    let asked = time::first_visit(&mut tale.dice);
    let (shop, town) = *tale.dice.pick(&SHOPS);
    let month = time::day(asked + 25 * DAY);
    // The first Saturday from then on, at ten.
    let takes_place = month + ((12 - time::weekday(month) as i64) % 7) * DAY + 10 * HOUR;
    let data = json!({
        "occasion_id": format!("coffee-{shop}-{}", time::date(takes_place)), "occasion_at": time::text(takes_place),
        "seat": format!("{town} {}", tale.dice.between(1, 24)),
    });
    let who = person.correspondent();
    tale.tell(Event::new(asked, WEB, "registration.requested", data.clone()).about(&who).by("customer"));
    if tale.dice.chance(180) {
        return;
    }
    let told = time::at_work(&mut tale.dice, asked + HOUR);
    tale.tell(Event::new(told, CRM, "registration.confirmed", data.clone()).about(&who).by("bot:occasions"));
    if tale.dice.chance(800) {
        let at = tale.later(takes_place - HOUR / 2, (0, 2400));
        tale.tell(Event::new(at, CRM, "registration.attended", data).about(&who));
    }
}
