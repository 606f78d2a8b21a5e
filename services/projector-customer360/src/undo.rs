//! Voids and lesser copies: rare, and under the generation's lock held alone. What taken-back events had set is derived
//! again from the timeline; what counts now is then written like anything new.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use domain::Interaction;
use projection::{ApplyError, Event, Mode};
use sqlx::PgConnection;
use uuid::Uuid;

use crate::apply;
use crate::copies::{self, Listing, Sorted};
use crate::effects::Effects;
use crate::graph::{self, retract};
use crate::model::Customer360;
use crate::registers::{self, Fields};
use crate::timeline::{self, ReadBackError, Stored};

/// Applies a batch with voids or lesser copies.
pub(crate) async fn apply(
    model: &Customer360,
    connection: &mut PgConnection,
    identity_lock: i64,
    sorted: Sorted<'_>,
) -> Result<(), ApplyError> {
    // An old row that cannot be read back is blamed on the first event of the batch that may have asked for it.
    let lesser: HashSet<Uuid> = sorted.lesser.iter().map(|e| e.interaction.event_id).collect();
    let asks = |e: &Event| e.interaction.voids().is_some() || lesser.contains(&e.interaction.event_id);
    let blamed = sorted.events.iter().position(asks).unwrap_or_default();
    match rewrite(model, connection, identity_lock, &sorted).await {
        Ok(()) => Ok(()),
        Err(ReadBackError::Database(error)) => Err(error.into()),
        Err(error @ ReadBackError::Row { .. }) => Err(ApplyError::Refused { event: blamed, reason: error.to_string() }),
    }
}

async fn rewrite(
    model: &Customer360,
    connection: &mut PgConnection,
    identity_lock: i64,
    sorted: &Sorted<'_>,
) -> Result<(), ReadBackError> {
    let lesser: Vec<Uuid> = sorted.lesser.iter().map(|e| e.interaction.event_id).collect();
    let replaced = timeline::stored(connection, &lesser, &model.namespace).await?;
    list_copies(connection, sorted, &replaced).await?;
    remove(connection, model, &replaced).await?;
    let events: Vec<&Event> = sorted.fresh.iter().chain(&sorted.lesser).copied().collect();
    let targets = void(connection, &replaced, &events).await?;
    let entries = apply::entries(model, connection, &events).await?;
    timeline::write(connection, &entries).await?;

    let written: HashSet<Uuid> = events.iter().map(|e| e.interaction.event_id).collect();
    let turned = turn(connection, model, targets.into_iter().filter(|t| !written.contains(t)).collect()).await?;
    let (restored, voided): (Vec<Stored>, Vec<Stored>) = turned.into_iter().partition(|s| s.was_voided);
    copies::note_arrivals(connection, &sorted.arrivals).await?;
    let gone = replaced.iter().chain(&voided).map(|s| &s.interaction);
    let gone = gone.chain(sorted.listed.iter().map(|copy| &copy.interaction));
    timeline::note_taken_back(connection, model, gone.chain(timeline::voided(&entries))).await?;

    let taken_back: Vec<Effects<'_>> = replaced
        .iter()
        .filter(|s| !s.was_voided)
        .chain(&voided)
        .map(|s| Effects::of(&s.interaction, &model.namespace))
        .collect();
    derive_registers(connection, model, &taken_back).await?;
    graph::lock(connection, identity_lock).await?;
    let dirty = retract::retract(model, connection, &taken_back).await?;

    let restored: Vec<Effects<'_>> = restored.iter().map(|s| Effects::of(&s.interaction, &model.namespace)).collect();
    let live: Vec<&Effects<'_>> = entries.iter().filter(|e| !e.voided).map(|e| &e.effects).chain(&restored).collect();
    registers::write(connection, &live, Mode::Exclusive).await?;
    graph::write(model, connection, identity_lock, &live, dirty).await?;
    Ok(())
}

/// Lists the copies that no longer count, or never did; takes those off the list that count now.
async fn list_copies(
    connection: &mut PgConnection,
    sorted: &Sorted<'_>,
    replaced: &[Stored],
) -> Result<(), sqlx::Error> {
    let counting: BTreeMap<Uuid, &[u8; 32]> =
        sorted.lesser.iter().map(|e| (e.interaction.event_id, &e.interaction.hash)).collect();
    let counts = |i: &Interaction| counting.get(&i.event_id).is_some_and(|hash| **hash == i.hash);
    let mut listing = Listing::default();
    sorted.listed.iter().filter(|copy| !counts(&copy.interaction)).for_each(|copy| listing.event(copy));
    replaced.iter().filter(|old| !counts(&old.interaction)).for_each(|old| listing.stored(old));
    listing.write(connection).await?;
    sqlx::query("DELETE FROM copies c USING unnest($1::uuid[], $2::bytea[]) AS n (event_id, hash) WHERE c.event_id = n.event_id AND c.hash = n.hash")
        .bind(counting.keys().copied().collect::<Vec<_>>())
        .bind(counting.values().map(|hash| hash.as_slice()).collect::<Vec<_>>())
        .execute(connection)
        .await?;
    Ok(())
}

/// Takes replaced copies off the timelines.
async fn remove(connection: &mut PgConnection, model: &Customer360, replaced: &[Stored]) -> Result<(), sqlx::Error> {
    if replaced.is_empty() {
        return Ok(());
    }
    let (mut parties, mut stamps): (Vec<Uuid>, Vec<&[u8]>) = (Vec::new(), Vec::new());
    for old in replaced {
        for party in Effects::of(&old.interaction, &model.namespace).appearances() {
            parties.push(party);
            stamps.push(old.interaction.stamp.as_bytes());
        }
    }
    sqlx::query("DELETE FROM appearances a USING unnest($1::uuid[], $2::bytea[]) AS n (party, stamp) WHERE a.party = n.party AND a.stamp = n.stamp")
        .bind(parties)
        .bind(stamps)
        .execute(&mut *connection)
        .await?;
    sqlx::query("DELETE FROM timeline WHERE event_id = ANY($1)")
        .bind(replaced.iter().map(|old| old.interaction.event_id).collect::<Vec<_>>())
        .execute(connection)
        .await?;
    Ok(())
}

/// Writes which event takes back which. Returns every target that may stand differently now.
async fn void(
    connection: &mut PgConnection,
    replaced: &[Stored],
    events: &[&Event],
) -> Result<BTreeSet<Uuid>, sqlx::Error> {
    let mut targets: BTreeSet<Uuid> = replaced.iter().filter_map(|old| old.interaction.voids()).collect();
    sqlx::query("DELETE FROM voids WHERE void_id = ANY($1)")
        .bind(replaced.iter().map(|old| old.interaction.event_id).collect::<Vec<_>>())
        .execute(&mut *connection)
        .await?;
    let new: Vec<(Uuid, Uuid)> =
        events.iter().filter_map(|e| Some((e.interaction.event_id, e.interaction.voids()?))).collect();
    sqlx::query("INSERT INTO voids (void_id, target) SELECT * FROM unnest($1::uuid[], $2::uuid[])")
        .bind(new.iter().map(|(void, _)| *void).collect::<Vec<_>>())
        .bind(new.iter().map(|(_, target)| *target).collect::<Vec<_>>())
        .execute(connection)
        .await?;
    targets.extend(new.into_iter().map(|(_, target)| target));
    Ok(targets)
}

/// Events whose being voided has changed, as they stood before; their rows are changed.
async fn turn(
    connection: &mut PgConnection,
    model: &Customer360,
    targets: Vec<Uuid>,
) -> Result<Vec<Stored>, ReadBackError> {
    let turned: Vec<Uuid> = sqlx::query_scalar(
        "SELECT event_id FROM timeline t WHERE event_id = ANY($1) AND voided <> \
         (EXISTS (SELECT FROM voids v WHERE v.target = t.event_id) AND NOT EXISTS (SELECT FROM voids v WHERE v.void_id = t.event_id))",
    )
    .bind(targets)
    .fetch_all(&mut *connection)
    .await?;
    let stored = timeline::stored(connection, &turned, &model.namespace).await?;
    sqlx::query("UPDATE timeline SET voided = NOT voided WHERE event_id = ANY($1)")
        .bind(turned)
        .execute(connection)
        .await?;
    Ok(stored)
}

/// Derives the registers that taken-back events wrote on.
async fn derive_registers(
    connection: &mut PgConnection,
    model: &Customer360,
    taken_back: &[Effects<'_>],
) -> Result<(), ReadBackError> {
    let (with_subject, without): (Vec<&Effects<'_>>, Vec<&Effects<'_>>) =
        taken_back.iter().partition(|e| e.own.is_some());
    let parties = |of: &[&Effects<'_>]| -> Vec<Uuid> {
        of.iter().flat_map(|e| e.parties()).collect::<BTreeSet<_>>().into_iter().collect()
    };
    let (subjects, entities) = (parties(&with_subject), parties(&without));
    let all: Vec<Uuid> = subjects.iter().chain(&entities).copied().collect();
    for (delete, derive) in [
        ("DELETE FROM touches WHERE party = ANY($1)", include_str!("../sql/derive_touches.sql")),
        ("DELETE FROM affiliations WHERE party = ANY($1)", include_str!("../sql/derive_affiliations.sql")),
    ] {
        sqlx::query(delete).bind(&all).execute(&mut *connection).await?;
        sqlx::query(derive).bind(&subjects).bind(&entities).execute(&mut *connection).await?;
    }
    derive_profiles(connection, model, &subjects, &entities).await?;

    let named: BTreeMap<Uuid, (&str, &str)> =
        taken_back.iter().flat_map(|e| &e.entities).map(|e| (e.id, (e.kind, e.key))).collect();
    sqlx::query("DELETE FROM entities WHERE entity_id = ANY($1)")
        .bind(named.keys().copied().collect::<Vec<_>>())
        .execute(&mut *connection)
        .await?;
    sqlx::query(include_str!("../sql/derive_entities.sql"))
        .bind(named.keys().copied().collect::<Vec<_>>())
        .bind(named.values().map(|(kind, _)| *kind).collect::<Vec<_>>())
        .bind(named.values().map(|(_, key)| *key).collect::<Vec<_>>())
        .execute(connection)
        .await?;
    Ok(())
}

/// Events read back at a time: a party may have set its profile very often.
const EVENTS_READ_MAX: usize = 1000;

/// Profile fields stand in the events themselves, which are read back and reduced again.
async fn derive_profiles(
    connection: &mut PgConnection,
    model: &Customer360,
    subjects: &[Uuid],
    entities: &[Uuid],
) -> Result<(), ReadBackError> {
    let parties: HashSet<Uuid> = subjects.iter().chain(entities).copied().collect();
    sqlx::query("DELETE FROM profile_fields WHERE party = ANY($1)")
        .bind(parties.iter().copied().collect::<Vec<_>>())
        .execute(&mut *connection)
        .await?;
    let events: Vec<Uuid> = sqlx::query_scalar(include_str!("../sql/profile_events.sql"))
        .bind(subjects)
        .bind(entities)
        .fetch_all(&mut *connection)
        .await?;
    // The greatest stamp wins, whatever is written first.
    for some in events.chunks(EVENTS_READ_MAX) {
        let stored = timeline::stored(connection, some, &model.namespace).await?;
        let effects: Vec<Effects<'_>> = stored.iter().map(|s| Effects::of(&s.interaction, &model.namespace)).collect();
        let mut last = Fields::new();
        for effect in &effects {
            for party in effect.parties().filter(|p| parties.contains(p)) {
                for (field, value) in &effect.fields {
                    let entry = last.entry((party, field)).or_insert((effect.stamp, value));
                    *entry = (effect.stamp, value.as_str()).max(*entry);
                }
            }
        }
        registers::profile_fields(connection, &last).await?;
    }
    Ok(())
}
