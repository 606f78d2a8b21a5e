//! What one reading carries along.

use super::canonical::{self, push_entry, push_step, push_text};
use super::targets::{Json, List, Original, Seed, Target};
use super::{Fault, Reading, codes};
use crate::catalogue::{self, PREFIX, TYPES};
use crate::v1::interaction::Data;
use base64::Engine as _;
use base64::engine::DecodePaddingMode::Indifferent;
use base64::engine::{GeneralPurpose, GeneralPurposeConfig};
use serde::de::{DeserializeSeed, MapAccess};
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::fmt::Write as _;

/// How many faults of one event are reported.
pub const FAULTS_MAX: usize = 100;

/// Padded or not, as senders please.
static BASE64: GeneralPurpose =
    GeneralPurpose::new(&base64::alphabet::STANDARD, GeneralPurposeConfig::new().with_decode_padding_mode(Indifferent));

/// Where a reading stands, what was wrong so far, and `data` until the type is known. For generated code alone.
pub struct Cx<'de> {
    path: Vec<Step>,
    faults: Vec<Fault>,
    reading: Reading<'de>,
    /// The type of the event, once it is known.
    about: &'static str,
    data: Option<&'de RawValue>,
    data_base64: Option<String>,
}

#[derive(Clone, Copy)]
pub(crate) enum Step {
    Key(&'static str),
    Item(usize),
}

type Read<'de, A> = Result<(), <A as MapAccess<'de>>::Error>;

impl<'de> Cx<'de> {
    pub(crate) fn new(reading: Reading<'de>) -> Self {
        Cx { path: Vec::new(), faults: Vec::new(), reading, about: "an event", data: None, data_base64: None }
    }

    pub(crate) fn is_faultless(&self) -> bool {
        self.faults.is_empty()
    }

    pub(crate) fn into_faults(self) -> Vec<Fault> {
        self.faults
    }

    // ---- faults

    /// Something is wrong here. `problem` goes on after the name of the field: "must be a number".
    pub(crate) fn fault(&mut self, code: &'static str, problem: &str) {
        self.fault_below(code, "", problem);
    }

    /// As [`Cx::fault`], unless something else is known to be wrong here.
    pub(crate) fn fault_once(&mut self, code: &'static str, problem: &str) {
        if !self.is_at_fault(false) {
            self.fault(code, problem);
        }
    }

    pub(crate) fn wrong_type(&mut self, wanted: &str) {
        self.fault(codes::WRONG_TYPE, &format!("must be {wanted}"));
    }

    pub(crate) fn malformed(&mut self, problem: &str) {
        self.fault(codes::MALFORMED_JSON, &format!("is not JSON: {problem}"));
    }

    /// As [`Cx::fault`], at `below` from here, a JSON pointer.
    fn fault_below(&mut self, code: &'static str, below: &str, problem: &str) {
        if self.faults.len() >= FAULTS_MAX {
            return;
        }
        let pointer = self.pointer() + below;
        let name = match pointer.strip_prefix("/data/") {
            Some(name) => name,
            None if pointer.is_empty() => "the event",
            None => &pointer[1..],
        };
        let detail = format!("{name} {problem}");
        self.faults.push(Fault { code, pointer, detail });
    }

    fn fault_at(&mut self, key: &'static str, code: &'static str, problem: &str) {
        self.at(Step::Key(key), |cx| cx.fault(code, problem));
    }

    fn pointer(&self) -> String {
        let mut pointer = String::new();
        for step in &self.path {
            match step {
                Step::Key(key) => push_step(key, &mut pointer),
                Step::Item(index) => {
                    let _ = write!(pointer, "/{index}");
                }
            }
        }
        pointer
    }

    /// Whether something is known to be wrong here or, if `or_below`, further in: then what follows from it is not
    /// said again.
    pub(crate) fn is_at_fault(&self, or_below: bool) -> bool {
        if self.faults.is_empty() {
            return false;
        }
        let here = self.pointer();
        self.faults.iter().any(|f| match f.pointer.strip_prefix(&here) {
            Some("") => true,
            Some(rest) => or_below && rest.starts_with('/'),
            None => false,
        })
    }

    pub(crate) fn at<R>(&mut self, step: Step, f: impl FnOnce(&mut Self) -> R) -> R {
        self.path.push(step);
        let result = f(self);
        self.path.pop();
        result
    }

    /// Appends the canonical form of `json`, which is the value here.
    pub(crate) fn canonical(&mut self, json: &str, to: &mut Vec<u8>) {
        for flaw in canonical::append(json, self.path.len(), to) {
            self.fault_below(flaw.code, &flaw.pointer, flaw.detail);
        }
    }

    // ---- members of an object

    pub(crate) fn field<A: MapAccess<'de>>(
        &mut self,
        key: &'static str,
        target: impl Target<'de>,
        m: &mut A,
    ) -> Read<'de, A> {
        self.at(Step::Key(key), |cx| m.next_value_seed(Seed(target, cx)))
    }

    /// A list; one that is empty is noted in `extra`, or else it could not be told from an absent one.
    pub(crate) fn list<T: Default, A: MapAccess<'de>>(
        &mut self,
        key: &'static str,
        to: &mut Vec<T>,
        extra: &mut Vec<u8>,
        m: &mut A,
    ) -> Read<'de, A>
    where
        for<'x> &'x mut Option<T>: Target<'de>,
    {
        let mut is_there = false;
        let target = List { to: &mut *to, is_there: &mut is_there };
        self.field(key, target, m)?;
        let note = (is_there && to.is_empty()).then_some(&b"[]"[..]);
        renote(extra, key, note);
        Ok(())
    }

    /// A time; one that is not written in normal form is noted in `extra` as it was written.
    pub(crate) fn time<A: MapAccess<'de>>(
        &mut self,
        key: &'static str,
        date_too: bool,
        to: &mut Option<i64>,
        extra: &mut Vec<u8>,
        m: &mut A,
    ) -> Read<'de, A> {
        let mut original = None;
        let target = Original { to, date_too, text: &mut original };
        self.field(key, target, m)?;
        let note = original.map(|text| {
            let mut json = Vec::new();
            push_text(&text, &mut json);
            json
        });
        renote(extra, key, note.as_deref());
        Ok(())
    }

    /// A key that the message does not know.
    pub(crate) fn unknown<A: MapAccess<'de>>(
        &mut self,
        key: Cow<'de, str>,
        extra: &mut Vec<u8>,
        m: &mut A,
    ) -> Read<'de, A> {
        let value: &RawValue = m.next_value()?;
        push_entry(extra, &key, value.get().as_bytes());
        Ok(())
    }

    /// An attribute that CloudEvents does not know.
    pub(crate) fn extension<A: MapAccess<'de>>(
        &mut self,
        key: Cow<'de, str>,
        extra: &mut Vec<u8>,
        m: &mut A,
    ) -> Read<'de, A> {
        let value: &RawValue = m.next_value()?;
        let mut below = String::new();
        push_step(&key, &mut below);
        let is_letter = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
        if key.is_empty() || !key.bytes().all(is_letter) {
            let problem = "is no attribute's name: only a to z and 0 to 9 may be in one";
            self.fault_below(codes::BAD_ATTRIBUTE_NAME, &below, problem);
            return Ok(());
        }
        match value.get().as_bytes().first() {
            Some(b'{' | b'[') => {
                let problem = "must be a string, a number, true or false";
                self.fault_below(codes::WRONG_TYPE, &below, problem);
            }
            Some(b'n') => renote(extra, &key, None),
            _ => push_entry(extra, &key, value.get().as_bytes()),
        }
        Ok(())
    }

    /// Every key was read: puts what is kept into canonical form.
    pub(crate) fn close_extra(&mut self, extra: &mut Vec<u8>) {
        if extra.is_empty() {
            return;
        }
        let settled = canonical::settle(std::mem::take(extra));
        if !settled.is_empty() {
            let gathered = String::from_utf8(settled).expect("made of texts");
            self.canonical(&gathered, extra);
        }
    }

    // ---- what must hold

    /// A field of the wrong type is absent too: one fault is enough.
    pub(crate) fn required(&mut self, key: &'static str, is_absent: bool) {
        if is_absent {
            let problem = format!("is required for {}", self.about);
            self.missing(key, &problem);
        }
    }

    pub(crate) fn required_text(&mut self, key: &'static str, value: &Option<String>) {
        match value {
            None => self.required(key, true),
            Some(text) if text.trim().is_empty() => {
                let problem = format!("is required for {} and must not be empty", self.about);
                self.missing(key, &problem);
            }
            Some(_) => {}
        }
    }

    /// A list that must be there and may be empty.
    pub(crate) fn required_list(&mut self, key: &'static str, is_empty: bool, extra: &[u8]) {
        self.required(key, is_empty && canonical::get(extra, key).is_none());
    }

    fn missing(&mut self, key: &'static str, problem: &str) {
        self.at(Step::Key(key), |cx| {
            if !cx.is_at_fault(true) {
                cx.fault(codes::MISSING_FIELD, problem);
            }
        });
    }

    pub(crate) fn one_of(&mut self, key: &'static str, value: &Option<String>, texts: &[&str]) {
        if value.as_ref().is_some_and(|v| !texts.contains(&&**v)) {
            let problem = format!("must be one of: {}", texts.join(", "));
            self.fault_at(key, codes::NOT_PERMITTED, &problem);
        }
    }

    pub(crate) fn range(&mut self, key: &'static str, value: &impl Ranged, min: Option<i64>, max: Option<i64>) {
        let Some(value) = value.nanos() else { return };
        let nanos = |bound: i64| i128::from(bound) * 1_000_000_000;
        if let Some(min) = min.filter(|m| value < nanos(*m)) {
            self.fault_at(key, codes::OUT_OF_RANGE, &format!("must be at least {min}"));
        }
        if let Some(max) = max.filter(|m| value > nanos(*m)) {
            self.fault_at(key, codes::OUT_OF_RANGE, &format!("must be at most {max}"));
        }
    }

    pub(crate) fn check(&mut self, key: &'static str, value: &Option<String>, check: Check) {
        if let Some((code, problem)) = value.as_deref().and_then(check) {
            self.at(Step::Key(key), |cx| cx.fault_once(code, problem));
        }
    }

    pub(crate) fn check_each(&mut self, key: &'static str, values: &[String], check: Check) {
        for (index, value) in values.iter().enumerate() {
            if let Some((code, problem)) = check(value) {
                let step = Step::Item(index);
                self.at(Step::Key(key), |cx| {
                    cx.at(step, |cx| cx.fault_once(code, problem));
                });
            }
        }
    }

    pub(crate) fn item_needs(&mut self, key: &'static str, index: usize, names: &str) {
        let problem = format!("must have {names}");
        self.at(Step::Key(key), |cx| {
            cx.at(Step::Item(index), |cx| {
                if !cx.is_at_fault(true) {
                    cx.fault(codes::MISSING_FIELD, &problem);
                }
            });
        });
    }

    // ---- the body

    pub(crate) fn keep_data<A: MapAccess<'de>>(&mut self, m: &mut A) -> Read<'de, A> {
        let value: &RawValue = m.next_value()?;
        self.data = Some(value).filter(|v| v.get() != "null");
        Ok(())
    }

    pub(crate) fn keep_base64<A: MapAccess<'de>>(&mut self, m: &mut A) -> Read<'de, A> {
        let mut text = None;
        self.field("data_base64", &mut text, m)?;
        self.data_base64 = text;
        Ok(())
    }

    /// The index of the event's type in the catalogue, whose name `name` gets its prefix; `None` for a custom type.
    pub(crate) fn resolve(&mut self, name: &mut Option<String>, source: Option<&str>) -> Option<usize> {
        let given = name.as_deref()?;
        if given == catalogue::LOG_CREATED {
            let problem = "is the log's own: publish under another name";
            self.fault_at("type", codes::NOT_PERMITTED, problem);
        }
        let bare = given.strip_prefix(PREFIX);
        let is_foreign = |source| self.reading.is_foreign.is_some_and(|f| f(source));
        if bare.is_none() && source.is_some_and(is_foreign) {
            return None;
        }
        let index = catalogue::index(bare.unwrap_or(given))?;
        self.about = TYPES[index].name;
        if bare.is_none() {
            *name = Some([PREFIX, given].concat());
        }
        Some(index)
    }

    fn conflict(&mut self) -> bool {
        let conflict = self.data.is_some() && self.data_base64.is_some();
        if conflict {
            let problem = "must not stand beside data";
            self.fault_at("data_base64", codes::CONFLICTING_DATA, problem);
        }
        conflict
    }

    /// The body of a type of the catalogue.
    pub(crate) fn body<T: Json<'de>>(&mut self, name: &'static str) -> T {
        if !self.conflict() && self.data_base64.is_some() {
            let problem = format!("must not be used for {name}: use data, an object");
            self.fault_at("data_base64", codes::WRONG_TYPE, &problem);
            return T::default();
        }
        // Of absent data let the required fields speak.
        let json = self.data.take().map_or("{}", RawValue::get);
        self.at(Step::Key("data"), |cx| {
            let mut value = None;
            let mut json = serde_json::Deserializer::from_str(json);
            if let Err(e) = Seed(&mut value, cx).deserialize(&mut json) {
                cx.malformed(&e.to_string());
            }
            value.unwrap_or_default()
        })
    }

    /// The body of any other type.
    pub(crate) fn custom(&mut self) -> Option<Data> {
        if self.conflict() {
            return None;
        }
        if let Some(text) = self.data_base64.take() {
            let bytes = BASE64.decode(text);
            if bytes.is_err() {
                self.fault_at("data_base64", codes::BAD_BASE64, "must be base64");
            }
            return bytes.ok().map(Data::CustomBinary);
        }
        let json = self.data.take()?.get();
        let mut kept = Vec::with_capacity(json.len());
        self.at(Step::Key("data"), |cx| cx.canonical(json, &mut kept));
        Some(Data::Custom(kept))
    }
}

/// What is wrong with a text: a code and a problem.
type Check = fn(&str) -> Option<(&'static str, &'static str)>;

/// A number that can be compared.
pub(crate) trait Ranged {
    /// The value times 10^9.
    fn nanos(&self) -> Option<i128>;
}

impl Ranged for Option<i64> {
    fn nanos(&self) -> Option<i128> {
        self.map(|v| i128::from(v) * 1_000_000_000)
    }
}

impl Ranged for Option<String> {
    fn nanos(&self) -> Option<i128> {
        self.as_deref().and_then(crate::decimal::nanos)
    }
}

/// Notes the JSON `value` under a known key, in place of what an equal key before may have left there: of two the last is
/// kept, and one without a value takes back what there is. Nothing is looked up here ([`canonical::settle`]).
fn renote(extra: &mut Vec<u8>, key: &str, value: Option<&[u8]>) {
    match value {
        Some(value) => push_entry(extra, key, value),
        None if extra.is_empty() => {}
        None => push_entry(extra, key, canonical::TAKEN_BACK),
    }
}

#[cfg(test)]
mod tests {
    use crate::{json, v1};

    /// An event of at least 256 KiB, filled with what `more` says.
    fn event(kind: &str, more: impl Fn(usize) -> String, data: &str) -> v1::Interaction {
        let mut text = format!(r#"{{"specversion":"1.0","id":"1","source":"s","type":"{kind}""#);
        for n in 0.. {
            if text.len() > 256 << 10 {
                break;
            }
            text += &more(n);
        }
        text += &format!(r#","data":{data}}}"#);
        json::read(text.as_bytes()).expect("an event")
    }

    #[test]
    fn of_keys_that_come_again_and_again_the_last_counts() {
        // Known extensions, each set, taken back and, one in a thousand, set again.
        let again = |n| match n % 1000 {
            0 => format!(r#","a{n}":1,"a{n}":null,"a{n}":"{n}""#),
            _ => format!(r#","a{n}":1,"a{n}":null"#),
        };
        let extra = event("com.acme.x", again, "{}").extra_json;
        let extra: std::collections::BTreeMap<String, String> = serde_json::from_slice(&extra).expect("an object");
        let texts = (0..).step_by(1000).map(|n: usize| (format!("a{n}"), n.to_string()));
        assert!(extra.len() > 5, "{extra:?}");
        assert_eq!(extra, texts.take(extra.len()).collect());

        // Nulls alone, behind something that stays.
        let nulls = |n| if n == 0 { r#","z":1,"b":2"#.to_owned() } else { r#","a":null"#.to_owned() };
        assert_eq!(event("com.acme.x", nulls, "{}").extra_json, br#"{"b":2,"z":1}"#);
    }

    #[test]
    fn of_fields_that_come_again_and_again_the_last_counts() {
        let data = |last: &str| {
            let mut data = String::from(r#"{"order_id":"1","x":null,"y":"#);
            data += "[]";
            while data.len() < 256 << 10 {
                data += r#","lines":[],"lines":[{"sku":"a","quantity":1,"total":{"amount_minor":5,"currency":"EUR"}}],"x":null"#;
            }
            data + last + "}"
        };
        let extra = |last: &str| match event("order.placed", |_| " ".repeat(256 << 10), &data(last)).data {
            Some(v1::interaction::Data::OrderPlaced(order)) => (order.lines.len(), order.extra_json),
            other => panic!("{other:?}"),
        };
        assert_eq!(extra(r#","lines":[]"#), (0, br#"{"lines":[],"x":null,"y":[]}"#.to_vec()));
        assert_eq!(extra(""), (1, br#"{"x":null,"y":[]}"#.to_vec()));
    }
}
