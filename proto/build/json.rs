//! For each message an `impl Json` (reading) and an `impl ToJson` (writing).

use crate::model::{EventType, Field, Message, Model, Shape};
use std::fmt::Write as _;

/// The source of `json.gen.rs`.
pub(crate) fn generate(model: &Model) -> String {
    let mut code = String::new();
    for message in &model.messages {
        let parts = [
            "fn member<A: MapAccess<'de>>(&mut self, key: Cow<'de, str>, m: &mut A, cx: &mut Cx<'de>) -> Result<(), A::Error> {\n",
            &read(message),
            "}\nfn finish(&mut self, cx: &mut Cx<'de>) {\n",
            &finish(message, &model.types),
            "}\n",
        ];
        let name = &message.name;
        let _ = writeln!(code, "impl<'de> Json<'de> for {name} {{\n{}}}", parts.concat());
        let members = write(message, &model.types);
        let _ = writeln!(code, "impl ToJson for {name} {{\nfn members(&self, w: &mut Out) {{\n{members}}}\n}}");
    }
    code
}

/// One arm for each key.
fn read(message: &Message) -> String {
    let mut arms = String::new();
    for field in &message.fields {
        let (key, ident) = (&field.key, &field.ident);
        let target = format!("&mut self.{ident}");
        let call = match (&field.shape, field.is_list) {
            // A list that is empty, and a time not in normal form, leave a note in extra_json.
            (_, true) => format!("list({key:?}, {target}, &mut self.extra_json, m)"),
            (Shape::Time, _) if message.is_envelope => format!("field({key:?}, Time({target}), m)"),
            (Shape::Time, _) => format!("time({key:?}, false, {target}, &mut self.extra_json, m)"),
            (Shape::Date, _) => format!("time({key:?}, true, {target}, &mut self.extra_json, m)"),
            (Shape::Decimal, _) => format!("field({key:?}, Decimal({target}), m)"),
            (Shape::Token, _) => format!("field({key:?}, Token({target}), m)"),
            (Shape::OpenObject, _) => format!("field({key:?}, OpenObject({target}), m)"),
            (Shape::AnyJson, _) => format!("field({key:?}, AnyJson({target}), m)"),
            _ => format!("field({key:?}, {target}, m)"),
        };
        let _ = writeln!(arms, "{key:?} => cx.{call},");
    }
    let rest = if message.is_envelope {
        arms += "\"data\" => cx.keep_data(m),\n\"data_base64\" => cx.keep_base64(m),\n";
        "extension"
    } else {
        "unknown"
    };
    format!("match &*key {{\n{arms}_ => cx.{rest}(key, &mut self.extra_json, m),\n}}\n")
}

/// What can be said only when every key was read.
fn finish(message: &Message, types: &[EventType]) -> String {
    let mut code = String::from("cx.close_extra(&mut self.extra_json);\n");
    for field in &message.fields {
        checks(field, &mut code);
    }
    if message.is_envelope {
        code += "self.data = match cx.resolve(&mut self.r#type, self.source.as_deref()) {\n";
        for (i, t) in types.iter().enumerate() {
            let _ = writeln!(code, "Some({i}) => Some(interaction::Data::{}(cx.body({:?}))),", t.variant, t.name);
        }
        code += "_ => cx.custom(),\n};\n";
    }
    code
}

fn checks(field: &Field, code: &mut String) {
    let (key, ident) = (&field.key, &field.ident);
    let mut say = |line: String| code.push_str(&(line + "\n"));
    let is_bytes = matches!(field.shape, Shape::OpenObject | Shape::AnyJson);
    if field.required {
        let is_text = matches!(field.shape, Shape::Text | Shape::Currency | Shape::Identifier);
        say(match (field.is_list, field.may_be_empty) {
            (true, false) => format!("cx.required({key:?}, self.{ident}.is_empty());"),
            (true, true) => {
                format!("cx.required_list({key:?}, self.{ident}.is_empty(), &self.extra_json);")
            }
            _ if is_bytes => format!("cx.required({key:?}, self.{ident}.is_empty());"),
            (_, false) if is_text => format!("cx.required_text({key:?}, &self.{ident});"),
            _ => format!("cx.required({key:?}, self.{ident}.is_none());"),
        });
    }
    let check = match field.shape {
        Shape::Currency => Some("currency"),
        Shape::Identifier => Some("identifier"),
        Shape::Day => Some("day"),
        Shape::Clock => Some("clock"),
        _ => None,
    };
    if let Some(check) = check {
        let each = if field.is_list { "check_each" } else { "check" };
        say(format!("cx.{each}({key:?}, &self.{ident}, checks::{check});"));
    }
    if !field.one_of.is_empty() {
        say(format!("cx.one_of({key:?}, &self.{ident}, &{:?});", field.one_of));
    }
    if field.min.is_some() || field.max.is_some() {
        let (min, max) = (&field.min, &field.max);
        say(format!("cx.range({key:?}, &self.{ident}, {min:?}, {max:?});"));
    }
    if !field.item_needs.is_empty() {
        let absent: Vec<_> = field.item_needs.iter().map(|n| format!("v.{n}.is_none()")).collect();
        let names = field.item_needs.join(" or ");
        say(format!(
            "for (i, v) in self.{ident}.iter().enumerate() {{ if {} {{ cx.item_needs({key:?}, i, {names:?}); }} }}",
            absent.join(" && ")
        ));
    }
}

fn write(message: &Message, types: &[EventType]) -> String {
    let mut code = String::new();
    for field in &message.fields {
        let (key, ident) = (&field.key, &field.ident);
        let call = match &field.shape {
            Shape::Time if message.is_envelope => format!("field({key:?}, Time(&self.{ident}))"),
            Shape::Time | Shape::Date => format!("time({key:?}, &self.{ident}, &self.extra_json)"),
            Shape::Decimal => format!("field({key:?}, Raw(&self.{ident}))"),
            Shape::Token => format!("field({key:?}, Raw(&self.{ident}))"),
            Shape::OpenObject | Shape::AnyJson => format!("raw({key:?}, &self.{ident})"),
            _ => format!("field({key:?}, &self.{ident})"),
        };
        let _ = writeln!(code, "w.{call};");
    }
    if message.is_envelope {
        code += "match &self.data {\nNone => {}\n";
        code += "Some(interaction::Data::Custom(v)) => w.raw(\"data\", v),\n";
        code += "Some(interaction::Data::CustomBinary(v)) => w.base64(\"data_base64\", v),\n";
        for t in types {
            let _ = writeln!(code, "Some(interaction::Data::{}(v)) => w.object(\"data\", v),", t.variant);
        }
        code += "}\n";
    }
    code + "w.extra(&self.extra_json);\n"
}
