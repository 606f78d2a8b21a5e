//! How far the read models are, and whether that is far enough for a position.

use std::collections::BTreeMap;

use domain::{Position, position::Offsets};
use projection::positions::{self, Behind};
use serde_json::{Value, json};
use sqlx::PgConnection;
use uuid::Uuid;

/// The read models that a position is waited for in.
pub(crate) const MODELS: [&str; 3] = ["customer360", "sales", "service"];

/// What every live generation has reached, read in one statement.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Progress {
    /// The log that the models were built from; `None` before the first projector has started.
    pub(crate) log_id: Option<Uuid>,
    /// Live generations by model.
    pub(crate) models: BTreeMap<String, Reached>,
}

/// What one model has reached.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Reached {
    /// Its live generation.
    pub(crate) generation: i64,
    /// The schema that holds its tables.
    pub(crate) schema: String,
    /// Partition -> next offset. A partition that nobody has taken on yet is not in it.
    pub(crate) next: Offsets,
}

/// How a position compares with what is reached.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Compared {
    /// Every model is there.
    Reached,
    /// The token was given out for another log.
    OtherLog,
    /// At least one model is not there: where, and how far it is.
    Behind(Vec<Behind>),
}

/// How far each model is, as the problem's member shows it.
pub(crate) fn behind_json(behind: &[Behind]) -> Value {
    let models = MODELS.iter().map(|model| {
        let of_model: Vec<&Behind> = behind.iter().filter(|b| b.model == *model).collect();
        // The wanted offsets are the client's to choose: their sum may be more than there is room for.
        let events = of_model.iter().map(|b| b.wanted.saturating_sub(b.next.unwrap_or(0))).fold(0, i64::saturating_add);
        let partitions: Vec<_> = of_model
            .iter()
            .map(|b| json!({"partition": b.partition, "wanted_offset": b.wanted, "next_offset": b.next}))
            .collect();
        json!({"model": model, "reached": partitions.is_empty(), "behind_events": events, "partitions": partitions})
    });
    models.collect()
}

/// Log id, model, generation, schema, partition, next offset.
type Row = (Option<Uuid>, Option<String>, Option<i64>, Option<String>, Option<i32>, Option<i64>);

impl Progress {
    /// Reads it, or finds nothing where no projector has ever started: there is no `backbone` schema yet. Not to be used
    /// inside a transaction, which that error would spoil.
    pub(crate) async fn read_if_any(connection: &mut PgConnection) -> Result<Self, sqlx::Error> {
        match Self::read(connection).await {
            Err(error) if is_nothing_there(&error) => Ok(Self::default()),
            read => read,
        }
    }

    /// Reads it. One statement, so that one snapshot is read even outside a transaction.
    pub(crate) async fn read(connection: &mut PgConnection) -> Result<Self, sqlx::Error> {
        let rows: Vec<Row> = sqlx::query_as(include_str!("../sql/progress.sql")).fetch_all(connection).await?;
        let mut progress = Self::default();
        for (log_id, model, generation, schema, partition, next) in rows {
            progress.log_id = progress.log_id.or(log_id);
            let (Some(model), Some(generation), Some(schema)) = (model, generation, schema) else { continue };
            let reached =
                progress.models.entry(model).or_insert_with(|| Reached { generation, schema, next: Offsets::new() });
            if let (Some(partition), Some(next)) = (partition, next) {
                reached.next.insert(partition, next);
            }
        }
        Ok(progress)
    }

    /// Compares each model with its own part of the position. A partition without a checkpoint is not reached, not
    /// even at offset 0: nobody can say what its model has seen of it.
    pub(crate) fn compare(&self, position: &Position) -> Compared {
        if self.log_id.is_some_and(|id| id != position.log_id) {
            return Compared::OtherLog;
        }
        let at = self.models.iter().map(|(name, reached)| (name.clone(), reached.next.clone())).collect();
        let behind = positions::behind(position, &MODELS, &at);
        match self.log_id {
            Some(_) if behind.is_empty() => Compared::Reached,
            _ => Compared::Behind(behind),
        }
    }

    /// The position of all models together.
    pub(crate) fn position(&self) -> Option<Position> {
        let offsets = self.models.iter().map(|(name, reached)| (name.clone(), reached.next.clone())).collect();
        self.log_id.map(|log_id| Position::of_models(log_id, offsets))
    }

    /// Its token; empty where there is no log yet.
    pub(crate) fn token(&self) -> String {
        self.position().map(|p| p.token()).unwrap_or_default()
    }

    /// Models without a live generation.
    pub(crate) fn missing(&self) -> Vec<&'static str> {
        MODELS.into_iter().filter(|model| !self.models.contains_key(*model)).collect()
    }

    /// The page's `positions`: for each model its generation, its own token and its offsets.
    pub(crate) fn to_json(&self) -> Value {
        let mut models = serde_json::Map::new();
        for (name, reached) in &self.models {
            let token = self.log_id.map(|log_id| Position::new(log_id, reached.next.clone()).token());
            models.insert(
                name.clone(),
                json!({"generation": reached.generation, "position": token, "offsets": reached.next}),
            );
        }
        Value::Object(models)
    }
}

/// No such table or schema.
pub(crate) fn is_nothing_there(error: &sqlx::Error) -> bool {
    matches!(error, sqlx::Error::Database(refusal) if matches!(refusal.code().as_deref(), Some("42P01" | "3F000")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn progress(offsets: [&[(i32, i64)]; 3]) -> Progress {
        let models = MODELS.iter().zip(offsets).map(|(model, next)| {
            (
                (*model).to_owned(),
                Reached { generation: 1, schema: String::new(), next: next.iter().copied().collect() },
            )
        });
        Progress { log_id: Some(Uuid::from_u128(1)), models: models.collect() }
    }

    fn behind(progress: &Progress, position: &Position) -> Vec<String> {
        match progress.compare(position) {
            Compared::Reached => vec!["reached".into()],
            Compared::OtherLog => vec!["other log".into()],
            Compared::Behind(places) => {
                places.iter().map(|b| format!("{} {}: {:?} < {}", b.model, b.partition, b.next, b.wanted)).collect()
            }
        }
    }

    #[test]
    fn each_model_against_its_own() {
        let wanted = Position::new(Uuid::from_u128(1), Offsets::from([(0, 5), (1, 2)]));
        let check = |offsets, expected: &[&str]| assert_eq!(behind(&progress(offsets), &wanted), expected);
        check([&[(0, 5), (1, 2)], &[(0, 9), (1, 2)], &[(0, 5), (1, 3)]], &["reached"]);
        check(
            [&[(0, 5), (1, 2)], &[(0, 4), (1, 2)], &[(0, 5), (1, 1)]],
            &["sales 0: Some(4) < 5", "service 1: Some(1) < 2"],
        );
        // A live partition without a checkpoint is not reached.
        check([&[(0, 5), (1, 2)], &[(0, 5)], &[(0, 5), (1, 2)]], &["sales 1: None < 2"]);

        let mut apart = Position::of_models(
            Uuid::from_u128(1),
            BTreeMap::from([
                ("sales".to_owned(), Offsets::from([(0, 3)])),
                ("service".to_owned(), Offsets::from([(0, 4)])),
            ]),
        );
        assert_eq!(behind(&progress([&[], &[(0, 3)], &[(0, 3)]]), &apart), ["service 0: Some(3) < 4"]);
        apart.log_id = Uuid::from_u128(2);
        assert_eq!(behind(&progress([&[], &[(0, 3)], &[(0, 4)]]), &apart), ["other log"]);
    }

    #[test]
    fn every_model_is_shown_with_how_far_it_is() {
        let place = |model: &str, partition, next, wanted| Behind { model: model.into(), partition, next, wanted };
        let shown = behind_json(&[place("sales", 0, Some(4), 9), place("sales", 1, None, 2)]);
        assert_eq!(shown[0], json!({"model": "customer360", "reached": true, "behind_events": 0, "partitions": []}));
        assert_eq!((&shown[1]["reached"], &shown[1]["behind_events"]), (&json!(false), &json!(7)));
        assert_eq!(shown[1]["partitions"][1], json!({"partition": 1, "wanted_offset": 2, "next_offset": null}));
    }

    #[test]
    fn offsets_that_no_log_has_are_counted_as_far_as_one_can_count() {
        let place = |partition| Behind { model: "sales".into(), partition, next: None, wanted: i64::MAX };
        assert_eq!(behind_json(&[place(0), place(1)])[1]["behind_events"], json!(i64::MAX));
    }

    #[test]
    fn without_a_log_nothing_is_reached() {
        let empty = Progress::default();
        assert!(matches!(empty.compare(&Position::default()), Compared::Behind(_)));
        assert_eq!(empty.missing(), MODELS);
        assert_eq!(empty.token(), "");
    }
}
