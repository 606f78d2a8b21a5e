//! A batch, step by step.

use domain::Interaction;
use projection::failpoint::{Step, reach};
use projection::{ApplyError, Batch, BatchTx, Event, Mode};
use sqlx::PgConnection;

use crate::copies::{self, Listing, Sorted};
use crate::effects::Effects;
use crate::graph::{self, Dirty};
use crate::model::Customer360;
use crate::timeline::{self, Entry};
use crate::{registers, undo};

/// A plan made while a table was small must not be kept until it is large; every statement here has a key to go by.
const PLANS: &str = "SELECT set_config('enable_seqscan', 'off', true), set_config('enable_hashjoin', 'off', true), \
     set_config('enable_mergejoin', 'off', true), set_config('jit', 'off', true)";

/// Folds a batch.
pub(crate) async fn apply(
    model: &Customer360,
    cx: &mut BatchTx<'_>,
    batch: &Batch,
    mode: Mode,
) -> Result<(), ApplyError> {
    let voids = batch.events.iter().any(|e| e.interaction.voids().is_some());
    if voids && mode != Mode::Exclusive {
        return Err(ApplyError::NeedsExclusive);
    }
    let identity_lock = cx.lock_key() + 1;
    let connection: &mut PgConnection = cx;
    sqlx::query(PLANS).execute(&mut *connection).await?;
    let sorted = match mode {
        Mode::Optimistic => copies::all_fresh(batch),
        Mode::Careful | Mode::Exclusive => copies::sort(connection, batch).await?,
    };
    if !sorted.lesser.is_empty() && mode != Mode::Exclusive {
        return Err(ApplyError::NeedsExclusive);
    }
    if voids || !sorted.lesser.is_empty() {
        return undo::apply(model, connection, identity_lock, sorted).await;
    }
    append(model, connection, identity_lock, sorted, mode).await?;
    Ok(())
}

/// Events that were not known, none of them a void.
async fn append(
    model: &Customer360,
    connection: &mut PgConnection,
    identity_lock: i64,
    sorted: Sorted<'_>,
    mode: Mode,
) -> Result<(), sqlx::Error> {
    let entries = entries(model, connection, &sorted.fresh).await?;
    timeline::write(connection, &entries).await?;
    reach(Step::AfterFacts);
    copies::note_arrivals(connection, &sorted.arrivals).await?;
    let listed = sorted.listed.iter().map(|copy| &copy.interaction);
    timeline::note_taken_back(connection, model, listed.chain(timeline::voided(&entries))).await?;
    let mut listing = Listing::default();
    sorted.listed.iter().for_each(|copy| listing.event(copy));
    listing.write(connection).await?;
    let effects: Vec<&Effects<'_>> = entries.iter().filter(|e| !e.voided).map(|e| &e.effects).collect();
    registers::write(connection, &effects, mode).await?;
    reach(Step::AfterEntities);
    graph::write(model, connection, identity_lock, &effects, Dirty::default()).await
}

/// The timeline's rows of these events, and what they say, by event id: two workers that write the same events wait for
/// each other in turn. Voids of the batch are in their table already.
pub(crate) async fn entries<'b>(
    model: &Customer360,
    connection: &mut PgConnection,
    events: &[&'b Event],
) -> Result<Vec<Entry<'b>>, sqlx::Error> {
    let voided = timeline::voided_among(connection, events).await?;
    let effects = |interaction: &'b Interaction| Effects::of(interaction, &model.namespace);
    let entry = |event: &&'b Event| Entry {
        event,
        effects: effects(&event.interaction),
        voided: voided.contains(&event.interaction.event_id),
    };
    let mut entries: Vec<Entry<'b>> = events.iter().map(entry).collect();
    entries.sort_unstable_by_key(|e| e.event.interaction.event_id);
    Ok(entries)
}
