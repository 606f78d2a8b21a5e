//! What a request to the collector brings, read from any bytes: for fuzzing, and for nothing else.

use axum::http::{HeaderMap, HeaderName, HeaderValue, header};
use domain::{identifier::Normalizer, receipt::Limits, time};

use crate::{
    RejectedRecord, binary,
    content::{self, Mode},
    judge::{FAULTS_MAX, Judge, Judged, Verdict},
    refusal::Refusal,
    rejected::Kept,
    split,
};

/// More events of one request are refused.
const EVENTS_MAX: usize = 100;
/// Longer events are rejected: short enough that the limit is met.
const EVENT_BYTES_MAX: usize = 64 * 1024;
/// Of a rejected event this much is kept: so little that events are cut.
const KEPT_BYTES_MAX: usize = 512;
/// 2026-03-01T10:00:00Z.
const RECEIVED_AT: i64 = 1_772_359_200 * time::SECOND;

/// Reads `data` as a request to `POST /events`, lines of headers, an empty line and a body, and judges its events.
///
/// # Panics
/// What is cut out of a request is no JSON, a verdict says nothing, or what is kept of a rejected event cannot be read.
pub fn request(data: &[u8]) {
    let (head, body) = head_and_body(data);
    let headers = headers(head);
    let Ok(mode) = content::mode(&headers) else { return };
    let assembled;
    let events = match mode {
        Mode::Batch => split::text(body).and_then(|text| split::array(text, EVENTS_MAX)),
        Mode::Structured => split::text(body).and_then(split::one).map(|event| vec![event]),
        Mode::BinaryJson | Mode::BinaryOther => match binary::structured(&headers, body, mode) {
            Ok(text) => {
                assembled = text;
                Ok(vec![assembled.as_str()])
            }
            Err(refusal) => Err(refusal),
        },
    };
    match events {
        Ok(events) => {
            assert!(events.len() <= EVENTS_MAX, "{} events of a request", events.len());
            let content_type = content::one_text(&headers, header::CONTENT_TYPE.as_str()).ok().flatten();
            events.iter().for_each(|event| judged(event, mode, content_type.unwrap_or_default()));
        }
        Err(refusal) => is_told(&refusal),
    }
}

fn head_and_body(data: &[u8]) -> (&[u8], &[u8]) {
    let end = data.windows(2).position(|two| two == b"\n\n");
    end.map_or((data, &[][..]), |end| (&data[..end], &data[end + 2..]))
}

fn headers(head: &[u8]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for line in head.split(|byte| *byte == b'\n') {
        let Some(colon) = line.iter().position(|byte| *byte == b':') else { continue };
        let name = HeaderName::from_bytes(&line[..colon]);
        let value = HeaderValue::from_bytes(line[colon + 1..].trim_ascii());
        if let (Ok(name), Ok(value)) = (name, value) {
            headers.append(name, value);
        }
    }
    headers
}

fn judged(event: &str, mode: Mode, content_type: &str) {
    let is_json = serde_json::from_str::<serde::de::IgnoredAny>(event).is_ok();
    assert!(is_json, "no JSON value was cut out of the request: {event}");
    let judge = Judge {
        normalizer: Normalizer::new("DE", &[]).expect("a country"),
        limits: Limits { time_ahead_max: time::DAY },
        event_bytes_max: EVENT_BYTES_MAX,
    };
    let Judged { id, verdict, .. } = judge.judge(event, RECEIVED_AT);
    match verdict {
        Verdict::Append(record) => assert!(id.is_some() && record.size() > 0, "an event without an id: {event}"),
        Verdict::Reject(faults) => {
            assert!((1..=FAULTS_MAX).contains(&faults.len()), "{} faults: {event}", faults.len());
            let kept = Kept {
                received_at: "2026-03-01T10:00:00Z",
                mode: mode.as_str(),
                content_type,
                id: id.as_deref(),
                faults: &faults,
                event,
                bytes_max: KEPT_BYTES_MAX,
            };
            let value = kept.to_value();
            let record = RejectedRecord::parse(&value).expect("what is kept of a rejected event can be read");
            assert!(event.starts_with(&*record.event), "other bytes were kept of {event}");
            assert_eq!(record.cut_from_bytes.is_some(), record.event.len() < event.len());
            assert_eq!(record.id.as_deref(), id.as_deref());
        }
    }
}

fn is_told(refusal: &Refusal) {
    assert!(!refusal.to_string().is_empty(), "a request was refused without a sentence");
}
