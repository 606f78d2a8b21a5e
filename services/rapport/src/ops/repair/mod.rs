//! `rapport repair`: what stands in the tables about one entity or one customer, held against the log and put right.

mod search;

use std::time::Duration;

use domain::identifier::{Normalized, Normalizer};
use domain::{Entity, Position};
use event_log::Log;
use projection::compare::Counts;
use projection::database::{Class, classify};
use projection::repair::{Held, Looked, Names, Repair, RepairError, Repairable, Source as _, entity};
use projector_customer360::Customer360;
use projector_sales::Sales;
use projector_service::Service;
use serde_json::{Value, json};
use service_kit::Config;
use sqlx::PgConnection;
use uuid::Uuid;

use super::generations::{asked_yes, difference_document, show_difference};
use super::open_log;
use crate::cli::RepairArgs;
use crate::failure::{Exit, Failure, OrExit, Outcome};
use crate::{say, services};
use search::Search;

/// How long PostgreSQL may work on one statement: a repair waits until nobody else works on all of a generation.
const STATEMENT_TIMEOUT: Duration = Duration::from_secs(30 * 60);
/// A model is looked at this often while others come up with more names.
const LOOKS_MAX: u32 = 16;
/// The tables are asked for more names in so many rounds at most before the log is read for those.
const ROUNDS_MAX: u32 = 4;
/// A transaction that loses to somebody else's locks is tried this often.
const TRIES_MAX: u32 = 5;
/// The pause between two tries.
const RETRY_PAUSE: Duration = Duration::from_millis(200);

/// `rapport repair`.
pub(crate) async fn repair(config: &Config, args: &RepairArgs) -> Outcome {
    let names = names_of(config, &args.reference)?;
    let log = open_log(config).await?;
    let mut database = super::connect(config, STATEMENT_TIMEOUT).await?;
    projection::database::notice_a_closed_socket(&mut database).await.or_exit(Exit::Unavailable)?;
    let customer360 = Customer360::new(*log.namespace()).with_limits(services::hub_limits(config)?);
    let asked = names.clone();
    let search = Search::new(&log, &customer360, names).await?;
    let mut work = Work { log: &log, customer360: &customer360, database: &mut database, search };
    work.gather().await?;
    let hub = asked.identifiers.iter().find(|identifier| work.search.is_hub(identifier));
    if let Some(hub) = hub {
        let sentence = format_args!("{hub} is shared by so many that it is nobody: name a customer, or one entity");
        return Err(Failure::new(Exit::BadInput, sentence));
    }
    let found = work.all(true).await?;
    let is_identical = found.iter().all(|held| held.differences.is_empty());
    if is_identical && work.search.is_empty() {
        let sentence = format_args!("neither the log nor a table knows anything of {}", args.reference);
        return Err(Failure::new(Exit::BadInput, sentence));
    }
    let is_json = args.output.json;
    if !is_json {
        work.show(&found);
    }
    let wanted = !is_identical && (args.yes || (!is_json && asked_yes("put this right?")));
    if !wanted {
        if is_json {
            say::json(&work.document(args, &found, false));
        } else if is_identical {
            say::line(format_args!("nothing to repair: every row of {} is as the log has it", args.reference));
        } else {
            say::line(format_args!("nothing was changed; `rapport repair {} --yes` puts it right", args.reference));
        }
        return if is_identical { Ok(()) } else { Err(Failure::told(Exit::Difference)) };
    }
    let repaired = work.all(false).await?;
    let left: usize = work.all(true).await?.iter().map(|held| held.differences.len()).sum();
    if is_json {
        say::json(&work.document(args, &repaired, true));
    } else if left == 0 {
        let rows: usize = repaired.iter().map(|held| held.differences.len()).sum();
        say::line(format_args!(
            "repaired: {rows} rows put right, and now every row of {} is as the log has it",
            args.reference
        ));
    }
    if left > 0 {
        let sentence = format_args!("{left} rows differ again; `rapport replay MODEL` folds all of a model anew");
        return Err(Failure::new(Exit::Difference, sentence));
    }
    Ok(())
}

/// What is asked for: `order:77`, `email:ann@example.com`, a customer's or a subject's id.
fn names_of(config: &Config, reference: &str) -> Outcome<Names> {
    let mut names = Names::default();
    if let Ok(subject) = reference.parse::<Uuid>() {
        names.subjects.insert(subject);
        return Ok(names);
    }
    if let Some(entity) = entity_of(reference) {
        names.entities.insert(entity);
        return Ok(names);
    }
    let normalizer =
        Normalizer::new(config.text("default_region"), config.list("placeholders")).or_exit(Exit::Configuration)?;
    match normalizer.normalize(reference) {
        Normalized::Identifier(identifier) if identifier.kind().links() => {
            names.identifiers.insert(identifier.to_string());
            Ok(names)
        }
        Normalized::Identifier(group) => Err(Failure::new(
            Exit::BadInput,
            format_args!("{group} is no customer: name one of its people, or one entity"),
        )),
        Normalized::Kept(why) => Err(Failure::new(
            Exit::BadInput,
            format_args!(
                "{reference:?} names neither an entity (order:77) nor a customer (an id, or email:ann@example.com): {why}"
            ),
        )),
        Normalized::Dropped => {
            Err(Failure::new(Exit::BadInput, format_args!("{reference:?} is a placeholder and names nobody")))
        }
    }
}

fn entity_of(reference: &str) -> Option<Entity> {
    let (kind, key) = reference.split_once(':')?;
    entity(kind, key.to_owned()).filter(|entity| !entity.key.is_empty())
}

struct Work<'a> {
    log: &'a Log,
    customer360: &'a Customer360,
    database: &'a mut PgConnection,
    search: Search<'a>,
}

impl Work<'_> {
    /// Goes from names to names, through the log and the tables, until none is added.
    async fn gather(&mut self) -> Outcome {
        loop {
            self.ask_tables().await?;
            if self.search.is_done() {
                return Ok(());
            }
            self.search.read().await?;
        }
    }

    async fn ask_tables(&mut self) -> Outcome {
        let customer360 = self.customer360;
        // They may grow for as long as anybody publishes: what they hold in the end is asked in the transaction itself.
        for _ in 0..ROUNDS_MAX {
            let before = self.search.names().clone();
            self.stored(&Sales).await?;
            self.stored(&Service).await?;
            self.stored(customer360).await?;
            if before.covers(self.search.names()) {
                break;
            }
        }
        Ok(())
    }

    async fn stored<M: Repairable>(&mut self, model: &M) -> Outcome {
        let repair = Repair { model, log: self.log, is_trial: true };
        let stored = repair.stored::<Failure>(self.database, self.search.names()).await.map_err(failure)?;
        self.search.takes(stored);
        Ok(())
    }

    async fn all(&mut self, is_trial: bool) -> Outcome<Vec<Held>> {
        let customer360 = self.customer360;
        Ok(vec![
            self.one(&Sales, is_trial).await?,
            self.one(&Service, is_trial).await?,
            self.one(customer360, is_trial).await?,
        ])
    }

    async fn one<M: Repairable>(&mut self, model: &M, is_trial: bool) -> Outcome<Held> {
        let (mut looks, mut tries) = (0, 0);
        loop {
            let repair = Repair { model, log: self.log, is_trial };
            match repair.run(self.database, &mut self.search).await {
                Ok(Looked::Held(held)) => return Ok(held),
                Ok(Looked::More) if looks < LOOKS_MAX => {
                    looks += 1;
                    self.gather().await?;
                }
                Ok(Looked::More) => {
                    let sentence = "new events lead to others again and again; try again when less is going on";
                    return Err(Failure::new(Exit::TryAgain, sentence));
                }
                Err(RepairError::Database(error)) if classify(&error) == Class::Conflict && tries < TRIES_MAX => {
                    tries += 1;
                    tokio::time::sleep(RETRY_PAUSE).await;
                }
                Err(error) => return Err(failure(error)),
            }
        }
    }

    fn show(&self, found: &[Held]) {
        let events = self.search.events();
        for held in found {
            for (table, Counts { added, removed, changed }) in
                held.tables.iter().filter(|(_, c)| *c != Counts::default())
            {
                let name = &held.generation.model;
                say::line(format_args!("\n{name} {table}: {added} added, {removed} removed, {changed} changed"));
                for difference in held.differences.iter().filter(|d| d.view == *table) {
                    show_difference(&events, difference);
                }
            }
        }
    }

    fn document(&self, args: &RepairArgs, found: &[Held], is_repaired: bool) -> Value {
        let events = self.search.events();
        let models: Vec<Value> = found
            .iter()
            .map(|held| {
                let tables: Vec<Value> = held
                    .tables
                    .iter()
                    .map(|(table, c)| json!({"table": table, "added": c.added, "removed": c.removed, "changed": c.changed}))
                    .collect();
                let differences: Vec<Value> =
                    held.differences.iter().map(|d| difference_document("table", d, &events)).collect();
                json!({
                    "model": held.generation.model, "live": held.generation.number,
                    "position": Position::new(self.log.log_id(), held.next.clone()).token(),
                    "is_identical": held.differences.is_empty(), "tables": tables, "differences": differences,
                })
            })
            .collect();
        let is_identical = found.iter().all(|held| held.differences.is_empty());
        json!({"reference": args.reference, "is_identical": is_identical, "is_repaired": is_repaired, "models": models})
    }
}

fn failure(error: RepairError<Failure>) -> Failure {
    let exit = match &error {
        RepairError::Generation(_) => Exit::Configuration,
        RepairError::NotLive(_) => Exit::Unavailable,
        RepairError::Swapped(_) => Exit::TryAgain,
        RepairError::Fold(_) | RepairError::Unsound { .. } => Exit::Difference,
        RepairError::Database(error) => match classify(error) {
            Class::Conflict | Class::Resources => Exit::TryAgain,
            _ => Exit::Unavailable,
        },
        RepairError::Source(_) => Exit::Unavailable,
    };
    match error {
        RepairError::Source(failure) => failure,
        RepairError::Generation(error) => Failure::of(exit, error),
        error => Failure::new(exit, chain(&error)),
    }
}

/// The error and what caused it, on one line.
fn chain(error: &RepairError<Failure>) -> String {
    match error {
        RepairError::Database(cause) => format!("{error}: {cause}"),
        error => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entity_has_a_kind_of_the_catalogue_and_a_key() {
        let entity = |kind, key: &str| Some(Entity { kind, key: key.to_owned() });
        assert_eq!(entity_of("order:77"), entity("order", "77"));
        assert_eq!(entity_of("cart:a:b"), entity("cart", "a:b"));
        assert_eq!(entity_of("session:s1"), entity("session", "s1"));
        for none in ["order:", "order", "email:ann@example.com", ""] {
            assert_eq!(entity_of(none), None, "{none:?}");
        }
    }
}
