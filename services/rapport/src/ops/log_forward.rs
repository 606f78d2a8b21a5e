use std::io::IsTerminal;
use std::pin::pin;
use std::time::Duration;

use domain::position::Offsets;
use domain::{Position, time};
use event_log::{Log, RangeReader, Record, Topic};
use serde::Deserialize;
use serde_json::json;
use service_kit::Config;
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::Instant;

use super::destination::{BATCH_EVENTS_MAX, Batch, Destination};
use super::resume::{Delivery, Memory};
use super::selection::{Places, Selection, left_out};
use super::{open_log, report};
use crate::cli::LogForwardArgs;
use crate::failure::{Exit, Failure, OrExit, Outcome};
use crate::publish::{Progress, join};
use crate::{http, say};

/// Deliveries a second where a rate is asked for: what is delivered at once is the rate's share of this.
const PULSES_A_SECOND: u32 = 20;

/// What has been found waits this long for more to be delivered with.
const GATHERED_FOR: Duration = Duration::from_millis(250);

/// Events of one page of a customer's timeline, as many as the query service gives.
const PAGE_EVENTS: u32 = 500;

/// How long the query service may wait until the read models have reached the log's end, as long as it does.
const REACHED_WITHIN: Duration = Duration::from_secs(60);

/// Its answer may take as long as that, and the page itself.
const PAGE_TIMEOUT: Duration = Duration::from_secs(120);

/// `rapport log forward`.
pub(crate) async fn log_forward(config: &Config, args: &LogForwardArgs) -> Outcome {
    let selection = Selection::new(config, &args.selection)?;
    // From here on Ctrl-C does not end the process by itself.
    let mut interrupt = signal(SignalKind::interrupt()).or_exit(Exit::Unavailable)?;
    let mut forwarding = tokio::select! {
        prepared = Box::pin(Forwarding::prepare(config, args, selection)) => prepared?,
        _ = interrupt.recv() => {
            return Err(Failure::new(Exit::Interrupted, "interrupted before anything was delivered"));
        }
    };
    let result = tokio::select! {
        result = Box::pin(forwarding.run()) => result,
        _ = interrupt.recv() => Err(Failure::new(Exit::Interrupted, "interrupted")),
    };
    forwarding.end(args, result)
}

/// One delivery, from the log to its destination.
struct Forwarding {
    log: Log,
    selection: Selection,
    reader: RangeReader,
    /// Partition -> where the selection ends.
    to: Offsets,
    /// `None`: a dry run.
    destination: Option<Destination>,
    pacer: Option<Pacer>,
    memory: Option<Memory>,
    /// Found, and not delivered yet; since when.
    batch: Batch,
    gathering_since: Instant,
    /// Partition -> behind the last record looked at.
    looked_at: Offsets,
    /// Partition -> the next offset before which everything wanted is delivered.
    done: Offsets,
    tally: Tally,
    /// `None`: it would stand in the middle of what is printed.
    progress: Option<Progress>,
}

impl Forwarding {
    async fn prepare(config: &Config, args: &LogForwardArgs, selection: Selection) -> Outcome<Self> {
        let log = open_log(config).await?;
        let destination = Destination::open(&log, args).await?;
        let marks = log.watermarks(Topic::Log).await.or_exit(Exit::Unavailable)?;
        let ends: Offsets = marks.iter().map(|(partition, marks)| (*partition, marks.end)).collect();
        let selection = match &args.customer {
            Some(customer) => selection.at(timeline(config, args, customer, &log, &ends).await?),
            None => selection,
        };
        let mut from = selection.starts(&log).await?;
        let to = ends_of(&selection, &from, &ends);

        let delivery = Delivery {
            log_id: log.log_id(),
            selection: selection.words(args.customer.as_deref(), log.namespace()),
            destination: destination.as_ref().map(Destination::name).unwrap_or_default(),
        };
        let (mut memory, mut done) = (None, Offsets::new());
        if let Some(path) = &args.resume {
            let (opened, next) = Memory::open(path, delivery, selection.places().cloned(), &marks)?;
            (memory, done) = (Some(opened), next);
        }
        for (partition, start) in &mut from {
            *start = (*start).max(done.get(partition).copied().unwrap_or(0));
        }
        done.extend(from.iter());
        // Whoever cannot write the file hears it before anything is delivered.
        let mut memory = memory.filter(|_| !args.dry_run);
        if let Some(memory) = &mut memory {
            memory.save(&done)?;
        }
        let records = from.iter().filter_map(|(partition, from)| u64::try_from(to.get(partition)? - from).ok()).sum();
        let reader = RangeReader::between(&log, Topic::Log, from, &to).or_exit(Exit::Unavailable)?;
        let is_seen = !(args.to_stdout && std::io::stdout().is_terminal());
        Ok(Self {
            log,
            selection,
            reader,
            to,
            destination: destination.filter(|_| !args.dry_run),
            pacer: args.rate.map(Pacer::new),
            memory,
            batch: Batch::default(),
            gathering_since: Instant::now(),
            looked_at: done.clone(),
            done,
            tally: Tally::new(),
            progress: is_seen.then(|| Progress::new("log forward", Some(records))),
        })
    }

    /// Delivers everything wanted.
    async fn run(&mut self) -> Outcome {
        let events_max = self.pacer.as_ref().map_or(BATCH_EVENTS_MAX, Pacer::events_max);
        while let Some(records) =
            beside(&mut self.memory, &self.done, self.reader.next()).await?.or_exit(Exit::Unavailable)?
        {
            for record in records {
                self.take(record);
                if self.batch.is_full(events_max) {
                    self.flush().await?;
                }
            }
            if self.batch.len() == 0 || self.gathering_since.elapsed() >= GATHERED_FOR {
                self.flush().await?;
            }
            if self.tally.is_closed {
                return Ok(());
            }
        }
        self.flush().await?;
        if !self.tally.is_closed {
            // The last offsets may hold no records.
            self.done.extend(self.to.iter());
        }
        Ok(())
    }

    fn take(&mut self, record: Record) {
        self.tally.read += 1;
        self.looked_at.insert(record.partition, record.offset + 1);
        match self.selection.pick(&record, self.log.namespace()) {
            Ok(None) => {}
            Ok(Some(event)) => {
                self.tally.count(&record);
                if let Some(destination) = &self.destination {
                    if self.batch.len() == 0 {
                        self.gathering_since = Instant::now();
                    }
                    destination.add(&mut self.batch, record, &event.wire);
                }
            }
            Err(error) => {
                self.tally.unreadable += 1;
                left_out(&record, &error);
            }
        }
    }

    /// Delivers what has been found, when it may go out. From then on everything looked at is done.
    async fn flush(&mut self) -> Outcome {
        let batch = std::mem::take(&mut self.batch);
        if let Some(destination) = self.destination.as_ref().filter(|_| batch.len() > 0 && !self.tally.is_closed) {
            if let Some(pacer) = &mut self.pacer {
                let at = pacer.admit(batch.len(), Instant::now());
                beside(&mut self.memory, &self.done, tokio::time::sleep_until(at)).await?;
            }
            let delivered = beside(&mut self.memory, &self.done, destination.deliver(&batch)).await??;
            if delivered.is_closed {
                self.tally.is_closed = true;
                return Ok(());
            }
            self.tally.rejected += delivered.rejected.len() as u64;
            self.tally.delivered += (batch.len() - delivered.rejected.len()) as u64;
            join(&mut self.tally.position, delivered.position);
            for line in &delivered.rejected {
                match &self.progress {
                    Some(progress) => progress.note(line),
                    None => say::note(format_args!("{line}")),
                }
            }
        }
        if self.tally.is_closed {
            return Ok(());
        }
        self.done.clone_from(&self.looked_at);
        let (tally, is_dry) = (&self.tally, self.destination.is_none());
        if let Some(progress) = &mut self.progress {
            progress.set(tally.read, || tally.so_far(is_dry));
        }
        Ok(())
    }

    /// Remembers how far it is and says so.
    fn end(mut self, args: &LogForwardArgs, result: Outcome) -> Outcome {
        if let Some(progress) = self.progress.take() {
            progress.finish();
        }
        let saved = self.memory.as_mut().map_or(Ok(()), |memory| memory.save(&self.done));
        if let Err(failure) = result {
            return Err(failure.with_advice(&self.tally.goes_on(args)));
        }
        saved?;
        let place = self.destination.as_ref().map(Destination::name);
        let report = self.tally.report(args, place.as_deref());
        // The standard output is the events' where they are printed.
        if args.to_stdout && !args.dry_run {
            say::note(format_args!("{report}"));
        } else {
            say::line(format_args!("{report}"));
        }
        if self.tally.rejected > 0 { Err(Failure::told(Exit::BadInput)) } else { Ok(()) }
    }
}

/// Where the selection ends in each partition: behind its last place, else where the log ends now.
fn ends_of(selection: &Selection, from: &Offsets, ends: &Offsets) -> Offsets {
    let end = |partition: &i32| {
        let end = *ends.get(partition)?;
        let Some(places) = selection.places() else { return Some(end) };
        Some(places.get(partition)?.last()? + 1).map(|behind| behind.min(end))
    };
    from.keys().filter_map(|partition| Some((*partition, end(partition)?))).collect()
}

/// Waits for work, and writes down what is done whenever it is time.
async fn beside<T>(memory: &mut Option<Memory>, done: &Offsets, work: impl Future<Output = T>) -> Outcome<T> {
    let mut work = pin!(work);
    loop {
        let Some(memory) = memory.as_mut() else { return Ok(work.await) };
        match memory.due(done) {
            None => return Ok(work.await),
            Some(due) if due <= Instant::now() => memory.save(done)?,
            Some(due) => tokio::select! {
                result = &mut work => return Ok(result),
                () = tokio::time::sleep_until(due) => {}
            },
        }
    }
}

/// A page of a timeline, as far as it is looked at.
#[derive(Deserialize)]
struct Page {
    customer_id: String,
    items: Vec<Item>,
    next_cursor: Option<String>,
}

#[derive(Deserialize)]
struct Item {
    partition: i32,
    log_offset: i64,
}

/// Where the events of a customer's timeline stand, the identity graph and the timeline as of the log's ends or later.
async fn timeline(
    config: &Config,
    args: &LogForwardArgs,
    customer: &str,
    log: &Log,
    ends: &Offsets,
) -> Outcome<Places> {
    let base = match &args.query {
        Some(url) => url.clone(),
        None => format!("http://{}", config.listen(config.ports().query)),
    };
    let client = http::builder(&base)
        .timeout(PAGE_TIMEOUT)
        .build()
        .map_err(|e| Failure::new(Exit::Internal, format_args!("the HTTP client could not be made: {e}")))?;
    let mut parameters = vec![
        ("limit".to_owned(), PAGE_EVENTS.to_string()),
        ("position".to_owned(), Position::new(log.log_id(), ends.clone()).token()),
        ("wait_ms".to_owned(), REACHED_WITHIN.as_millis().to_string()),
    ];
    let asked = parameters.len();
    let (mut places, mut customer_id) = (Places::new(), None);
    loop {
        let path = ["api", "v1", "customers", customer, "timeline"];
        let answer = report::ask(&client, report::address(&base, path.into_iter(), &parameters)?).await?;
        let page: Page = serde_json::from_str(&answer.body).map_err(|error| {
            let sentence = format_args!("{base} answers no timeline ({error}); is it a query service?");
            Failure::new(Exit::Unavailable, sentence)
        })?;
        for Item { partition, log_offset } in page.items {
            places.entry(partition).or_default().insert(log_offset);
        }
        // Each page is read by itself: between two of them the customer can become another one.
        if customer_id.get_or_insert_with(|| page.customer_id.clone()) != &page.customer_id {
            let sentence = "the customer was merged with another one while the timeline was read; run it again";
            return Err(Failure::new(Exit::TryAgain, sentence));
        }
        let Some(cursor) = page.next_cursor else { return Ok(places) };
        parameters.truncate(asked);
        parameters.push(("cursor".to_owned(), cursor));
    }
}

/// Lets so many events a second out, evenly: what was missed is not made up for.
struct Pacer {
    rate: u32,
    next: Instant,
}

impl Pacer {
    fn new(rate: u32) -> Self {
        Self { rate, next: Instant::now() }
    }

    /// Events of one delivery.
    fn events_max(&self) -> usize {
        (self.rate / PULSES_A_SECOND).clamp(1, BATCH_EVENTS_MAX as u32) as usize
    }

    /// When so many events may go out.
    fn admit(&mut self, events: usize, now: Instant) -> Instant {
        let at = self.next.max(now);
        self.next = at + Duration::from_secs_f64(events as f64 / f64::from(self.rate));
        at
    }
}

/// What has become of the log's records.
struct Tally {
    started: Instant,
    /// Records looked at.
    read: u64,
    /// Wanted ones.
    events: u64,
    /// Of their keys, values and headers.
    bytes: u64,
    /// First and last time of receipt, microseconds UTC.
    span: Option<(i64, i64)>,
    delivered: u64,
    rejected: u64,
    unreadable: u64,
    position: Option<Position>,
    /// Nobody takes any more.
    is_closed: bool,
}

impl Tally {
    fn new() -> Self {
        Self {
            started: Instant::now(),
            read: 0,
            events: 0,
            bytes: 0,
            span: None,
            delivered: 0,
            rejected: 0,
            unreadable: 0,
            position: None,
            is_closed: false,
        }
    }

    fn count(&mut self, record: &Record) {
        let headers: usize = record.headers().map(|(name, value)| name.len() + value.len()).sum();
        self.events += 1;
        self.bytes += (record.key.len() + record.value.len() + headers) as u64;
        let at = record.received_at;
        let (first, last) = self.span.unwrap_or((at, at));
        self.span = Some((first.min(at), last.max(at)));
    }

    fn so_far(&self, is_dry: bool) -> String {
        if is_dry {
            return format!("{} events", self.events);
        }
        let rejected = if self.rejected > 0 { format!(", {} rejected", self.rejected) } else { String::new() };
        format!("{} delivered{rejected}", self.delivered)
    }

    /// How far a delivery is that did not reach its end, and how it goes on.
    fn goes_on(&self, args: &LogForwardArgs) -> String {
        let so_far = self.so_far(args.dry_run);
        let so_far = format!("{so_far} of what {} records of the log hold", self.read);
        match &args.resume {
            _ if args.dry_run => format!("{so_far}; nothing was delivered, as in every dry run"),
            Some(path) => format!("{so_far}; the same command with --resume {} goes on from there", path.display()),
            None => format!("{so_far}; running it again begins anew, with --resume FILE it would go on"),
        }
    }

    /// Seconds that delivering takes: at the rate asked for, else as long as reading did.
    fn expected_s(&self, rate: Option<u32>) -> f64 {
        let reading = self.started.elapsed().as_secs_f64();
        rate.map_or(reading, |rate| reading.max(self.events as f64 / f64::from(rate)))
    }

    fn report(&self, args: &LogForwardArgs, place: Option<&str>) -> String {
        let expected_s = self.expected_s(args.rate);
        let span = self.span.map(|(first, last)| [first, last].map(|at| time::format(at).unwrap_or_default()));
        let token = self.position.as_ref().map(Position::token);
        if args.output.json {
            let [first, last] = span.map_or([None, None], |span| span.map(Some));
            let document = json!({
                "events": self.events, "bytes": self.bytes, "first_received_at": first, "last_received_at": last,
                "delivered": self.delivered, "rejected": self.rejected, "unreadable": self.unreadable,
                "rate": args.rate, "dry_run": args.dry_run, "position": token,
                "expected_duration_s": args.dry_run.then(|| (expected_s * 1000.0).round() / 1000.0),
            });
            return format!("{document:#}");
        }
        let unreadable = match self.unreadable {
            0 => String::new(),
            records => format!(", {records} records left out that cannot be read"),
        };
        let span = span.map(|[first, last]| format!(", received {first} to {last}")).unwrap_or_default();
        if args.dry_run {
            let (events, bytes) = (self.events, self.bytes);
            let pace = match args.rate {
                Some(rate) => format!("at {rate} events a second"),
                None => "as fast as the log is read".to_owned(),
            };
            let lasts = duration(expected_s);
            return format!(
                "{events} events, {bytes} bytes{span}{unreadable}; delivering them {pace} takes about {lasts} \
                 (dry run: nothing was delivered)"
            );
        }
        let place = place.map(|place| format!(" to {place}")).unwrap_or_default();
        let position = token.map(|token| format!("\nposition {token}")).unwrap_or_default();
        format!("{}{place}, {} bytes{span}{unreadable}{position}", self.so_far(false), self.bytes)
    }
}

/// As people say it: 12.3 s, 5 min 3 s, 2 h 5 min.
fn duration(seconds: f64) -> String {
    let whole = seconds.round() as u64;
    match whole {
        0..60 => format!("{seconds:.1} s"),
        60..3600 => format!("{} min {} s", whole / 60, whole % 60),
        _ => format!("{} h {} min", whole / 3600, whole / 60 % 60),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn events_go_out_evenly_and_never_faster() {
        let now = Instant::now();
        let mut pacer = Pacer { rate: 100, next: now };
        assert_eq!(pacer.events_max(), 5);
        let after = |at: Instant| (at - now).as_millis();
        let pulses: Vec<_> = (0..4).map(|_| after(pacer.admit(5, now))).collect();
        assert_eq!(pulses, [0, 50, 100, 150]);
        // A destination that held everything up for a second does not get a second's events at once.
        let late = now + Duration::from_secs(1);
        let pulses: Vec<_> = (0..3).map(|_| after(pacer.admit(5, late))).collect();
        assert_eq!(pulses, [1000, 1050, 1100]);
        for (rate, events) in [(1, 1), (19, 1), (40, 2), (1_000_000, BATCH_EVENTS_MAX)] {
            assert_eq!(Pacer::new(rate).events_max(), events, "{rate}");
        }
    }

    #[test]
    fn a_selection_ends_with_the_log_or_behind_its_last_place() {
        let ends = Offsets::from([(0, 10), (1, 10)]);
        let from = Offsets::from([(0, 3), (1, 0)]);
        assert_eq!(ends_of(&Selection::default(), &from, &ends), ends);
        let places = Places::from([(0, BTreeSet::from([3, 5])), (1, BTreeSet::from([2, 30]))]);
        let selection = Selection::default().at(places);
        assert_eq!(ends_of(&selection, &from, &ends), Offsets::from([(0, 6), (1, 10)]));
    }

    #[test]
    fn a_dry_run_takes_as_long_as_its_rate_says() {
        let mut tally = Tally::new();
        for received_at in [3_000_000, 1_000_000, 2_000_000] {
            tally.count(&Record::bare(0, 0, received_at, vec![0_u8; 100].into()));
        }
        assert_eq!((tally.events, tally.bytes, tally.span), (3, 300, Some((1_000_000, 3_000_000))));
        tally.events = 36_000;
        assert!((tally.expected_s(Some(10)) - 3600.0).abs() < 1.0);
        assert!(tally.expected_s(None) < 60.0, "reading three records");
    }

    #[test]
    fn durations_are_said_as_people_say_them() {
        for (seconds, said) in
            [(0.04, "0.0 s"), (12.34, "12.3 s"), (59.9, "1 min 0 s"), (303.0, "5 min 3 s"), (7530.0, "2 h 5 min")]
        {
            assert_eq!(duration(seconds), said);
        }
    }
}
