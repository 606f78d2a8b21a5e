use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use serde_json::{Map, Value};

/// An error answer in the form of RFC 9457, `application/problem+json`.
#[derive(Debug, Clone)]
pub struct Problem {
    status: StatusCode,
    kind: &'static str,
    detail: String,
    errors: Vec<ProblemError>,
    members: Map<String, Value>,
    retry_after_s: Option<u32>,
}

/// One fault of several in a request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ProblemError {
    /// Stable, for programs: `missing_field`.
    pub code: String,
    /// Where, as a JSON pointer (`/data/order_id`) or a parameter's name.
    pub pointer: String,
    /// For people.
    pub detail: String,
}

impl Problem {
    /// A problem whose `kind` is stable, lower case with dashes: `position-not-reached`.
    pub fn new(status: StatusCode, kind: &'static str, detail: impl Into<String>) -> Self {
        let detail = detail.into();
        Self { status, kind, detail, errors: Vec::new(), members: Map::new(), retry_after_s: None }
    }

    /// Adds a fault.
    pub fn error(mut self, code: &str, pointer: &str, detail: impl Into<String>) -> Self {
        self.errors.push(ProblemError { code: code.into(), pointer: pointer.into(), detail: detail.into() });
        self
    }

    /// Adds a member of this kind of problem; not one of the standard's own.
    pub fn member(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.members.insert(name.to_owned(), value.into());
        self
    }

    /// Says when to try again: at least 1 second.
    pub fn retry_after_s(mut self, seconds: u32) -> Self {
        self.retry_after_s = Some(seconds.max(1));
        self
    }

    /// Its HTTP status.
    pub fn status(&self) -> StatusCode {
        self.status
    }

    /// Its stable kind.
    pub fn kind(&self) -> &'static str {
        self.kind
    }

    /// The body.
    pub fn to_json(&self) -> Value {
        let mut body = Map::new();
        body.insert("type".into(), format!("urn:rapport:problem:{}", self.kind).into());
        body.insert("title".into(), title(self.kind).into());
        body.insert("status".into(), self.status.as_u16().into());
        body.insert("detail".into(), self.detail.clone().into());
        if !self.errors.is_empty() {
            let errors = serde_json::to_value(&self.errors).expect("a list of texts is JSON");
            body.insert("errors".into(), errors);
        }
        for (name, value) in &self.members {
            body.entry(name.clone()).or_insert_with(|| value.clone());
        }
        Value::Object(body)
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut response = (self.status, self.to_json().to_string()).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        if let Some(seconds) = self.retry_after_s {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        response
    }
}

/// `position-not-reached` as people write it.
fn title(kind: &str) -> String {
    let text = kind.replace('-', " ");
    let mut letters = text.chars();
    letters.next().map(|first| first.to_uppercase().chain(letters).collect()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_problem_says_what_where_and_when_to_come_back() {
        let problem = Problem::new(StatusCode::SERVICE_UNAVAILABLE, "position-not-reached", "sales is 3 events behind")
            .error("behind", "position", "3 events")
            .member("behind", json!({"sales": 3}))
            .member("status", 200)
            .retry_after_s(0);
        let expected = json!({
            "type": "urn:rapport:problem:position-not-reached",
            "title": "Position not reached",
            "status": 503,
            "detail": "sales is 3 events behind",
            "errors": [{"code": "behind", "pointer": "position", "detail": "3 events"}],
            "behind": {"sales": 3},
        });
        assert_eq!(problem.to_json(), expected);
        let response = problem.into_response();
        assert_eq!(response.headers()["content-type"], "application/problem+json");
        assert_eq!(response.headers()["retry-after"], "1");
    }
}
