//! Replays: a generation is built beside the live one, compared, swapped in; asked back and dropped.

use std::collections::BTreeMap;
use std::io::{IsTerminal, Write as _};
use std::time::{Duration, Instant};

use event_log::Log;
use projection::ReadModel;
use projection::compare::{CompareError, Comparison, Counts, Difference, Named, compare};
use projection::generation::{self, Generation, GenerationError, Listed, State};
use projection::swap::{SwapError, Waiting, swap};
use projector_customer360::Customer360;
use serde_json::{Map, Value, json};
use service_kit::Config;
use sqlx::PgConnection;
use tokio::signal::unix::{SignalKind, signal};
use uuid::Uuid;

use super::{log_exit, open_log};
use crate::cli::{GenerationArgs, GenerationCommand, Model, ReplayArgs};
use crate::failure::{Exit, Failure, OrExit, Outcome};
use crate::{say, services};

/// How long PostgreSQL may work on one statement: whole views are read and compared.
const STATEMENT_TIMEOUT: Duration = Duration::from_secs(30 * 60);
/// How long a swap tries to get past readers of the views.
const SWAP_PATIENCE: Duration = Duration::from_secs(10 * 60);
/// How long a drop waits for readers of the generation's tables.
const DROP_PATIENCE: Duration = Duration::from_secs(60);
/// How long the live generation may take to come past the other one.
const COMPARE_PATIENCE: Duration = Duration::from_secs(60);
/// Progress is looked at this often, and told on a terminal.
const LOOK_INTERVAL: Duration = Duration::from_millis(500);
/// Elsewhere it is told this often.
const TELL_INTERVAL: Duration = Duration::from_secs(10);
/// Of a build that no projector has taken up for so long it is said what to start; a projector looks each second.
const UNATTENDED_TOLD: Duration = Duration::from_secs(5);
/// One that no projector has taken up for so long is waited for in vain.
const UNATTENDED_PATIENCE: Duration = Duration::from_secs(30);
/// How many differing rows of a view a replay shows.
const REPLAY_ROWS: u32 = 5;

/// `rapport generation ...`.
pub(crate) async fn generation(config: &Config, command: GenerationCommand) -> Outcome {
    match command {
        GenerationCommand::List { model, output } => list(config, model, output.json).await,
        GenerationCommand::Build(args) => run(config, args, Step::Build).await,
        GenerationCommand::Verify(args) => run(config, args, Step::Verify).await,
        GenerationCommand::Diff { args, rows } => run(config, args, Step::Diff { rows }).await,
        GenerationCommand::Swap(args) => run(config, args, Step::Swap).await,
        GenerationCommand::Rollback(args) => run(config, args, Step::Rollback).await,
        GenerationCommand::Drop(args) => run(config, args, Step::Drop).await,
    }
}

/// `rapport replay`.
pub(crate) async fn replay(config: &Config, args: ReplayArgs) -> Outcome {
    let ReplayArgs { model, dry_run, yes, output } = args;
    run(config, GenerationArgs { model, generation: None, output }, Step::Replay { dry_run, yes }).await
}

#[derive(Clone, Copy)]
enum Step {
    Build,
    Verify,
    Diff { rows: u32 },
    Swap,
    Rollback,
    Drop,
    Replay { dry_run: bool, yes: bool },
}

async fn run(config: &Config, args: GenerationArgs, step: Step) -> Outcome {
    let log = open_log(config).await?;
    let mut database = super::connect(config, STATEMENT_TIMEOUT).await?;
    projection::database::notice_a_closed_socket(&mut database).await.or_exit(Exit::Unavailable)?;
    projection::backbone::migrate(&mut database).await.or_exit(Exit::Configuration)?;
    let customer360 = Customer360::new(*log.namespace()).with_limits(services::hub_limits(config)?);
    let model = args.model;
    services::with_model(model, customer360, Work { args, step, log, database }).await
}

async fn list(config: &Config, model: Option<Model>, as_json: bool) -> Outcome {
    let mut database = super::connect(config, super::STATEMENT_TIMEOUT).await?;
    let models = model.map_or_else(|| vec!["sales", "service", "customer360"], |model| vec![model.name()]);
    let mut all = Vec::new();
    for name in models {
        for one in super::generations_of(&mut database, name).await? {
            let next = generation::checkpoints(&mut database, &one.generation).await.or_exit(Exit::Unavailable)?;
            all.push((one, next.values().sum::<i64>()));
        }
    }
    if as_json {
        let document = |(l, folded): &(Listed, i64)| {
            json!({
                "model": l.generation.model, "generation": l.generation.number, "schema": l.generation.schema,
                "definition": l.generation.definition, "state": l.state.name(), "is_built": l.is_loaded,
                "is_folded": l.is_attended, "records": folded, "loading_events": l.loading_events,
                "failure": l.failure, "created_at": l.created_at, "retired_at": l.retired_at,
            })
        };
        say::json(&json!({"generations": all.iter().map(document).collect::<Vec<_>>()}));
        return Ok(());
    }
    if all.is_empty() {
        say::line(format_args!("no generation; has a projector run on this database?"));
        return Ok(());
    }
    let head = ["generation", "state", "records", "folded by", "created", "definition"];
    let mut rows = vec![head.map(str::to_owned).to_vec()];
    for (l, folded) in &all {
        let folded_by = match (&l.failure, l.is_attended) {
            (Some(_), _) => "nobody: it failed",
            (None, true) => "a projector",
            (None, false) => "nobody",
        };
        let state = match (l.state, l.is_loaded) {
            (State::Building, true) => "built".to_owned(),
            (state, true) => state.name().to_owned(),
            (state, false) => format!("{}, not built yet", state.name()),
        };
        rows.push(vec![
            l.generation.schema.clone(),
            state,
            // What a load has read is committed at its end.
            (*folded).max(l.loading_events.unwrap_or(0)).to_string(),
            folded_by.to_owned(),
            l.created_at.clone(),
            generation::short(&l.generation.definition),
        ]);
    }
    say::table(&rows);
    for (l, _) in &all {
        if let Some(failure) = &l.failure {
            say::line(format_args!("\n{}: {failure}", l.generation.schema));
        }
    }
    Ok(())
}

/// One step for one model.
struct Work {
    args: GenerationArgs,
    step: Step,
    log: Log,
    database: PgConnection,
}

impl services::WithModel for Work {
    type Output = Outcome;

    async fn run<M: ReadModel>(mut self, model: M) -> Outcome {
        match self.step {
            Step::Build => {
                let built = self.build(&model).await?;
                self.tell(&json!({"generation": built.number, "schema": built.schema, "is_built": true}), || {
                    say::line(format_args!(
                        "{} is built and keeps up with the log; next: rapport generation verify {}",
                        built.schema, built.model
                    ));
                });
                Ok(())
            }
            Step::Verify => self.verify(&model).await,
            Step::Diff { rows } => self.diff(&model, rows).await,
            Step::Swap => {
                let number = self.chosen(&model, false).await?;
                self.swap(&model, number, State::Retired).await
            }
            Step::Rollback => self.rollback(&model).await,
            Step::Drop => self.drop(&model).await,
            Step::Replay { dry_run, yes } => self.replay(&model, dry_run, yes).await,
        }
    }
}

impl Work {
    /// A document for programs, or what people are told.
    fn tell(&self, document: &Value, told: impl FnOnce()) {
        if self.args.output.json {
            say::json(document);
        } else {
            told();
        }
    }

    async fn listed<M: ReadModel>(&mut self, model: &M) -> Outcome<Vec<Listed>> {
        let listed = super::generations_of(&mut self.database, model.name()).await?;
        if listed.iter().any(|l| l.state == State::Live) {
            return Ok(listed);
        }
        let sentence = format_args!("{} has no live generation; has its projector run on this database?", model.name());
        Err(Failure::new(Exit::Unavailable, sentence))
    }

    /// The generation that was named, else the one that is being built, else, where any will do, the newest beside the live
    /// one.
    async fn chosen<M: ReadModel>(&mut self, model: &M, any: bool) -> Outcome<i32> {
        if let Some(number) = self.args.generation {
            return Ok(number);
        }
        let listed = self.listed(model).await?;
        let others = listed.iter().filter(|l| l.state == State::Building || (any && l.state != State::Live));
        let newest = others.max_by_key(|l| (l.state == State::Building, l.generation.number));
        newest.map(|l| l.generation.number).ok_or_else(|| {
            let name = model.name();
            let sentence = format_args!(
                "{name} has no generation {} the live one; `rapport generation build {name}` builds one",
                if any { "beside" } else { "built or being built beside" }
            );
            Failure::new(Exit::BadInput, sentence)
        })
    }

    /// Builds a generation beside the live one, or goes on with one that is being built, until it has caught up.
    async fn build<M: ReadModel>(&mut self, model: &M) -> Outcome<Generation> {
        self.listed(model).await?;
        let (log_id, partitions) = (self.log.log_id(), self.log.partitions());
        let building = generation::build(&mut self.database, model, log_id, partitions).await.map_err(|error| {
            let exit = match &error {
                GenerationError::Database { .. } => Exit::Unavailable,
                _ => Exit::Configuration,
            };
            Failure::of(exit, error)
        })?;
        let ends = self.log.ends().await.map_err(|error| Failure::of(log_exit(&error), error))?;
        let events: i64 = ends.values().sum();
        let mut progress = Building::new(events);
        // From here on Ctrl-C does not end the process by itself: what goes on without it is to be said.
        let mut interrupt = signal(SignalKind::interrupt()).or_exit(Exit::Unavailable)?;
        loop {
            let found = generation::list(&mut self.database, model.name()).await.or_exit(Exit::Unavailable)?;
            let Some(found) = found.into_iter().find(|l| l.generation == building) else {
                return Err(Failure::new(Exit::BadInput, format_args!("{} was dropped meanwhile", building.schema)));
            };
            if let Some(failure) = found.failure {
                let sentence = format_args!(
                    "{} cannot be built: {failure}; `rapport generation drop {}` removes what there is of it",
                    building.schema, building.model
                );
                return Err(Failure::new(Exit::Difference, sentence));
            }
            let next = generation::checkpoints(&mut self.database, &building).await.or_exit(Exit::Unavailable)?;
            if found.is_loaded && ends.iter().all(|(p, end)| next.get(p) >= Some(end)) {
                progress.finish(&building.schema);
                return Ok(building);
            }
            let folded = next.values().sum::<i64>().max(found.loading_events.unwrap_or(0));
            let ahead = match folded {
                0 => generation::being_loaded(&mut self.database).await.or_exit(Exit::Unavailable)?,
                _ => None,
            };
            let ahead = ahead.filter(|other| *other != building.schema);
            progress.at(&building.schema, folded, found.is_attended, ahead.as_deref()).map_err(|sentence| {
                Failure::new(Exit::TryAgain, format_args!("{sentence} (`rapport projector {}`)", building.model))
            })?;
            tokio::select! {
                () = tokio::time::sleep(LOOK_INTERVAL) => {}
                _ = interrupt.recv() => return Err(self.interrupted(&building, found.is_attended, &progress)),
            }
        }
    }

    /// What Ctrl-C leaves: the build is the projector's.
    fn interrupted(&self, building: &Generation, is_attended: bool, progress: &Building) -> Failure {
        progress.end_line();
        let (schema, name) = (&building.schema, &building.model);
        let again = if matches!(self.step, Step::Replay { .. }) { "replay" } else { "generation build" };
        let goes_on = if is_attended { "the projector goes on" } else { "a projector, once one runs, goes on" };
        let sentence = format_args!(
            "interrupted; {goes_on} building {schema}: `rapport {again} {name}` goes on watching it, `rapport status` \
             shows how far it is, `rapport generation drop {name}` removes it"
        );
        Failure::new(Exit::Interrupted, sentence)
    }

    async fn compared<M: ReadModel>(&mut self, model: &M, number: i32, rows: u32) -> Outcome<Comparison> {
        compare(&mut self.database, model, &self.log, number, rows, COMPARE_PATIENCE).await.map_err(|error| {
            let exit = match &error {
                CompareError::Unfit(_) => Exit::BadInput,
                CompareError::LiveBehind { .. } | CompareError::OtherBehind { .. } => Exit::TryAgain,
                CompareError::Fold { .. } => Exit::Difference,
                CompareError::Log(error) => log_exit(error),
                CompareError::Silent { .. } | CompareError::Read(_) | CompareError::Database(_) => Exit::Unavailable,
            };
            Failure::of(exit, error)
        })
    }

    async fn verify<M: ReadModel>(&mut self, model: &M) -> Outcome {
        let number = self.chosen(model, true).await?;
        let compared = self.compared(model, number, REPLAY_ROWS).await?;
        self.tell(&document(&compared), || {
            show_views(&compared);
            show_end(&compared);
        });
        if compared.is_identical() { Ok(()) } else { Err(Failure::told(Exit::Difference)) }
    }

    async fn diff<M: ReadModel>(&mut self, model: &M, rows: u32) -> Outcome {
        let number = self.chosen(model, true).await?;
        let compared = self.compared(model, number, rows).await?;
        self.tell(&document(&compared), || show_end(&compared));
        if compared.is_identical() { Ok(()) } else { Err(Failure::told(Exit::Difference)) }
    }

    async fn swap<M: ReadModel>(&mut self, model: &M, number: i32, outgoing: State) -> Outcome {
        let tell = |waiting: &Waiting| say::note(format_args!("the swap waits: {waiting}"));
        let listed = self.listed(model).await?;
        let before = listed.iter().find(|l| l.state == State::Live).map(|l| &l.generation);
        let now = swap(&mut self.database, model, number, outgoing, SWAP_PATIENCE, tell).await.map_err(|error| {
            let exit = match &error {
                SwapError::Unfit(_) => Exit::BadInput,
                SwapError::OtherDefinition { .. } | SwapError::FewerColumns { .. } => Exit::Configuration,
                SwapError::Behind { .. } | SwapError::Busy { .. } | SwapError::Held { .. } => Exit::TryAgain,
                SwapError::Database(_) => Exit::Unavailable,
            };
            Failure::of(exit, error)
        })?;
        let back = outgoing == State::Building;
        self.tell(&json!({"live": now.number, "schema": now.schema}), || {
            let (schema, name) = (&now.schema, &now.model);
            let again = if back { " again" } else { "" };
            let Some(before) = before else {
                say::line(format_args!("{schema} is live{again}"));
                return;
            };
            // By its number: others may stand beside it.
            let (one, number) = (&before.schema, before.number);
            let returns = if back {
                format!("swap {name} --generation {number} puts it back")
            } else {
                format!("rollback {name} goes back to it")
            };
            say::line(format_args!(
                "{schema} is live{again}; {one} is folded on by projectors of its version: rapport generation {returns}, rapport \
                 generation drop {name} --generation {number} removes it"
            ));
        });
        Ok(())
    }

    /// Back to the generation that was live before.
    async fn rollback<M: ReadModel>(&mut self, model: &M) -> Outcome {
        let listed = self.listed(model).await?;
        let retired = listed.into_iter().filter(|l| l.state == State::Retired);
        let before = match self.args.generation {
            Some(number) => retired.into_iter().find(|l| l.generation.number == number),
            None => retired.max_by(|a, b| a.retired_at.cmp(&b.retired_at)),
        };
        let Some(before) = before else {
            let sentence = format_args!(
                "{} has no such generation that was live before the one that is; `rapport generation list {0}` shows them",
                model.name()
            );
            return Err(Failure::new(Exit::BadInput, sentence));
        };
        // What is gone back from waits to be swapped in again, and is not gone back to.
        self.swap(model, before.generation.number, State::Building).await
    }

    async fn drop<M: ReadModel>(&mut self, model: &M) -> Outcome {
        let number = self.chosen(model, true).await?;
        let listed = self.listed(model).await?;
        let Some(found) = listed.into_iter().find(|l| l.generation.number == number) else {
            return Err(Failure::new(Exit::BadInput, format_args!("{} has no generation {number}", model.name())));
        };
        if found.state == State::Live {
            let sentence = format_args!("{} is live: swap another one in first", found.generation.schema);
            return Err(Failure::new(Exit::BadInput, sentence));
        }
        generation::drop(&mut self.database, &found.generation, DROP_PATIENCE).await.map_err(|error| {
            let sentence = format_args!(
                "{} is left by its projectors, but its tables are not dropped yet ({error}): end what reads them (see \
                 pg_stat_activity) and run it again",
                found.generation.schema
            );
            Failure::new(Exit::TryAgain, sentence)
        })?;
        self.tell(&json!({"dropped": number, "schema": found.generation.schema}), || {
            say::line(format_args!("{} is dropped", found.generation.schema));
        });
        Ok(())
    }

    async fn replay<M: ReadModel>(&mut self, model: &M, dry_run: bool, yes: bool) -> Outcome {
        let listed = self.listed(model).await?;
        let wanted = generation::definition(model);
        let live = listed.iter().find(|l| l.state == State::Live);
        let is_same = live.is_some_and(|l| l.generation.definition == wanted);
        let ends = self.log.ends().await.map_err(|error| Failure::of(log_exit(&error), error))?;
        let records: i64 = ends.values().sum();
        if dry_run {
            let name = model.name();
            let building = listed.iter().find(|l| l.state == State::Building).map(|l| &l.generation);
            if let Some(other) = building.filter(|g| g.definition != wanted) {
                let (model, schema) = (name.to_owned(), other.schema.clone());
                return Err(Failure::of(Exit::Configuration, GenerationError::OtherBuilt { model, schema }));
            }
            let into = match building {
                Some(found) => format!("what is not in it yet of {records} records of the log into {}", found.schema),
                None => format!("{records} records of the log into a new generation of {name}"),
            };
            let schema = building.map(|g| &g.schema);
            let answer = json!({
                "model": name, "records": records, "schema": schema, "is_same_definition": is_same, "dry_run": true,
            });
            self.tell(&answer, || {
                say::line(format_args!(
                    "would fold {into}, {} (dry run: nothing was done)",
                    if is_same {
                        "verify that it is identical to the live one, and swap it in"
                    } else {
                        "of another definition than the live one, show what differs, and swap it in"
                    }
                ));
            });
            return Ok(());
        }
        let built = self.build(model).await?;
        // Nobody of its version folds the live one: it has nothing more to say, and will not come past the built one.
        let is_left = listed.iter().any(|l| l.state == State::Live && !l.is_attended) && !is_same;
        let compared = if is_left {
            say::note(format_args!(
                "the live generation is of another definition and nobody folds it any more: the two cannot be compared at one \
                 position"
            ));
            None
        } else {
            say::note(format_args!("comparing {} with the live generation", built.schema));
            Some(self.compared(model, built.number, REPLAY_ROWS).await?)
        };
        let is_json = self.args.output.json;
        if let Some(compared) = &compared {
            if is_json {
                say::json(&document(compared));
            } else {
                show_views(compared);
                show_end(compared);
            }
        }
        let is_identical = compared.as_ref().is_some_and(Comparison::is_identical);
        // Rows of one definition are the same whenever they are folded: where they are not, somebody has to look.
        if !is_identical && !yes && (is_same || is_json || !asked_yes("swap it in all the same?")) {
            let sentence = format_args!(
                "{schema} was not swapped in: look at `rapport generation diff {name}`, then `rapport generation swap {name}` \
                 or `rapport generation drop {name}`",
                schema = built.schema,
                name = built.model
            );
            return Err(Failure::new(Exit::Difference, sentence));
        }
        self.args.output.json = false;
        self.swap(model, built.number, State::Retired).await
    }
}

/// Asks on the terminal; elsewhere the answer is no.
pub(super) fn asked_yes(question: &str) -> bool {
    if !std::io::stdin().is_terminal() {
        return false;
    }
    let mut err = std::io::stderr().lock();
    let _ = write!(err, "{question} [y/N] ").and_then(|()| err.flush());
    let mut answer = String::new();
    let read = std::io::stdin().read_line(&mut answer);
    read.is_ok() && matches!(answer.trim(), "y" | "Y" | "yes")
}

/// Tells how far a build is.
struct Building {
    records: i64,
    began: Instant,
    /// Since when records have been folded, and how many there were then.
    first: Option<(Instant, i64)>,
    told: Option<Instant>,
    attended: Instant,
    /// It has been said that no projector is at it.
    is_missed: bool,
    is_terminal: bool,
}

impl Building {
    fn new(records: i64) -> Self {
        let now = Instant::now();
        Self {
            records,
            began: now,
            first: None,
            told: None,
            attended: now,
            is_missed: false,
            is_terminal: std::io::stderr().is_terminal(),
        }
    }

    /// `ahead`: the generation that has to be loaded first.
    ///
    /// # Errors
    /// No projector has been at it for long.
    fn at(&mut self, schema: &str, folded: i64, is_attended: bool, ahead: Option<&str>) -> Result<(), String> {
        let now = Instant::now();
        if is_attended {
            (self.attended, self.is_missed) = (now, false);
        }
        if self.attended.elapsed() > UNATTENDED_PATIENCE {
            return Err(format!(
                "nobody builds {schema}: start a projector of this version, with the settings of this command; it goes on \
                 with the build"
            ));
        }
        if !is_attended && !self.is_missed && self.attended.elapsed() >= UNATTENDED_TOLD {
            self.is_missed = true;
            self.end_line();
            say::note(format_args!(
                "nobody builds {schema} yet: it takes a running projector of this version, with the settings of this command \
                 (`rapport projector {}`)",
                schema.split("_g").next().unwrap_or(schema)
            ));
        }
        let interval = if self.is_terminal { LOOK_INTERVAL } else { TELL_INTERVAL };
        if self.told.is_some_and(|told| told.elapsed() < interval) {
            return Ok(());
        }
        self.told = Some(now);
        if ahead.is_some() {
            self.first = None;
        }
        let (since, before) = *self.first.get_or_insert((now, folded));
        let rate = (folded - before) as f64 / now.duration_since(since).as_secs_f64().max(0.001);
        let left = (self.records - folded).max(0);
        let eta =
            if rate > 0.0 && folded > before { format!(", {:.0} s left", left as f64 / rate) } else { String::new() };
        let line = if !is_attended {
            format!("{schema}: waiting for a projector of this version to take it up")
        } else if let Some(ahead) = ahead {
            format!("{schema}: waiting until {ahead} is built; one is built at a time")
        } else if left == 0 {
            format!("{schema}: {folded} of {} records read; deriving and indexing", self.records)
        } else {
            format!("{schema}: {folded} of {} records, {rate:.0}/s{eta}", self.records)
        };
        let mut err = std::io::stderr().lock();
        let _ = if self.is_terminal { write!(err, "\r\x1b[K{line}") } else { writeln!(err, "{line}") };
        let _ = err.flush();
        Ok(())
    }

    /// What is said next stands on a line of its own.
    fn end_line(&self) {
        if self.is_terminal && self.told.is_some() {
            let _ = write!(std::io::stderr().lock(), "\r\x1b[K");
        }
    }

    fn finish(&self, schema: &str) {
        self.end_line();
        say::note(format_args!("{schema} has caught up after {:.1} s", self.began.elapsed().as_secs_f64()));
    }
}

fn document(compared: &Comparison) -> Value {
    let views: Vec<Value> = compared
        .views
        .iter()
        .map(|v| {
            let digest = |d: &projection::digest::ViewDigest| json!({"rows": d.count, "sum": format!("{:032x}", d.sum)});
            json!({
                "view": v.live.view, "live": digest(&v.live), "other": digest(&v.other), "is_identical": v.live == v.other,
                "added": v.counts.added, "removed": v.counts.removed, "changed": v.counts.changed,
                "columns_removed": v.only.0, "columns_added": v.only.1,
            })
        })
        .collect();
    let differences: Vec<Value> =
        compared.differences.iter().map(|d| difference_document("view", d, &compared.events)).collect();
    json!({
        "model": compared.live.model, "live": compared.live.number, "other": compared.other.number,
        "position": compared.position.token(), "is_identical": compared.is_identical(),
        "views": views, "differences": differences,
    })
}

/// A row that differs, of a view or a table.
pub(super) fn difference_document(of: &str, d: &Difference, events: &BTreeMap<Uuid, Named>) -> Value {
    let events: Vec<Value> = d
        .events
        .iter()
        .map(|id| match events.get(id) {
            Some(e) => json!({
                "event_id": id, "source": e.source, "id": e.id, "type": e.kind, "occurred_at": e.occurred_at,
                "partition": e.partition, "log_offset": e.log_offset,
            }),
            None => json!({"event_id": id}),
        })
        .collect();
    json!({of: d.view, "key": d.key, "live": d.live, "other": d.other, "events": events})
}

fn show_views(compared: &Comparison) {
    let live = format!("{} (live)", compared.live.schema);
    let mut rows = vec![vec!["view".to_owned(), live, compared.other.schema.clone(), String::new()]];
    for v in &compared.views {
        let is_same = if v.live == v.other { "identical" } else { "DIFFERENT" };
        rows.push(vec![v.live.view.clone(), v.live.count.to_string(), v.other.count.to_string(), is_same.to_owned()]);
    }
    say::table(&rows);
}

fn show_end(compared: &Comparison) {
    for v in &compared.views {
        for (columns, what) in [(&v.only.0, "only in the live one"), (&v.only.1, "new")] {
            if !columns.is_empty() {
                say::line(format_args!("{}: columns {what}: {}", v.live.view, columns.join(", ")));
            }
        }
    }
    for v in compared.views.iter().filter(|v| v.live != v.other) {
        let Counts { added, removed, changed } = v.counts;
        say::line(format_args!("\n{}: {added} added, {removed} removed, {changed} changed", v.live.view));
        let shown: Vec<_> = compared.differences.iter().filter(|d| d.view == v.live.view).collect();
        for difference in &shown {
            show_difference(&compared.events, difference);
        }
        let left = added + removed + changed - i64::try_from(shown.len()).unwrap_or(i64::MAX);
        if left > 0 {
            say::line(format_args!("  and {left} more"));
        }
    }
    let token = compared.position.token();
    if compared.is_identical() {
        say::line(format_args!("identical at position {token}"));
    } else {
        say::line(format_args!("\nDIFFERENT at position {token}"));
    }
}

pub(super) fn show_difference(events: &BTreeMap<Uuid, Named>, difference: &Difference) {
    let pairs =
        |row: &Map<String, Value>| row.iter().map(|(c, v)| format!("{c}={}", shown(v))).collect::<Vec<_>>().join(" ");
    let rest = |row: &Map<String, Value>| {
        pairs(&row.clone().into_iter().filter(|(c, _)| !difference.key.contains_key(c)).collect())
    };
    let key = pairs(&difference.key);
    match (&difference.live, &difference.other) {
        (Some(live), Some(other)) => {
            let change =
                |(c, v): (&String, &Value)| format!("{c} {}", changed(v, other.get(c).unwrap_or(&Value::Null)));
            say::line(format_args!("  ~ {key}: {}", live.iter().map(change).collect::<Vec<_>>().join(", ")));
        }
        (None, Some(other)) => say::line(format_args!("  + {key}: {}", rest(other))),
        (Some(live), None) => say::line(format_args!("  - {key}: {}", rest(live))),
        (None, None) => {}
    }
    for id in &difference.events {
        match events.get(id) {
            Some(e) => say::line(format_args!(
                "      by {} {} of {} at {} (partition {}, offset {})",
                e.kind, e.id, e.source, e.occurred_at, e.partition, e.log_offset
            )),
            None => say::line(format_args!("      by event {id}")),
        }
    }
}

/// From one value to another; of lists what left and what came.
fn changed(from: &Value, to: &Value) -> String {
    let (Value::Array(before), Value::Array(after)) = (from, to) else {
        return format!("{} -> {}", shown(from), shown(to));
    };
    let only = |sign: char, some: &[Value], others: &[Value]| -> Vec<String> {
        some.iter().filter(|v| !others.contains(v)).map(|v| format!("{sign}{}", shown(v))).collect()
    };
    let parts = [only('-', before, after), only('+', after, before)].concat();
    if parts.is_empty() { "in another order".to_owned() } else { parts.join(" ") }
}

/// A value on one line.
fn shown(value: &Value) -> String {
    const CHARACTERS_MAX: usize = 60;
    let text = match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    if text.chars().count() > CHARACTERS_MAX {
        return text.chars().take(CHARACTERS_MAX).chain(['…']).collect();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_is_shown_by_what_is_different() {
        for (from, to, wanted) in [
            (json!(1), json!(null), "1 -> null"),
            (json!("a"), json!("b"), "a -> b"),
            (json!(["a", "b"]), json!(["b", "c"]), "-a +c"),
            (json!(["a", "b"]), json!(["b", "a"]), "in another order"),
            (json!("x".repeat(61)), json!(2), &format!("{}… -> 2", "x".repeat(60))),
        ] {
            assert_eq!(changed(&from, &to), wanted);
        }
    }

    #[test]
    fn a_build_that_nobody_takes_up_is_given_up() {
        let mut building = Building::new(10);
        assert_eq!(building.at("toy_g2", 0, false, None), Ok(()));
        assert!(!building.is_missed, "a projector may be about to look");
        building.attended = Instant::now().checked_sub(UNATTENDED_TOLD).expect("a past");
        assert_eq!(building.at("toy_g2", 0, false, None), Ok(()));
        assert!(building.is_missed, "what to start is said");
        building.attended = Instant::now().checked_sub(UNATTENDED_PATIENCE + Duration::from_secs(1)).expect("a past");
        assert!(building.at("toy_g2", 0, false, None).is_err_and(|e| e.contains("nobody builds toy_g2")));
        assert_eq!(building.at("toy_g2", 5, true, None), Ok(()));
    }
}
