//! Which of CloudEvents' modes a request uses, by its content type; what it may not carry.

use axum::http::{HeaderMap, header};

use crate::refusal::Refusal;

/// How events lie in a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    /// `application/cloudevents+json`: the body is one event.
    Structured,
    /// `application/cloudevents-batch+json`: the body is an array of events.
    Batch,
    /// `ce-*` headers are the attributes, the body is JSON data.
    BinaryJson,
    /// `ce-*` headers are the attributes, the body is data of another type.
    BinaryOther,
}

impl Mode {
    /// Its name in rejected records and metrics.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Structured => "structured",
            Self::Batch => "batch",
            Self::BinaryJson | Self::BinaryOther => "binary",
        }
    }
}

/// What is accepted, for every sentence that has to say so.
const ACCEPTED: &str = "send application/cloudevents+json (one event), application/cloudevents-batch+json (an array of events), \
                        or the event's attributes as ce-* headers with its data as the body";

/// Reads the mode off the headers. The more specific name is looked for first: `application/cloudevents` is a prefix of
/// `application/cloudevents-batch`.
pub(crate) fn mode(headers: &HeaderMap) -> Result<Mode, Refusal> {
    let content_type = one_text(headers, header::CONTENT_TYPE.as_str())?.unwrap_or_default();
    refuse_encoding(headers)?;
    let media = media_type(content_type);
    let format = |prefix: &str| media.strip_prefix(prefix).map(str::to_owned);
    let (mode, suffix) = if let Some(suffix) = format("application/cloudevents-batch") {
        (Mode::Batch, suffix)
    } else if let Some(suffix) = format("application/cloudevents") {
        (Mode::Structured, suffix)
    } else {
        return binary(headers, content_type, &media);
    };
    if suffix != "+json" {
        return Err(Refusal::ContentType(format!("{media} is not accepted: events are read as JSON; {ACCEPTED}")));
    }
    refuse_charset(content_type)?;
    Ok(mode)
}

fn binary(headers: &HeaderMap, content_type: &str, media: &str) -> Result<Mode, Refusal> {
    let has_attributes = headers.keys().any(|name| name.as_str().starts_with("ce-"));
    if !has_attributes {
        let what = if media.is_empty() {
            "the request has neither a Content-Type nor ce-* headers".to_owned()
        } else {
            format!("{media} without ce-* headers does not say how the events lie in the body")
        };
        return Err(Refusal::ContentType(format!("{what}; {ACCEPTED}")));
    }
    if media.is_empty() || is_json(media) {
        refuse_charset(content_type)?;
        return Ok(Mode::BinaryJson);
    }
    Ok(Mode::BinaryOther)
}

fn is_json(media: &str) -> bool {
    matches!(media, "application/json" | "text/json") || media.ends_with("+json")
}

/// `Text/Plain ; charset=x` -> `text/plain`.
fn media_type(content_type: &str) -> String {
    content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase()
}

fn refuse_charset(content_type: &str) -> Result<(), Refusal> {
    for parameter in content_type.split(';').skip(1) {
        let Some((name, value)) = parameter.split_once('=') else { continue };
        let value = value.trim().trim_matches('"');
        if name.trim().eq_ignore_ascii_case("charset")
            && !value.eq_ignore_ascii_case("utf-8")
            && !value.eq_ignore_ascii_case("utf8")
        {
            return Err(Refusal::ContentType(format!("charset {value:?} is not accepted: JSON events are UTF-8")));
        }
    }
    Ok(())
}

fn refuse_encoding(headers: &HeaderMap) -> Result<(), Refusal> {
    let Some(encoding) = one_text(headers, header::CONTENT_ENCODING.as_str())? else { return Ok(()) };
    if encoding.trim().is_empty() || encoding.trim().eq_ignore_ascii_case("identity") {
        return Ok(());
    }
    Err(Refusal::ContentEncoding(encoding.trim().to_owned()))
}

/// A header that may stand once, as text.
pub(crate) fn one_text<'a>(headers: &'a HeaderMap, name: &str) -> Result<Option<&'a str>, Refusal> {
    let mut values = headers.get_all(name).iter();
    let Some(value) = values.next() else { return Ok(None) };
    if values.next().is_some() {
        return Err(Refusal::Header(format!("header {name} is sent more than once")));
    }
    match std::str::from_utf8(value.as_bytes()) {
        Ok(text) => Ok(Some(text)),
        Err(_) => Err(Refusal::Header(format!("header {name} is not UTF-8"))),
    }
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    fn check(content_type: &str, attributes: bool, expected: Result<Mode, &str>) {
        let mut headers = HeaderMap::new();
        if !content_type.is_empty() {
            headers.insert(header::CONTENT_TYPE, HeaderValue::from_str(content_type).expect("a header"));
        }
        if attributes {
            headers.insert("ce-id", HeaderValue::from_static("1"));
        }
        match (mode(&headers), expected) {
            (Ok(mode), Ok(expected)) => assert_eq!(mode, expected, "{content_type}"),
            (Err(refusal), Err(part)) => assert!(refusal.to_string().contains(part), "{content_type}: {refusal}"),
            (got, expected) => panic!("{content_type}: {got:?}, expected {expected:?}"),
        }
    }

    #[test]
    fn modes() {
        check("application/cloudevents+json", false, Ok(Mode::Structured));
        check("Application/CloudEvents+JSON; charset=\"UTF-8\"", false, Ok(Mode::Structured));
        check("application/cloudevents-batch+json;charset=utf-8", false, Ok(Mode::Batch));
        check("application/cloudevents+json; charset=latin1", false, Err("UTF-8"));
        check("application/cloudevents+protobuf", false, Err("not accepted"));
        check("application/cloudevents-batch+xml", true, Err("not accepted"));
        check("application/json", true, Ok(Mode::BinaryJson));
        check("application/vnd.shop.v2+json", true, Ok(Mode::BinaryJson));
        check("", true, Ok(Mode::BinaryJson));
        check("application/json; charset=utf-16", true, Err("UTF-8"));
        check("image/png", true, Ok(Mode::BinaryOther));
        check("application/json", false, Err("application/cloudevents+json"));
        check("", false, Err("neither"));
    }

    #[test]
    fn encodings() {
        let headers = |encoding: &'static str| {
            HeaderMap::from_iter([
                (header::CONTENT_TYPE, HeaderValue::from_static("application/cloudevents+json")),
                (header::CONTENT_ENCODING, HeaderValue::from_static(encoding)),
            ])
        };
        assert_eq!(mode(&headers("identity")).expect("readable"), Mode::Structured);
        assert!(mode(&headers("gzip")).expect_err("unreadable").to_string().contains("gzip"));
    }
}
