//! What operators ask and do.
//!
//! | module | responsibility |
//! |---|---|
//! | `status` | where each read model stands |
//! | `log_read` | the log as CloudEvents |
//! | `log_forward` | a part of the log, delivered again; `destination`: to whom; `resume`: how far it is |
//! | `selection` | which events of the log are meant |
//! | `rejected`, `dead_letters` | what was refused, and why |
//! | `redrive_rejected`, `redrive_dead_letters` | the same once more |
//! | `report` | the reports of the query service |
//! | `doctor` | whether Kafka, PostgreSQL and this machine are as they should be |
//! | `generations` | replays, and their steps one by one |
//! | `repair` | one entity or one customer, held against the log and put right |
//! | `digest` | one digest a view and one for the model |
//! | `fuzz` | any bytes as files that are read again, for fuzzing |

mod dead_letters;
mod destination;
mod digest;
mod doctor;
pub(crate) mod fuzz;
mod generations;
mod log_forward;
mod log_read;
mod redrive_dead_letters;
mod redrive_rejected;
mod rejected;
mod repair;
mod report;
mod resume;
mod selection;
mod status;

use std::path::Path;
use std::str::FromStr;
use std::time::Duration;

use event_log::{Log, LogError, LogOptions};
use projection::generation::{self, Listed};
use serde_json::json;
use service_kit::Config;
use sqlx::postgres::PgConnectOptions;
use sqlx::{ConnectOptions, PgConnection};

use crate::cli::Output;
use crate::failure::{Exit, Failure, OrExit, Outcome};
use crate::say;

pub(crate) use dead_letters::dead_letters;
pub(crate) use digest::digest;
pub(crate) use doctor::{doctor, local_directories};
pub(crate) use generations::{generation, replay};
pub(crate) use log_forward::log_forward;
pub(crate) use log_read::log_read;
pub(crate) use rejected::rejected;
pub(crate) use repair::repair;
pub(crate) use report::report;
pub(crate) use status::status;

/// How long a command waits for Kafka or PostgreSQL.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);

/// How long PostgreSQL may work on one statement of a command.
pub(crate) const STATEMENT_TIMEOUT: Duration = Duration::from_secs(60);

/// How long it may digest one view: all of its rows are read.
const DIGEST_TIMEOUT: Duration = Duration::from_secs(10 * 60);

/// `rapport config`.
pub(crate) fn config(config: &Config, output: Output) -> Outcome {
    let entries = config.entries();
    if output.json {
        let settings: Vec<_> = entries
            .iter()
            .map(|e| json!({"name": e.name, "value": e.shown, "origin": e.origin.to_string(), "help": e.help}))
            .collect();
        say::json(&json!({"settings": settings, "warnings": config.warnings()}));
        return Ok(());
    }
    let mut rows = vec![["setting", "value", "origin", "meaning"].map(str::to_owned).to_vec()];
    for entry in entries {
        let value = entry.shown.unwrap_or_else(|| "(not set)".to_owned());
        rows.push(vec![entry.name, value, entry.origin.to_string(), entry.help.to_owned()]);
    }
    say::table(&rows);
    for warning in config.warnings() {
        say::note(format_args!("{warning}"));
    }
    Ok(())
}

/// The log that the settings name.
pub(crate) fn log_options(config: &Config) -> Outcome<LogOptions> {
    Ok(LogOptions {
        brokers: config.required_text("kafka").or_exit(Exit::Configuration)?.to_owned(),
        properties: config.kafka_properties(),
        topic: config.text("topic").to_owned(),
        rejected_topic: config.text("rejected_topic").to_owned(),
        partitions: i32::try_from(config.u32("partitions")).unwrap_or(i32::MAX),
        replication: i32::try_from(config.u32("replication")).unwrap_or(i32::MAX),
        open_timeout: ANSWER_TIMEOUT,
    })
}

/// Opens the log for a command.
pub(crate) async fn open_log(config: &Config) -> Outcome<Log> {
    Log::open(&log_options(config)?).await.map_err(|error| {
        let failure = Failure::of(log_exit(&error), error);
        match nothing_runs(config, "kafka") {
            Some(advice) if failure.exit() == Exit::Unavailable => failure.with_advice(&advice),
            _ => failure,
        }
    })
}

/// What to say beside a server that cannot be reached where none was named and nothing of this data directory's runs.
/// `setting`: what would name another server.
fn nothing_runs(config: &Config, setting: &str) -> Option<String> {
    let data_dir = config.text("data_dir");
    let runs = crate::up::running(Path::new(data_dir)).is_some();
    (!runs && !config.is_given(setting)).then(|| {
        let flag = setting.replace('_', "-");
        format!(
            "nothing of the data directory {data_dir} runs here: start it with `rapport up` (in a checkout `make run`), run this \
             command where it runs, or name a server with --{flag}"
        )
    })
}

/// What a log that cannot be opened ends a command with. A wrong setting does not become right by trying again.
pub(crate) fn log_exit(error: &LogError) -> Exit {
    match error {
        LogError::Configuration(_) | LogError::NotALog { .. } => Exit::Configuration,
        LogError::Unreachable { .. }
        | LogError::Missing { .. }
        | LogError::Empty { .. }
        | LogError::NotCreated { .. } => Exit::Unavailable,
    }
}

/// Connects a command to the database. PostgreSQL may work on one statement for as long as `statement_timeout`.
pub(crate) async fn connect(config: &Config, statement_timeout: Duration) -> Outcome<PgConnection> {
    let options = database_options(config, statement_timeout)?;
    let place = format!("{}:{}", options.get_host(), options.get_port());
    let (found, advice) = match tokio::time::timeout(ANSWER_TIMEOUT, options.connect()).await {
        Ok(Ok(connection)) => return Ok(connection),
        Ok(Err(error)) => {
            (format!("PostgreSQL at {place} cannot be used: {error}"), "is it running, and is database_url right?")
        }
        Err(_) => {
            let seconds = ANSWER_TIMEOUT.as_secs();
            (format!("PostgreSQL at {place} did not answer within {seconds} s"), "is it running?")
        }
    };
    let advice = nothing_runs(config, "database_url").unwrap_or_else(|| advice.to_owned());
    Err(Failure::new(Exit::Unavailable, format_args!("{found}; {advice}")))
}

/// The address is not in the error: it may hold a password.
fn database_options(config: &Config, statement_timeout: Duration) -> Outcome<PgConnectOptions> {
    let url = config.required_text("database_url").or_exit(Exit::Configuration)?;
    let options = PgConnectOptions::from_str(url).map_err(|_| {
        Failure::new(
            Exit::Configuration,
            "database_url is no address of a PostgreSQL database (postgres://user@host:5432/name)",
        )
    })?;
    let statement_timeout_ms = statement_timeout.as_millis().to_string();
    Ok(options
        .application_name("rapport")
        .options([("timezone", "UTC"), ("statement_timeout", statement_timeout_ms.as_str())]))
}

/// A value of a document as people read it.
fn plain(value: &serde_json::Value) -> String {
    match value {
        serde_json::Value::Null => "?".to_owned(),
        serde_json::Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// The generations of a model; none where no projector has ever run on this database.
async fn generations_of(database: &mut PgConnection, model: &str) -> Outcome<Vec<Listed>> {
    match generation::list(database, model).await {
        Ok(listed) => Ok(listed),
        Err(error) if is_undefined(&error) => Ok(Vec::new()),
        Err(error) => Err(unread(error)),
    }
}

/// Why the backbone could not be read.
fn unread(error: sqlx::Error) -> Failure {
    const UNDEFINED_COLUMN: &str = "42703";
    let is_older = error.as_database_error().and_then(|e| e.code()).as_deref() == Some(UNDEFINED_COLUMN);
    let failure = Failure::of(Exit::Unavailable, error);
    if is_older {
        let advice = "was this database last used by an older version? A projector of this one brings it up to date";
        return failure.with_advice(advice);
    }
    failure
}

/// Whether a schema or table that was asked for is not there: no projector has run on this database yet.
pub(crate) fn is_undefined(error: &sqlx::Error) -> bool {
    const UNDEFINED: [&str; 2] = ["42P01", "3F000"];
    error.as_database_error().and_then(|e| e.code()).is_some_and(|code| UNDEFINED.contains(&code.as_ref()))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn config() -> Config {
        Config::load(BTreeMap::new(), std::iter::empty(), None).expect("the defaults are allowed")
    }

    #[test]
    fn every_statement_has_a_limit() {
        for (timeout, expected) in [(STATEMENT_TIMEOUT, "60000"), (DIGEST_TIMEOUT, "600000")] {
            let options = database_options(&config(), timeout).expect("the local address");
            let said = options.get_options().expect("options");
            assert!(said.split(' ').any(|o| o == format!("statement_timeout={expected}")), "{said}");
        }
    }

    #[test]
    fn a_log_that_will_never_open_is_a_matter_of_configuration() {
        let text = String::new;
        for (error, exit) in [
            (LogError::Configuration(text()), Exit::Configuration),
            (LogError::NotALog { topic: text(), found: text() }, Exit::Configuration),
            (LogError::Unreachable { brokers: text(), reason: text() }, Exit::Unavailable),
            (LogError::Missing { topic: text() }, Exit::Unavailable),
            (LogError::Empty { topic: text() }, Exit::Unavailable),
        ] {
            assert_eq!(log_exit(&error), exit, "{error:?}");
        }
    }
}
