use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use domain::Position;
use serde_json::json;
use service_kit::Config;
use tokio::sync::oneshot;

use super::ahead;
use super::csv::Fault;
use super::groups::{self, Event, Groups};
use super::known::Known;
use super::mail::Mails;
use super::mapping::{Format, Mapping, MappingError};
use super::program::Program;
use super::rows::FileError;
use super::source;
use crate::cli::ImportArgs;
use crate::failure::{Exit, Failure, OrExit, Outcome};
use crate::publish::{Client, Progress, Sender, Verdict, collector_url};
use crate::{ops, say};

/// Events of one question to customer360.
const ASKED_MAX: usize = 1000;

/// How large they may be together, in bytes of JSON: they wait in memory for the answer.
const ASKED_BYTES_MAX: usize = 8 * 1024 * 1024;

#[derive(Default)]
struct Counts {
    new: u64,
    known: u64,
    rejected: u64,
    rejected_rows: u64,
}

/// Imports a file, or a directory of mail.
pub(crate) async fn run(config: &Config, args: &ImportArgs) -> Outcome {
    let mapping = Mapping::load(&args.mapping).map_err(|error| {
        let exit = if matches!(error, MappingError::Read { .. }) { Exit::BadInput } else { Exit::Configuration };
        Failure::new(exit, error)
    })?;
    let read = Arc::new(AtomicU64::new(0));
    let total = length(&mapping, &args.file)?;
    let (sender, groups) = ahead::channel();
    let (opened, open) = oneshot::channel();
    let reader = Reader { file: args.file.clone(), read: read.clone(), opened, groups: sender };
    let reading = tokio::task::spawn_blocking(move || reader.run(&mapping));
    // What is wrong with the mapping or the file as a whole is told before anything is waited for.
    if open.await.is_err() {
        reading.await.or_exit(Exit::Internal)?.map_err(|reading| unusable(args, reading))?;
        return Err(Failure::new(Exit::Internal, "the file's reader ended without a reason"));
    }

    let log = ops::open_log(config).await?;
    let ends = log.ends().await.or_exit(Exit::Unavailable)?;
    let known = Known::open(ops::connect(config, ops::STATEMENT_TIMEOUT).await?, &ends).await.map_err(again)?;
    let client = Client::new(&collector_url(config, args.url.as_deref()), args.dry_run)?;
    let progress = Progress::new("import", total);
    let mut import = Import {
        file: args.file.display().to_string().into(),
        known,
        sender: Sender::new(client),
        progress,
        counts: Counts::default(),
        asked: Asked::default(),
        read,
    };
    let result = import.take(groups).await;
    reading.await.or_exit(Exit::Internal)?.map_err(|reading| unusable(args, reading))?;
    result?;
    let (counts, position) = import.finish().await?;
    tell(args, &counts, position.as_ref());
    if counts.rejected > 0 { Err(Failure::told(Exit::BadInput)) } else { Ok(()) }
}

/// PostgreSQL went away in the middle. What has been published stays, and is known the next time.
fn again(failure: Failure) -> Failure {
    failure.with_advice("what has been imported is kept: run it again once PostgreSQL is back")
}

fn unusable(args: &ImportArgs, reading: Reading) -> Failure {
    match reading {
        Reading::Program(detail) => {
            Failure::new(Exit::Configuration, format_args!("the mapping {}: {detail}", args.mapping.display()))
        }
        Reading::File(error) => Failure::new(Exit::BadInput, format_args!("{}: {error}", args.file.display())),
    }
}

fn tell(args: &ImportArgs, counts: &Counts, position: Option<&Position>) {
    let Counts { new, known, rejected, rejected_rows } = counts;
    let token = position.map(Position::token);
    if args.output.json {
        say::json(&json!({
            "new": new, "known": known, "rejected": rejected, "rejected_rows": rejected_rows,
            "dry_run": args.dry_run, "position": token,
        }));
        return;
    }
    let rows = if *rejected_rows > 0 { format!(" ({rejected_rows} rows)") } else { String::new() };
    let dry = if args.dry_run { " (dry run: nothing was appended)" } else { "" };
    say::line(format_args!("{new} new, {known} known, {rejected} rejected{rows}{dry}"));
    if let Some(token) = token {
        say::line(format_args!("position {token}"));
    }
}

/// Why the reading thread ended early.
enum Reading {
    Program(String),
    File(FileError),
}

/// Reads a file to its end, on a thread of its own.
struct Reader {
    file: PathBuf,
    read: Arc<AtomicU64>,
    /// Is told once mapping and file are understood.
    opened: oneshot::Sender<()>,
    groups: ahead::Sender,
}

impl Reader {
    fn run(self, mapping: &Mapping) -> Result<(), Reading> {
        let Self { file, read, opened, groups } = self;
        let program = Program::compile(&mapping.program).map_err(Reading::Program)?;
        // When nobody listens any more, nobody takes groups either, and the other side says why.
        let send = |outcome| groups.send(outcome);
        if mapping.format == Format::Mail {
            let mut mails = Mails::new(mapping, program, &file, read);
            let _ = opened.send(());
            while mails.next().is_some_and(&send) {}
            return Ok(());
        }
        let (input, _) = source::open(&file, read).map_err(|e| Reading::File(e.into()))?;
        let mut source = Groups::open(mapping, program, input).map_err(Reading::File)?;
        let _ = opened.send(());
        loop {
            let outcome = match source.next() {
                Ok(Some(outcome)) => outcome,
                Ok(None) => return Ok(()),
                // What was read before goes in.
                Err(error) => {
                    send(groups::Outcome::broken_off(source.line(), &error));
                    return Ok(());
                }
            };
            if !send(outcome) {
                return Ok(());
            }
        }
    }
}

/// The input's bytes on disk, where that is one number. The path is there then.
fn length(mapping: &Mapping, path: &Path) -> Outcome<Option<u64>> {
    let unreadable = |e: &dyn std::fmt::Display| {
        Failure::new(Exit::BadInput, format_args!("{} cannot be read: {e}", path.display()))
    };
    let metadata = std::fs::metadata(path).map_err(|e| unreadable(&e))?;
    if metadata.is_dir() && mapping.format != Format::Mail {
        return Err(unreadable(&"it is a directory; only mail is read from directories"));
    }
    Ok(metadata.is_file().then_some(metadata.len()))
}

struct Import {
    /// The path that was named.
    file: Arc<str>,
    known: Known,
    sender: Sender<Sent>,
    progress: Progress,
    counts: Counts,
    asked: Asked,
    read: Arc<AtomicU64>,
}

/// What is kept of an event that is under way.
struct Sent {
    file: Arc<str>,
    line: u64,
    rows: u64,
}

/// Events of which it is not known yet whether they are known.
#[derive(Default)]
struct Asked {
    events: Vec<(Sent, Event)>,
    /// Of JSON.
    bytes: usize,
}

impl Asked {
    /// Whether they have to be asked for before the next one.
    fn push(&mut self, sent: Sent, event: Event) -> bool {
        self.bytes += event.json.len();
        self.events.push((sent, event));
        self.events.len() >= ASKED_MAX || self.bytes >= ASKED_BYTES_MAX
    }
}

impl Import {
    async fn take(&mut self, mut groups: ahead::Receiver) -> Outcome {
        while let Some(outcome) = groups.recv().await {
            let file = outcome.file.unwrap_or_else(|| self.file.clone());
            self.counts.known += outcome.repeated;
            match outcome.events {
                Ok(events) => {
                    for event in events {
                        let sent = Sent { file: file.clone(), line: event.line, rows: outcome.rows };
                        if self.asked.push(sent, event) {
                            self.ask().await?;
                        }
                    }
                }
                Err(faults) => reject(&file, &self.progress, &mut self.counts, outcome.rows, &faults),
            }
        }
        self.ask().await
    }

    /// Sends what is not known.
    async fn ask(&mut self) -> Outcome {
        let asked = std::mem::take(&mut self.asked).events;
        let ids: Vec<_> = asked.iter().map(|(_, event)| event.event_id).collect();
        let known = self.known.of(&ids).await.map_err(again)?;
        let Self { sender, progress, counts, .. } = self;
        for (sent, event) in asked {
            if known.contains(&event.event_id) {
                counts.known += 1;
            } else {
                sender.push(sent, event.json, &mut |sent, verdict| judge(progress, counts, &sent, verdict)).await?;
            }
        }
        let read = self.read.load(Ordering::Relaxed);
        let Counts { new, known, rejected, .. } = self.counts;
        self.progress.set(read, || format!("{new} new, {known} known, {rejected} rejected"));
        Ok(())
    }

    async fn finish(self) -> Outcome<(Counts, Option<Position>)> {
        let Self { sender, progress, mut counts, .. } = self;
        let position = sender.finish(&mut |sent, verdict| judge(&progress, &mut counts, &sent, verdict)).await?;
        progress.finish();
        Ok((counts, position))
    }
}

fn judge(progress: &Progress, counts: &mut Counts, sent: &Sent, verdict: Verdict) {
    match verdict {
        Verdict::Accepted { .. } => counts.new += 1,
        Verdict::Rejected { reasons } => {
            let fault = Fault { line: sent.line, column: None, reason: reasons.join("; ") };
            reject(&sent.file, progress, counts, sent.rows, &[fault]);
        }
    }
}

fn reject(file: &str, progress: &Progress, counts: &mut Counts, rows: u64, faults: &[Fault]) {
    counts.rejected += 1;
    counts.rejected_rows += rows;
    for fault in faults {
        let column = fault.column.map(|c| format!(":{c}")).unwrap_or_default();
        let group = if rows > 1 { format!(" (rejects its group of {rows} rows)") } else { String::new() };
        progress.note(&format!("{file}:{}{column}: {}{group}", fault.line, fault.reason));
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    /// How many events of this size are asked for at once.
    fn at_once(bytes: usize) -> usize {
        let (mut asked, file) = (Asked::default(), Arc::from("box"));
        let event = Event { event_id: Uuid::nil(), line: 1, json: vec![b' '; bytes] };
        let more = (1..).find(|_| asked.push(Sent { file: Arc::clone(&file), line: 1, rows: 1 }, event.clone()));
        assert_eq!(more, Some(asked.events.len()));
        asked.events.len()
    }

    #[test]
    fn what_waits_for_an_answer_is_bounded() {
        assert_eq!(at_once(100), ASKED_MAX);
        assert_eq!(at_once(ASKED_BYTES_MAX / 4), 4);
        assert_eq!(at_once(2 * ASKED_BYTES_MAX), 1);
    }
}
