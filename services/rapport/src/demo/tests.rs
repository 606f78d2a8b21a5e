//! What every demo must be: the same again, accepted as it is, and believable.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::time::Instant;

use domain::identifier::Normalizer;
use domain::receipt;
use rapport_proto::{catalogue, v1};
use serde_json::Value;
use sha2::{Digest, Sha256};

use super::history::History;
use super::time::{END, HOUR, Moment, START, WORK_HOURS, is_working_day};

/// Types that a demo does without: an erasure would take somebody out again, and alerts are Rapport's own to raise.
const LEFT_OUT: [&str; 3] = ["privacy.erasure.requested", "alert.raised", "alert.acknowledged"];

fn events(seed: u64, count: usize) -> Vec<Value> {
    History::new(seed).take(count).map(|event| serde_json::from_slice(&event).expect("JSON")).collect()
}

/// The bare name of its type.
fn kind(event: &Value) -> &str {
    let name = event["type"].as_str().expect("a type");
    name.strip_prefix(catalogue::PREFIX).unwrap_or(name)
}

fn at(event: &Value) -> Moment {
    domain::time::parse(event["time"].as_str().expect("a time")).expect("RFC 3339")
}

fn data<'a>(event: &'a Value, field: &str) -> &'a str {
    event["data"][field].as_str().unwrap_or_default()
}

fn minor(money: &Value) -> i64 {
    if money.is_null() { 0 } else { money["amount_minor"].as_i64().expect("an amount") }
}

/// Tale of an event: `1-42` of the id `1-42-7`.
fn tale(event: &Value) -> &str {
    event["id"].as_str().and_then(|id| id.rsplit_once('-')).expect("seed-tale-number").0
}

/// Events by what they name, each once, in the order of their times.
fn by<'a>(events: &'a [Value], field: &str) -> BTreeMap<&'a str, Vec<&'a Value>> {
    let mut all: BTreeMap<&str, Vec<&Value>> = BTreeMap::new();
    let mut seen = HashSet::new();
    for event in events.iter().filter(|e| !data(e, field).is_empty() && seen.insert(e["id"].as_str())) {
        all.entry(data(event, field)).or_default().push(event);
    }
    all
}

#[test]
fn the_same_seed_is_the_same_company() {
    let hash = |seed: u64| {
        let mut hash = Sha256::new();
        History::new(seed).take(10_000).for_each(|event| hash.update(&event));
        format!("{:x}", hash.finalize())
    };
    // Whoever changes what is told changes this on purpose: logs that hold the demo will then hold two.
    assert_eq!(hash(1), "777eb9ca8db05341d1bf0a869fb86b4be5207eb367c45b25881cf1c85b579dbb");
    assert_ne!(hash(2), hash(1));
}

#[test]
fn more_events_extend_fewer() {
    let few: Vec<_> = History::new(4).take(1500).collect();
    let more: Vec<_> = History::new(4).take(6000).collect();
    assert_eq!(few, more[..1500]);
}

/// As the collector judges them.
#[test]
fn every_event_is_accepted_without_a_warning() {
    let normalizer = Normalizer::new("", &[]).expect("no region");
    let limits = receipt::Limits { time_ahead_max: 0 };
    for seed in [1, 2, 77, u64::MAX] {
        for event in History::new(seed).take(8000) {
            let text = String::from_utf8_lossy(&event).into_owned();
            let read = rapport_proto::json::read::<v1::Interaction>(&event);
            let mut wire = read.unwrap_or_else(|faults| panic!("{faults:?} in {text}"));
            assert_eq!(receipt::check(&wire, END, &limits), [], "{text}");
            let before = wire.clone();
            assert_eq!(receipt::normalize(&mut wire, &normalizer), [], "{text}");
            assert_eq!(wire, before, "it was not in normal form: {text}");
            assert_eq!(unknown_fields(&wire), BTreeSet::new(), "{text}");
        }
    }
}

/// The names of fields that the contract does not know: they are kept as JSON beside the others, as are times that are a
/// day alone.
fn unknown_fields(wire: &v1::Interaction) -> BTreeSet<String> {
    let shown = format!("{wire:?}");
    let kept = shown.split("extra_json: [").skip(1).filter_map(|rest| rest.split(']').next());
    let kept = kept.filter(|bytes| !bytes.is_empty()).flat_map(|bytes| {
        let bytes: Vec<u8> = bytes.split(", ").map(|b| b.parse().expect("a byte")).collect();
        serde_json::from_slice::<serde_json::Map<String, Value>>(&bytes).expect("an object")
    });
    kept.filter(|(_, value)| value.as_str().is_none_or(|v| v.len() != "2026-03-01".len()))
        .map(|(name, _)| name)
        .collect()
}

#[test]
fn every_type_occurs() {
    let all = events(1, 40_000);
    let told: BTreeSet<&str> = all.iter().map(kind).collect();
    let missing: Vec<&str> =
        catalogue::all().iter().map(|t| t.name).filter(|t| !told.contains(t) && !LEFT_OUT.contains(t)).collect();
    assert!(missing.is_empty(), "{missing:?}");
    assert!(LEFT_OUT.iter().all(|t| !told.contains(t)));
    let custom = told.iter().filter(|t| catalogue::by_name(t).is_none()).count();
    assert!(custom > 0, "a type of the company's own");
}

#[test]
fn times_are_human() {
    let all = events(1, 20_000);
    let mut last: (&str, Moment) = ("", 0);
    let mut hours = [0_u32; 24];
    for event in &all {
        let (tale, at) = (tale(event), at(event));
        assert!((START..END).contains(&at), "{event}");
        assert!(tale != last.0 || last.1 <= at, "within a tale time goes on: {event}");
        last = (tale, at);
        let hour = at.rem_euclid(super::time::DAY) / HOUR;
        if event["actor"].as_str().is_some_and(|a| a.starts_with("human:")) {
            let late = WORK_HOURS.start..WORK_HOURS.end + 1;
            assert!(is_working_day(at) && late.contains(&hour), "nobody works then: {event}");
        }
        if kind(event) == "web.page.viewed" {
            hours[hour as usize] += 1;
        }
    }
    assert!(hours[20] > 8 * hours[3].max(1) && hours[20] > 2 * hours[8], "{hours:?}");
}

#[test]
fn nobody_real_is_named() {
    for event in events(1, 20_000) {
        let listed = |name: &str| event[name].as_str().unwrap_or_default().split(',').map(str::to_owned).collect();
        let mut named: Vec<String> =
            ["subject", "identifiers", "participants"].into_iter().flat_map(|n| -> Vec<String> { listed(n) }).collect();
        named.extend(["left", "right"].map(|side| data(&event, side).to_owned()));
        for identifier in named {
            if let Some(mail) = identifier.strip_prefix("email:") {
                let host = mail.rsplit('@').next().unwrap_or_default();
                let reserved =
                    ["example.com", "example.net", "example.org"].contains(&host) || host.ends_with(".example");
                assert!(reserved, "{identifier}");
            }
            if let Some(number) = identifier.strip_prefix("phone:") {
                let fictitious = [
                    "+3532091",
                    "+447700900",
                    "+44207946",
                    "+4411",
                    "+441214960",
                    "+441314960",
                    "+441414960",
                    "+441514960",
                    "+441614960",
                    "+441632960",
                    "+493023125",
                    "+494066969",
                    "+496990009",
                    "+492214710",
                    "+498999998",
                    "+3363998",
                    "+3319900",
                    "+3326191",
                    "+3335301",
                    "+3346571",
                    "+3353649",
                ];
                assert!(fictitious.iter().any(|range| number.starts_with(range)), "{identifier}");
            }
        }
    }
}

#[test]
fn amounts_add_up() {
    let all = events(1, 30_000);
    let voided: HashSet<&str> = all.iter().map(|e| data(e, "voided_id")).collect();
    let mut complete = 0;
    for (order_id, story) in by(&all, "order_id") {
        let Some(placed) = story.iter().find(|e| kind(e) == "order.placed") else {
            panic!("{order_id} is never placed")
        };
        let mut lines = &placed["data"]["lines"];
        let mut total = minor(&placed["data"]["total"]);
        if let Some(changed) = story.iter().find(|e| kind(e) == "order.changed") {
            lines = &changed["data"]["lines"];
            total = minor(&changed["data"]["total"]);
        }
        let mut sum = 0;
        for line in lines.as_array().expect("lines") {
            let quantity = line["quantity"].as_i64().expect("pieces");
            let worth = minor(&line["unit_price"]) * quantity - minor(&line["discount"]);
            assert!(worth == minor(&line["total"]) && worth > minor(&line["unit_cost"]) * quantity / 2, "{line}");
            sum += worth;
        }
        assert_eq!(sum, total, "{order_id}");
        let field = |name: &str| minor(&placed["data"][name]);
        let due = total - field("discount") + field("tax") + field("shipping");
        let paid = |of: &str| -> i64 {
            let payments = story.iter().filter(|e| kind(e) == "payment.recorded" && data(e, "kind") == of);
            payments.map(|e| minor(&e["data"]["amount"])).sum()
        };
        assert!(paid("captured") == due || paid("captured") == 0, "{order_id}: {} of {due}", paid("captured"));
        assert!(paid("refunded") <= paid("captured"), "{order_id}");
        complete += u32::from(paid("captured") == due && !voided.contains(placed["id"].as_str().expect("an id")));
    }
    assert!(complete > 300, "{complete}");
}

#[test]
fn orders_go_one_way() {
    let steps = ["order.placed", "packed", "shipped", "delayed", "delivered", "return.received"];
    let all = events(1, 30_000);
    for (order_id, story) in by(&all, "order_id") {
        let of =
            |e: &Value| if kind(e) == "shipment.updated" { data(e, "status").to_owned() } else { kind(e).to_owned() };
        let done: Vec<usize> = story.iter().filter_map(|e| steps.iter().position(|s| *s == of(e))).collect();
        assert!(done.is_sorted() && done.first() == Some(&0), "{order_id}: {done:?}");
        let cancelled = story.iter().any(|e| kind(e) == "order.cancelled");
        assert!(!cancelled || done == [0], "{order_id} was cancelled: {done:?}");
        let returned = done.contains(&5);
        assert!(!returned || done.contains(&4) || story.iter().any(|e| data(e, "channel") == "shop"), "{order_id}");
    }
}

#[test]
fn cases_go_from_state_to_state() {
    let allowed: &[(&str, &[&str])] = &[
        ("new", &["open", "solved", "closed"]),
        ("open", &["pending", "on_hold", "solved"]),
        ("pending", &["open"]),
        ("on_hold", &["solved"]),
        ("solved", &["closed", "open"]),
        ("closed", &[]),
    ];
    let (all, mut reopened, mut merged) = (events(1, 30_000), 0, 0);
    for (case_id, story) in by(&all, "case_id") {
        let opened = story.iter().position(|e| kind(e) == "case.opened").unwrap_or_else(|| panic!("{case_id}"));
        assert!(story[..opened].iter().all(|e| kind(e) == "web.form.submitted"), "{case_id}");
        let mut status = "new";
        for event in story.iter().filter(|e| kind(e) == "case.changed") {
            let next = data(event, "status");
            if next.is_empty() {
                continue;
            }
            let may = allowed.iter().find(|(from, _)| *from == status).expect("a status").1;
            assert!(may.contains(&next), "{case_id}: {status} -> {next}");
            reopened += u32::from(status == "solved" && next == "open");
            merged += u32::from(!data(event, "merged_into").is_empty());
            status = next;
        }
    }
    assert!(reopened > 0 && merged > 0, "{reopened} {merged}");
}

#[test]
fn threads_hang_together() {
    let all = events(1, 30_000);
    let mut sent: HashMap<&str, Moment> = HashMap::new();
    let (mut human, mut machine_only) = (HashSet::new(), HashSet::new());
    let mut mails: Vec<&Value> = all.iter().filter(|e| kind(e).starts_with("email.message.")).collect();
    mails.sort_by_key(|e| at(e));
    for mail in mails {
        sent.entry(data(mail, "message_id")).or_insert(at(mail));
        let before = data(mail, "in_reply_to");
        if !before.is_empty() {
            assert!(sent.get(before).is_some_and(|then| *then < at(mail)), "answers nothing: {mail}");
            let references = mail["data"]["references"].as_array().expect("references");
            assert_eq!(references.last().and_then(Value::as_str), Some(before));
        }
        let case = data(mail, "case_id");
        if !case.is_empty() && kind(mail) == "email.message.sent" {
            let set = if mail["data"]["auto"] == true { &mut machine_only } else { &mut human };
            set.insert(case);
        }
    }
    assert!(machine_only.difference(&human).count() > 3, "some mails are never answered by a person");
    assert!(human.len() > 10);
}

#[test]
fn calls_are_offered_answered_and_ended() {
    let all = events(1, 30_000);
    let calls = by(&all, "call_id");
    let mut transferred = 0;
    for (call_id, story) in &calls {
        let kinds: Vec<&str> = story.iter().map(|e| kind(e)).collect();
        let whole: &[&str] = match kinds.len() {
            2 => &["call.offered", "call.ended"],
            3 => &["call.offered", "call.answered", "call.ended"],
            _ => &["call.offered", "call.answered", "call.ended", "call.offered", "call.answered", "call.ended"],
        };
        assert!(whole.starts_with(&kinds), "{call_id}: {kinds:?}");
        transferred += u32::from(kinds.len() == 6);
        for ended in story.iter().filter(|e| data(e, "disposition") == "answered") {
            let number = |field: &str| ended["data"][field].as_i64().expect("seconds");
            assert_eq!(number("duration_s"), number("wait_s") + number("talk_s") + number("hold_s"), "{call_id}");
            let offered = domain::time::parse(data(ended, "offered_at")).expect("a time");
            assert_eq!(at(ended) - offered, number("duration_s") * domain::time::SECOND, "{call_id}");
        }
    }
    assert!(calls.len() > 40 && transferred > 0, "{} {transferred}", calls.len());
}

#[test]
fn about_ten_events_a_customer_and_a_few_with_very_many() {
    let all = events(1, 200_000);
    let mut of_tale: HashMap<&str, u32> = HashMap::new();
    for event in &all {
        *of_tale.entry(tale(event)).or_default() += 1;
    }
    let mean = all.len() / of_tale.len();
    let most = of_tale.values().max().copied().unwrap_or_default();
    assert!((8..=12).contains(&mean) && most > 250, "mean {mean}, most {most}");
    let few = of_tale.values().filter(|n| **n <= 3).count();
    assert!(few * 3 > of_tale.len(), "a third comes and goes: {few} of {}", of_tale.len());
}

#[test]
fn what_a_small_demo_shows() {
    for seed in [1, 2, 3, 77] {
        shows_everything(&events(seed, 1000));
    }
    let mut ids = HashSet::new();
    let repeated = events(1, 5000).iter().filter(|e| !ids.insert(e["id"].to_string())).count();
    assert!((5..100).contains(&repeated), "a few retries: {repeated}");
}

fn shows_everything(all: &[Value]) {
    let has = |what: &dyn Fn(&Value) -> bool| all.iter().any(what);
    let opted_out = all.iter().find(|e| kind(e) == "consent.changed" && e["data"]["granted"] == false);
    let opted_out = opted_out.expect("somebody opts out");
    assert!(has(&|e| {
        kind(e) == "email.message.sent"
            && data(e, "purpose") == "marketing"
            && tale(e) == tale(opted_out)
            && at(e) > at(opted_out)
    }));
    let quotes: Vec<&Value> = all.iter().filter(|e| kind(e) == "quote.issued").collect();
    assert!(
        quotes.iter().any(|one| quotes.iter().any(|other| {
            let line = |e: &Value| (e["data"]["lines"][0]["sku"].clone(), minor(&e["data"]["lines"][0]["unit_price"]));
            let (one_line, other_line) = (line(one), line(other));
            one["subject"] == other["subject"]
                && data(one, "rep") != data(other, "rep")
                && one_line.0 == other_line.0
                && one_line.1 != other_line.1
                && at(other) < at(one) + 30 * super::time::DAY
                && at(one) < at(other)
        })),
        "two reps, two prices"
    );
    assert!(has(&|e| e["identifiers"].as_str().is_some_and(|i| i.contains("household:"))));
    assert!(has(&|e| e["identifiers"].as_str().is_some_and(|i| i.contains("account:"))));
    for wanted in [
        "interaction.voided",
        "identity.link.asserted",
        "identity.link.revoked",
        "case.escalated",
        "visit.scheduled",
        "call.ended",
        "promise.made",
    ] {
        assert!(has(&|e| kind(e) == wanted), "{wanted}");
    }
}

/// Not a bound: a figure for whoever runs it with `--nocapture`.
#[test]
fn how_fast_it_is() {
    let started = Instant::now();
    let bytes: usize = History::new(1).take(100_000).map(|event| event.len()).sum();
    let seconds = started.elapsed().as_secs_f64();
    println!("{:.0} events a second, {} bytes an event", 100_000.0 / seconds, bytes / 100_000);
    assert!(bytes > 0);
}
