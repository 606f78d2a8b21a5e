//! JSON <-> messages, driven by the generated `impl`s. A reading reports every fault of an event at once.

pub(crate) mod canonical;
pub(crate) mod checks;
pub(crate) mod cx;
pub(crate) mod out;
pub(crate) mod targets;

pub use cx::{Cx, FAULTS_MAX};
pub use out::{Out, ToJson};
pub use targets::Json;

use serde::de::DeserializeSeed;

/// How deep an event's arrays and objects may be nested, its outermost object being 1.
pub const DEPTH_MAX: usize = 64;

/// One thing that is wrong with an event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// One of [`codes`].
    pub code: &'static str,
    /// Where, as a JSON pointer (RFC 6901); empty for the whole event.
    pub pointer: String,
    /// What is wrong and what was expected, as a sentence without a full stop.
    pub detail: String,
}

impl std::fmt::Display for Fault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.detail)
    }
}

impl std::error::Error for Fault {}

/// What can be wrong with an event.
pub mod codes {
    /// A required field is absent, null, or an empty text or list.
    pub const MISSING_FIELD: &str = "missing_field";
    /// A value is of another JSON type than the field's.
    pub const WRONG_TYPE: &str = "wrong_type";
    /// A text is none of those permitted.
    pub const NOT_PERMITTED: &str = "not_permitted";
    /// A number is less or greater than permitted, or does not fit.
    pub const OUT_OF_RANGE: &str = "out_of_range";
    /// A text is no RFC 3339 time, day or time of day.
    pub const BAD_TIME: &str = "bad_time";
    /// A number has too many digits.
    pub const BAD_DECIMAL: &str = "bad_decimal";
    /// A text is no three capital letters.
    pub const BAD_CURRENCY: &str = "bad_currency";
    /// A text is no `kind:value`.
    pub const BAD_IDENTIFIER: &str = "bad_identifier";
    /// The name of an extension attribute has other characters than `a` to `z` and `0` to `9`.
    pub const BAD_ATTRIBUTE_NAME: &str = "bad_attribute_name";
    /// `data_base64` is not base64.
    pub const BAD_BASE64: &str = "bad_base64";
    /// A text or key contains U+0000, which PostgreSQL cannot store.
    pub const NUL_CHARACTER: &str = "nul_character";
    /// Arrays and objects are nested deeper than [`super::DEPTH_MAX`].
    pub const TOO_DEEP: &str = "too_deep";
    /// The bytes are not JSON.
    pub const MALFORMED_JSON: &str = "malformed_json";
    /// `data` and `data_base64` are both there.
    pub const CONFLICTING_DATA: &str = "conflicting_data";

    /// All of them.
    pub const ALL: [&str; 14] = [
        MISSING_FIELD,
        WRONG_TYPE,
        NOT_PERMITTED,
        OUT_OF_RANGE,
        BAD_TIME,
        BAD_DECIMAL,
        BAD_CURRENCY,
        BAD_IDENTIFIER,
        BAD_ATTRIBUTE_NAME,
        BAD_BASE64,
        NUL_CHARACTER,
        TOO_DEEP,
        MALFORMED_JSON,
        CONFLICTING_DATA,
    ];
}

/// How an event is read.
#[derive(Clone, Copy, Default)]
pub struct Reading<'a> {
    /// Says of a source whether its bare type names are its own: `order.placed` of such a source is a custom type,
    /// and only `io.rapport.order.placed` is that of the catalogue. Absent: of no source.
    pub is_foreign: Option<&'a dyn Fn(&str) -> bool>,
}

/// Reads a message from the JSON object that is all of `json`.
///
/// # Errors
/// Every fault of the event, at most [`FAULTS_MAX`].
///
/// ```
/// use rapport_proto::{json, v1};
/// let order = br#"{"specversion":"1.0","id":"1","source":"shop","type":"order.placed","data":{"lines":[]}}"#;
/// let faults = json::read::<v1::Interaction>(order).unwrap_err();
/// assert_eq!(faults[0].pointer, "/data/order_id");
/// assert_eq!(faults[0].detail, "order_id is required for order.placed");
/// ```
pub fn read<'de, T: Json<'de>>(json: &'de [u8]) -> Result<T, Vec<Fault>> {
    read_with(json, Reading::default())
}

/// As [`read`], told how.
///
/// # Errors
/// As [`read`].
pub fn read_with<'de, T: Json<'de>>(json: &'de [u8], reading: Reading<'de>) -> Result<T, Vec<Fault>> {
    let mut cx = Cx::new(reading);
    let text = match std::str::from_utf8(json) {
        Ok(text) => text,
        Err(e) => {
            let at = e.valid_up_to();
            cx.malformed(&format!("not UTF-8 at byte {at}"));
            return Err(cx.into_faults());
        }
    };
    let mut value = None;
    let mut json = serde_json::Deserializer::from_str(text);
    let end = targets::Seed(&mut value, &mut cx).deserialize(&mut json);
    match end.and_then(|()| json.end()) {
        Err(e) => cx.malformed(&e.to_string()),
        // `null`, which a field may be, but not an event.
        Ok(()) if value.is_none() && cx.is_faultless() => cx.wrong_type("a JSON object"),
        Ok(()) => {}
    }
    match value {
        Some(value) if cx.is_faultless() => Ok(value),
        _ => Err(cx.into_faults()),
    }
}

/// Whether what a message holds as JSON (unknown fields, open objects, data of custom types, digits) is JSON, and no text
/// of it contains U+0000. It is of everything that was read by [`read`]. Of anything else what [`write()`] appends may be no
/// JSON, or none that PostgreSQL takes.
pub fn is_sound(value: &impl ToJson) -> bool {
    Out::is_sound(value)
}

/// Appends `value` as a JSON object to `buf`.
pub fn write(value: &impl ToJson, buf: Vec<u8>) -> Vec<u8> {
    let mut out = Out::new(buf);
    out.braces(value);
    out.into_bytes()
}
