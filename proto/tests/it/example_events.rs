//! An event of every type with all its known fields, made from the catalogue.

use rapport_proto::catalogue::{self, FieldInfo, FieldKind, TypeInfo};
use serde_json::{Map, Value, json};

/// One event of each type, in order of the names, in the JSON that the writer makes.
pub(crate) fn all() -> Vec<(&'static TypeInfo, Value)> {
    let events = catalogue::all().iter().map(|info| (info, event(info)));
    events.collect()
}

fn event(info: &TypeInfo) -> Value {
    let mut event = object(catalogue::attributes());
    event["type"] = info.full_name().into();
    event["subject"] = "email:ada@example.org".into();
    event["data"] = object(info.fields);
    event["data"]["unknown"] = json!({"a": "é", "b": [1.5, null]});
    // Extension attributes come last.
    event["tenant"] = "acme".into();
    event
}

fn object(fields: &[FieldInfo]) -> Value {
    let entries = fields.iter().map(|f| (f.name.to_string(), field(f)));
    entries.collect::<Map<_, _>>().into()
}

fn field(field: &FieldInfo) -> Value {
    match field.is_list {
        true => json!([item(field), item(field)]),
        false => item(field),
    }
}

fn item(field: &FieldInfo) -> Value {
    if let Some(text) = field.permitted.last() {
        return (*text).into();
    }
    match field.kind {
        FieldKind::Text => format!("{} ü", field.name).into(),
        FieldKind::Currency => "EUR".into(),
        FieldKind::Identifier => format!("{}:1", field.name).into(),
        FieldKind::Day => "2026-12-24".into(),
        FieldKind::Clock => "09:30".into(),
        FieldKind::Token => 7.into(),
        FieldKind::Decimal => json!(0.75),
        FieldKind::Integer if field.max.is_some() => field.max.into(),
        FieldKind::Integer => 9_007_199_254_740_993_i64.into(),
        FieldKind::Flag => true.into(),
        FieldKind::Time => "2026-03-01T10:00:00.250Z".into(),
        FieldKind::Date => "2026-03-01T00:00:00Z".into(),
        FieldKind::OpenObject => json!({"a": {"b": "1.0"}, "name": "Ada"}),
        FieldKind::AnyJson => json!([{"brand": "x"}]),
        FieldKind::Object(fields) => object(fields),
    }
}
