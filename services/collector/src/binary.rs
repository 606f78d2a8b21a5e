//! CloudEvents' binary mode: attributes from `ce-*` headers, data from the body, put together as the structured event
//! that they stand for, so that everything behind reads one form.

use axum::http::{HeaderMap, header};
use base64::{Engine, engine::general_purpose::STANDARD};

use crate::{
    content::{self, Mode},
    refusal::Refusal,
    split,
};

const PREFIX: &str = "ce-";
/// Members of the JSON form that no header may stand for: they come from the body and its content type.
const NOT_ATTRIBUTES: [&str; 3] = ["data", "data_base64", "datacontenttype"];

/// The structured JSON text of a binary request.
pub(crate) fn structured(headers: &HeaderMap, body: &[u8], mode: Mode) -> Result<String, Refusal> {
    let mut json = String::with_capacity(body.len() + 512);
    json.push('{');
    for name in headers.keys() {
        let Some(attribute) = name.as_str().strip_prefix(PREFIX) else { continue };
        if NOT_ATTRIBUTES.contains(&attribute) {
            return Err(Refusal::Header(format!(
                "header {name} is no attribute: data is the body, and its type stands in Content-Type"
            )));
        }
        let value = content::one_text(headers, name.as_str())?.unwrap_or_default();
        member(&mut json, attribute);
        quote(&mut json, &decode(name.as_str(), value)?);
    }
    if let Some(content_type) = content::one_text(headers, header::CONTENT_TYPE.as_str())? {
        member(&mut json, "datacontenttype");
        quote(&mut json, content_type);
    }
    if !body.is_empty() {
        if mode == Mode::BinaryJson {
            let data = split::one(split::text(body)?)?;
            member(&mut json, "data");
            json.push_str(data);
        } else {
            member(&mut json, "data_base64");
            json.push('"');
            STANDARD.encode_string(body, &mut json);
            json.push('"');
        }
    }
    json.push('}');
    Ok(json)
}

fn member(json: &mut String, name: &str) {
    if json.len() > 1 {
        json.push(',');
    }
    quote(json, name);
    json.push(':');
}

fn quote(json: &mut String, text: &str) {
    json.push_str(&serde_json::to_string(text).expect("a string is always JSON"));
}

/// A header's value as the attribute's: quotes undone, then percent-decoded once. A bare `%` stands for itself.
fn decode(name: &str, value: &str) -> Result<String, Refusal> {
    let value = unquote(value);
    if !value.contains('%') {
        return Ok(value);
    }
    let bytes = value.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        match hex_pair(&bytes[at..]) {
            Some(byte) => {
                out.push(byte);
                at += 3;
            }
            None => {
                out.push(bytes[at]);
                at += 1;
            }
        }
    }
    String::from_utf8(out).map_err(|_| Refusal::Header(format!("header {name} is not UTF-8 once its %XX are decoded")))
}

fn hex_pair(bytes: &[u8]) -> Option<u8> {
    let [b'%', high, low, ..] = bytes else { return None };
    let digit = |b: u8| char::from(b).to_digit(16);
    u8::try_from(digit(*high)? * 16 + digit(*low)?).ok()
}

/// `"a\"b"` -> `a"b`; anything else as it is.
fn unquote(value: &str) -> String {
    let Some(inner) = value.strip_prefix('"').and_then(|v| v.strip_suffix('"')) else { return value.to_owned() };
    let mut out = String::with_capacity(inner.len());
    let mut chars = inner.chars();
    while let Some(c) = chars.next() {
        out.push(if c == '\\' { chars.next().unwrap_or('\\') } else { c });
    }
    out
}

#[cfg(test)]
mod tests {
    use axum::http::{HeaderName, HeaderValue};

    use super::*;

    fn check(headers: &[(&str, &[u8])], body: &[u8], mode: Mode, expected: Result<&str, &str>) {
        let headers: HeaderMap = headers
            .iter()
            .map(|(n, v)| {
                (HeaderName::from_bytes(n.as_bytes()).expect("a name"), HeaderValue::from_bytes(v).expect("a value"))
            })
            .collect();
        match (structured(&headers, body, mode), expected) {
            (Ok(json), Ok(expected)) => assert_eq!(json, expected),
            (Err(refusal), Err(part)) => assert!(refusal.to_string().contains(part), "{refusal}"),
            (got, expected) => panic!("{got:?}, expected {expected:?}"),
        }
    }

    #[test]
    fn requests() {
        let json = Mode::BinaryJson;
        check(
            &[("ce-id", b"1"), ("accept", b"*/*"), ("content-type", b"application/json")],
            b" {\"a\":1.50} ",
            json,
            Ok(r#"{"id":"1","datacontenttype":"application/json","data":{"a":1.50}}"#),
        );
        check(&[("ce-id", b"J%C3%BCrgen%25 100% %4")], b"", json, Ok(r#"{"id":"Jürgen% 100% %4"}"#));
        check(&[("ce-id", "Jürgen".as_bytes())], b"", json, Ok(r#"{"id":"Jürgen"}"#));
        check(&[("ce-id", b"\"a\\\"b%20c\"")], b"", json, Ok(r#"{"id":"a\"b c"}"#));
        check(&[("ce-id", b"%FF")], b"", json, Err("ce-id is not UTF-8"));
        check(&[("ce-id", b"\xff")], b"", json, Err("ce-id is not UTF-8"));
        check(&[("ce-id", b"1"), ("ce-id", b"2")], b"", json, Err("more than once"));
        check(&[("ce-data", b"1")], b"", json, Err("no attribute"));
        check(&[("ce-id", b"1")], b"{", json, Err("line 1, column 1"));
        check(
            &[("ce-id", b"1"), ("content-type", b"image/png")],
            b"\x89PNG",
            Mode::BinaryOther,
            Ok(r#"{"id":"1","datacontenttype":"image/png","data_base64":"iVBORw=="}"#),
        );
    }
}
