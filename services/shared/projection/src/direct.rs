//! Folding events without a log: for property tests, oracles and benchmarks. The same transactions as a projector's,
//! with the same modes, retries and dead letters, but no leases and no checkpoints.

use std::time::Duration;

use bytes::Bytes;
use domain::{Interaction, Namespace};
use event_log::Record;
use sqlx::PgConnection;
use uuid::Uuid;

use crate::digest::{self, ModelDigest};
use crate::fold::Folder;
use crate::generation::{self, Generation};
use crate::load::{self, Gather, Tenure};
use crate::model::{ApplyError, BatchTx, Event, Mode, ReadModel};
use crate::unit::{Decoded, Unit};
use crate::{backbone, database};

/// How long readers of tables that are dropped are waited for.
const DROP_PATIENCE: Duration = Duration::from_secs(60);

/// Why direct folding failed.
#[derive(Debug, thiserror::Error)]
pub enum DirectError {
    /// The tables could not be created.
    #[error(transparent)]
    Generation(#[from] generation::GenerationError),
    /// The `backbone` schema could not be created.
    #[error(transparent)]
    Backbone(#[from] backbone::BackboneError),
    /// PostgreSQL refused a statement.
    #[error(transparent)]
    Database(#[from] sqlx::Error),
    /// A batch could not be folded at all.
    #[error("{0}")]
    Fold(String),
}

/// A model's live generation in a database of its own.
pub struct Direct<M> {
    /// Its connection, for looking at the tables between batches.
    pub connection: PgConnection,
    model: M,
    generation: Generation,
    folder: Folder,
    namespace: Namespace,
}

impl<M: ReadModel> Direct<M> {
    /// Creates the backbone and the model's tables where they are missing.
    ///
    /// # Errors
    /// PostgreSQL cannot be reached or refuses a statement.
    pub async fn open(database_url: &str, model: M, namespace: Namespace) -> Result<Self, DirectError> {
        let mut connection = database::connect(database_url, "direct").await?;
        backbone::migrate(&mut connection).await?;
        let generation = generation::ensure(&mut connection, &model, Uuid::nil(), 1).await?;
        generation::index_empty(&mut connection, &model, &generation).await?;
        let folder = Folder::new(&model, generation.clone(), namespace);
        Ok(Self { connection, model, generation, folder, namespace })
    }

    /// Drops the model's tables and creates them anew.
    ///
    /// # Errors
    /// PostgreSQL refuses a statement.
    pub async fn reset(&mut self) -> Result<(), DirectError> {
        self.recreate().await?;
        generation::index_empty(&mut self.connection, &self.model, &self.generation).await?;
        Ok(())
    }

    async fn recreate(&mut self) -> Result<(), DirectError> {
        generation::drop(&mut self.connection, &self.generation, DROP_PATIENCE).await?;
        self.generation = generation::ensure(&mut self.connection, &self.model, Uuid::nil(), 1).await?;
        self.folder = Folder::new(&self.model, self.generation.clone(), self.namespace);
        Ok(())
    }

    /// Drops the model's tables, creates them anew and loads these events as a projector loads a log from its
    /// beginning, piece by piece. Returns how many were set aside.
    ///
    /// # Errors
    /// The model has no load of its own, the events cannot be loaded, or the connection is lost.
    pub async fn load(&mut self, pieces: Vec<Vec<Event>>) -> Result<u64, DirectError> {
        let load = self.model.load().ok_or_else(|| DirectError::Fold("the model folds batches only".into()))?;
        self.recreate().await?;
        if !load::begin(&mut self.connection, &self.generation).await? {
            return Err(DirectError::Fold("its new tables are loaded already".into()));
        }
        let mut gathered = Gather::new(load);
        for events in pieces {
            gathered.add(self.decoded(events));
            load::copy(&mut self.connection, gathered.take_rows()).await?;
        }
        load::finish(
            &mut self.connection,
            &self.model,
            &self.generation,
            &self.namespace,
            gathered,
            None,
            Tenure::Whole,
        )
        .await
        .map(|loaded| loaded.aside)
        .map_err(|error| DirectError::Fold(format!("{error}: {:?}", std::error::Error::source(&error))))
    }

    /// The generation folded into.
    pub fn generation(&self) -> &Generation {
        &self.generation
    }

    /// The model.
    pub fn model(&self) -> &M {
        &self.model
    }

    /// Folds events as one batch, as a projector would: decoded anew as far as the model needs them, copies reduced,
    /// modes chosen, what cannot be folded set aside.
    /// Returns how many were set aside.
    ///
    /// # Errors
    /// The batch cannot be folded, or the connection is lost.
    pub async fn fold(&mut self, events: Vec<Event>) -> Result<u64, DirectError> {
        let unit = self.unit(events);
        let folded = self
            .folder
            .fold(&mut self.connection, &self.model, unit, None)
            .await
            .map_err(|error| DirectError::Fold(format!("{error}: {:?}", std::error::Error::source(&error))))?;
        Ok(folded.aside)
    }

    /// The records that these events were decoded from, decoded as a projector of this model decodes them.
    fn unit(&self, events: Vec<Event>) -> Unit {
        Unit::new(self.decoded(events))
    }

    fn decoded(&self, events: Vec<Event>) -> Vec<Decoded> {
        let decoded = |e: Event| {
            let record = Record::bare(e.partition, e.offset, e.interaction.received_at, e.value);
            Decoded::new(record, &self.namespace, |brief| self.model.needs(brief))
        };
        events.into_iter().map(decoded).collect()
    }

    /// One attempt in exactly this mode, rolled back where the model refuses it.
    ///
    /// # Errors
    /// What the model answered.
    pub async fn apply(&mut self, events: Vec<Event>, mode: Mode) -> Result<(), ApplyError> {
        let unit = self.unit(events);
        let (g, shared) = (&self.generation, if mode == Mode::Exclusive { "" } else { "_shared" });
        let begin = format!(
            "BEGIN; SET LOCAL search_path = {}; SELECT pg_advisory_xact_lock{shared}({})",
            g.schema, g.lock_key
        );
        sqlx::raw_sql(&begin).execute(&mut self.connection).await?;
        let mut cx = BatchTx::new(&mut self.connection, g.lock_key);
        let applied = self.model.apply(&mut cx, &unit.batch, mode).await;
        let end = if applied.is_ok() { "COMMIT" } else { "ROLLBACK" };
        sqlx::raw_sql(end).execute(&mut self.connection).await?;
        applied
    }

    /// The digest of the model's views.
    ///
    /// # Errors
    /// PostgreSQL refuses a statement.
    pub async fn digest(&mut self) -> Result<ModelDigest, sqlx::Error> {
        digest::model(&mut self.connection, &self.model).await
    }
}

/// An event as if it had been read at this place of the log: `value` is the encoded interaction.
///
/// # Errors
/// The value is no interaction.
pub fn event(
    value: impl Into<Bytes>,
    received_at: i64,
    partition: i32,
    offset: i64,
    namespace: &Namespace,
) -> Result<Event, domain::interaction::DecodeError> {
    let value = value.into();
    let interaction = Interaction::decode(&value, received_at, namespace)?;
    Ok(Event { partition, offset, value, interaction })
}
