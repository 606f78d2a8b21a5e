//! What Kafka and PostgreSQL alone can do on this machine, so that every figure has something to stand beside.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use domain::position::Offsets;
use event_log::{Appender, AppenderOptions, Log, NewRecord, Reader, Topic};
use projection::copy::{CopyBuffer, copy_in};
use sqlx::Executor;
use tokio::task::JoinSet;

use crate::{
    Outcome,
    cpu::Meter,
    machine::Machine,
    mix::Told,
    table::{Figure, Latencies, Limit},
    work::{Progress, Queue, finish},
};

/// Records appended before anything is measured: a JVM's first ones are slow.
const WARM_UP: usize = 20_000;
/// Rows of one transaction, as in a projector's batch.
const ROWS: usize = 5_000;
/// Round trips of one record.
const TRIPS: usize = 500;
/// A record that has not come round by then will not.
const TRIP_TIMEOUT: Duration = Duration::from_secs(10);

/// The limits of one run.
pub(crate) struct Limits {
    /// Records a second, many at a time.
    pub(crate) append: f64,
    /// Records a second where 256 tasks wait for one each.
    pub(crate) append_256: f64,
    /// The median of one record alone.
    pub(crate) append_1: Duration,
    /// Rows a second.
    pub(crate) copy: f64,
    /// The median of one record appended, read and written to a table.
    pub(crate) round_trip: Duration,
}

/// Measures all of them.
pub(crate) async fn measure(machine: &Machine, told: &Arc<[Told]>, figures: &mut Vec<Figure>) -> Outcome<Limits> {
    let log = machine.log(Some("limit")).await?;
    append(machine, &log, told, Shape { tasks: 8, records: 1000, events: WARM_UP }, "warming Kafka up").await?;
    let n = told.len();
    let many =
        append(machine, &log, told, Shape { tasks: 8, records: 1000, events: n }, "append, many at a time").await?;
    let events = (n / 5).min(100_000);
    let at_256 =
        append(machine, &log, told, Shape { tasks: 256, records: 1, events }, "append, 256 tasks with one each")
            .await?;
    let events = (n / 60).min(5_000);
    let at_1 = append(machine, &log, told, Shape { tasks: 1, records: 1, events }, "append, one by one").await?;
    let rows = copy(machine, told).await?;
    let (trips, round_trip) = round_trip(machine, told).await?;
    let limits =
        Limits { append: many.0.rate, append_256: at_256.0.rate, append_1: at_1.1, copy: rows.rate, round_trip };
    figures.extend([many.0, at_256.0, at_1.0, rows, trips]);
    Ok(limits)
}

/// How records are appended.
#[derive(Clone, Copy)]
struct Shape {
    tasks: usize,
    /// Of one call.
    records: usize,
    events: usize,
}

/// Appends and waits for every acknowledgement. Returns the median of a call too.
async fn append(
    machine: &Machine,
    log: &Log,
    told: &Arc<[Told]>,
    shape: Shape,
    what: &str,
) -> Outcome<(Figure, Duration)> {
    let options = AppenderOptions { timeout: Duration::from_secs(60), ..AppenderOptions::default() };
    let appender = Appender::open(log, options)?;
    let events = shape.events.min(told.len());
    let queue = Arc::new(Queue::new(what, 0..events, shape.records));
    let mut tasks = JoinSet::new();
    let meter = Meter::start(&machine.processes());
    for _ in 0..shape.tasks {
        let (appender, told, queue) = (appender.clone(), Arc::clone(told), Arc::clone(&queue));
        tasks.spawn(async move {
            let mut taken = Vec::new();
            while let Some(range) = queue.take() {
                let records = told[range].iter().map(|t| NewRecord::new(t.subject.as_str(), t.json.as_str())).collect();
                let began = Instant::now();
                for answer in appender.append(Topic::Log, records).await {
                    answer?;
                }
                taken.push(began.elapsed());
            }
            Ok(taken)
        });
    }
    let latencies = finish(tasks).await?;
    let figure = Figure::new(format!("limit: {what}"), events, &meter.stop(), Limit::Itself);
    let median = latencies.percentile(50);
    Ok((if shape.records == 1 { figure.with(latencies) } else { figure }, median))
}

const TABLE: &str = "
    CREATE SCHEMA bench;
    CREATE TABLE bench.timeline (
        event_id uuid PRIMARY KEY, stamp bytea NOT NULL, subject_id uuid, type text NOT NULL, occurred_at timestamptz NOT NULL,
        received_at timestamptz NOT NULL, channel text, summary text NOT NULL, payload json NOT NULL, hash bytea NOT NULL,
        partition integer NOT NULL, log_offset bigint NOT NULL, voided boolean NOT NULL);
    CREATE INDEX ON bench.timeline (subject_id, stamp);
    CREATE TABLE bench.trip (n bigint PRIMARY KEY)";

/// COPY into a table like the timeline: a primary key of random ids, an index by customer and time.
pub(crate) async fn copy(machine: &Machine, told: &[Told]) -> Outcome<Figure> {
    let mut connection = machine.connect("bench").await?;
    connection.execute(sqlx::raw_sql(TABLE)).await?;
    let what = "COPY alone, 5,000 rows a transaction";
    let progress = Progress::new(what);
    let meter = Meter::start(&machine.processes());
    for (number, chunk) in told.chunks(ROWS).enumerate() {
        let mut rows = CopyBuffer::with_capacity(13, chunk.len() * 1024);
        for (index, told) in chunk.iter().enumerate() {
            row(&mut rows, number * ROWS + index, told);
        }
        copy_in(&mut connection, "COPY bench.timeline FROM STDIN BINARY", rows).await?;
        progress.at(number * ROWS + chunk.len(), told.len());
    }
    let figure = Figure::new(format!("limit: {what}"), told.len(), &meter.stop(), Limit::Itself);
    connection.execute("DROP TABLE bench.timeline").await?;
    Ok(figure)
}

fn row(rows: &mut CopyBuffer, n: usize, told: &Told) {
    let number = i64::try_from(n).expect("a benchmark has fewer events than i64 has numbers");
    let event_id = domain::ids::event_id("bench", &format!("e-{n}"));
    let subject = domain::ids::event_id("bench", &told.subject);
    let at = 1_772_323_200_000_000 + number * 50_000;
    let stamp = [&at.to_be_bytes()[..], &[7], event_id.as_bytes()].concat();
    rows.begin_row()
        .put_uuid(event_id)
        .put_bytes(&stamp)
        .put_uuid(subject)
        .put_text("web.page.viewed")
        .put_timestamptz(at)
        .put_timestamptz(at)
        .put_text("web")
        .put_text("Kettles and cans")
        .put_text(&told.json)
        .put_bytes(&[event_id.as_bytes().as_slice(), subject.as_bytes()].concat())
        .put_i32(0)
        .put_i64(number)
        .put_bool(false);
}

/// One record at a time: appended, read by somebody who waits for it, written to a table, committed.
async fn round_trip(machine: &Machine, told: &Arc<[Told]>) -> Outcome<(Figure, Duration)> {
    // As fast as it goes, whatever that costs; projectors let records gather.
    let eager = [("fetch.min.bytes", "1"), ("fetch.wait.max.ms", "100")];
    let log = machine.log_with(Some("trip"), &eager).await?;
    let appender = Appender::open(&log, AppenderOptions::default())?;
    let ends: Offsets = log.ends().await?;
    let mut reader = Reader::open(&log, Topic::Log, &ends)?;
    let mut connection = machine.connect("bench").await?;
    let what = "append, read, write a row, one by one";
    let progress = Progress::new(what);
    let meter = Meter::start(&machine.processes());
    let mut taken = Vec::with_capacity(TRIPS);
    let trips = TRIPS.min(told.len());
    for (number, told) in told.iter().take(trips).enumerate() {
        let began = Instant::now();
        let record = NewRecord::new(told.subject.as_str(), told.json.as_str());
        for answer in appender.append(Topic::Log, vec![record]).await {
            answer?;
        }
        // The end of a partition is told too: only a record counts.
        let read = async {
            while reader.next(1, usize::MAX, TRIP_TIMEOUT).await?.records.is_empty() {}
            Ok::<_, event_log::ReadError>(())
        };
        let read = tokio::time::timeout(TRIP_TIMEOUT, read).await;
        read.map_err(|_| format!("a record was not read within {TRIP_TIMEOUT:?}"))??;
        let key = i64::try_from(number)?;
        sqlx::query("INSERT INTO bench.trip VALUES ($1)").bind(key).execute(&mut connection).await?;
        taken.push(began.elapsed());
        progress.at(number, trips);
    }
    let spent = meter.stop();
    connection.execute("DROP SCHEMA bench CASCADE").await?;
    let latencies = Latencies::new(taken);
    let median = latencies.percentile(50);
    Ok((Figure::new(format!("limit: {what}"), trips, &spent, Limit::Itself).with(latencies), median))
}
