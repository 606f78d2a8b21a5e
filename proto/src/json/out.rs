//! Writing: messages as JSON objects.

use super::canonical::{self, push_text};
use super::targets::Time;
use crate::time;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// A message that can be written as a JSON object. Implemented by generated code alone.
pub trait ToJson {
    /// Writes the keys and values.
    fn members(&self, w: &mut Out);
}

/// The JSON written so far. For generated code alone.
pub struct Out {
    buf: Vec<u8>,
    /// Whether the object that is being written has no key yet.
    is_first: bool,
    /// Nothing is written: what would be written as it is, is looked at. Whether all of it has been sound so far.
    sound: Option<bool>,
}

/// A value that may be absent.
pub(crate) trait Put {
    fn is_absent(&self) -> bool;
    fn put(&self, w: &mut Out);
    /// Notes whether what is written of it as it is, is sound.
    fn look(&self, w: &mut Out);
}

impl Out {
    pub(crate) fn new(buf: Vec<u8>) -> Self {
        Out { buf, is_first: true, sound: None }
    }

    /// Whether everything is sound that a message holds as JSON, and every text.
    pub(crate) fn is_sound(value: &impl ToJson) -> bool {
        let mut out = Out { buf: Vec::new(), is_first: true, sound: Some(true) };
        value.members(&mut out);
        out.sound == Some(true)
    }

    /// Notes that something is sound, or is not.
    fn note(&mut self, sound: bool) {
        self.sound = self.sound.map(|all| all && sound);
    }

    fn writes(&self) -> bool {
        self.sound.is_none()
    }

    pub(crate) fn into_bytes(self) -> Vec<u8> {
        self.buf
    }

    fn comma(&mut self) {
        if !std::mem::take(&mut self.is_first) {
            self.buf.push(b',');
        }
    }

    fn key(&mut self, key: &'static str) {
        self.comma();
        self.buf.push(b'"');
        self.buf.extend_from_slice(key.as_bytes());
        self.buf.extend_from_slice(b"\":");
    }

    pub(crate) fn field(&mut self, key: &'static str, value: impl Put) {
        if value.is_absent() {
            return;
        }
        if self.writes() {
            self.key(key);
            value.put(self);
        } else {
            value.look(self);
        }
    }

    /// A time, unless `extra` has it as it was written.
    pub(crate) fn time(&mut self, key: &'static str, value: &Option<i64>, extra: &[u8]) {
        if self.writes() && (extra.is_empty() || canonical::get(extra, key).is_none()) {
            self.field(key, Time(value));
        }
    }

    pub(crate) fn object(&mut self, key: &'static str, value: &impl ToJson) {
        if !self.writes() {
            return value.members(self);
        }
        self.key(key);
        self.braces(value);
    }

    /// JSON as it is; absent where empty.
    pub(crate) fn raw(&mut self, key: &'static str, json: &[u8]) {
        if json.is_empty() {
            return;
        }
        if !self.writes() {
            return self.note(canonical::is_sound(json));
        }
        self.key(key);
        self.buf.extend_from_slice(json);
    }

    pub(crate) fn base64(&mut self, key: &'static str, bytes: &[u8]) {
        if !self.writes() {
            return;
        }
        self.key(key);
        push_text(&STANDARD.encode(bytes), &mut self.buf);
    }

    /// The entries of a canonical object.
    pub(crate) fn extra(&mut self, object: &[u8]) {
        if !self.writes() {
            let is_object = matches!(object, [b'{', .., b'}']) && canonical::is_sound(object);
            return self.note(object.is_empty() || is_object);
        }
        if let [b'{', entries @ .., b'}'] = object
            && !entries.is_empty()
        {
            self.comma();
            self.buf.extend_from_slice(entries);
        }
    }

    pub(crate) fn braces(&mut self, value: &impl ToJson) {
        self.buf.push(b'{');
        self.is_first = true;
        value.members(self);
        self.buf.push(b'}');
        self.is_first = false;
    }

    fn list<T>(&mut self, items: &[T], put: impl Fn(&mut Self, &T)) {
        self.buf.push(b'[');
        for (i, item) in items.iter().enumerate() {
            if i > 0 {
                self.buf.push(b',');
            }
            put(self, item);
        }
        self.buf.push(b']');
    }
}

impl Put for &Option<String> {
    fn is_absent(&self) -> bool {
        self.is_none()
    }

    fn put(&self, w: &mut Out) {
        push_text(self.as_deref().unwrap_or_default(), &mut w.buf);
    }

    fn look(&self, w: &mut Out) {
        w.note(self.as_deref().is_none_or(is_storable));
    }
}

impl Put for &Option<i64> {
    fn is_absent(&self) -> bool {
        self.is_none()
    }

    fn put(&self, w: &mut Out) {
        let value = self.unwrap_or_default();
        serde_json::to_writer(&mut w.buf, &value).expect("a number is written to memory");
    }

    fn look(&self, _: &mut Out) {}
}

impl Put for &Option<bool> {
    fn is_absent(&self) -> bool {
        self.is_none()
    }

    fn put(&self, w: &mut Out) {
        let value = **self == Some(true);
        w.buf.extend_from_slice(if value { b"true" } else { b"false" });
    }

    fn look(&self, _: &mut Out) {}
}

impl<T: ToJson> Put for &Option<T> {
    fn is_absent(&self) -> bool {
        self.is_none()
    }

    fn put(&self, w: &mut Out) {
        if let Some(value) = self {
            w.braces(value);
        }
    }

    fn look(&self, w: &mut Out) {
        if let Some(value) = self {
            value.members(w);
        }
    }
}

impl Put for &Vec<String> {
    fn is_absent(&self) -> bool {
        self.is_empty()
    }

    fn put(&self, w: &mut Out) {
        w.list(self, |w, text| push_text(text, &mut w.buf));
    }

    fn look(&self, w: &mut Out) {
        w.note(self.iter().all(|text| is_storable(text)));
    }
}

impl<T: ToJson> Put for &Vec<T> {
    fn is_absent(&self) -> bool {
        self.is_empty()
    }

    fn put(&self, w: &mut Out) {
        w.list(self, |w, value| w.braces(value));
    }

    fn look(&self, w: &mut Out) {
        self.iter().for_each(|value| value.members(w));
    }
}

/// A text that is JSON already.
pub(crate) struct Raw<T>(pub(crate) T);

impl Put for Raw<&Option<String>> {
    fn is_absent(&self) -> bool {
        self.0.is_none()
    }

    fn put(&self, w: &mut Out) {
        w.buf.extend_from_slice(self.0.as_deref().unwrap_or("null").as_bytes());
    }

    fn look(&self, w: &mut Out) {
        w.note(self.0.as_deref().is_none_or(|json| canonical::is_sound(json.as_bytes())));
    }
}

impl Put for Time<&Option<i64>> {
    fn is_absent(&self) -> bool {
        self.0.is_none()
    }

    fn put(&self, w: &mut Out) {
        w.buf.push(b'"');
        time::write(self.0.unwrap_or_default(), &mut w.buf);
        w.buf.push(b'"');
    }

    fn look(&self, _: &mut Out) {}
}

/// PostgreSQL's text holds no U+0000.
fn is_storable(text: &str) -> bool {
    !text.as_bytes().contains(&0)
}
