//! The wire format against that of the last release: bytes once written must be read the same for ever.

use prost::Message;
use prost_types::{DescriptorProto, EnumDescriptorProto, FieldDescriptorProto, FileDescriptorSet};
use std::collections::BTreeMap;

/// What of `old`, a `FileDescriptorSet`, `new` breaks: one sentence each.
pub(crate) fn breaks(old: &[u8], new: &[u8]) -> Vec<String> {
    let (old, new) = (Contract::of(old), Contract::of(new));
    let mut breaks = Vec::new();
    for (name, old) in &old.messages {
        match new.messages.get(name) {
            Some(new) => fields(name, old, new, &mut breaks),
            None => breaks.push(format!("{name} is gone")),
        }
    }
    for (name, old) in &old.enums {
        let new = new.enums.get(name).map(numbers).unwrap_or_default();
        if numbers(old).iter().any(|value| !new.contains(value)) {
            breaks.push(format!("a value of {name} is gone or has another number"));
        }
    }
    breaks
}

struct Contract {
    messages: BTreeMap<String, DescriptorProto>,
    enums: BTreeMap<String, EnumDescriptorProto>,
}

impl Contract {
    fn of(descriptors: &[u8]) -> Self {
        let set = FileDescriptorSet::decode(descriptors).expect("a FileDescriptorSet");
        let files = set.file.into_iter().filter(|f| f.package() == "rapport.v1");
        let (mut messages, mut enums) = (BTreeMap::new(), BTreeMap::new());
        for file in files {
            let named = |m: DescriptorProto| (m.name().to_string(), m);
            messages.extend(file.message_type.into_iter().map(named));
            let named = |e: EnumDescriptorProto| (e.name().to_string(), e);
            enums.extend(file.enum_type.into_iter().map(named));
        }
        Contract { messages, enums }
    }
}

fn fields(name: &str, old: &DescriptorProto, new: &DescriptorProto, breaks: &mut Vec<String>) {
    let number_is_taken = |f: &FieldDescriptorProto| {
        let mut others = new.field.iter().filter(|n| n.name != f.name);
        others.any(|n| n.number == f.number)
    };
    for field in &old.field {
        let path = format!("{name}.{}", field.name());
        let same = new.field.iter().find(|f| f.name == field.name);
        match same {
            None => breaks.push(format!("{path} is gone")),
            Some(f) if f.number != field.number => {
                breaks.push(format!("{path} has another number"));
            }
            Some(f) if shape(f) != shape(field) => {
                breaks.push(format!("{path} has another type or name in JSON"));
            }
            Some(_) => {}
        }
        if number_is_taken(field) {
            breaks.push(format!("{path} has lost its number to another field"));
        }
    }
}

/// All that the bytes and the JSON of a field depend on.
fn shape(field: &FieldDescriptorProto) -> impl PartialEq {
    (
        field.r#type,
        field.type_name.clone(),
        field.label,
        field.json_name.clone(),
        field.oneof_index.is_some(),
        field.proto3_optional,
    )
}

fn numbers(e: &EnumDescriptorProto) -> Vec<(String, i32)> {
    let values = e.value.iter().map(|v| (v.name().to_string(), v.number()));
    values.collect()
}

#[test]
fn nothing_of_the_last_release_is_broken() {
    let released = include_bytes!("../../golden/released.bin");
    assert_eq!(breaks(released, rapport_proto::DESCRIPTORS), [""; 0]);
}

#[test]
fn a_break_is_found() {
    let check = |change: fn(&mut DescriptorProto), want: &[&str]| {
        let mut set = FileDescriptorSet::decode(rapport_proto::DESCRIPTORS).unwrap();
        let messages = set.file.iter_mut().flat_map(|f| &mut f.message_type);
        let mut money = messages.filter(|m| m.name() == "Money");
        change(money.next().unwrap());
        assert_eq!(breaks(rapport_proto::DESCRIPTORS, &set.encode_to_vec()), want);
    };
    check(|m| m.field[0].number = Some(9), &["Money.amount_minor has another number"]);
    check(|m| m.field[0].r#type = Some(5), &["Money.amount_minor has another type or name in JSON"]);
    check(
        |m| m.field[1].name = Some("unit".into()),
        &["Money.currency is gone", "Money.currency has lost its number to another field"],
    );
    check(|m| m.name = Some("Cash".into()), &["Money is gone"]);
    check(|m| m.field.push(FieldDescriptorProto::default()), &[]);
}
