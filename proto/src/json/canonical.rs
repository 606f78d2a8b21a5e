//! Canonical JSON, for what is kept without being understood: no blanks, the keys of every object sorted by their
//! bytes and each there once (of two the last), texts escaped only where they must be, numbers digit for digit.

use super::{DEPTH_MAX, codes};
use std::borrow::Cow;
use std::collections::HashSet;
use std::fmt::Write as _;

/// Something that may not be kept.
pub(crate) struct Flaw {
    pub(crate) code: &'static str,
    /// From the value that was read.
    pub(crate) pointer: String,
    pub(crate) detail: &'static str,
}

/// Appends the canonical form of `json`, which is valid JSON and stands inside `depth` arrays and objects.
pub(crate) fn append(json: &str, depth: usize, to: &mut Vec<u8>) -> Vec<Flaw> {
    let mut scan = Scan { text: json, at: 0, depth, flaws: Vec::new() };
    scan.value(to, &Path::Root);
    scan.flaws
}

/// Whether bytes are one value of JSON that [`append`] finds no flaw in.
pub(crate) fn is_sound(json: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(json) else { return false };
    serde_json::from_str::<serde::de::IgnoredAny>(text).is_ok() && append(text, 0, &mut Vec::new()).is_empty()
}

/// The value of a key of an object in canonical form.
pub(crate) fn get<'a>(object: &'a [u8], key: &str) -> Option<&'a str> {
    entries(object).find_map(|(k, v)| (k == key).then_some(v))
}

/// The entries of an object in the form that [`super::cx::Cx`] gathers or [`append`] makes: no blanks outside of
/// values.
pub(crate) fn entries(object: &[u8]) -> impl Iterator<Item = (Cow<'_, str>, &str)> {
    let mut scan = Scan { text: std::str::from_utf8(object).unwrap_or_default(), at: 1, depth: 0, flaws: Vec::new() };
    std::iter::from_fn(move || {
        if scan.byte() != b'"' {
            return None;
        }
        let key = scan.token();
        let key = unescape(key).unwrap_or_default();
        scan.at += 1; // the colon
        let start = scan.at;
        scan.skip();
        let value = scan.text.get(start..scan.at)?;
        scan.at += 1; // the comma or the brace
        Some((key, value))
    })
}

/// Appends `"key":value` to an object that may still be empty bytes; `value` is JSON.
pub(crate) fn push_entry(object: &mut Vec<u8>, key: &str, value: &[u8]) {
    match object.pop() {
        Some(_) => object.push(b','),
        None => object.push(b'{'),
    }
    push_text(key, object);
    object.push(b':');
    object.extend_from_slice(value);
    object.push(b'}');
}

/// Stands as the value of a key whose earlier entries are taken back. No JSON holds this byte, in a text or out of one.
pub(crate) const TAKEN_BACK: &[u8] = b"\x01";

/// The object gathered, without the entries that were taken back. All keys are looked at once, when they have all been
/// gathered: looking through what is there at each key that comes again would take the square of their number.
pub(crate) fn settle(gathered: Vec<u8>) -> Vec<u8> {
    if !gathered.contains(&TAKEN_BACK[0]) {
        return gathered;
    }
    let all: Vec<_> = entries(&gathered).collect();
    let mut taken_back = HashSet::new();
    let mut kept = Vec::with_capacity(all.len());
    for (key, value) in all.iter().rev() {
        if value.as_bytes() == TAKEN_BACK {
            taken_back.insert(key);
        } else if !taken_back.contains(key) {
            kept.push((key, value));
        }
    }
    let mut settled = Vec::new();
    for (key, value) in kept.into_iter().rev() {
        push_entry(&mut settled, key, value.as_bytes());
    }
    settled
}

/// Appends a JSON string.
pub(crate) fn push_text(text: &str, to: &mut Vec<u8>) {
    serde_json::to_writer(to, text).expect("a text is written to memory");
}

/// Where in the value, on the stack, so that nothing is allocated unless there is a flaw.
enum Path<'p> {
    Root,
    Key(&'p Path<'p>, &'p str),
    Item(&'p Path<'p>, usize),
}

impl Path<'_> {
    fn pointer(&self, to: &mut String) {
        match self {
            Path::Root => {}
            Path::Key(parent, key) => {
                parent.pointer(to);
                push_step(key, to);
            }
            Path::Item(parent, index) => {
                parent.pointer(to);
                let _ = write!(to, "/{index}");
            }
        }
    }
}

/// Appends one step of a JSON pointer.
pub(crate) fn push_step(key: &str, to: &mut String) {
    to.push('/');
    match key.contains(['~', '/']) {
        true => to.push_str(&key.replace('~', "~0").replace('/', "~1")),
        false => to.push_str(key),
    }
}

struct Scan<'a> {
    text: &'a str,
    at: usize,
    depth: usize,
    flaws: Vec<Flaw>,
}

impl<'a> Scan<'a> {
    fn value(&mut self, to: &mut Vec<u8>, path: &Path<'_>) {
        match self.next() {
            open @ (b'{' | b'[') if self.depth >= DEPTH_MAX => {
                let detail = "is nested deeper than 64 levels";
                self.flaw(codes::TOO_DEEP, path, detail);
                self.skip();
                to.extend_from_slice(if open == b'{' { b"{}" } else { b"[]" });
            }
            b'{' => self.object(to, path),
            b'[' => self.array(to, path),
            b'"' => {
                let token = self.token();
                self.text(token, to, path);
            }
            _ => to.extend_from_slice(self.token().as_bytes()),
        }
    }

    fn array(&mut self, to: &mut Vec<u8>, path: &Path<'_>) {
        self.at += 1;
        self.depth += 1;
        to.push(b'[');
        for index in 0.. {
            match self.next() {
                b']' | 0 => break,
                b',' => {
                    self.at += 1;
                    to.push(b',');
                }
                _ => {}
            }
            self.value(to, &Path::Item(path, index));
        }
        self.at += 1;
        self.depth -= 1;
        to.push(b']');
    }

    fn object(&mut self, to: &mut Vec<u8>, path: &Path<'_>) {
        self.at += 1;
        self.depth += 1;
        to.push(b'{');
        let start = to.len();
        let mut entries: Vec<(Cow<'a, str>, std::ops::Range<usize>)> = Vec::new();
        let mut sorted = true;
        loop {
            match self.next() {
                b'}' | 0 => break,
                b',' => {
                    self.at += 1;
                    self.next();
                    to.push(b',');
                }
                _ => {}
            }
            let token = self.token();
            let from = to.len();
            self.text(token, to, path);
            let key = unescape(token).unwrap_or_default();
            self.next();
            self.at += 1; // the colon
            to.push(b':');
            self.value(to, &Path::Key(path, &key));
            sorted &= entries.last().is_none_or(|(last, _)| *last < key);
            entries.push((key, from..to.len()));
        }
        self.at += 1;
        self.depth -= 1;
        if !sorted {
            let sorted = sort(entries, to);
            to.truncate(start);
            to.extend_from_slice(&sorted);
        }
        to.push(b'}');
    }

    /// Appends a JSON string as canonical JSON writes it.
    fn text(&mut self, token: &str, to: &mut Vec<u8>, path: &Path<'_>) {
        match unescape(token) {
            Some(Cow::Borrowed(_)) => to.extend_from_slice(token.as_bytes()),
            Some(Cow::Owned(text)) => {
                if text.contains('\0') {
                    self.flaw(codes::NUL_CHARACTER, path, "must not contain U+0000");
                }
                push_text(&text, to);
            }
            None => {
                to.extend_from_slice(b"\"\"");
                let detail = "is not JSON: half of a surrogate pair";
                self.flaw(codes::MALFORMED_JSON, path, detail);
            }
        }
    }

    fn flaw(&mut self, code: &'static str, path: &Path<'_>, detail: &'static str) {
        let mut pointer = String::new();
        path.pointer(&mut pointer);
        self.flaws.push(Flaw { code, pointer, detail });
    }

    /// The byte here; 0 at the end.
    fn byte(&self) -> u8 {
        self.text.as_bytes().get(self.at).copied().unwrap_or(0)
    }

    /// The first byte that is no blank.
    fn next(&mut self) -> u8 {
        while matches!(self.byte(), b' ' | b'\t' | b'\n' | b'\r') {
            self.at += 1;
        }
        self.byte()
    }

    /// The string (with its quotes), number or word that begins here.
    fn token(&mut self) -> &'a str {
        let start = self.at;
        let bytes = self.text.as_bytes();
        if self.byte() == b'"' {
            self.at += 1;
            while !matches!(self.byte(), b'"' | 0) {
                self.at += if self.byte() == b'\\' { 2 } else { 1 };
            }
            self.at = (self.at + 1).min(bytes.len());
        } else {
            let ends = |b: &u8| matches!(b, b',' | b']' | b'}' | b' ' | b'\t' | b'\n' | b'\r');
            let rest = &bytes[start..];
            self.at += rest.iter().position(ends).unwrap_or(rest.len());
        }
        &self.text[start..self.at]
    }

    /// Passes over one value, however deep.
    fn skip(&mut self) {
        let mut open = 0_usize;
        loop {
            match self.next() {
                b'{' | b'[' => {
                    open += 1;
                    self.at += 1;
                }
                b'}' | b']' => {
                    open = open.saturating_sub(1);
                    self.at += 1;
                }
                b',' | b':' => self.at += 1,
                0 => return,
                _ => {
                    self.token();
                }
            }
            if open == 0 {
                return;
            }
        }
    }
}

/// The text of a JSON string; `None` where an escape stands for no character.
fn unescape(token: &str) -> Option<Cow<'_, str>> {
    match token.as_bytes().contains(&b'\\') {
        false => token.get(1..token.len() - 1).map(Cow::Borrowed),
        true => serde_json::from_str(token).ok().map(Cow::Owned),
    }
}

/// The entries sorted, the last of equal keys alone, with commas between.
fn sort(mut entries: Vec<(Cow<'_, str>, std::ops::Range<usize>)>, bytes: &[u8]) -> Vec<u8> {
    entries.sort_by(|(a, _), (b, _)| a.cmp(b)); // keeps the order of equal ones
    let mut sorted = Vec::new();
    for (i, (key, range)) in entries.iter().enumerate() {
        if entries.get(i + 1).is_some_and(|(next, _)| next == key) {
            continue;
        }
        if !sorted.is_empty() {
            sorted.push(b',');
        }
        sorted.extend_from_slice(&bytes[range.clone()]);
    }
    sorted
}

#[cfg(test)]
mod tests {
    use super::*;

    fn canonical(json: &str) -> (String, Vec<String>) {
        let mut to = Vec::new();
        let flaws = append(json, 0, &mut to);
        let flaws = flaws.iter().map(|f| format!("{} {}", f.pointer, f.code));
        (String::from_utf8(to).unwrap(), flaws.collect())
    }

    #[test]
    fn one_form_for_equal_values() {
        let check = |json: &str, want: &str| assert_eq!(canonical(json), (want.into(), vec![]));
        check(" { \"b\" : [ 1.50 , { } , [ ] ] , \"a\" : \"\\u00e9\\/\\n\" } ", r#"{"a":"é/\n","b":[1.50,{},[]]}"#);
        check(r#"{"a":1,"b":2,"a":3}"#, r#"{"a":3,"b":2}"#);
        check(r#"{"\u0062":1,"a":{"d":1,"c":[]}}"#, r#"{"a":{"c":[],"d":1},"b":1}"#);
        check(r#""\"}""#, r#""\"}""#);
        check("-0.10e+5", "-0.10e+5");
        check(r#"{"":null}"#, r#"{"":null}"#);
    }

    #[test]
    fn flaws_are_all_found() {
        let json = r#"{"a/b":["x\u0000"],"\u0000":1,"c":"\ud800"}"#;
        let want = ["/a~1b/0 nul_character", " nul_character", "/c malformed_json"];
        assert_eq!(canonical(json).1, want);
        let deep = |n: usize| "[".repeat(n) + &"]".repeat(n);
        assert!(canonical(&deep(64)).1.is_empty());
        assert_eq!(canonical(&deep(65)).1.len(), 1);
        assert_eq!(canonical(&deep(1_000_000)).1.len(), 1);
    }

    #[test]
    fn what_is_taken_back_is_gone() {
        let settled = |entries: &[(&str, &[u8])]| {
            let mut object = Vec::new();
            entries.iter().for_each(|(key, value)| push_entry(&mut object, key, value));
            String::from_utf8(settle(object)).unwrap()
        };
        assert_eq!(settled(&[("b", b"1"), ("a", b"{\"b\":2}"), ("b", b"3")]), r#"{"b":1,"a":{"b":2},"b":3}"#);
        let twice: [(&str, &[u8]); 5] =
            [("b", b"1"), ("a\"", b"2"), ("b", TAKEN_BACK), ("c", TAKEN_BACK), ("b", b"\"\\u0001\"")];
        assert_eq!(settled(&twice), r#"{"a\"":2,"b":"\u0001"}"#);
        assert_eq!(settled(&twice[..1]), r#"{"b":1}"#);
        assert_eq!(settled(&[("b", b"1"), ("b", TAKEN_BACK)]), "");
        assert_eq!(settled(&[]), "");
    }

    #[test]
    fn entries_of_an_object() {
        let mut object = Vec::new();
        push_entry(&mut object, "a\"", b"[1,{\"x\":\"}\"}]");
        push_entry(&mut object, "b", b"2");
        let all: Vec<_> = entries(&object).map(|(k, v)| format!("{k}={v}")).collect();
        assert_eq!(all, ["a\"=[1,{\"x\":\"}\"}]", "b=2"]);
        assert_eq!(get(&object, "b"), Some("2"));
        for cut in ["", "{}", "{", "{\"a", "{\"a\"", "{\"a\\", "x"] {
            assert_eq!(entries(cut.as_bytes()).count(), 0, "{cut}");
        }
        assert!(entries(b"{\"a\":").count() <= 1);
    }
}
