//! The messages as the generators need them: plain structs, every option read, every mistake in the `.proto` found.

use prost_reflect::{
    DescriptorPool, DynamicMessage, ExtensionDescriptor, FieldDescriptor, Kind, MessageDescriptor, Value,
};
use std::collections::BTreeSet;

/// A mistake in a `.proto`, with the name of the message or field.
pub(crate) type Mistake = String;

/// All that is generated from.
pub(crate) struct Model {
    pub(crate) messages: Vec<Message>,
    /// In order of their names: an entry's place is its index.
    pub(crate) types: Vec<EventType>,
}

pub(crate) struct Message {
    pub(crate) name: String,
    pub(crate) doc: String,
    pub(crate) fields: Vec<Field>,
    /// The envelope, whose `data` is one of the types' bodies.
    pub(crate) is_envelope: bool,
}

pub(crate) struct Field {
    /// Of the Rust struct, escaped.
    pub(crate) ident: String,
    /// In JSON.
    pub(crate) key: String,
    pub(crate) doc: String,
    pub(crate) shape: Shape,
    pub(crate) is_list: bool,
    pub(crate) required: bool,
    pub(crate) may_be_empty: bool,
    pub(crate) one_of: Vec<String>,
    pub(crate) entity: Option<String>,
    pub(crate) is_channel: bool,
    pub(crate) is_direction: bool,
    pub(crate) min: Option<i64>,
    pub(crate) max: Option<i64>,
    pub(crate) item_needs: Vec<String>,
}

/// What a field holds.
#[derive(Clone, PartialEq)]
pub(crate) enum Shape {
    Text,
    Currency,
    Identifier,
    Day,
    Clock,
    Token,
    Decimal,
    Integer,
    Flag,
    Time,
    Date,
    OpenObject,
    AnyJson,
    Message(String),
}

pub(crate) struct EventType {
    pub(crate) name: String,
    /// Of its message.
    pub(crate) body: String,
    /// Of the enum `Data`.
    pub(crate) variant: String,
    pub(crate) rank: u16,
    pub(crate) channel: String,
    pub(crate) direction: String,
    pub(crate) summary: String,
}

impl Model {
    pub(crate) fn read(pool: &DescriptorPool) -> Result<Self, Mistake> {
        let options = Options(pool.clone());
        let mut messages = Vec::new();
        let mut types = Vec::new();
        for message in pool.all_messages() {
            let ours = message.package_name() == "rapport.v1";
            if !ours || ["EventType", "LogCreated"].contains(&message.name()) {
                continue;
            }
            messages.push(options.message(&message, &mut types)?);
        }
        types.sort_by(|a, b| a.name.cmp(&b.name));
        let ranks: BTreeSet<u16> = types.iter().map(|t| t.rank).collect();
        if ranks.len() != types.len() {
            return Err("two event types share a rank".into());
        }
        Ok(Model { messages, types })
    }

    pub(crate) fn message(&self, name: &str) -> Result<&Message, Mistake> {
        let found = self.messages.iter().find(|m| m.name == name);
        found.ok_or_else(|| format!("no message {name}"))
    }
}

impl Message {
    /// The fields that `test` holds for.
    pub(crate) fn fields_where(&self, test: impl Fn(&Field) -> bool) -> impl Iterator<Item = &Field> {
        self.fields.iter().filter(move |f| test(f))
    }
}

struct Options(DescriptorPool);

impl Options {
    fn message(&self, message: &MessageDescriptor, types: &mut Vec<EventType>) -> Result<Message, Mistake> {
        let mut fields = Vec::new();
        for field in message.fields() {
            let in_oneof = field.containing_oneof().is_some_and(|o| !o.is_synthetic());
            if in_oneof {
                types.extend(self.event_type(&field)?);
            } else if field.name() != "extra_json" {
                fields.push(self.field(&field)?);
            }
        }
        if message.get_field_by_name("extra_json").is_none() {
            return Err(format!("{} lacks extra_json", message.name()));
        }
        Ok(Message {
            name: message.name().into(),
            doc: comment(message.parent_file_descriptor_proto(), message.path()),
            fields,
            is_envelope: message.name() == "Interaction",
        })
    }

    fn field(&self, field: &FieldDescriptor) -> Result<Field, Mistake> {
        let words = |name| -> Vec<String> {
            let text = self.text(field, name).unwrap_or_default();
            text.split_whitespace().map(String::from).collect()
        };
        // Attributes of CloudEvents have names of their own; all else is in JSON as it is here.
        let key = match field.json_name() == camel(field.name()) {
            true => field.name(),
            false => field.json_name(),
        };
        let owner = field.parent_message();
        Ok(Field {
            ident: ident(field.name()),
            key: key.into(),
            doc: comment(owner.parent_file_descriptor_proto(), field.path()),
            shape: self.shape(field)?,
            is_list: field.is_list(),
            required: self.flag(field, "required"),
            may_be_empty: self.flag(field, "may_be_empty"),
            one_of: words("one_of"),
            entity: self.text(field, "entity"),
            is_channel: self.flag(field, "channel_field"),
            is_direction: self.flag(field, "direction_field"),
            min: self.get(field, "min").and_then(|v| v.as_i64()),
            max: self.get(field, "max").and_then(|v| v.as_i64()),
            item_needs: words("item_needs"),
        })
    }

    fn shape(&self, field: &FieldDescriptor) -> Result<Shape, Mistake> {
        let format = self.get(field, "format").and_then(|v| v.as_enum_number());
        let name = field.full_name();
        let optional = field.supports_presence() || field.is_list();
        Ok(match (field.kind(), format.unwrap_or(0)) {
            (Kind::Message(m), 0) => Shape::Message(m.name().into()),
            (Kind::Bytes, 6) => Shape::OpenObject,
            (Kind::Bytes, 7) => Shape::AnyJson,
            _ if !optional => return Err(format!("{name} must be optional")),
            (Kind::String, 0) => Shape::Text,
            (Kind::String, 2) => Shape::Decimal,
            (Kind::String, 4) => Shape::Currency,
            (Kind::String, 5) => Shape::Identifier,
            (Kind::String, 8) => Shape::Token,
            (Kind::String, 9) => Shape::Day,
            (Kind::String, 10) => Shape::Clock,
            (Kind::Int64, 0) => Shape::Integer,
            (Kind::Int64, 1) => Shape::Time,
            (Kind::Int64, 3) => Shape::Date,
            (Kind::Bool, 0) => Shape::Flag,
            (kind, format) => return Err(format!("{name}: no format {format} for {kind:?}")),
        })
    }

    fn event_type(&self, field: &FieldDescriptor) -> Result<Option<EventType>, Mistake> {
        let Some(value) = self.get(field, "event") else {
            return Ok(None);
        };
        let Kind::Message(body) = field.kind() else {
            return Err(format!("{} must be a message", field.full_name()));
        };
        let event = value.as_message().ok_or("event is a message")?;
        let event_type = EventType {
            name: part(event, "type"),
            body: body.name().into(),
            variant: pascal(field.name()),
            rank: number(event, "rank")?,
            channel: part(event, "channel"),
            direction: part(event, "direction"),
            summary: part(event, "summary"),
        };
        let name = &event_type.name;
        let named_alike = field.name() == name.replace('.', "_");
        let direction_known = ["in", "out", "none"].contains(&&*event_type.direction);
        if !named_alike || !direction_known || event_type.channel.is_empty() {
            return Err(format!("{}: wrong event option", field.full_name()));
        }
        Ok(Some(event_type))
    }

    fn get(&self, field: &FieldDescriptor, name: &str) -> Option<Value> {
        let extension: ExtensionDescriptor =
            self.0.get_extension_by_name(&format!("rapport.v1.{name}")).expect("options.proto declares the option");
        let options = field.options();
        let is_set = options.has_extension(&extension);
        is_set.then(|| options.get_extension(&extension).into_owned())
    }

    fn flag(&self, field: &FieldDescriptor, name: &str) -> bool {
        self.get(field, name).and_then(|v| v.as_bool()) == Some(true)
    }

    fn text(&self, field: &FieldDescriptor, name: &str) -> Option<String> {
        self.get(field, name).and_then(|v| v.as_str().map(String::from))
    }
}

fn part(event: &DynamicMessage, name: &str) -> String {
    let value = event.get_field_by_name(name);
    value.and_then(|v| v.as_str().map(String::from)).unwrap_or_default()
}

fn number(event: &DynamicMessage, name: &str) -> Result<u16, Mistake> {
    let value = event.get_field_by_name(name).and_then(|v| v.as_u32());
    // The greatest is that of custom types.
    match value.and_then(|v| u16::try_from(v).ok()) {
        Some(rank) if rank > 0 && rank < u16::MAX => Ok(rank),
        _ => Err(format!("{} has no rank", part(event, "type"))),
    }
}

/// The comment before an element, as one line.
fn comment(file: &prost_types::FileDescriptorProto, path: &[i32]) -> String {
    let info = file.source_code_info.iter().flat_map(|s| &s.location);
    let text = info.filter(|l| l.path == path).map(|l| l.leading_comments());
    text.flat_map(str::split_whitespace).collect::<Vec<_>>().join(" ")
}

fn ident(name: &str) -> String {
    match name {
        "type" | "ref" | "match" | "use" | "move" | "in" | "fn" | "mod" | "loop" => {
            format!("r#{name}")
        }
        _ => name.into(),
    }
}

fn pascal(name: &str) -> String {
    name.split('_').map(|p| p[..1].to_uppercase() + &p[1..]).collect()
}

fn camel(name: &str) -> String {
    let name = pascal(name);
    name[..1].to_lowercase() + &name[1..]
}
