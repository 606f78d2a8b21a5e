//! From offset 0 into empty models: their projectors at once, as they run in production.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use domain::position::Offsets;
use event_log::{Log, RangeReader, Start, Topic};
use projection::generation::{self, State};
use projector_customer360::Customer360;
use projector_sales::Sales;
use projector_service::Service;
use sqlx::{Executor, PgConnection};
use tokio::sync::watch;

use crate::{
    Outcome,
    cpu::{Meter, Spent},
    machine::{Kind, Machine, PROJECTORS},
    table::{Figure, Limit},
    work::Progress,
};

/// Checkpoints are looked at this often.
const LOOK_INTERVAL: Duration = Duration::from_millis(20);
/// Without any progress for this long something is broken.
const STUCK: Duration = Duration::from_secs(60);

/// Reads the log once, then folds it. `copy`: rows a second of COPY alone.
///
/// # Errors
/// A projector ended, or none comes on.
pub(crate) async fn measure(machine: &mut Machine, models: &[Kind], copy: f64, figures: &mut Vec<Figure>) -> Outcome {
    let log = machine.log(None).await?;
    figures.push(read(machine, &log).await?);
    let mut connection = machine.connect("bench").await?;
    // What was published and measured before must not be written to disk on the folds' account.
    connection.execute("CHECKPOINT").await?;
    let ends = log.ends().await?;
    let events = count(&ends)?;

    let meter = Meter::start(&machine.processes());
    let mut ours = Vec::new();
    for projector in models {
        machine.run(*projector, false).await?;
    }
    // Those just started have used nothing before: their whole time counts.
    ours.extend(machine.processes().into_iter().filter(|p| models.iter().any(|k| k.name == p.name)));
    let started = Meter::start(&ours);
    let reached = wait(machine, &mut connection, models, &ends, &meter).await?;
    let mut spent = meter.stop();
    spent.cpu.extend(started.stop().cpu.into_iter().filter(|(name, _)| *name != "bench"));

    let names: Vec<&str> = models.iter().map(|m| m.name).collect();
    let what = if names.len() == PROJECTORS.len() { "three models".to_owned() } else { names.join(" + ") };
    figures.push(Figure::new(format!("fold from offset 0, {what}"), events, &spent, Limit::Rate("COPY alone", copy)));
    for (model, wall) in reached {
        let cpu = spent.cpu.iter().copied().filter(|(name, _)| *name == model).collect();
        let own = Spent { wall, cpu };
        figures.push(Figure::new(
            format!("  of it {model}, until its end"),
            events,
            &own,
            Limit::Rate("COPY alone", copy),
        ));
    }
    Ok(())
}

/// Waits until all of them are at the log's end; says when each was.
async fn wait(
    machine: &mut Machine,
    connection: &mut PgConnection,
    models: &[Kind],
    ends: &Offsets,
    meter: &Meter,
) -> Outcome<Vec<(&'static str, Duration)>> {
    let events = count(ends)?;
    let progress = Progress::new("fold, sum of the models");
    let mut reached: Vec<(&'static str, Duration)> = Vec::new();
    let (mut before, mut changed) = (0, Instant::now());
    while reached.len() < models.len() {
        let at = checkpoints(connection).await?;
        for projector in models {
            let there = at.get(projector.name).is_some_and(|next| ends.iter().all(|(p, end)| next.get(p) >= Some(end)));
            if there && reached.iter().all(|(name, _)| *name != projector.name) {
                reached.push((projector.name, meter.elapsed()));
            }
        }
        let of_models = at.iter().filter(|(name, _)| models.iter().any(|m| m.name == name.as_str()));
        let sum = of_models.map(|(_, offsets)| count(offsets)).sum::<Outcome<usize>>()?;
        if sum != before {
            if before == 0 {
                println!("  fold: the first batch was committed after {:.2} s", meter.elapsed().as_secs_f64());
            }
            (before, changed) = (sum, Instant::now());
        }
        progress.at(sum, events * models.len());
        machine.all_running()?;
        if changed.elapsed() > STUCK {
            return Err(format!(
                "no projector has come on for {STUCK:?}: they are at {at:?}, the log's end is {ends:?}"
            )
            .into());
        }
        tokio::time::sleep(LOOK_INTERVAL).await;
    }
    Ok(reached)
}

/// Waits until the tables of all models are analyzed, which follows their loads.
///
/// # Errors
/// They are not for a long time.
pub(crate) async fn analyzed(machine: &Machine) -> Outcome {
    const UNKNOWN: &str = "SELECT count(*) FROM backbone.generations AS g
        WHERE NOT EXISTS (SELECT FROM pg_stats AS s WHERE s.schemaname = g.schema_name)";
    let mut connection = machine.connect("bench").await?;
    let began = Instant::now();
    while sqlx::query_scalar::<_, i64>(UNKNOWN).fetch_one(&mut connection).await? > 0 {
        if began.elapsed() > STUCK {
            return Err(format!("the tables of some model were not analyzed for {STUCK:?}").into());
        }
        tokio::time::sleep(LOOK_INTERVAL).await;
    }
    println!("  the loaded tables were analyzed {:.1} s later", began.elapsed().as_secs_f64());
    Ok(())
}

/// All three models, built anew beside the live ones.
pub(crate) struct Replay {
    connection: PgConnection,
}

/// Begins it.
///
/// # Errors
/// PostgreSQL refuses it.
pub(crate) async fn replay(machine: &Machine) -> Outcome<Replay> {
    let log = machine.log(None).await?;
    let (log_id, partitions) = (log.log_id(), log.partitions());
    let mut connection = machine.connect("bench").await?;
    generation::build(&mut connection, &Sales, log_id, partitions).await?;
    generation::build(&mut connection, &Service, log_id, partitions).await?;
    generation::build(&mut connection, &Customer360::new(*log.namespace()), log_id, partitions).await?;
    Ok(Replay { connection })
}

impl Replay {
    /// Says when they are built.
    ///
    /// # Errors
    /// PostgreSQL refuses to tell.
    pub(crate) async fn until_built(mut self, over: watch::Sender<bool>) -> Outcome {
        const LEFT: &str = "SELECT count(*) FROM backbone.generations WHERE state = 'building' AND NOT loaded";
        while sqlx::query_scalar::<_, i64>(LEFT).fetch_one(&mut self.connection).await? > 0 {
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
        over.send_replace(true);
        Ok(())
    }
}

/// Says how far those have come.
///
/// # Errors
/// PostgreSQL refuses it.
pub(crate) async fn replayed(machine: &Machine) -> Outcome {
    let mut connection = machine.connect("bench").await?;
    for projector in PROJECTORS {
        for listed in generation::list(&mut connection, projector.name).await? {
            if listed.state == State::Building {
                let how_far = match (listed.is_loaded, listed.loading_events) {
                    (true, _) => "is built".to_owned(),
                    (false, events) => format!("is not built yet, {} events are loaded", events.unwrap_or(0)),
                };
                println!("  {} {how_far}", listed.generation.schema);
            }
        }
    }
    Ok(())
}

/// Reading alone, without decoding.
async fn read(machine: &Machine, log: &Log) -> Outcome<Figure> {
    let what = "reading the log alone";
    let events = count(&log.ends().await?)?;
    let progress = Progress::new(what);
    let meter = Meter::start(&machine.processes());
    let mut reader = RangeReader::open(log, Topic::Log, Start::Beginning, false).await?;
    let mut done = 0;
    while let Some(records) = reader.next().await? {
        done += records.len();
        progress.at(done, events);
    }
    Ok(Figure::new(format!("limit: {what}"), done, &meter.stop(), Limit::Itself))
}

/// How far each model has come; nothing before the first projector has made the tables.
pub(crate) async fn checkpoints(connection: &mut PgConnection) -> Outcome<BTreeMap<String, Offsets>> {
    match projection::positions::read(connection).await {
        Ok(at) => Ok(at),
        Err(sqlx::Error::Database(error)) if matches!(error.code().as_deref(), Some("42P01" | "3F000")) => {
            Ok(BTreeMap::new())
        }
        Err(error) => Err(error.into()),
    }
}

fn count(offsets: &Offsets) -> Outcome<usize> {
    Ok(usize::try_from(offsets.values().sum::<i64>())?)
}
