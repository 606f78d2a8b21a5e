//! `make bench`: how much Rapport does on this machine, every figure beside a limit measured in the same run.
//!
//! ```text
//! limits      Kafka alone, COPY alone, one round trip      (no service runs)
//! publish     bench -> collector -> Kafka                  batches of 50, 256 connections, one connection
//! fold        Kafka -> three projectors -> PostgreSQL      from offset 0, empty models
//! visible     publish -> ... -> checkpoints, page          1,000 events a second, steadily; 250 with pages;
//!                                                          1,000 until all three models are replayed beside it
//! ```
//!
//! | module | responsibility |
//! |---|---|
//! | `machine` | Kafka, PostgreSQL and the services, each a process, on ports and in a directory of their own |
//! | `mix` | the events |
//! | `limits`, `publish`, `fold`, `visible` | one part of the run each |
//! | `cpu` | processor time of processes |
//! | `http`, `work` | a client that costs little; work shared out among tasks |
//! | `table` | figures and the table they are printed as |
//!
//! It asserts nothing about time. Everything it starts it ends, and what they wrote it deletes.

mod cpu;
mod fold;
mod http;
mod limits;
mod machine;
mod mix;
mod publish;
mod table;
mod visible;
mod work;

use std::{process::ExitCode, sync::Arc, time::Instant};

use tokio::{sync::watch, task::JoinSet};

use crate::{
    machine::{COLLECTOR, Kind, Machine, PROJECTORS, QUERY},
    mix::Told,
    publish::Shape,
    table::{Figure, Limit},
    visible::{Phase, Seen},
};

/// As the services have it: a limit must not be slower by its allocator.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// What anything here may end with.
pub(crate) type Outcome<T = ()> = Result<T, Box<dyn std::error::Error + Send + Sync>>;

const USAGE: &str = "\
Usage: bench [--events N] [--seconds N] [--quick] [--seed N] [--fold MODELS]

  --events N   events published in batches and folded from offset 0 (default 300000)
  --seconds N  how long each steady phase takes (default 10)
  --quick      20,000 events and short phases: does it work at all?
  --seed N     another story with the same mix (default 1)
  --fold MODELS  only publish in batches and fold these models, one after another in the order named;
               sales+service folds two at once";

/// Events a second while publish-to-visible is measured.
const STEADY_RATE: usize = 1_000;
/// The same while every tenth is followed by asking for a page, which costs as much as folding some dozen events.
const STEADY_RATE_PAGES: usize = 250;

/// Beside a replay it is measured until that is done, at most so many times as long as without.
const REPLAY_TIMES: usize = 20;

/// What was asked for.
#[derive(Clone, Debug)]
struct Plan {
    /// Published in batches.
    events: usize,
    /// Published one each over 256 connections.
    at_256: usize,
    /// Published one by one.
    one_by_one: usize,
    /// Published in each of the steady phases, at most.
    steady: usize,
    seed: u64,
    /// Groups of models to fold, and nothing else; empty: everything.
    folds: Vec<Vec<Kind>>,
}

impl Plan {
    fn read(mut arguments: impl Iterator<Item = String>) -> Outcome<Self> {
        let (mut events, mut seconds, mut seed, mut folds) = (300_000, 10, 1, Vec::new());
        while let Some(argument) = arguments.next() {
            let mut value = || arguments.next().ok_or_else(|| format!("{argument} needs a value"));
            let mut number = || {
                let value = value()?;
                value
                    .replace(['_', ','], "")
                    .parse::<u64>()
                    .map_err(|_| format!("{argument} needs a number, not {value:?}"))
            };
            match argument.as_str() {
                "--events" => events = usize::try_from(number()?)?.max(1_000),
                "--seconds" => seconds = usize::try_from(number()?)?.max(1),
                "--seed" => seed = number()?,
                "--quick" => (events, seconds) = (20_000, 3),
                "--fold" => folds = value()?.split(',').map(models).collect::<Outcome<_>>()?,
                _ => return Err(format!("{argument:?} is not known here").into()),
            }
        }
        let (at_256, one_by_one) = ((events / 5).min(60_000), (events / 60).min(5_000));
        Ok(Self { events, at_256, one_by_one, steady: seconds * STEADY_RATE, seed, folds })
    }

    fn total(&self) -> usize {
        self.events + self.at_256 + self.one_by_one + (2 + REPLAY_TIMES) * self.steady
    }
}

/// `sales+service`: models to be folded at once.
fn models(names: &str) -> Outcome<Vec<Kind>> {
    let model = |name: &str| {
        let kind = PROJECTORS.into_iter().find(|kind| kind.name == name);
        kind.ok_or_else(|| format!("{name:?} is no model; there are sales, service and customer360").into())
    };
    names.split('+').map(model).collect()
}

fn main() -> ExitCode {
    if std::env::args().any(|a| a == "--help" || a == "-h") {
        println!("{USAGE}");
        return ExitCode::SUCCESS;
    }
    let plan = match Plan::read(std::env::args().skip(1)) {
        Ok(plan) => plan,
        Err(error) => {
            eprintln!("bench: {error}\n\n{USAGE}");
            return ExitCode::from(64);
        }
    };
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let ended = runtime.map_err(Into::into).and_then(|runtime| runtime.block_on(run(plan)));
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Starts the machine, measures, prints what there is, and ends everything, also after a failure or Ctrl-C.
async fn run(plan: Plan) -> Outcome {
    let began = Instant::now();
    if cfg!(debug_assertions) {
        println!("bench: this is a debug build; its figures say little (make bench builds with optimizations)");
    }
    println!(
        "bench: telling {} events about {} customers (seed {})",
        plan.total(),
        mix::customers(plan.total()),
        plan.seed
    );
    let told: Arc<[Told]> = mix::tell(plan.seed, plan.total()).into();
    let bytes: usize = told.iter().map(|t| t.json.len()).sum();
    println!("bench: starting Kafka and PostgreSQL");
    let mut machine = Machine::start().await?;
    let mut figures = Vec::new();
    let ended = tokio::select! {
        ended = Box::pin(measure(&mut machine, &plan, &told, &mut figures)) => ended,
        interrupted = tokio::signal::ctrl_c() => Err(interrupted.err().map_or_else(|| "interrupted".into(), Into::into)),
    };
    println!("bench: ending everything");
    let stopped = machine.stop().await;
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let profile = if cfg!(debug_assertions) { "debug" } else { "release" };
    println!(
        "\n{} events of {} bytes as JSON, {cores} cores shared by all, {profile} build, {:.0} s\n",
        plan.total(),
        bytes / told.len().max(1),
        began.elapsed().as_secs_f64()
    );
    table::print(&figures);
    ended.and(stopped)
}

async fn measure(machine: &mut Machine, plan: &Plan, told: &Arc<[Told]>, figures: &mut Vec<Figure>) -> Outcome {
    if !plan.folds.is_empty() {
        return folds(machine, plan, told, figures).await;
    }
    println!("bench: limits");
    let limits = limits::measure(machine, &Arc::from(&told[..plan.events]), figures).await?;

    println!("bench: publishing");
    machine.run(COLLECTOR, true).await?;
    let mut from = 0;
    for (events, shape, what, limit) in [
        (
            plan.events,
            Shape { connections: 8, events: 50 },
            "publish, batches of 50, 8 connections",
            Limit::Rate("append", limits.append),
        ),
        (
            plan.at_256,
            Shape { connections: 256, events: 1 },
            "publish, single, 256 connections",
            Limit::Rate("append, 256 tasks", limits.append_256),
        ),
        (
            plan.one_by_one,
            Shape { connections: 1, events: 1 },
            "publish, single, one connection",
            Limit::Median("append, one", limits.append_1),
        ),
    ] {
        figures.push(publish::measure(machine, told, from..from + events, shape, what, limit).await?);
        from += events;
    }

    println!("bench: folding {from} events from offset 0 into three empty models");
    fold::measure(machine, &PROJECTORS, limits.copy, figures).await?;

    println!("bench: publish to visible");
    machine.run(QUERY, true).await?;
    // Behind a load its tables are analyzed: part of life, but not all of it at once.
    fold::analyzed(machine).await?;
    let replayed = ", while all three are replayed";
    for (seen, rate, beside) in [
        (Seen::Checkpoints, STEADY_RATE, ""),
        (Seen::Page, STEADY_RATE_PAGES, ""),
        (Seen::Checkpoints, STEADY_RATE, replayed),
    ] {
        let (over, is_over) = watch::channel(false);
        let mut replay = JoinSet::new();
        let mut events = plan.steady * rate / STEADY_RATE;
        if beside == replayed {
            replay.spawn(fold::replay(machine).await?.until_built(over));
            events *= REPLAY_TIMES;
        }
        let phase = Phase { range: from..from + events, rate, seen, beside, is_over };
        from += visible::measure(machine, told, phase, limits.round_trip, figures).await?;
        if let Some(ended) = replay.try_join_next() {
            ended??;
        }
    }
    fold::replayed(machine).await?;
    Ok(())
}

/// Publishes the events and folds some models: for whoever works on one of them.
async fn folds(machine: &mut Machine, plan: &Plan, told: &Arc<[Told]>, figures: &mut Vec<Figure>) -> Outcome {
    let copy = limits::copy(machine, &told[..plan.events]).await?;
    let rate = copy.rate;
    figures.push(copy);
    machine.run(COLLECTOR, true).await?;
    let shape = Shape { connections: 8, events: 50 };
    let what = "publish, batches of 50, 8 connections";
    figures.push(publish::measure(machine, told, 0..plan.events, shape, what, Limit::Itself).await?);
    machine.end(COLLECTOR).await?;
    for models in &plan.folds {
        fold::measure(machine, models, rate, figures).await?;
        for model in models {
            machine.end(*model).await?;
        }
    }
    Ok(())
}
