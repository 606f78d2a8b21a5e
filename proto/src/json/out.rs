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
}

/// A value that may be absent.
pub(crate) trait Put {
    fn is_absent(&self) -> bool;
    fn put(&self, w: &mut Out);
}

impl Out {
    pub(crate) fn new(buf: Vec<u8>) -> Self {
        Out { buf, is_first: true }
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
        if !value.is_absent() {
            self.key(key);
            value.put(self);
        }
    }

    /// A time, unless `extra` has it as it was written.
    pub(crate) fn time(&mut self, key: &'static str, value: &Option<i64>, extra: &[u8]) {
        if extra.is_empty() || canonical::get(extra, key).is_none() {
            self.field(key, Time(value));
        }
    }

    pub(crate) fn object(&mut self, key: &'static str, value: &impl ToJson) {
        self.key(key);
        self.braces(value);
    }

    /// JSON as it is; absent where empty.
    pub(crate) fn raw(&mut self, key: &'static str, json: &[u8]) {
        if !json.is_empty() {
            self.key(key);
            self.buf.extend_from_slice(json);
        }
    }

    pub(crate) fn base64(&mut self, key: &'static str, bytes: &[u8]) {
        self.key(key);
        push_text(&STANDARD.encode(bytes), &mut self.buf);
    }

    /// The entries of a canonical object.
    pub(crate) fn extra(&mut self, object: &[u8]) {
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
}

impl Put for &Option<i64> {
    fn is_absent(&self) -> bool {
        self.is_none()
    }

    fn put(&self, w: &mut Out) {
        let value = self.unwrap_or_default();
        serde_json::to_writer(&mut w.buf, &value).expect("a number is written to memory");
    }
}

impl Put for &Option<bool> {
    fn is_absent(&self) -> bool {
        self.is_none()
    }

    fn put(&self, w: &mut Out) {
        let value = **self == Some(true);
        w.buf.extend_from_slice(if value { b"true" } else { b"false" });
    }
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
}

impl Put for &Vec<String> {
    fn is_absent(&self) -> bool {
        self.is_empty()
    }

    fn put(&self, w: &mut Out) {
        w.list(self, |w, text| push_text(text, &mut w.buf));
    }
}

impl<T: ToJson> Put for &Vec<T> {
    fn is_absent(&self) -> bool {
        self.is_empty()
    }

    fn put(&self, w: &mut Out) {
        w.list(self, |w, value| w.braces(value));
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
}
