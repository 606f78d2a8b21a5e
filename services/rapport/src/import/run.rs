use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use domain::Position;
use serde_json::{Value, json};
use service_kit::Config;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::oneshot;

use super::ahead;
use super::groups::{self, Event, Groups};
use super::known::Known;
use super::mail::Mails;
use super::mapping::{Format, Mapping, MappingError};
use super::program::Program;
use super::rows::FileError;
use super::source;
use super::tally::{Counts, Sent, Tally};
use crate::cli::ImportArgs;
use crate::failure::{Exit, Failure, OrExit, Outcome};
use crate::publish::{Client, Progress, Sender, collector_url};
use crate::{ops, say};

/// Events of one question to customer360.
const ASKED_MAX: usize = 1000;

/// How large they may be together, in bytes of JSON: they wait in memory for the answer.
const ASKED_BYTES_MAX: usize = 8 * 1024 * 1024;

/// Imports a file, or a directory of mail.
pub(crate) async fn run(config: &Config, args: &ImportArgs) -> Outcome {
    let mapping = Mapping::load(&args.mapping).map_err(|error| {
        let exit = if matches!(error, MappingError::Read { .. }) { Exit::BadInput } else { Exit::Configuration };
        Failure::new(exit, error)
    })?;
    let read = Arc::new(AtomicU64::new(0));
    let total = length(&mapping, &args.file)?;
    let is_mail = mapping.format == Format::Mail;
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
    let connection = ops::connect(config, ops::STATEMENT_TIMEOUT).await?;
    let known = Known::open(connection, &ends).await.map_err(|failure| again(failure, args.dry_run))?;
    let client = Client::new(&collector_url(config, args.url.as_deref()), args.dry_run)?;
    let mut import = Import {
        file: args.file.display().to_string().into(),
        dry_run: args.dry_run,
        known,
        progress: Progress::new("import", total),
        tally: Tally::new(args.show),
        asked: Asked::default(),
        read,
        is_empty: true,
        example: None,
    };
    // From here on Ctrl-C does not end the process by itself: it is said how far the import has come.
    let mut interrupt = signal(SignalKind::interrupt()).or_exit(Exit::Unavailable)?;
    let result = tokio::select! {
        result = import.run(groups, Sender::new(client)) => result,
        _ = interrupt.recv() => Err(interrupted(&import.tally, args.dry_run)),
    };
    let Import { file, progress, tally, is_empty, example, .. } = import;
    progress.finish();
    tally.rest().iter().for_each(|line| say::note(format_args!("{line}")));
    let position = result?;
    reading.await.or_exit(Exit::Internal)?.map_err(|reading| unusable(args, reading))?;
    if is_mail && is_empty {
        say::note(format_args!("{file}: there is no mail in it"));
    }
    tell(args, &tally.counts, example.as_ref(), position.as_ref());
    if tally.counts.rejected > 0 { Err(Failure::told(Exit::BadInput)) } else { Ok(()) }
}

/// PostgreSQL went away in the middle. What has been published stays, and is known the next time.
fn again(failure: Failure, dry_run: bool) -> Failure {
    failure.with_advice(if dry_run {
        "nothing was appended, as in every dry run: run it again once PostgreSQL is back"
    } else {
        "what has been imported is kept: run it again once PostgreSQL is back"
    })
}

/// Ctrl-C: what is under way may still be accepted, and is known the next time.
fn interrupted(tally: &Tally, dry_run: bool) -> Failure {
    let kept = if dry_run {
        "nothing was appended, as in every dry run"
    } else {
        "what has been accepted is kept, and running it again goes on from there"
    };
    Failure::new(Exit::Interrupted, format_args!("interrupted: {} so far; {kept}", tally.so_far()))
}

fn unusable(args: &ImportArgs, reading: Reading) -> Failure {
    match reading {
        Reading::Program(detail) => {
            Failure::new(Exit::Configuration, format_args!("the mapping {}: {detail}", args.mapping.display()))
        }
        Reading::File(error) => Failure::new(Exit::BadInput, format_args!("{}: {error}", args.file.display())),
    }
}

fn tell(args: &ImportArgs, counts: &Counts, example: Option<&Example>, position: Option<&Position>) {
    let token = position.map(Position::token);
    if args.output.json {
        let Counts { new, known, rejected, rejected_rows, warned } = counts;
        let mut report = json!({
            "new": new, "known": known, "rejected": rejected, "rejected_rows": rejected_rows, "warned": warned,
            "dry_run": args.dry_run, "position": token,
        });
        if args.dry_run {
            report["example"] = example.map_or(Value::Null, |example| example.event.clone());
        }
        say::json(&report);
        return;
    }
    if let Some(Example { file, line, event }) = example {
        say::note(format_args!("{file}:{line}: the first event:\n{event:#}"));
    }
    say::line(format_args!("{}", summary(counts, args.dry_run)));
    if let Some(token) = token {
        say::line(format_args!("position {token}"));
    }
}

fn summary(counts: &Counts, dry_run: bool) -> String {
    let Counts { new, known, rejected, rejected_rows, warned } = counts;
    let rows = if *rejected_rows > 0 { format!(" ({rejected_rows} rows)") } else { String::new() };
    let warned = if *warned > 0 { format!(", {warned} with warnings") } else { String::new() };
    let dry = if dry_run { " (dry run: nothing was appended)" } else { "" };
    format!("{new} new, {known} known, {rejected} rejected{rows}{warned}{dry}")
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
    dry_run: bool,
    known: Known,
    progress: Progress,
    tally: Tally,
    asked: Asked,
    read: Arc<AtomicU64>,
    /// Nothing was found in the input so far.
    is_empty: bool,
    /// Of a dry run.
    example: Option<Example>,
}

/// The first event that the mapping makes, and of what.
struct Example {
    file: Arc<str>,
    line: u64,
    event: Value,
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
    /// Takes everything; answers with the position that covers what was accepted.
    async fn run(&mut self, mut groups: ahead::Receiver, mut sender: Sender<Sent>) -> Outcome<Option<Position>> {
        while let Some(outcome) = groups.recv().await {
            self.is_empty = false;
            let file = outcome.file.unwrap_or_else(|| self.file.clone());
            self.tally.counts.known += outcome.repeated;
            match outcome.events {
                Ok(events) => {
                    for event in events {
                        self.show_first(&file, &event);
                        let sent = Sent { file: file.clone(), line: event.line, rows: outcome.rows, known: false };
                        if self.asked.push(sent, event) {
                            self.ask(&mut sender).await?;
                        }
                    }
                }
                Err(faults) => note(&self.progress, &self.tally.reject(&file, outcome.rows, &faults)),
            }
        }
        self.ask(&mut sender).await?;
        let Self { progress, tally, .. } = self;
        sender.finish(&mut |sent, verdict| note(progress, &tally.judge(&sent, verdict))).await
    }

    /// Keeps a dry run's first event, for the mapping's author to see what it does.
    fn show_first(&mut self, file: &Arc<str>, event: &Event) {
        if self.dry_run && self.example.is_none() {
            let shown = serde_json::from_slice(&event.json).ok();
            self.example = shown.map(|shown| Example { file: file.clone(), line: event.line, event: shown });
        }
    }

    /// Sends what is not known; in a dry run everything: a mapping that has become wrong is wrong for known rows too.
    async fn ask(&mut self, sender: &mut Sender<Sent>) -> Outcome {
        let asked = std::mem::take(&mut self.asked).events;
        let ids: Vec<_> = asked.iter().map(|(_, event)| event.event_id).collect();
        let known = self.known.of(&ids).await.map_err(|failure| again(failure, self.dry_run))?;
        let Self { dry_run, progress, tally, .. } = self;
        for (mut sent, event) in asked {
            sent.known = known.contains(&event.event_id);
            if sent.known && !*dry_run {
                tally.counts.known += 1;
            } else {
                let told = &mut |sent: Sent, verdict| note(progress, &tally.judge(&sent, verdict));
                sender.push(sent, event.json, told).await?;
            }
        }
        let read = self.read.load(Ordering::Relaxed);
        let tally = &self.tally;
        self.progress.set(read, || tally.so_far());
        Ok(())
    }
}

fn note(progress: &Progress, lines: &[String]) {
    lines.iter().for_each(|line| progress.note(line));
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    /// How many events of this size are asked for at once.
    fn at_once(bytes: usize) -> usize {
        let (mut asked, file) = (Asked::default(), Arc::from("box"));
        let event = Event { event_id: Uuid::nil(), line: 1, json: vec![b' '; bytes] };
        let more =
            (1..).find(|_| asked.push(Sent { file: Arc::clone(&file), line: 1, rows: 1, known: false }, event.clone()));
        assert_eq!(more, Some(asked.events.len()));
        asked.events.len()
    }

    #[test]
    fn what_waits_for_an_answer_is_bounded() {
        assert_eq!(at_once(100), ASKED_MAX);
        assert_eq!(at_once(ASKED_BYTES_MAX / 4), 4);
        assert_eq!(at_once(2 * ASKED_BYTES_MAX), 1);
    }
    #[test]
    fn warnings_are_in_the_summary_only_where_there_are_some() {
        let counts = Counts { new: 2, known: 1, ..Counts::default() };
        assert_eq!(summary(&counts, false), "2 new, 1 known, 0 rejected");
        let counts = Counts { rejected: 1, rejected_rows: 3, warned: 2, ..counts };
        assert_eq!(
            summary(&counts, true),
            "2 new, 1 known, 1 rejected (3 rows), 2 with warnings (dry run: nothing was appended)"
        );
    }

    #[test]
    fn a_dry_run_that_breaks_off_has_appended_nothing() {
        let said = |dry_run| {
            let gone = again(Failure::new(Exit::Unavailable, "it is gone"), dry_run);
            [gone, interrupted(&Tally::new(0), dry_run)].map(|failure| failure.to_string())
        };
        assert!(said(true).iter().all(|said| said.contains("nothing was appended") && !said.contains("kept")));
        assert!(said(false).iter().all(|said| said.contains("is kept") && !said.contains("nothing was appended")));
    }
}
