//! The table of the types, and for each body an `impl Body`: what the timeline says of it.

use crate::model::{EventType, Field, Message, Mistake, Model, Shape};
use std::fmt::Write as _;

/// The source of `catalogue.gen.rs`.
pub(crate) fn generate(model: &Model) -> Result<String, Mistake> {
    let mut code = String::new();
    for message in &model.messages {
        let fields: String = message.fields.iter().map(field_info).collect();
        let _ = writeln!(code, "static {}: &[FieldInfo] = &[{fields}];", table(&message.name));
    }
    code += "pub(crate) static ENVELOPE_FIELDS: &[FieldInfo] = INTERACTION;\n";
    code += "pub(crate) static TYPES: &[TypeInfo] = &[\n";
    for t in &model.types {
        let body = model.message(&t.body)?;
        let _ = writeln!(
            code,
            "TypeInfo {{ name: {:?}, rank: {}, channel: {:?}, direction: {:?}, summary: {:?}, doc: {:?}, fields: {} }},",
            t.name,
            t.rank,
            t.channel,
            t.direction,
            t.summary,
            body.doc,
            table(&body.name)
        );
    }
    code += "];\n";
    for t in &model.types {
        code += &body(model.message(&t.body)?, t)?;
    }
    code += "impl v1::interaction::Data {\n";
    code += "pub(crate) fn body(&self) -> Option<(&'static TypeInfo, &dyn Body)> {\nmatch self {\n";
    code += "v1::interaction::Data::Custom(_) | v1::interaction::Data::CustomBinary(_) => None,\n";
    for (i, t) in model.types.iter().enumerate() {
        let _ = writeln!(code, "v1::interaction::Data::{}(v) => Some((&TYPES[{i}], v)),", t.variant);
    }
    code += "}\n}\n}\n";
    Ok(code)
}

/// The name of a message's table: `OrderPlaced` -> `ORDER_PLACED`.
fn table(message: &str) -> String {
    let mut name = String::new();
    for (i, c) in message.chars().enumerate() {
        if c.is_uppercase() && i > 0 {
            name.push('_');
        }
        name.extend(c.to_uppercase());
    }
    name
}

fn field_info(field: &Field) -> String {
    let kind = match &field.shape {
        Shape::Text => "Text".into(),
        Shape::Currency => "Currency".into(),
        Shape::Identifier => "Identifier".into(),
        Shape::Day => "Day".into(),
        Shape::Clock => "Clock".into(),
        Shape::Token => "Token".into(),
        Shape::Decimal => "Decimal".into(),
        Shape::Integer => "Integer".into(),
        Shape::Flag => "Flag".into(),
        Shape::Time => "Time".into(),
        Shape::Date => "Date".into(),
        Shape::OpenObject => "OpenObject".into(),
        Shape::AnyJson => "AnyJson".into(),
        Shape::Message(name) => format!("Object({})", table(name)),
    };
    format!(
        "\nFieldInfo {{ name: {:?}, doc: {:?}, kind: FieldKind::{kind}, is_list: {}, required: {}, may_be_empty: {}, permitted: &{:?}, min: {:?}, max: {:?}, entity: {:?}, item_needs: &{:?} }},",
        field.key,
        field.doc,
        field.is_list,
        field.required,
        field.may_be_empty,
        field.one_of,
        field.min,
        field.max,
        field.entity,
        field.item_needs,
    )
}

fn body(message: &Message, event: &EventType) -> Result<String, Mistake> {
    let mut code = format!("impl Body for v1::{} {{\n", message.name);
    let entities: String = message
        .fields_where(|f| f.entity.is_some())
        .map(|f| {
            let kind = f.entity.as_deref().unwrap_or_default();
            format!("if let Some(v) = self.{}.as_deref() && !v.is_empty() {{ to.push(({kind:?}, v)); }}\n", f.ident)
        })
        .collect();
    if !entities.is_empty() {
        let _ = writeln!(code, "fn entities<'a>(&'a self, to: &mut Vec<(&'static str, &'a str)>) {{\n{entities}}}");
    }
    for f in message.fields_where(|f| f.is_channel) {
        let _ = writeln!(code, "fn channel(&self) -> Option<&str> {{ self.{}.as_deref() }}", f.ident);
    }
    for f in message.fields_where(|f| f.is_direction) {
        let _ = writeln!(code, "fn direction(&self) -> Option<&str> {{ self.{}.as_deref() }}", f.ident);
    }
    let _ = writeln!(code, "fn summary(&self, line: &mut Line) {{\n{}}}\n}}", summary(message, event)?);
    Ok(code)
}

/// `Order {order_id} placed[ for {total}]` as calls on a `Line`.
fn summary(message: &Message, event: &EventType) -> Result<String, Mistake> {
    let mut code = String::new();
    let mut rest = event.summary.as_str();
    while !rest.is_empty() {
        if let Some(inner) = rest.strip_prefix('[') {
            let (part, after) = inner.split_once(']').ok_or(format!("{}: no ]", event.name))?;
            let (calls, fields) = sentence(message, part)?;
            let there: Vec<_> = fields.iter().map(|f| format!("Say::is_there(&self.{f})")).collect();
            let _ = writeln!(code, "if {} {{\n{calls}}}", there.join(" && "));
            rest = after;
        } else {
            let (part, _) = rest.split_at(rest.find('[').unwrap_or(rest.len()));
            code += &sentence(message, part)?.0;
            rest = &rest[part.len()..];
        }
    }
    Ok(code)
}

/// The calls for a part without brackets, and the fields it names.
fn sentence(message: &Message, part: &str) -> Result<(String, Vec<String>), Mistake> {
    let (mut code, mut fields) = (String::new(), Vec::new());
    for (i, piece) in part.split(['{', '}']).enumerate() {
        if i % 2 == 0 {
            if !piece.is_empty() {
                let _ = writeln!(code, "line.text({piece:?});");
            }
            continue;
        }
        let field = message.fields.iter().find(|f| f.key == piece);
        let field = field.ok_or(format!("{}: no field {piece} for its summary", message.name))?;
        let _ = writeln!(code, "line.say(&self.{});", field.ident);
        fields.push(field.ident.clone());
    }
    Ok((code, fields))
}
