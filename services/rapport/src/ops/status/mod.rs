//! `rapport status`: where each read model stands, once or over and over.
//!
//! | module | responsibility |
//! |---|---|
//! | `look` | what PostgreSQL and Kafka say, asked each for itself |
//! | `document` | both as one document, the same for programs and for people |
//! | `rates` | how fast positions move |
//! | `watch` | `--watch`: asking on and on, whatever is away |
//! | `show` | a document as lines of 80 characters |
//! | `screen` | the terminal: taken over, and given back as it was |

mod document;
mod look;
mod rates;
mod screen;
mod show;
mod watch;

use std::time::Duration;

use serde_json::Value;
use service_kit::Config;
use tokio::time::{Instant, sleep_until};

use super::{log_options, plain, unread};
use crate::cli::StatusArgs;
use crate::failure::{Exit, Failure, Outcome};
use crate::say;
use look::Kafka;
use rates::Rates;

/// Over which a single status measures rates.
const RATE_WINDOW: Duration = Duration::from_millis(500);

/// `rapport status`. Without Kafka it shows what PostgreSQL knows, and ends as something that could not be reached.
pub(crate) async fn status(config: &Config, args: StatusArgs) -> Outcome {
    if args.watch {
        return watch::watch(config, args.output.json).await;
    }
    let began = Instant::now();
    let mut database = super::connect(config, super::STATEMENT_TIMEOUT).await?;
    let mut rates = Rates::default();
    let first = look::places(&mut database).await.map_err(unread)?;
    rates.saw(began, &first);
    // The read models stand where they stand, also while Kafka is away.
    let mut kafka = Kafka::new(log_options(config)?);
    let log = kafka.look(&first).await;
    sleep_until(began + RATE_WINDOW).await;
    let places = look::places(&mut database).await.map_err(unread)?;
    rates.saw(Instant::now(), &places);
    let document = document::document(&places, None, log.as_ref().map_err(String::as_str), &rates);
    if args.output.json {
        say::json(&document);
    } else {
        print(&document);
    }
    if log.is_ok() { Ok(()) } else { Err(Failure::told(Exit::Unavailable)) }
}

fn print(document: &Value) {
    if let Some(reason) = document["log_end_unknown"].as_str() {
        say::note(format_args!("the log's end, and so every lag, is unknown: {reason}"));
    }
    let models = document["models"].as_array().map(Vec::as_slice).unwrap_or_default();
    if models.is_empty() {
        say::line(format_args!("no read model yet: no projector has run on this database"));
    } else {
        say::table(&summary(models));
        say::line(format_args!(""));
        say::table(&leases(models));
    }
    let others: Vec<String> = generations(document).filter(|g| g["state"] != "live").map(beside).collect();
    if !others.is_empty() {
        say::line(format_args!("\n{}", others.join("\n")));
    }
    if let Some(rejected) = document["rejected"].as_i64() {
        say::line(format_args!("\nrejected events kept: {rejected}"));
    }
}

fn generations(document: &Value) -> impl Iterator<Item = &Value> {
    document["generations"].as_array().into_iter().flatten()
}

/// A generation beside the live one, in a line.
fn beside(generation: &Value) -> String {
    let (schema, state) = (plain(&generation["schema"]), plain(&generation["state"]));
    match show::progress(generation) {
        Some(progress) => format!("{schema} ({state}): {progress}"),
        None => format!("{schema} ({state}): {} events behind", plain(&generation["lag_events"])),
    }
}

fn summary(models: &[Value]) -> Vec<Vec<String>> {
    let mut rows = vec![
        ["model", "generation", "lag events", "lag s", "events/s", "workers", "leased", "dead letters", "schema"]
            .map(str::to_owned)
            .to_vec(),
    ];
    for model in models {
        let partitions = model["partitions"].as_array().map(Vec::as_slice).unwrap_or_default();
        let leased = partitions.iter().filter(|p| !p["holder"].is_null()).count();
        rows.push(vec![
            plain(&model["model"]),
            plain(&model["generation"]),
            plain(&model["lag_events"]),
            show::decimal(&model["lag_seconds"]),
            show::decimal(&model["events_per_second"]),
            plain(&model["workers"]),
            format!("{leased} of {}", partitions.len()),
            plain(&model["dead_letters"]),
            plain(&model["schema"]),
        ]);
    }
    rows
}

fn leases(models: &[Value]) -> Vec<Vec<String>> {
    let mut rows = vec![
        ["model", "partition", "next", "log end", "lag", "epoch", "holder", "lease ends in s"]
            .map(str::to_owned)
            .to_vec(),
    ];
    for model in models {
        for partition in model["partitions"].as_array().into_iter().flatten() {
            let seconds = partition["lease_expires_in_ms"]
                .as_i64()
                .map_or("-".to_owned(), |ms| format!("{:.1}", ms as f64 / 1000.0));
            rows.push(vec![
                plain(&model["model"]),
                plain(&partition["partition"]),
                plain(&partition["next_offset"]),
                plain(&partition["log_end"]),
                plain(&partition["lag_events"]),
                plain(&partition["epoch"]),
                show::holder(&partition["holder"]),
                seconds,
            ]);
        }
    }
    rows
}
