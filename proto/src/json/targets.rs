//! Where a JSON value goes: the fields of messages, by their kinds.

use super::codes;
use super::cx::{Cx, Step};
use crate::{decimal, time};
use serde::de::{Deserialize, DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::fmt;

/// A message that can be read from a JSON object. Implemented by generated code alone.
pub trait Json<'de>: Default {
    /// Reads the value of one key.
    ///
    /// # Errors
    /// Where the JSON is malformed; all else is a fault of `cx`.
    fn member<A: MapAccess<'de>>(&mut self, key: Cow<'de, str>, m: &mut A, cx: &mut Cx<'de>) -> Result<(), A::Error>;

    /// Every key was read: says what is missing.
    fn finish(&mut self, cx: &mut Cx<'de>);
}

/// A place that one JSON value can be read into.
pub(crate) trait Target<'de>: Sized {
    /// What it wants, as in "must be a string".
    const WANTED: &'static str;

    /// `null` came, which is absence.
    fn absent(self);

    fn scalar(self, _: Scalar<'de>) -> Result<(), Refusal> {
        Err(Refusal::Type)
    }

    fn list<A: SeqAccess<'de>>(self, mut a: A, cx: &mut Cx<'de>) -> Result<(), A::Error> {
        while a.next_element::<IgnoredAny>()?.is_some() {}
        cx.wrong_type(Self::WANTED);
        Ok(())
    }

    fn object<A: MapAccess<'de>>(self, mut a: A, cx: &mut Cx<'de>) -> Result<(), A::Error> {
        while a.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        cx.wrong_type(Self::WANTED);
        Ok(())
    }

    fn read<D: Deserializer<'de>>(self, d: D, cx: &mut Cx<'de>) -> Result<(), D::Error> {
        d.deserialize_any(Seed(self, cx))
    }
}

pub(crate) enum Scalar<'de> {
    Bool(bool),
    Text(Cow<'de, str>),
}

/// Why a scalar is not taken.
pub(crate) enum Refusal {
    /// It is of another type.
    Type,
    /// A code and a problem.
    As(&'static str, &'static str),
}

impl<'de> Target<'de> for &mut Option<String> {
    const WANTED: &'static str = "a string";

    fn absent(self) {
        *self = None;
    }

    fn scalar(self, scalar: Scalar<'de>) -> Result<(), Refusal> {
        let Scalar::Text(text) = scalar else {
            return Err(Refusal::Type);
        };
        if text.as_bytes().contains(&0) {
            return Err(Refusal::As(codes::NUL_CHARACTER, "must not contain U+0000"));
        }
        *self = Some(text.into_owned());
        Ok(())
    }
}

impl<'de> Target<'de> for &mut Option<bool> {
    const WANTED: &'static str = "true or false";

    fn absent(self) {
        *self = None;
    }

    fn scalar(self, scalar: Scalar<'de>) -> Result<(), Refusal> {
        let Scalar::Bool(value) = scalar else {
            return Err(Refusal::Type);
        };
        *self = Some(value);
        Ok(())
    }
}

impl<'de> Target<'de> for &mut Option<i64> {
    const WANTED: &'static str = "an integer";

    fn absent(self) {
        *self = None;
    }

    fn read<D: Deserializer<'de>>(self, d: D, cx: &mut Cx<'de>) -> Result<(), D::Error> {
        let json = raw(d)?;
        match json.parse() {
            Ok(value) => *self = Some(value),
            Err(_) if json == "null" => *self = None,
            Err(_) if is_integer(json) => {
                let problem = "must be an integer that fits into 64 bits";
                cx.fault(codes::OUT_OF_RANGE, problem);
            }
            Err(_) => cx.wrong_type(Self::WANTED),
        }
        Ok(())
    }
}

/// An RFC 3339 date-time.
pub(crate) struct Time<T>(pub(crate) T);

impl<'de> Target<'de> for Time<&mut Option<i64>> {
    const WANTED: &'static str = RFC_3339;

    fn absent(self) {
        *self.0 = None;
    }

    fn scalar(self, scalar: Scalar<'de>) -> Result<(), Refusal> {
        let (to, text) = (self.0, &mut None);
        let date_too = false;
        Original { to, date_too, text }.scalar(scalar)
    }
}

const RFC_3339: &str = "an RFC 3339 time, as 2026-12-24T18:00:00Z";

/// A time, with its text where that is not the normal form.
pub(crate) struct Original<'a> {
    pub(crate) to: &'a mut Option<i64>,
    /// Whether a date alone will do.
    pub(crate) date_too: bool,
    pub(crate) text: &'a mut Option<String>,
}

impl<'de> Target<'de> for Original<'_> {
    const WANTED: &'static str = RFC_3339;

    fn absent(self) {
        *self.to = None;
    }

    fn scalar(self, scalar: Scalar<'de>) -> Result<(), Refusal> {
        let Scalar::Text(text) = scalar else {
            return Err(Refusal::Type);
        };
        let (micros, problem) = match self.date_too {
            true => {
                (time::parse_date(&text), "must be an RFC 3339 date or time, as 2026-12-24 or 2026-12-24T18:00:00Z")
            }
            false => (time::parse(&text), "must be an RFC 3339 time, as 2026-12-24T18:00:00Z"),
        };
        let micros = micros.ok_or(Refusal::As(codes::BAD_TIME, problem))?;
        *self.to = Some(micros);
        let mut normal = Vec::with_capacity(27);
        time::write(micros, &mut normal);
        *self.text = (normal != text.as_bytes()).then(|| text.into_owned());
        Ok(())
    }
}

/// A number of which the digits are kept.
pub(crate) struct Decimal<T>(pub(crate) T);

impl<'de> Target<'de> for Decimal<&mut Option<String>> {
    const WANTED: &'static str = "a number";

    fn absent(self) {
        *self.0 = None;
    }

    fn read<D: Deserializer<'de>>(self, d: D, cx: &mut Cx<'de>) -> Result<(), D::Error> {
        let json = raw(d)?;
        match json.as_bytes().first() {
            Some(b'-' | b'0'..=b'9') if decimal::nanos(json).is_some() => {
                *self.0 = Some(json.into());
            }
            Some(b'-' | b'0'..=b'9') => {
                let problem = "must have at most 18 digits before the point and 9 after it";
                cx.fault(codes::BAD_DECIMAL, problem);
            }
            Some(b'n') => *self.0 = None,
            _ => cx.wrong_type(Self::WANTED),
        }
        Ok(())
    }
}

/// A string or an integer, kept as its JSON.
pub(crate) struct Token<T>(pub(crate) T);

impl<'de> Target<'de> for Token<&mut Option<String>> {
    const WANTED: &'static str = "a string or an integer";

    fn absent(self) {
        *self.0 = None;
    }

    fn read<D: Deserializer<'de>>(self, d: D, cx: &mut Cx<'de>) -> Result<(), D::Error> {
        let json = raw(d)?;
        if json.starts_with('"') || is_integer(json) {
            let mut token = Vec::with_capacity(json.len());
            cx.canonical(json, &mut token);
            *self.0 = String::from_utf8(token).ok();
        } else if json == "null" {
            *self.0 = None;
        } else {
            cx.wrong_type(Self::WANTED);
        }
        Ok(())
    }
}

/// An object of any content, kept as canonical JSON.
pub(crate) struct OpenObject<T>(pub(crate) T);

impl<'de> Target<'de> for OpenObject<&mut Vec<u8>> {
    const WANTED: &'static str = "an object";

    fn absent(self) {
        self.0.clear();
    }

    fn read<D: Deserializer<'de>>(self, d: D, cx: &mut Cx<'de>) -> Result<(), D::Error> {
        let json = raw(d)?;
        self.0.clear();
        match json.as_bytes().first() {
            Some(b'{') => cx.canonical(json, self.0),
            Some(b'n') => {}
            _ => cx.wrong_type(Self::WANTED),
        }
        Ok(())
    }
}

/// Any value, kept as canonical JSON.
pub(crate) struct AnyJson<T>(pub(crate) T);

impl<'de> Target<'de> for AnyJson<&mut Vec<u8>> {
    const WANTED: &'static str = "any JSON";

    fn absent(self) {
        self.0.clear();
    }

    fn read<D: Deserializer<'de>>(self, d: D, cx: &mut Cx<'de>) -> Result<(), D::Error> {
        let json = raw(d)?;
        self.0.clear();
        if json != "null" {
            cx.canonical(json, self.0);
        }
        Ok(())
    }
}

impl<'de, T: Json<'de>> Target<'de> for &mut Option<T> {
    const WANTED: &'static str = "an object";

    fn absent(self) {
        *self = None;
    }

    fn object<A: MapAccess<'de>>(self, mut a: A, cx: &mut Cx<'de>) -> Result<(), A::Error> {
        let value = self.insert(T::default());
        while let Some(key) = a.next_key_seed(Key)? {
            value.member(key, &mut a, cx)?;
        }
        value.finish(cx);
        Ok(())
    }
}

pub(crate) struct List<'a, T> {
    pub(crate) to: &'a mut Vec<T>,
    pub(crate) is_there: &'a mut bool,
}

impl<'de, T: Default> Target<'de> for List<'_, T>
where
    for<'x> &'x mut Option<T>: Target<'de>,
{
    const WANTED: &'static str = "an array";

    fn absent(self) {
        self.to.clear();
    }

    fn list<A: SeqAccess<'de>>(self, mut a: A, cx: &mut Cx<'de>) -> Result<(), A::Error> {
        *self.is_there = true;
        self.to.clear(); // of two equal keys the last counts
        for index in 0.. {
            let mut item = None;
            let step = Step::Item(index);
            let more = cx.at(step, |cx| a.next_element_seed(Seed(&mut item, cx)))?;
            match (more, item) {
                (None, _) => break,
                (_, Some(value)) => self.to.push(value),
                (_, None) => {
                    cx.at(step, |cx| cx.fault_once(codes::WRONG_TYPE, "must not be null"));
                    self.to.push(T::default()); // so that those after it keep their index
                }
            }
        }
        Ok(())
    }
}

/// The text of the next value.
fn raw<'de, D: Deserializer<'de>>(d: D) -> Result<&'de str, D::Error> {
    <&RawValue>::deserialize(d).map(RawValue::get)
}

fn is_integer(json: &str) -> bool {
    let digits = json.strip_prefix('-').unwrap_or(json);
    !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit())
}

/// Reads one value into a target.
pub(crate) struct Seed<'c, 'de, T>(pub(crate) T, pub(crate) &'c mut Cx<'de>);

impl<'de, T: Target<'de>> Seed<'_, 'de, T> {
    fn scalar<E>(self, scalar: Scalar<'de>) -> Result<(), E> {
        match self.0.scalar(scalar) {
            Ok(()) => {}
            Err(Refusal::Type) => self.1.wrong_type(T::WANTED),
            Err(Refusal::As(code, problem)) => self.1.fault(code, problem),
        }
        Ok(())
    }

    fn refuse<E>(self) -> Result<(), E> {
        self.1.wrong_type(T::WANTED);
        Ok(())
    }
}

impl<'de, T: Target<'de>> DeserializeSeed<'de> for Seed<'_, 'de, T> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, d: D) -> Result<(), D::Error> {
        self.0.read(d, self.1)
    }
}

impl<'de, T: Target<'de>> Visitor<'de> for Seed<'_, 'de, T> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(T::WANTED)
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        self.0.absent();
        Ok(())
    }

    fn visit_bool<E>(self, v: bool) -> Result<(), E> {
        self.scalar(Scalar::Bool(v))
    }

    // What takes numbers reads their digits, and never comes here.
    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        self.refuse()
    }

    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        self.refuse()
    }

    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        self.refuse()
    }

    fn visit_str<E>(self, v: &str) -> Result<(), E> {
        self.scalar(Scalar::Text(Cow::Owned(v.into())))
    }

    fn visit_borrowed_str<E>(self, v: &'de str) -> Result<(), E> {
        self.scalar(Scalar::Text(Cow::Borrowed(v)))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, a: A) -> Result<(), A::Error> {
        self.0.list(a, self.1)
    }

    fn visit_map<A: MapAccess<'de>>(self, a: A) -> Result<(), A::Error> {
        self.0.object(a, self.1)
    }
}

/// A key; `Cow<str>` by itself would always copy.
struct Key;

impl<'de> DeserializeSeed<'de> for Key {
    type Value = Cow<'de, str>;

    fn deserialize<D: Deserializer<'de>>(self, d: D) -> Result<Self::Value, D::Error> {
        d.deserialize_str(self)
    }
}

impl<'de> Visitor<'de> for Key {
    type Value = Cow<'de, str>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    fn visit_str<E>(self, v: &str) -> Result<Self::Value, E> {
        Ok(Cow::Owned(v.into()))
    }

    fn visit_borrowed_str<E>(self, v: &'de str) -> Result<Self::Value, E> {
        Ok(Cow::Borrowed(v))
    }
}
