//! The answer to a publish: one result an event, in the order sent.

use axum::http::StatusCode;
use domain::receipt::Warning;
use rapport_proto::json::Fault;

/// What became of every event of a request.
#[derive(Debug, Default)]
pub(crate) struct Receipt {
    pub(crate) results: Vec<EventResult>,
    /// The token to read at. `None`: nothing was appended.
    pub(crate) position: Option<String>,
    /// Why events are to be sent again, if any are.
    pub(crate) retry_because: Option<RetryBecause>,
}

/// What became of one event.
#[derive(Debug)]
pub(crate) struct EventResult {
    /// Its `id`, where it could be read.
    pub(crate) id: Option<String>,
    pub(crate) warnings: Vec<Warning>,
    pub(crate) outcome: Outcome,
}

/// How it went.
#[derive(Debug)]
pub(crate) enum Outcome {
    /// On all in-sync replicas; or, where only validation was asked for, it would be accepted.
    Accepted,
    /// It can never be accepted as it is. The id says where it is kept.
    Rejected { faults: Vec<Fault>, rejection_id: Option<String> },
    /// Neither: to be sent again. Sending it twice does no harm.
    Retry,
}

/// Why something is to be sent again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RetryBecause {
    /// The queue to Kafka is full.
    QueueFull,
    /// Kafka did not confirm in time.
    Unavailable,
}

/// How many events came to which outcome.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) accepted: usize,
    pub(crate) rejected: usize,
    pub(crate) retry: usize,
}

impl Receipt {
    /// Counts the results.
    pub(crate) fn counts(&self) -> Counts {
        let mut counts = Counts::default();
        for result in &self.results {
            match result.outcome {
                Outcome::Accepted => counts.accepted += 1,
                Outcome::Rejected { .. } => counts.rejected += 1,
                Outcome::Retry => counts.retry += 1,
            }
        }
        counts
    }

    /// The answer's status.
    pub(crate) fn status(&self) -> StatusCode {
        let counts = self.counts();
        match (self.retry_because, counts) {
            (Some(RetryBecause::Unavailable), _) => StatusCode::SERVICE_UNAVAILABLE,
            (Some(RetryBecause::QueueFull), _) => StatusCode::TOO_MANY_REQUESTS,
            (None, Counts { rejected: 0, .. }) => StatusCode::OK,
            (None, Counts { accepted: 0, .. }) => StatusCode::UNPROCESSABLE_ENTITY,
            (None, _) => StatusCode::MULTI_STATUS,
        }
    }

    /// The answer's body. Written by hand: ten thousand results are not worth a tree.
    pub(crate) fn to_json(&self) -> Vec<u8> {
        let counts = self.counts();
        let mut out = Out(Vec::with_capacity(128 + 64 * self.results.len()));
        out.raw(&format!("{{\"accepted\":{},\"rejected\":{}", counts.accepted, counts.rejected));
        if counts.retry > 0 {
            out.raw(&format!(",\"retry\":{}", counts.retry));
        }
        if let Some(because) = self.retry_because {
            out.member("detail", because.detail());
        }
        if let Some(position) = &self.position {
            out.member("position", position);
        }
        out.raw(",\"results\":[");
        for (i, result) in self.results.iter().enumerate() {
            out.raw(if i == 0 { "{\"id\":" } else { ",{\"id\":" });
            match &result.id {
                Some(id) => out.text(id),
                None => out.raw("null"),
            }
            result.outcome.write(&mut out);
            out.warnings(&result.warnings);
            out.raw("}");
        }
        out.raw("]}");
        out.0
    }
}

impl RetryBecause {
    const fn detail(self) -> &'static str {
        match self {
            Self::QueueFull => {
                "the queue to the log is full: send the events marked retry again after Retry-After seconds"
            }
            Self::Unavailable => {
                "the log did not confirm every event in time: send those marked retry again after Retry-After seconds; \
                 sending an event twice does no harm"
            }
        }
    }
}

impl Outcome {
    fn write(&self, out: &mut Out) {
        match self {
            Self::Accepted => out.raw(",\"status\":\"accepted\""),
            Self::Retry => out.raw(",\"status\":\"retry\""),
            Self::Rejected { faults, rejection_id } => {
                out.raw(",\"status\":\"rejected\"");
                if let Some(id) = rejection_id {
                    out.member("rejection_id", id);
                }
                out.raw(",\"errors\":[");
                for (i, fault) in faults.iter().enumerate() {
                    out.entry(i, fault.code, &fault.pointer, &fault.detail);
                }
                out.raw("]");
            }
        }
    }
}

/// JSON being written.
struct Out(Vec<u8>);

impl Out {
    fn raw(&mut self, text: &str) {
        self.0.extend_from_slice(text.as_bytes());
    }

    fn text(&mut self, text: &str) {
        serde_json::to_writer(&mut self.0, text).expect("a string is always JSON, and a Vec takes all");
    }

    /// A further member of an object that has one already.
    fn member(&mut self, name: &str, value: &str) {
        self.raw(",\"");
        self.raw(name);
        self.raw("\":");
        self.text(value);
    }

    fn entry(&mut self, index: usize, code: &str, pointer: &str, detail: &str) {
        self.raw(if index == 0 { "{\"code\":" } else { ",{\"code\":" });
        self.text(code);
        self.member("pointer", pointer);
        self.member("detail", detail);
        self.raw("}");
    }

    fn warnings(&mut self, warnings: &[Warning]) {
        if warnings.is_empty() {
            return;
        }
        self.raw(",\"warnings\":[");
        for (i, warning) in warnings.iter().enumerate() {
            self.entry(i, warning.code, warning.pointer, &warning.detail);
        }
        self.raw("]");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn result(id: &str, outcome: Outcome) -> EventResult {
        EventResult { id: Some(id.into()), warnings: Vec::new(), outcome }
    }

    fn rejected() -> Outcome {
        let fault =
            Fault { code: "missing_field", pointer: "/data/order_id".into(), detail: "order_id is required".into() };
        Outcome::Rejected { faults: vec![fault], rejection_id: Some("0-7".into()) }
    }

    #[test]
    fn bodies() {
        let mut receipt = Receipt { position: Some("p1.x".into()), ..Receipt::default() };
        receipt.results.push(result("a\"b", Outcome::Accepted));
        receipt.results.push(EventResult { id: None, ..result("", rejected()) });
        receipt.results[0].warnings.push(Warning {
            code: "placeholder_dropped",
            pointer: "/subject",
            detail: "dropped".into(),
        });
        let expected = concat!(
            r#"{"accepted":1,"rejected":1,"position":"p1.x","results":[{"id":"a\"b","status":"accepted","#,
            r#""warnings":[{"code":"placeholder_dropped","pointer":"/subject","detail":"dropped"}]},"#,
            r#"{"id":null,"status":"rejected","rejection_id":"0-7","errors":[{"code":"missing_field","#,
            r#""pointer":"/data/order_id","detail":"order_id is required"}]}]}"#,
        );
        assert_eq!(String::from_utf8(receipt.to_json()).expect("text"), expected);
    }

    #[test]
    fn statuses() {
        let status = |outcomes: Vec<Outcome>, retry_because| {
            let results = outcomes.into_iter().map(|o| result("e", o)).collect();
            Receipt { results, position: None, retry_because }.status().as_u16()
        };
        assert_eq!(status(vec![], None), 200);
        assert_eq!(status(vec![Outcome::Accepted], None), 200);
        assert_eq!(status(vec![Outcome::Accepted, rejected()], None), 207);
        assert_eq!(status(vec![rejected()], None), 422);
        assert_eq!(status(vec![Outcome::Accepted, Outcome::Retry], Some(RetryBecause::Unavailable)), 503);
        assert_eq!(status(vec![rejected(), Outcome::Retry], Some(RetryBecause::QueueFull)), 429);
    }
}
