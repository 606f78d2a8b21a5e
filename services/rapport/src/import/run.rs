use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use domain::Position;
use flate2::read::MultiGzDecoder;
use serde_json::json;
use service_kit::Config;
use tokio::sync::{mpsc, oneshot};

use super::csv::Fault;
use super::groups::{self, Event, Groups};
use super::known::Known;
use super::mapping::{Mapping, MappingError};
use super::program::Program;
use super::rows::FileError;
use crate::cli::ImportArgs;
use crate::failure::{Exit, Failure, OrExit, Outcome};
use crate::publish::{Client, Progress, Sender, Verdict, collector_url};
use crate::{ops, say};

/// Groups between the reading thread and us.
const GROUPS_AHEAD_MAX: usize = 256;

/// Events of one question to customer360.
const ASKED_MAX: usize = 1000;

#[derive(Default)]
struct Counts {
    new: u64,
    known: u64,
    rejected: u64,
    rejected_rows: u64,
}

/// Imports a file.
pub(crate) async fn run(config: &Config, args: &ImportArgs) -> Outcome {
    let mapping = Mapping::load(&args.mapping).map_err(|error| {
        let exit = if matches!(error, MappingError::Read { .. }) { Exit::BadInput } else { Exit::Configuration };
        Failure::new(exit, error)
    })?;
    let read = Arc::new(AtomicU64::new(0));
    let (file, total) = open(&args.file, read.clone())?;
    let (sender, groups) = mpsc::channel(GROUPS_AHEAD_MAX);
    let (opened, open) = oneshot::channel();
    let reading = tokio::task::spawn_blocking(move || read_groups(&mapping, file, opened, &sender));
    // What is wrong with the mapping or the file as a whole is told before anything is waited for.
    if open.await.is_err() {
        reading.await.or_exit(Exit::Internal)?.map_err(|reading| unusable(args, reading))?;
        return Err(Failure::new(Exit::Internal, "the file's reader ended without a reason"));
    }

    let log = ops::open_log(config).await?;
    let ends = log.ends().await.or_exit(Exit::Unavailable)?;
    let known = Known::open(ops::connect(config, ops::STATEMENT_TIMEOUT).await?, &ends).await?;
    let client = Client::new(&collector_url(config, args.url.as_deref()), args.dry_run)?;
    let progress = Progress::new("import", total);
    let mut import = Import {
        file: &args.file,
        known,
        sender: Sender::new(client),
        progress,
        counts: Counts::default(),
        asked: Vec::new(),
        read,
    };
    let result = import.take(groups).await;
    reading.await.or_exit(Exit::Internal)?.map_err(|reading| unusable(args, reading))?;
    result?;
    let (counts, position) = import.finish().await?;
    tell(args, &counts, position.as_ref());
    if counts.rejected > 0 { Err(Failure::told(Exit::BadInput)) } else { Ok(()) }
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

/// Reads the file to its end. `opened` is told once mapping and file are understood.
fn read_groups(
    mapping: &Mapping,
    file: impl BufRead,
    opened: oneshot::Sender<()>,
    groups: &mpsc::Sender<groups::Outcome>,
) -> Result<(), Reading> {
    let program = Program::compile(&mapping.program).map_err(Reading::Program)?;
    let mut source = Groups::open(mapping, program, file).map_err(Reading::File)?;
    // Nobody listens any more: then nobody takes groups either.
    let _ = opened.send(());
    while let Some(outcome) = source.next().map_err(Reading::File)? {
        if groups.blocking_send(outcome).is_err() {
            // The other side has given up and says why.
            break;
        }
    }
    Ok(())
}

struct Import<'a> {
    file: &'a Path,
    known: Known,
    sender: Sender<Sent>,
    progress: Progress,
    counts: Counts,
    asked: Vec<(Sent, Event)>,
    read: Arc<AtomicU64>,
}

/// What is kept of an event that is under way.
#[derive(Clone, Copy)]
struct Sent {
    line: u64,
    rows: u64,
}

impl Import<'_> {
    async fn take(&mut self, mut groups: mpsc::Receiver<groups::Outcome>) -> Outcome {
        while let Some(outcome) = groups.recv().await {
            match outcome.events {
                Ok(events) => {
                    for event in events {
                        self.asked.push((Sent { line: event.line, rows: outcome.rows }, event));
                    }
                }
                Err(faults) => reject(self.file, &self.progress, &mut self.counts, outcome.rows, &faults),
            }
            if self.asked.len() >= ASKED_MAX {
                self.ask().await?;
            }
        }
        self.ask().await
    }

    /// Sends what is not known.
    async fn ask(&mut self) -> Outcome {
        let asked = std::mem::take(&mut self.asked);
        let ids: Vec<_> = asked.iter().map(|(_, event)| event.event_id).collect();
        let known = self.known.of(&ids).await?;
        let Self { file, sender, progress, counts, .. } = self;
        for (sent, event) in asked {
            if known.contains(&event.event_id) {
                counts.known += 1;
            } else {
                sender
                    .push(sent, event.json, &mut |sent, verdict| judge(file, progress, counts, sent, verdict))
                    .await?;
            }
        }
        let read = self.read.load(Ordering::Relaxed);
        let Counts { new, known, rejected, .. } = self.counts;
        self.progress.set(read, || format!("{new} new, {known} known, {rejected} rejected"));
        Ok(())
    }

    async fn finish(self) -> Outcome<(Counts, Option<Position>)> {
        let Self { file, sender, progress, mut counts, .. } = self;
        let position = sender.finish(&mut |sent, verdict| judge(file, &progress, &mut counts, sent, verdict)).await?;
        progress.finish();
        Ok((counts, position))
    }
}

fn judge(file: &Path, progress: &Progress, counts: &mut Counts, sent: Sent, verdict: Verdict) {
    match verdict {
        Verdict::Accepted { .. } => counts.new += 1,
        Verdict::Rejected { reasons } => {
            let fault = Fault { line: sent.line, column: None, reason: reasons.join("; ") };
            reject(file, progress, counts, sent.rows, &[fault]);
        }
    }
}

fn reject(file: &Path, progress: &Progress, counts: &mut Counts, rows: u64, faults: &[Fault]) {
    counts.rejected += 1;
    counts.rejected_rows += rows;
    for fault in faults {
        let column = fault.column.map(|c| format!(":{c}")).unwrap_or_default();
        let group = if rows > 1 { format!(" (rejects its group of {rows} rows)") } else { String::new() };
        progress.note(&format!("{}:{}{column}: {}{group}", file.display(), fault.line, fault.reason));
    }
}

/// A file's content, unpacked where it is gzip, and its length on disk. `read` counts the bytes taken from it.
fn open(path: &Path, read: Arc<AtomicU64>) -> Outcome<(Box<dyn BufRead + Send>, Option<u64>)> {
    let unreadable =
        |e: std::io::Error| Failure::new(Exit::BadInput, format_args!("{} cannot be read: {e}", path.display()));
    let file = File::open(path).map_err(unreadable)?;
    let length = file.metadata().ok().filter(std::fs::Metadata::is_file).map(|m| m.len());
    let mut input = BufReader::new(Counted { file, read });
    let packed = input.fill_buf().map_err(unreadable)?.starts_with(&[0x1f, 0x8b]);
    Ok(if packed { (Box::new(BufReader::new(MultiGzDecoder::new(input))), length) } else { (Box::new(input), length) })
}

struct Counted {
    file: File,
    read: Arc<AtomicU64>,
}

impl Read for Counted {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let bytes = self.file.read(buffer)?;
        self.read.fetch_add(bytes as u64, Ordering::Relaxed);
        Ok(bytes)
    }
}
