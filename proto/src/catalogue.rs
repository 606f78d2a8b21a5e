//! The event types, generated from the options in the `.proto`.

use crate::summary::{Body, Line, Say};
use crate::v1;

/// What the names of the catalogue's types begin with, outside and in the log.
pub const PREFIX: &str = "io.rapport.";

/// The rank of every type that is not in the catalogue: after all that are.
pub const CUSTOM_RANK: u16 = u16::MAX;

/// The type of a log's first record, which is no interaction.
pub const LOG_CREATED: &str = "io.rapport.log.created";

/// The channels of the timeline. An order names its own channel, which may be another.
pub const CHANNELS: [&str; 14] = [
    "web", "email", "phone", "chat", "sms", "whatsapp", "fax", "letter", "shop", "partner", "field", "survey",
    "system", "other",
];

/// One type of the catalogue.
#[derive(Debug)]
pub struct TypeInfo {
    /// Without its prefix: `order.placed`.
    pub name: &'static str,
    /// Its place among events of one instant: the lesser is first. No two types share one.
    pub rank: u16,
    /// One of [`CHANNELS`], unless the event says another.
    pub channel: &'static str,
    /// `in`, `out` or `none`, unless the event says another.
    pub direction: &'static str,
    /// The template of the timeline's line.
    pub summary: &'static str,
    /// What it means, as a sentence.
    pub doc: &'static str,
    /// The known fields of its `data`.
    pub fields: &'static [FieldInfo],
}

/// One known field.
#[derive(Debug)]
pub struct FieldInfo {
    /// Its key in JSON.
    pub name: &'static str,
    /// What it means; may be empty where the name says it.
    pub doc: &'static str,
    /// What it holds, or what each item of the list is.
    pub kind: FieldKind,
    /// Whether it is an array.
    pub is_list: bool,
    /// Whether it must be there; a text or list must then not be empty, unless `may_be_empty`.
    pub required: bool,
    /// See `required`.
    pub may_be_empty: bool,
    /// The permitted texts; empty: any.
    pub permitted: &'static [&'static str],
    /// The least number permitted.
    pub min: Option<i64>,
    /// The greatest number permitted.
    pub max: Option<i64>,
    /// The kind of the entity that it names.
    pub entity: Option<&'static str>,
    /// Of each item at least one of these fields must be there; empty: none need be.
    pub item_needs: &'static [&'static str],
}

/// What a field holds.
#[derive(Debug, Clone, Copy)]
pub enum FieldKind {
    /// Any text.
    Text,
    /// `EUR`.
    Currency,
    /// `kind:value`.
    Identifier,
    /// `2026-12-24`.
    Day,
    /// `09:00`.
    Clock,
    /// A string or an integer.
    Token,
    /// A number whose digits are kept.
    Decimal,
    /// A 64-bit integer.
    Integer,
    /// True or false.
    Flag,
    /// An RFC 3339 date-time.
    Time,
    /// An RFC 3339 full-date or date-time.
    Date,
    /// An object of any content.
    OpenObject,
    /// Any JSON.
    AnyJson,
    /// An object of these fields.
    Object(&'static [FieldInfo]),
}

impl TypeInfo {
    /// The name as it stands in the log: `io.rapport.order.placed`.
    pub fn full_name(&self) -> String {
        [PREFIX, self.name].concat()
    }
}

/// The type of that name, bare or with its prefix.
pub fn by_name(name: &str) -> Option<&'static TypeInfo> {
    index(name.strip_prefix(PREFIX).unwrap_or(name)).map(|i| &TYPES[i])
}

/// All types, in order of their names.
pub fn all() -> &'static [TypeInfo] {
    TYPES
}

/// The known attributes of the envelope, by their names in CloudEvents.
pub fn attributes() -> &'static [FieldInfo] {
    ENVELOPE_FIELDS
}

/// The place of a bare name in [`all`].
pub(crate) fn index(bare: &str) -> Option<usize> {
    TYPES.binary_search_by(|t| t.name.cmp(bare)).ok()
}

include!(concat!(env!("OUT_DIR"), "/catalogue.gen.rs"));
