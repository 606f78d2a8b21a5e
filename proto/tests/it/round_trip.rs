//! JSON -> message -> bytes -> message -> JSON gives back what came in.

use proptest::prelude::*;
use prost::Message;
use rapport_proto::catalogue::{self, FieldInfo, FieldKind};
use rapport_proto::json;
use rapport_proto::v1::Interaction;
use rapport_proto::v1::interaction::Data;
use serde_json::Value;
use serde_json::value::RawValue;
use std::collections::BTreeMap;

/// The JSON after a way through the log, and the bytes there.
fn through_the_log(event: &str) -> (String, Vec<u8>) {
    let read: Interaction = json::read(event.as_bytes()).unwrap_or_else(|f| panic!("{f:?}: {event}"));
    let bytes = read.encode_to_vec();
    let decoded = Interaction::decode(&*bytes).unwrap();
    assert_eq!(decoded, read);
    (String::from_utf8(json::write(&decoded, Vec::new())).unwrap(), bytes)
}

fn event(name: &str, data: &str) -> String {
    format!(r#"{{"specversion":"1.0","id":"1","source":"s","type":"{name}","data":{data}}}"#)
}

/// The same JSON comes back, key for key.
fn kept(name: &str, data: &str) {
    let event = event(name, data);
    assert_eq!(through_the_log(&event).0, event);
}

#[test]
fn what_is_kept() {
    kept("io.rapport.order.placed", r#"{"order_id":"o","lines":[]}"#);
    kept(
        "io.rapport.case.changed",
        r#"{"case_id":"c","topic":"","x":{"digits":[1.50,1e2,-0,12345678901234567890.10]}}"#,
    );
    kept(
        "io.rapport.opportunity.changed",
        r#"{"opportunity_id":"o","probability":0.50,"expected_close":"2026-06-30"}"#,
    );
    kept(
        "io.rapport.callback.requested",
        r#"{"callback_id":"c","number":"1","due_at":"2026-06-30T10:00:00.10+02:00","x":1}"#,
    );
    kept("io.rapport.web.search.performed", r#"{"query":"q","results":0,"filters":[1.0,{"a":2}]}"#);
    kept("io.rapport.web.form.submitted", r#"{"form_id":"f","fields":{}}"#);
    kept("io.rapport.case.opened", r#"{"case_id":"c","title":"t\u0001\"","priority":"low"}"#);
    kept("com.acme.x", r#"[1,{"a":2.0}]"#);
    kept("com.acme.x", r#""text""#);
    kept("com.acme.x", "{}");
}

#[test]
fn what_is_put_into_normal_form() {
    let check = |event: &str, want: &str| {
        let (written, bytes) = through_the_log(event);
        assert_eq!(written, want);
        assert_eq!(through_the_log(&written), (written, bytes));
    };
    check(
        r#"{"type":"case.changed","source":"s","zone":"b","id":"1","specversion":"1.0","sequence":"7","area":1.0,"actor":null,"void":null,
            "time":"2026-03-01T12:00:00.1234567+02:00","data":{"z":1,"b":{"d":[ ],"c":"\u00e9"},"a":1,"a":2,"case_id":"x","case_id":"c","topic":null}}"#,
        r#"{"specversion":"1.0","id":"1","source":"s","type":"io.rapport.case.changed","time":"2026-03-01T10:00:00.123456Z","sequence":"7","data":{"case_id":"c","a":2,"b":{"c":"é","d":[]},"z":1},"area":1.0,"zone":"b"}"#,
    );
    check(
        r#"{"specversion":"1.0","id":"1","source":"s","type":"com.acme.x","sequence":12345678901234567890,"data_base64":"AAE"}"#,
        r#"{"specversion":"1.0","id":"1","source":"s","type":"com.acme.x","sequence":12345678901234567890,"data_base64":"AAE="}"#,
    );
    // Of two equal keys the last counts, with whatever note the first has left.
    check(
        &event(
            "callback.requested",
            r#"{"callback_id":"c","number":"1","due_at":"2026-06-30T10:00:00+02:00","due_at":"2026-06-30T10:00:00Z"}"#,
        ),
        &event("io.rapport.callback.requested", r#"{"callback_id":"c","number":"1","due_at":"2026-06-30T10:00:00Z"}"#),
    );
    check(
        &event(
            "order.placed",
            r#"{"order_id":"o","lines":[],"lines":[{"sku":"A","quantity":1,"total":{"amount_minor":1,"currency":"EUR"}}],"lines":[],"tax":{"amount_minor":1,"currency":"EUR"},"tax":null}"#,
        ),
        &event("io.rapport.order.placed", r#"{"order_id":"o","lines":[]}"#),
    );
}

#[test]
fn data_of_custom_types() {
    let read = |rest: &str| {
        let event = format!(r#"{{"specversion":"1.0","id":"1","source":"s","type":"com.acme.x"{rest}}}"#);
        json::read::<Interaction>(event.as_bytes()).unwrap().data
    };
    assert_eq!(read(""), None);
    assert_eq!(read(r#","data":null"#), None);
    assert_eq!(read(r#","data":{"b":1,"a":2}"#), Some(Data::Custom(br#"{"a":2,"b":1}"#.to_vec())));
    assert_eq!(read(r#","data_base64":"""#), Some(Data::CustomBinary(Vec::new())));
    assert_eq!(read(r#","data_base64":"aGk=","data":null"#), Some(Data::CustomBinary(b"hi".to_vec())));
}

/// Any JSON, as text: numbers of any digits, keys that may be equal to known ones.
fn any_json() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        Just("null".to_string()),
        any::<bool>().prop_map(|b| b.to_string()),
        "-?(0|[1-9][0-9]{0,30})(\\.[0-9]{1,20})?([eE][+-]?[0-9]{1,2})?",
        "[^\u{0}]{0,8}".prop_map(|s| Value::from(s).to_string()),
    ];
    leaf.prop_recursive(4, 32, 5, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(|v| format!("[{}]", v.join(", "))),
            object_of(prop::collection::btree_map("[^\u{0}]{0,4}", inner, 0..4)),
        ]
    })
}

fn object_of(entries: impl Strategy<Value = BTreeMap<String, String>>) -> impl Strategy<Value = String> {
    entries.prop_map(|entries| {
        let entries = entries.iter().rev(); // not in canonical order
        let entries: Vec<_> = entries.map(|(k, v)| format!("{}: {v}", Value::from(k.as_str()))).collect();
        format!("{{{}}}", entries.join(" ,"))
    })
}

fn any_object() -> impl Strategy<Value = String> {
    object_of(prop::collection::btree_map("[a-z]{1,3}_[^\u{0}]{0,4}", any_json(), 0..4))
}

fn any_time() -> impl Strategy<Value = String> {
    let offset = prop_oneof![Just("Z".to_string()), "[+-](0[0-9]|1[0-2]):[0-5][0-9]"];
    let second = "(19|20)[0-9]{2}-(0[1-9]|1[0-2])-(0[1-9]|1[0-9]|2[0-8])T([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](\\.[0-9]{1,9})?";
    (second, offset).prop_map(|(s, o)| format!("\"{s}{o}\""))
}

/// Values that a field takes.
fn value_of(field: &'static FieldInfo) -> BoxedStrategy<String> {
    let text = |s: String| Value::from(s).to_string();
    let (min, max) = (field.min.unwrap_or(i64::MIN), field.max.unwrap_or(i64::MAX));
    let item = match field.kind {
        _ if !field.permitted.is_empty() => {
            prop::sample::select(field.permitted).prop_map(move |t| text(t.into())).boxed()
        }
        FieldKind::Text => "[^\u{0}]{0,6}x".prop_map(text).boxed(),
        FieldKind::Currency => "[A-Z]{3}".prop_map(text).boxed(),
        FieldKind::Identifier => "[a-z]{1,4}:[^\u{0}]{0,6}x".prop_map(text).boxed(),
        FieldKind::Day => Just("\"2026-02-28\"".to_string()).boxed(),
        FieldKind::Clock => Just("\"24:00\"".to_string()).boxed(),
        FieldKind::Token => any::<u64>().prop_map(|n| n.to_string()).boxed(),
        FieldKind::Decimal if field.min.is_some() => "0\\.[0-9]{1,9}0?".boxed(),
        FieldKind::Decimal => "-?(0|[1-9][0-9]{0,17})(\\.[0-9]{1,9})?".boxed(),
        FieldKind::Integer => (min..=max).prop_map(|n| n.to_string()).boxed(),
        FieldKind::Flag => any::<bool>().prop_map(|b| b.to_string()).boxed(),
        FieldKind::Time => any_time().boxed(),
        FieldKind::Date => prop_oneof![any_time(), Just("\"2026-06-30\"".to_string())].boxed(),
        FieldKind::OpenObject => any_object().boxed(),
        FieldKind::AnyJson => any_json().prop_filter("null is absence", |j| j != "null").boxed(),
        FieldKind::Object(fields) => object_with(fields).boxed(),
    };
    match field.is_list {
        true => {
            let least = usize::from(field.required && !field.may_be_empty);
            let lists = prop::collection::vec(item, least..3);
            lists.prop_map(|v| format!("[{}]", v.join(","))).boxed()
        }
        false => item,
    }
}

/// An object with the required, some of the other and some unknown fields.
fn object_with(fields: &'static [FieldInfo]) -> BoxedStrategy<String> {
    let known: Vec<_> = fields
        .iter()
        .map(|f| {
            let needed = f.required || f.name == "total";
            let value = match needed {
                true => value_of(f).prop_map(Some).boxed(),
                false => prop::option::of(value_of(f)).boxed(),
            };
            (Just(f.name), value)
        })
        .collect();
    let unknown = prop::collection::btree_map("[a-z]{1,3}_[^\u{0}]{0,4}", any_json(), 0..3);
    (known, unknown)
        .prop_map(|(known, mut all)| {
            let known = known.into_iter().filter_map(|(k, v)| Some((k.to_string(), v?)));
            all.extend(known);
            let entries: Vec<_> = all.iter().map(|(k, v)| format!("{}:{v}", Value::from(k.as_str()))).collect();
            format!("{{{}}}", entries.join(","))
        })
        .boxed()
}

/// Equal as JSON, numbers digit for digit.
fn same(a: &RawValue, b: &RawValue) -> bool {
    let (left, right) = (a.get(), b.get());
    let as_map = serde_json::from_str::<BTreeMap<String, &RawValue>>;
    let as_list = serde_json::from_str::<Vec<&RawValue>>;
    match left.as_bytes()[0] {
        b'{' => {
            let (Ok(left), Ok(right)) = (as_map(left), as_map(right)) else { return false };
            left.len() == right.len() && left.iter().all(|(k, v)| right.get(k).is_some_and(|w| same(v, w)))
        }
        b'[' => {
            let (Ok(left), Ok(right)) = (as_list(left), as_list(right)) else { return false };
            left.len() == right.len() && left.iter().zip(right).all(|(v, w)| same(v, w))
        }
        b'"' => {
            let text = serde_json::from_str::<String>;
            text(left).unwrap() == text(right).unwrap_or_default()
        }
        _ => left == right,
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 700, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn data_comes_back(
        (name, data) in prop::sample::select(catalogue::all().iter().collect::<Vec<_>>())
            .prop_flat_map(|t| (Just(t.name), object_with(t.fields)))
    ) {
        let (written, _) = through_the_log(&event(name, &data));
        let written: BTreeMap<String, &RawValue> = serde_json::from_str(&written).unwrap();
        let sent: &RawValue = serde_json::from_str(&data).unwrap();
        prop_assert!(same(sent, written["data"]), "{sent}\n{}", written["data"]);
    }

    #[test]
    fn custom_data_comes_back_in_one_form(data in any_json()) {
        let (written, bytes) = through_the_log(&event("com.acme.x", &data));
        let parts: BTreeMap<String, &RawValue> = serde_json::from_str(&written).unwrap();
        let sent: &RawValue = serde_json::from_str(&data).unwrap();
        prop_assert!(data == "null" || same(sent, parts["data"]), "{sent}\n{written}");
        prop_assert_eq!(through_the_log(&written), (written, bytes));
    }

    #[test]
    fn nothing_panics(text in "[\\[\\]{}\",:0-9a-z\\\\u ]{0,40}", bytes in prop::collection::vec(any::<u8>(), 0..60)) {
        let _ = json::read::<Interaction>(text.as_bytes());
        let _ = json::read::<Interaction>(event("case.changed", &text).as_bytes());
        let _ = json::read::<Interaction>(event("com.acme.x", &text).as_bytes());
        if let Ok(decoded) = Interaction::decode(&*bytes) {
            json::write(&decoded, Vec::new());
            let _ = (decoded.summary(), decoded.entities(), decoded.sequence_text());
        }
    }
}
