//! The JSON Schemas: each accepts its type's example, and what the reader misses the schema misses.

use crate::example_events;
use rapport_proto::schema::json_schema;
use rapport_proto::{json, v1};
use serde_json::Value;

/// Enough of JSON Schema for our own: the pointers that do not fit.
fn misfits(schema: &Value, value: &Value, at: &str, found: &mut Vec<String>) {
    let is = |name: &str| match name {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "number" => value.is_number(),
        "integer" => value.is_i64() || value.is_u64(),
        "boolean" => value.is_boolean(),
        "null" => value.is_null(),
        other => panic!("no type {other}"),
    };
    let fits_type = match &schema["type"] {
        Value::Null => true,
        Value::Array(names) => names.iter().any(|n| is(n.as_str().unwrap())),
        name => is(name.as_str().unwrap()),
    };
    let fits_enum = schema["enum"].as_array().is_none_or(|texts| texts.contains(value));
    if !fits_type || !fits_enum {
        found.push(at.into());
    }
    for name in schema["required"].as_array().into_iter().flatten() {
        let name = name.as_str().unwrap();
        if value.get(name).is_none() {
            found.push(format!("{at}/{name}"));
        }
    }
    for (key, value) in value.as_object().into_iter().flatten() {
        let known = schema["properties"].get(key).unwrap_or(&schema["additionalProperties"]);
        misfits(known, value, &format!("{at}/{key}"), found);
    }
    for (i, value) in value.as_array().into_iter().flatten().enumerate() {
        misfits(&schema["items"], value, &format!("{at}/{i}"), found);
    }
}

#[test]
fn every_example_fits_its_schema() {
    for (info, example) in example_events::all() {
        let schema = json_schema(info.name).unwrap();
        let mut found = Vec::new();
        misfits(&schema, &example, "", &mut found);
        assert_eq!(found, [""; 0], "{}", info.name);
        assert_eq!(json_schema(&info.full_name()), Some(schema));
    }
    assert_eq!(json_schema("com.acme.x"), None);
}

#[test]
fn schema_and_reader_miss_the_same_fields() {
    for (info, mut example) in example_events::all() {
        example["data"] = serde_json::json!({});
        let mut by_schema = Vec::new();
        misfits(&json_schema(info.name).unwrap(), &example, "", &mut by_schema);
        let faults = json::read::<v1::Interaction>(example.to_string().as_bytes()).unwrap_err();
        let mut by_reader: Vec<_> = faults.into_iter().map(|f| f.pointer).collect();
        by_schema.sort();
        by_reader.sort();
        assert_eq!(by_schema, by_reader, "{}", info.name);
    }
}
