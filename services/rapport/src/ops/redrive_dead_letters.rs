//! `rapport dead-letters redrive`.

use std::collections::BTreeMap;
use std::time::Duration;

use clap::ValueEnum;
use event_log::Log;
use projection::database::{Class, classify};
use projection::redrive::{Fate, Place, Redrive, RedriveError};
use projection::{Generation, GenerationError, ReadModel, generation};
use projector_customer360::Customer360;
use rapport_proto::catalogue;
use serde_json::{Value, json};
use service_kit::Config;
use sqlx::PgConnection;

use super::dead_letters::{missing, parse};
use super::{connect, is_undefined, open_log};
use crate::cli::{DeadLettersRedriveArgs, Model};
use crate::failure::{Exit, Failure, OrExit, Outcome};
use crate::{say, services};

/// How long PostgreSQL may work on one statement: a redrive waits until nobody else works on all of a generation.
const STATEMENT_TIMEOUT: Duration = Duration::from_secs(30 * 60);

/// Where the letters of one generation stand, and what their types are.
type Places = BTreeMap<Place, Option<String>>;
/// The letters of each generation, by model and number.
type Letters = BTreeMap<(String, i32), Places>;

/// Folds dead letters again.
pub(super) async fn redrive(config: &Config, args: &DeadLettersRedriveArgs) -> Outcome {
    let wanted = args.ids.iter().map(|id| Ok((id, parse(id)?))).collect::<Outcome<Vec<_>>>()?;
    let log = open_log(config).await?;
    let mut database = connect(config, STATEMENT_TIMEOUT).await?;
    let mut letters = kept(&mut database).await?;
    if !wanted.is_empty() {
        letters = named(&letters, &wanted)?;
    }
    letters.retain(|(model, _), _| args.model.is_none_or(|wanted| wanted.name() == model));
    for places in letters.values_mut() {
        places.retain(|_, kind| is_of(kind.as_deref(), args.kind.as_deref()));
    }
    let mut report = Report::new(args);
    let redriven = redrive_all(config, &log, &mut database, letters, &mut report).await;
    // What was done before it broke off is told all the same.
    if redriven.is_ok() || !report.is_empty() {
        report.finish();
    }
    redriven?;
    if report.failed + report.skipped > 0 { Err(Failure::told(Exit::Difference)) } else { Ok(()) }
}

async fn redrive_all(
    config: &Config,
    log: &Log,
    database: &mut PgConnection,
    letters: Letters,
    report: &mut Report,
) -> Outcome {
    for ((name, number), places) in letters.into_iter().filter(|(_, places)| !places.is_empty()) {
        let Some(model) = Model::value_variants().iter().find(|model| model.name() == name) else {
            let sentence = format_args!("this version has no read model {name}, to which dead letters belong");
            return Err(Failure::new(Exit::Configuration, sentence));
        };
        let customer360 = Customer360::new(*log.namespace()).with_limits(services::hub_limits(config)?);
        let work = Work { log, database, number, places, report };
        services::with_model(*model, customer360, work).await?;
    }
    Ok(())
}

/// All that are kept.
async fn kept(database: &mut PgConnection) -> Outcome<Letters> {
    let query = sqlx::query_as(include_str!("../../sql/dead_letters_places.sql"));
    let rows: Vec<(String, i32, i32, i64, Option<String>)> = match query.fetch_all(database).await {
        Ok(rows) => rows,
        Err(error) if is_undefined(&error) => Vec::new(),
        Err(error) => return Err(error).or_exit(Exit::Unavailable),
    };
    let mut letters = Letters::new();
    for (model, number, partition, offset, kind) in rows {
        letters.entry((model, number)).or_default().insert(Place { partition, offset }, kind);
    }
    Ok(letters)
}

/// Model, generation, partition, offset: what a dead letter's id says.
type Parsed<'a> = (&'a str, i32, i32, i64);

/// Those with these ids.
fn named(letters: &Letters, wanted: &[(&String, Parsed<'_>)]) -> Outcome<Letters> {
    let mut named = Letters::new();
    for (id, (model, number, partition, offset)) in wanted {
        let (generation, place) = (((*model).to_owned(), *number), Place { partition: *partition, offset: *offset });
        let kind = letters.get(&generation).and_then(|places| places.get(&place)).ok_or_else(|| missing(id))?;
        named.entry(generation).or_default().insert(place, kind.clone());
    }
    Ok(named)
}

/// Whether a letter's type is the wanted one.
fn is_of(kind: Option<&str>, wanted: Option<&str>) -> bool {
    fn bare(kind: &str) -> &str {
        kind.strip_prefix(catalogue::PREFIX).unwrap_or(kind)
    }
    wanted.is_none_or(|wanted| kind.is_some_and(|kind| bare(kind) == bare(wanted)))
}

/// The letters of one generation.
struct Work<'a> {
    log: &'a Log,
    database: &'a mut PgConnection,
    number: i32,
    places: Places,
    report: &'a mut Report,
}

impl services::WithModel for Work<'_> {
    type Output = Outcome;

    async fn run<M: ReadModel>(self, model: M) -> Outcome {
        let Self { log, database, number, places, report } = self;
        let listed = generation::list(database, model.name()).await.or_exit(Exit::Unavailable)?;
        let found = listed.into_iter().map(|listed| listed.generation).find(|generation| generation.number == number);
        let prefix = format!("{}/{number}", model.name());
        let Some(generation) = found else {
            places.iter().for_each(|(place, kind)| report.tell(&prefix, *place, kind.as_deref(), Fate::Gone));
            return Ok(());
        };
        let asked: Vec<Place> = places.keys().copied().collect();
        let redrive = Redrive { model: &model, log, generation: &generation, is_trial: report.is_trial };
        let told = |place: Place, fate: Fate| {
            let kind = places.get(&place).and_then(Option::as_deref);
            report.tell(&prefix, place, kind, fate);
        };
        match redrive.run(database, &asked, told).await {
            Ok(()) => Ok(()),
            Err(RedriveError::Generation(error @ GenerationError::DefinitionChanged { .. })) => {
                report.skip(&generation, &places, &error);
                Ok(())
            }
            Err(error) => Err(Failure::of(exit(&error), error)),
        }
    }
}

fn exit(error: &RedriveError) -> Exit {
    match error {
        RedriveError::Generation(_) => Exit::Configuration,
        RedriveError::Broken { .. } => Exit::Difference,
        RedriveError::Database(error) => match classify(error) {
            Class::Conflict | Class::Resources => Exit::TryAgain,
            _ => Exit::Unavailable,
        },
    }
}

/// What became of the letters: told as it is known, or in one document at the end.
struct Report {
    as_json: bool,
    is_trial: bool,
    folded: u64,
    failed: u64,
    gone: u64,
    /// Of generations that another version has built.
    skipped: u64,
    documents: Vec<Value>,
}

impl Report {
    fn new(args: &DeadLettersRedriveArgs) -> Self {
        let (as_json, is_trial) = (args.output.json, args.dry_run);
        Self { as_json, is_trial, folded: 0, failed: 0, gone: 0, skipped: 0, documents: Vec::new() }
    }

    fn tell(&mut self, prefix: &str, place: Place, kind: Option<&str>, fate: Fate) {
        let id = format!("{prefix}/{}-{}", place.partition, place.offset);
        let (count, result, error) = match fate {
            Fate::Folded => (&mut self.folded, "folded", None),
            Fate::Failed(error) => (&mut self.failed, "failed", Some(error)),
            Fate::Gone => (&mut self.gone, "gone", None),
        };
        *count += 1;
        self.note(&id, kind, result, error.as_deref());
    }

    /// Letters of a generation that this version cannot fold.
    fn skip(&mut self, generation: &Generation, places: &Places, error: &GenerationError) {
        let count = places.len() as u64;
        self.skipped += count;
        let error = error.to_string();
        if !self.as_json {
            say::line(format_args!("{count} of {} are left as they are: {error}", generation.schema));
            return;
        }
        for (place, kind) in places {
            let id = format!("{}/{}/{}-{}", generation.model, generation.number, place.partition, place.offset);
            self.note(&id, kind.as_deref(), "skipped", Some(&error));
        }
    }

    fn note(&mut self, id: &str, kind: Option<&str>, result: &str, error: Option<&str>) {
        if self.as_json {
            self.documents.push(json!({"id": id, "type": kind, "result": result, "error": error}));
        } else if let Some(error) = error {
            let fails = if self.is_trial { "would fail again" } else { "failed again" };
            say::line(format_args!("{id} ({}) {fails}: {error}", kind.unwrap_or("?")));
        }
    }

    fn is_empty(&self) -> bool {
        self.folded + self.failed + self.gone + self.skipped == 0
    }

    fn finish(&self) {
        let Self { folded, failed, gone, skipped, .. } = self;
        if self.as_json {
            say::json(&json!({
                "dry_run": self.is_trial, "folded": folded, "failed": failed, "gone": gone, "skipped": skipped,
                "dead_letters": self.documents,
            }));
            return;
        }
        if self.is_empty() {
            say::line(format_args!("no dead letter"));
            return;
        }
        let (done, fails) =
            if self.is_trial { ("can be folded now", "would fail again") } else { ("folded", "failed again") };
        let left = if *skipped > 0 { format!(", {skipped} left to another version") } else { String::new() };
        let gone = if *gone > 0 { format!(", {gone} gone meanwhile") } else { String::new() };
        let trial = if self.is_trial { " (dry run: nothing was changed)" } else { "" };
        say::line(format_args!("{folded} {done}, {failed} {fails}{left}{gone}{trial}"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn letters() -> Letters {
        let kinds = [(0, Some("io.rapport.order.placed".to_owned())), (1, None)];
        let places = kinds.map(|(offset, kind)| (Place { partition: 0, offset }, kind)).into();
        Letters::from([(("sales".to_owned(), 1), places)])
    }

    #[test]
    fn ids_name_letters_or_nothing() {
        let all = letters();
        let ids = ["sales/1/0-1", "sales/1/0-0", "sales/1/0-1"].map(str::to_owned);
        let wanted: Vec<_> = ids.iter().map(|id| (id, parse(id).unwrap())).collect();
        assert_eq!(named(&all, &wanted).unwrap(), all);
        for id in ["sales/2/0-1", "service/1/0-1", "sales/1/1-1", "sales/1/0-2"].map(str::to_owned) {
            let failure = named(&all, &[(&id, parse(&id).unwrap())]).unwrap_err();
            assert_eq!(failure.exit(), Exit::BadInput, "{id}");
        }
    }

    #[test]
    fn types_are_known_with_and_without_their_prefix() {
        let kind = Some("io.rapport.order.placed");
        for wanted in [None, Some("order.placed"), Some("io.rapport.order.placed")] {
            assert!(is_of(kind, wanted), "{wanted:?}");
        }
        assert!(!is_of(kind, Some("order")) && !is_of(None, Some("order.placed")) && is_of(None, None));
    }
}
