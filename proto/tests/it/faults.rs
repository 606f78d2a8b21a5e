//! Every kind of fault, where it is and what is said of it.

use rapport_proto::json::{self, Fault, Reading, codes};
use rapport_proto::v1::Interaction;
use std::collections::BTreeSet;

fn faults(event: &str) -> Vec<Fault> {
    json::read::<Interaction>(event.as_bytes()).expect_err(event)
}

/// The faults as lines `code pointer: detail`.
fn lines(event: &str) -> Vec<String> {
    let line = |f: Fault| format!("{} {}: {}", f.code, f.pointer, f.detail);
    faults(event).into_iter().map(line).collect()
}

fn event(name: &str, rest: &str) -> String {
    format!(r#"{{"specversion":"1.0","id":"1","source":"s","type":"{name}"{rest}}}"#)
}

fn with_data(name: &str, data: &str) -> String {
    event(name, &format!(r#","data":{data}"#))
}

/// A code and a pointer.
type Expected<'a> = (&'static str, &'a str);

#[test]
fn every_code_with_its_pointer() {
    let mut seen = BTreeSet::new();
    let mut check = |event: String, want: &[Expected<'_>]| {
        let found = faults(&event);
        let found: Vec<_> = found.iter().map(|f| (f.code, f.pointer.as_str())).collect();
        assert_eq!(found, want, "{event}");
        seen.extend(want.iter().map(|(code, _)| *code));
    };
    let deep = "[".repeat(63) + &"]".repeat(63);
    let cases: [(&str, &str, &[Expected<'_>]); 33] = [
        ("case.changed", "{}", &[(codes::MISSING_FIELD, "/data/case_id")]),
        ("case.changed", "null", &[(codes::MISSING_FIELD, "/data/case_id")]),
        ("case.changed", r#"{"case_id":null}"#, &[(codes::MISSING_FIELD, "/data/case_id")]),
        ("case.changed", r#"{"case_id":" "}"#, &[(codes::MISSING_FIELD, "/data/case_id")]),
        ("case.changed", r#"{"case_id":"a","case_id":null}"#, &[(codes::MISSING_FIELD, "/data/case_id")]),
        ("case.changed", r#"{"case_id":7}"#, &[(codes::WRONG_TYPE, "/data/case_id")]),
        ("case.changed", r#"{"case_id":true}"#, &[(codes::WRONG_TYPE, "/data/case_id")]),
        ("case.changed", r#"{"case_id":["c"]}"#, &[(codes::WRONG_TYPE, "/data/case_id")]),
        ("case.changed", r#"{"case_id":{"c":1}}"#, &[(codes::WRONG_TYPE, "/data/case_id")]),
        ("case.changed", "[]", &[(codes::WRONG_TYPE, "/data")]),
        ("case.changed", "7", &[(codes::WRONG_TYPE, "/data")]),
        ("case.changed", r#"{"case_id":"c","status":"shut"}"#, &[(codes::NOT_PERMITTED, "/data/status")]),
        ("case.changed", r#"{"case_id":"\u0000"}"#, &[(codes::NUL_CHARACTER, "/data/case_id")]),
        ("case.changed", r#"{"case_id":"c","x":["\u0000"]}"#, &[(codes::NUL_CHARACTER, "/data/x/0")]),
        ("case.changed", r#"{"case_id":"c","x/y":{"a~b":"\u0000"}}"#, &[(codes::NUL_CHARACTER, "/data/x~1y/a~0b")]),
        ("case.changed", r#"{"case_id":"c","\u0000":1}"#, &[(codes::NUL_CHARACTER, "/data")]),
        ("case.changed", r#"{"case_id":"c","x":"\ud800"}"#, &[(codes::MALFORMED_JSON, "/data/x")]),
        ("case.changed", r#"{"case_id":"\ud800"}"#, &[(codes::MALFORMED_JSON, "/data")]),
        ("case.escalated", r#"{"case_id":"c","level":1.5}"#, &[(codes::WRONG_TYPE, "/data/level")]),
        ("case.escalated", r#"{"case_id":"c","level":"1"}"#, &[(codes::WRONG_TYPE, "/data/level")]),
        ("case.escalated", r#"{"case_id":"c","level":99999999999999999999}"#, &[(codes::OUT_OF_RANGE, "/data/level")]),
        ("case.escalated", r#"{"case_id":"c","level":-1}"#, &[(codes::OUT_OF_RANGE, "/data/level")]),
        (
            "opportunity.changed",
            r#"{"opportunity_id":"c","probability":1.01}"#,
            &[(codes::OUT_OF_RANGE, "/data/probability")],
        ),
        (
            "opportunity.changed",
            r#"{"opportunity_id":"c","probability":-1e-3}"#,
            &[(codes::OUT_OF_RANGE, "/data/probability")],
        ),
        (
            "opportunity.changed",
            r#"{"opportunity_id":"c","probability":1e999}"#,
            &[(codes::BAD_DECIMAL, "/data/probability")],
        ),
        (
            "opportunity.changed",
            r#"{"opportunity_id":"c","probability":"1"}"#,
            &[(codes::WRONG_TYPE, "/data/probability")],
        ),
        (
            "opportunity.changed",
            r#"{"opportunity_id":"c","expected_close":"soon"}"#,
            &[(codes::BAD_TIME, "/data/expected_close")],
        ),
        (
            "opportunity.changed",
            r#"{"opportunity_id":"c","expected_close":7}"#,
            &[(codes::WRONG_TYPE, "/data/expected_close")],
        ),
        (
            "opportunity.changed",
            r#"{"opportunity_id":"c","amount":{"amount_minor":1,"currency":"eur"}}"#,
            &[(codes::BAD_CURRENCY, "/data/amount/currency")],
        ),
        (
            "identity.link.asserted",
            r#"{"left":"a@b.c","right":"phone:"}"#,
            &[(codes::BAD_IDENTIFIER, "/data/left"), (codes::BAD_IDENTIFIER, "/data/right")],
        ),
        (
            "com.acme.x",
            r#"{"a":["\u0000",{"b":"\u0000"}]}"#,
            &[(codes::NUL_CHARACTER, "/data/a/0"), (codes::NUL_CHARACTER, "/data/a/1/b")],
        ),
        ("com.acme.x", &format!("[{deep}]"), &[(codes::TOO_DEEP, &("/data".to_string() + &"/0".repeat(63)))]),
        ("customer.profile.updated", r#"{"fields":[1]}"#, &[(codes::WRONG_TYPE, "/data/fields")]),
    ];
    for (name, data, want) in cases {
        check(with_data(name, data), want);
    }
    check("[]".into(), &[(codes::WRONG_TYPE, "")]);
    check("null".into(), &[(codes::WRONG_TYPE, "")]);
    check("{".into(), &[(codes::MALFORMED_JSON, "")]);
    check(event("x.y", r#","Tenant":1"#), &[(codes::BAD_ATTRIBUTE_NAME, "/Tenant")]);
    check(event("x.y", r#","a_/b":1"#), &[(codes::BAD_ATTRIBUTE_NAME, "/a_~1b")]);
    check(event("x.y", r#","tenant":{"a":1}"#), &[(codes::WRONG_TYPE, "/tenant")]);
    check(event("x.y", r#","tenant":"\u0000""#), &[(codes::NUL_CHARACTER, "/tenant")]);
    check(event("x.y", r#","time":"yesterday""#), &[(codes::BAD_TIME, "/time")]);
    check(event("x.y", r#","sequence":1.5"#), &[(codes::WRONG_TYPE, "/sequence")]);
    check(event("x.y", r#","data_base64":"?""#), &[(codes::BAD_BASE64, "/data_base64")]);
    check(event("x.y", r#","data_base64":7"#), &[(codes::WRONG_TYPE, "/data_base64")]);
    check(event("x.y", r#","data":1,"data_base64":"AA==""#), &[(codes::CONFLICTING_DATA, "/data_base64")]);
    check(event("case.changed", r#","data_base64":"e30=""#), &[(codes::WRONG_TYPE, "/data_base64")]);
    check(event("io.rapport.log.created", ""), &[(codes::NOT_PERMITTED, "/type")]);
    assert_eq!(seen, BTreeSet::from(codes::ALL));
}

#[test]
fn all_faults_of_an_event_in_words() {
    let event = r#"{"specversion":"0.3","id":7,"source":"s","type":"order.placed","data":{
        "lines":[{"sku":"A","quantity":"2","unit_price":{"amount_minor":"5","currency":null}},null,3,{},{"sku":"B","quantity":1}],
        "total":[]}}"#;
    let want = [
        "wrong_type /id: id must be a string",
        "not_permitted /specversion: specversion must be one of: 1.0",
        "wrong_type /data/lines/0/quantity: lines/0/quantity must be a number",
        "wrong_type /data/lines/0/unit_price/amount_minor: lines/0/unit_price/amount_minor must be an integer",
        "missing_field /data/lines/0/unit_price/currency: lines/0/unit_price/currency is required for order.placed",
        "wrong_type /data/lines/1: lines/1 must not be null",
        "wrong_type /data/lines/2: lines/2 must be an object",
        "missing_field /data/lines/3/sku: lines/3/sku is required for order.placed",
        "missing_field /data/lines/3/quantity: lines/3/quantity is required for order.placed",
        "wrong_type /data/total: total must be an object",
        "missing_field /data/order_id: order_id is required for order.placed",
        "missing_field /data/lines/4: lines/4 must have unit_price or total",
    ];
    assert_eq!(lines(event), want);
    let want = ["id", "source", "specversion", "type"];
    let mut found: Vec<_> = lines("{}");
    found.sort();
    let want = want.map(|n| format!("missing_field /{n}: {n} is required for an event"));
    assert_eq!(found, want);
    let found = lines("{\"a\":\n?}");
    assert_eq!(found, ["malformed_json : the event is not JSON: expected value at line 2 column 1"]);
    assert_eq!(json::read::<Interaction>(b"{\"a\":\"\xff\"}").unwrap_err()[0].code, codes::MALFORMED_JSON);
}

#[test]
fn faults_are_bounded() {
    let many = vec!["null"; 1000].join(",");
    let event = with_data("quote.withdrawn", &format!(r#"{{"quote_id":"q","lines":[{many}]}}"#));
    assert_eq!(faults(&event).len(), json::FAULTS_MAX);
}

#[test]
fn depth_never_exhausts_the_stack() {
    for open in ["[", r#"{"a":"#] {
        let (n, close) = (200_000, if open == "[" { "]" } else { "}" });
        let nested = open.repeat(n) + "1" + &close.repeat(n);
        for name in ["com.acme.x", "case.changed"] {
            faults(&with_data(name, &nested));
            faults(&with_data(name, &format!(r#"{{"case_id":"c","x":{nested}}}"#)));
        }
        faults(&with_data("case.changed", &format!(r#"{{"case_id":{nested}}}"#)));
        faults(&event("x.y", &format!(r#","tenant":{nested}"#)));
        faults(&nested);
    }
}

#[test]
fn a_source_may_keep_its_bare_names() {
    let is_foreign = |source: &str| source == "s";
    let reading = Reading { is_foreign: Some(&is_foreign) };
    let read = |event: String| {
        let read: Interaction = json::read_with(event.as_bytes(), reading)?;
        Ok::<_, Vec<Fault>>(read.type_info().map(|t| t.name))
    };
    assert_eq!(read(with_data("order.placed", "{}")), Ok(None));
    let ours = with_data("io.rapport.order.cancelled", r#"{"order_id":"o"}"#);
    assert_eq!(read(ours), Ok(Some("order.cancelled")));
}
