//! `rapport doctor`: whether what Rapport stands on is as it should be.
//!
//! | module | looks at |
//! |---|---|
//! | `kafka` | the brokers, the log's topics and their settings |
//! | `postgres` | version, settings, roles, its clock |
//! | `machine` | the collector's clock, disk space, ports |

mod kafka;
mod machine;
mod postgres;

use serde_json::{Value, json};
use service_kit::{Clock, Config};

use crate::cli::Output;
use crate::failure::{Exit, Failure, Outcome};
use crate::say;

pub(crate) use machine::local_directories;

/// One thing that was looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Check {
    /// What was looked at, in a few words; the same at every run.
    name: String,
    state: State,
    /// What was found, in a sentence.
    finding: String,
    /// Why it matters; empty where all is well.
    reason: String,
    /// What to do about it; empty where there is nothing to do.
    remedy: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Ok,
    /// It is not as it should be.
    Finding,
    /// It does not answer, or may not be asked.
    Unreachable,
    /// It could not be looked at, because of something else that was said already or does not run.
    Skipped,
}

impl State {
    fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Finding => "finding",
            Self::Unreachable => "unreachable",
            Self::Skipped => "skipped",
        }
    }
}

impl Check {
    fn ok(name: impl Into<String>, finding: impl Into<String>) -> Self {
        Self::new(name, State::Ok, finding, "", "")
    }

    fn skipped(name: impl Into<String>, finding: impl Into<String>) -> Self {
        Self::new(name, State::Skipped, finding, "", "")
    }

    fn finding(
        name: impl Into<String>,
        finding: impl Into<String>,
        reason: impl Into<String>,
        remedy: impl Into<String>,
    ) -> Self {
        Self::new(name, State::Finding, finding, reason, remedy)
    }

    fn unreachable(
        name: impl Into<String>,
        finding: impl Into<String>,
        reason: impl Into<String>,
        remedy: impl Into<String>,
    ) -> Self {
        Self::new(name, State::Unreachable, finding, reason, remedy)
    }

    fn new(
        name: impl Into<String>,
        state: State,
        finding: impl Into<String>,
        reason: impl Into<String>,
        remedy: impl Into<String>,
    ) -> Self {
        let (name, finding, reason, remedy) = (name.into(), finding.into(), reason.into(), remedy.into());
        Self { name, state, finding, reason, remedy }
    }

    fn document(&self) -> Value {
        let said = |text: &str| (!text.is_empty()).then(|| text.to_owned());
        json!({
            "check": self.name, "state": self.state.as_str(), "finding": self.finding,
            "reason": said(&self.reason), "remedy": said(&self.remedy),
        })
    }
}

/// `rapport doctor`. Nothing is changed anywhere.
pub(crate) async fn doctor(config: &Config, output: Output) -> Outcome {
    let clock = Clock::system();
    let (kafka, postgres) = tokio::join!(Box::pin(kafka::checks(config)), Box::pin(postgres::checks(config, &clock)));
    let (kafka, postgres) = (kafka?, postgres?);
    let answers = |checks: &[Check]| checks.iter().all(|check| check.state != State::Unreachable);
    let servers = machine::Servers { kafka: answers(&kafka), postgres: answers(&postgres) };
    let checks: Vec<Check> =
        kafka.into_iter().chain(postgres).chain(machine::checks(config, &clock, servers).await?).collect();
    tell(&checks, output);
    match worst(&checks) {
        None => Ok(()),
        Some(exit) => Err(Failure::told(exit)),
    }
}

fn worst(checks: &[Check]) -> Option<Exit> {
    let any = |state: State| checks.iter().any(|check| check.state == state);
    match (any(State::Unreachable), any(State::Finding)) {
        (true, _) => Some(Exit::Unavailable),
        (false, true) => Some(Exit::Difference),
        (false, false) => None,
    }
}

fn tell(checks: &[Check], output: Output) {
    let count = |state: State| checks.iter().filter(|check| check.state == state).count();
    let (findings, unreachable) = (count(State::Finding), count(State::Unreachable));
    if output.json {
        let documents: Vec<Value> = checks.iter().map(Check::document).collect();
        let ok = worst(checks).is_none();
        say::json(&json!({"ok": ok, "findings": findings, "unreachable": unreachable, "checks": documents}));
        return;
    }
    for check in checks {
        say::line(format_args!("{:<12} {}: {}", check.state.as_str(), check.name, check.finding));
        for (word, text) in [("why", &check.reason), ("remedy", &check.remedy)] {
            if !text.is_empty() {
                say::line(format_args!("{:<12} {word}: {text}", ""));
            }
        }
    }
    say::line(format_args!("\n{} checks, {findings} findings, {unreachable} not reachable", checks.len()));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_worst_decides() {
        let (good, bad) = (Check::ok("a", "b"), Check::finding("a", "b", "c", "d"));
        let (away, left) = (Check::unreachable("a", "b", "c", "d"), Check::skipped("a", "b"));
        assert_eq!(worst(&[good.clone(), left]), None);
        assert_eq!(worst(&[good.clone(), bad.clone()]), Some(Exit::Difference));
        assert_eq!(worst(&[bad, away, good.clone()]), Some(Exit::Unavailable));
        let document = good.document();
        assert_eq!((&document["state"], &document["remedy"]), (&json!("ok"), &Value::Null));
    }
}
