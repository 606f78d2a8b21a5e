//! `rapport publish`: a file of CloudEvents to the collector.

mod client;
mod sender;

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::Path;

use domain::Position;
use serde_json::json;
use service_kit::Config;

pub(crate) use client::{Client, Verdict, join};
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

/// Lines that are wrong in one way and told one by one: beyond these they are counted.
const ALIKE_TOLD_MAX: u64 = 20;

/// Ways to be wrong that are told apart; those beyond are one.
const WAYS_MAX: usize = 100;

#[derive(Default)]
struct Counts {
    accepted: u64,
    rejected: u64,
    warned: u64,
}

/// How often lines were unreadable in which way: of a file that is no NDJSON at all, nobody reads ten thousand lines.
#[derive(Default)]
struct Alike {
    counts: BTreeMap<String, u64>,
}

impl Alike {
    /// Whether to tell of one more.
    fn tells(&mut self, reason: &str) -> bool {
        // Places differ from line to line.
        let way: String = reason.chars().filter(|c| !c.is_ascii_digit()).collect();
        let known = self.counts.contains_key(&way) || self.counts.len() < WAYS_MAX;
        let count = self.counts.entry(if known { way } else { String::new() }).or_default();
        *count += 1;
        *count <= ALIKE_TOLD_MAX
    }

    /// How many were counted and not told.
    fn untold(&self) -> u64 {
        self.counts.values().map(|count| count.saturating_sub(ALIKE_TOLD_MAX)).sum()
    }
}

/// Publishes a file or the standard input.
pub(crate) async fn run(config: &Config, args: &PublishArgs) -> Outcome {
    let (input, total) = open(&args.file)?;
    let mut lines = Lines::new(BufReader::with_capacity(256 * 1024, input), LINE_BYTES_MAX);
    let mut sender = Sender::new(Client::new(&collector_url(config, args.url.as_deref()), args.validate_only)?);
    let mut progress = Progress::new("publish", total);
    let mut counts = Counts::default();
    let mut bytes = 0;
    let mut alike = Alike::default();
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
            Some(reason) if alike.tells(&reason) => {
                told(&mut counts, &progress, line.number, Verdict::Rejected { reasons: vec![reason] });
            }
            Some(_) => counts.rejected += 1,
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
    let untold = alike.untold();
    if untold > 0 {
        let file = args.file.display();
        say::note(format_args!(
            "{file}: {untold} more lines are unreadable in the same ways; is it CloudEvents, one a line?"
        ));
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wrong_in_one_way_is_told_a_few_times() {
        let mut alike = Alike::default();
        let told =
            (0..10_000).filter(|n| alike.tells(&format!("not JSON at column {n}: expected value"))).count() as u64;
        assert_eq!((told, alike.untold()), (ALIKE_TOLD_MAX, 10_000 - ALIKE_TOLD_MAX));
        assert!(alike.tells("not valid UTF-8 at byte 1"), "another way is told");
        // However many ways there are, memory has an end.
        let ways = |n: usize| "x".repeat(n + 1);
        (0..10 * WAYS_MAX).for_each(|n| {
            alike.tells(&ways(n));
        });
        assert_eq!(alike.counts.len(), WAYS_MAX + 1);
    }
}
