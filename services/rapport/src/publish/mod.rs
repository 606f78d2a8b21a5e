//! `rapport publish`: a file of CloudEvents to the collector.

mod client;
mod sender;

use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::Path;

use domain::Position;
use serde_json::json;
use service_kit::Config;

pub(crate) use client::{Client, Verdict};
pub(crate) use sender::{Progress, Sender};

use crate::cli::PublishArgs;
use crate::failure::{Exit, Failure, Outcome};
use crate::import::{Line, Lines};
use crate::say;

/// A longer line is rejected here: no collector takes such an event.
const LINE_BYTES_MAX: usize = 4 * 1024 * 1024;

/// The collector's address, where none is named.
pub(crate) fn collector_url(config: &Config, named: Option<&str>) -> String {
    named.map_or_else(|| format!("http://{}", config.listen(config.ports().collector_http)), str::to_owned)
}

#[derive(Default)]
struct Counts {
    accepted: u64,
    rejected: u64,
    warned: u64,
}

/// Publishes a file or the standard input.
pub(crate) async fn run(config: &Config, args: &PublishArgs) -> Outcome {
    let (input, total) = open(&args.file)?;
    let mut lines = Lines::new(BufReader::with_capacity(256 * 1024, input), LINE_BYTES_MAX);
    let mut sender = Sender::new(Client::new(&collector_url(config, args.url.as_deref()), args.validate_only)?);
    let mut progress = Progress::new("publish", total);
    let mut counts = Counts::default();
    let mut bytes = 0;
    let told = |counts: &mut Counts, progress: &Progress, line: u64, verdict: Verdict| match verdict {
        Verdict::Accepted { warnings } => {
            counts.accepted += 1;
            counts.warned += u64::from(!warnings.is_empty());
        }
        Verdict::Rejected { reasons } => {
            counts.rejected += 1;
            progress.note(&format!("{}:{line}: rejected: {}", args.file.display(), reasons.join("; ")));
        }
    };
    while let Some(line) = lines.next().map_err(|e| unreadable(&args.file, &e))? {
        bytes += line.bytes.len() as u64 + 1;
        if line.bytes.trim_ascii().is_empty() && !line.too_long {
            continue;
        }
        match fault(&line) {
            Some(reason) => told(&mut counts, &progress, line.number, Verdict::Rejected { reasons: vec![reason] }),
            None => {
                sender
                    .push(line.number, line.bytes, &mut |line, verdict| told(&mut counts, &progress, line, verdict))
                    .await?
            }
        }
        progress.set(bytes, || format!("{} accepted, {} rejected", counts.accepted, counts.rejected));
    }
    let position = sender.finish(&mut |line, verdict| told(&mut counts, &progress, line, verdict)).await?;
    progress.finish();
    tell(args, &counts, position.as_ref());
    if counts.rejected > 0 { Err(Failure::told(Exit::BadInput)) } else { Ok(()) }
}

fn tell(args: &PublishArgs, counts: &Counts, position: Option<&Position>) {
    let Counts { accepted, rejected, warned } = counts;
    let token = position.map(Position::token);
    if args.output.json {
        say::json(&json!({"accepted": accepted, "rejected": rejected, "warned": warned, "position": token}));
        return;
    }
    let done = if args.validate_only { "would be accepted" } else { "accepted" };
    let warned = if *warned > 0 { format!(", {warned} of them with warnings") } else { String::new() };
    say::line(format_args!("{accepted} {done}{warned}, {rejected} rejected"));
    if let Some(token) = token {
        say::line(format_args!("position {token}"));
    }
}

/// What is wrong with a line as such: it would make the request it is sent in unreadable.
fn fault(line: &Line) -> Option<String> {
    if line.too_long {
        return Some(format!("the line is longer than {LINE_BYTES_MAX} bytes"));
    }
    if let Err(error) = std::str::from_utf8(&line.bytes) {
        return Some(format!("not valid UTF-8 at byte {}", error.valid_up_to() + 1));
    }
    match serde_json::from_slice::<&serde_json::value::RawValue>(&line.bytes) {
        Err(error) => Some(not_json(&error)),
        Ok(value) if !value.get().starts_with('{') => {
            Some("an event is a JSON object, this is another value".to_owned())
        }
        Ok(_) => None,
    }
}

/// A sentence with the column: the line is known better here than to the reader of one line.
pub(crate) fn not_json(error: &serde_json::Error) -> String {
    let sentence = error.to_string();
    let what = sentence.split(" at line ").next().unwrap_or_default();
    format!("not JSON at column {}: {what}", error.column())
}

/// A file's content and its length; `-` is the standard input.
fn open(path: &Path) -> Outcome<(Box<dyn Read + Send>, Option<u64>)> {
    if path == Path::new("-") {
        return Ok((Box::new(io::stdin()), None));
    }
    let file = File::open(path).map_err(|e| unreadable(path, &e))?;
    let metadata = file.metadata().map_err(|e| unreadable(path, &e))?;
    if metadata.is_dir() {
        let sentence = format_args!("{} is a directory; name a file of CloudEvents, one a line", path.display());
        return Err(Failure::new(Exit::BadInput, sentence));
    }
    Ok((Box::new(file), metadata.is_file().then_some(metadata.len())))
}

fn unreadable(path: &Path, error: &io::Error) -> Failure {
    Failure::new(Exit::BadInput, format_args!("{} cannot be read: {error}", path.display()))
}
