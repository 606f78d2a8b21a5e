//! JSON Schema (draft 2020-12) of an event, from the same options that the reader is generated from.

use crate::catalogue::{self, FieldInfo, FieldKind, PREFIX, TypeInfo};
use serde_json::{Map, Value, json};

/// The schema of a whole event of that type, bare or with its prefix; `None` for a type that is not in the catalogue.
///
/// The reader accepts what the schema does, and `null` for whatever is not required.
pub fn json_schema(type_name: &str) -> Option<Value> {
    let info = catalogue::by_name(type_name)?;
    let mut envelope = object(catalogue::attributes());
    envelope["properties"]["type"] = json!({"enum": [info.full_name(), info.name]});
    envelope["properties"]["data"] = data(info);
    // Absent data is empty data.
    if info.fields.iter().any(|f| f.required) {
        push(&mut envelope["required"], "data");
    }
    // Extension attributes: CloudEvents allows them no structure.
    envelope["additionalProperties"] = json!({"type": ["string", "number", "boolean", "null"]});
    envelope["propertyNames"] = json!({"pattern": "^[a-z0-9]+$"});
    let mut schema = Map::new();
    let dialect = "https://json-schema.org/draft/2020-12/schema";
    schema.insert("$schema".into(), dialect.into());
    schema.insert("$id".into(), format!("urn:{PREFIX}{}", info.name).into());
    schema.insert("title".into(), info.name.into());
    if let Value::Object(envelope) = envelope {
        schema.extend(envelope);
    }
    Some(schema.into())
}

fn data(info: &TypeInfo) -> Value {
    let mut data = object(info.fields);
    data["description"] = info.doc.into();
    data
}

fn object(fields: &'static [FieldInfo]) -> Value {
    let properties: Map<String, Value> = fields.iter().map(|field| (field.name.to_string(), property(field))).collect();
    let required: Vec<_> = fields.iter().filter(|f| f.required).map(|f| f.name).collect();
    json!({"type": "object", "properties": properties, "required": required})
}

fn property(field: &FieldInfo) -> Value {
    let mut schema = match field.is_list {
        true => json!({"type": "array", "items": item(field)}),
        false => item(field),
    };
    if field.is_list && field.required && !field.may_be_empty {
        schema["minItems"] = 1.into();
    }
    if !field.doc.is_empty() {
        schema["description"] = field.doc.into();
    }
    schema
}

fn item(field: &FieldInfo) -> Value {
    let mut schema = match field.kind {
        FieldKind::Text => json!({"type": "string"}),
        FieldKind::Currency => json!({"type": "string", "pattern": "^[A-Z]{3}$"}),
        FieldKind::Identifier => {
            json!({"type": "string", "pattern": "^[^:]*[^:\\s][^:]*:[\\s\\S]*\\S"})
        }
        FieldKind::Day => json!({"type": "string", "format": "date"}),
        FieldKind::Clock => {
            json!({"type": "string", "pattern": "^(([01][0-9]|2[0-3]):[0-5][0-9]|24:00)$"})
        }
        FieldKind::Token => json!({"type": ["string", "integer"]}),
        FieldKind::Decimal => json!({"type": "number"}),
        FieldKind::Integer => json!({"type": "integer", "minimum": i64::MIN, "maximum": i64::MAX}),
        FieldKind::Flag => json!({"type": "boolean"}),
        FieldKind::Time => json!({"type": "string", "format": "date-time"}),
        FieldKind::Date => {
            json!({"type": "string", "anyOf": [{"format": "date"}, {"format": "date-time"}]})
        }
        FieldKind::OpenObject => json!({"type": "object"}),
        FieldKind::AnyJson => json!({}),
        FieldKind::Object(fields) => object(fields),
    };
    if !field.permitted.is_empty() {
        schema["enum"] = field.permitted.into();
    } else if field.required && !field.may_be_empty && matches!(field.kind, FieldKind::Text) {
        schema["pattern"] = "\\S".into();
    }
    if let Some(min) = field.min {
        schema["minimum"] = min.into();
    }
    if let Some(max) = field.max {
        schema["maximum"] = max.into();
    }
    if !field.item_needs.is_empty() {
        let each = field.item_needs.iter().map(|name| json!({"required": [name]}));
        schema["anyOf"] = each.collect();
    }
    schema
}

fn push(list: &mut Value, item: &str) {
    if let Value::Array(list) = list {
        list.push(item.into());
    }
}
