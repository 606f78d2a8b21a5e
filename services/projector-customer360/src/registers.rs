//! Rows of which one writer wins: the last touch, the last value of a profile field, the first owner of an entity.
//! A batch is reduced in memory; what is left is written in key order, so that two workers wait for each other in turn.
//! Touches are not (new ones first): where that ends in a deadlock, the batch is applied again.

use std::collections::{BTreeMap, HashMap};

use domain::Stamp;
use projection::Mode;
use projection::copy::{CopyBuffer, copy_in};
use sqlx::PgConnection;
use uuid::Uuid;

use crate::effects::Effects;

/// An entity, and the first event of the batch that names a subject beside it.
struct Claim<'e> {
    kind: &'static str,
    key: &'e str,
    owner: Option<(&'e Stamp, Uuid)>,
}

/// Profile fields by party and name: stamp and JSON value.
pub(crate) type Fields<'e> = BTreeMap<(Uuid, &'e str), (&'e Stamp, &'e str)>;

/// Writes what unvoided events set. In [`Mode::Optimistic`] another worker's new row may end in a unique violation.
pub(crate) async fn write(
    connection: &mut PgConnection,
    effects: &[&Effects<'_>],
    mode: Mode,
) -> Result<(), sqlx::Error> {
    entities(connection, effects).await?;
    touches(connection, effects, mode).await?;
    profile_fields(connection, &fields(effects)).await?;
    affiliations(connection, effects).await
}

async fn entities(connection: &mut PgConnection, effects: &[&Effects<'_>]) -> Result<(), sqlx::Error> {
    let mut claims: BTreeMap<Uuid, Claim<'_>> = BTreeMap::new();
    for effect in effects {
        for entity in &effect.entities {
            let claim = claims.entry(entity.id).or_insert(Claim { kind: entity.kind, key: entity.key, owner: None });
            claim.owner = claim.owner.into_iter().chain(effect.own.map(|own| (effect.stamp, own))).min();
        }
    }
    if claims.is_empty() {
        return Ok(());
    }
    let known: Vec<(Uuid, Option<Vec<u8>>)> =
        sqlx::query_as("SELECT entity_id, owner_stamp FROM entities WHERE entity_id = ANY($1)")
            .bind(claims.keys().copied().collect::<Vec<_>>())
            .fetch_all(&mut *connection)
            .await?;
    // An owner is only ever replaced by an earlier one, so what does not help now never will: most events write nothing.
    let known: HashMap<Uuid, Option<Vec<u8>>> = known.into_iter().collect();
    claims.retain(|id, claim| match (known.get(id), claim.owner) {
        (None, _) => true,
        (Some(_), None) => false,
        (Some(None), Some(_)) => true,
        (Some(Some(known)), Some((stamp, _))) => stamp.as_bytes() < known.as_slice(),
    });
    if claims.is_empty() {
        return Ok(());
    }
    let rows = claims.iter();
    sqlx::query(include_str!("../sql/upsert_entities.sql"))
        .bind(rows.clone().map(|(id, _)| *id).collect::<Vec<_>>())
        .bind(rows.clone().map(|(_, c)| c.kind).collect::<Vec<_>>())
        .bind(rows.clone().map(|(_, c)| c.key).collect::<Vec<_>>())
        .bind(rows.clone().map(|(_, c)| c.owner.map(|(stamp, _)| stamp.as_bytes())).collect::<Vec<_>>())
        .bind(rows.map(|(_, c)| c.owner.map(|(_, subject)| subject)).collect::<Vec<_>>())
        .execute(connection)
        .await?;
    Ok(())
}

/// The last touches of a batch by party, channel and direction.
type Touches<'e> = BTreeMap<(Uuid, &'e str, &'e str), &'e Stamp>;

async fn touches(connection: &mut PgConnection, effects: &[&Effects<'_>], mode: Mode) -> Result<(), sqlx::Error> {
    let mut last = Touches::new();
    for effect in effects {
        let Some((channel, direction)) = effect.touch else { continue };
        for party in effect.parties() {
            let stamp = last.entry((party, channel, direction)).or_insert(effect.stamp);
            *stamp = effect.stamp.max(stamp);
        }
    }
    if last.is_empty() {
        return Ok(());
    }
    let sql = if mode == Mode::Optimistic {
        // An upsert looks a row up, notes that it will be inserted, and inserts it: new rows go faster by COPY.
        insert_new_touches(connection, &mut last).await?;
        include_str!("../sql/update_touches.sql")
    } else {
        include_str!("../sql/upsert_touches.sql")
    };
    if last.is_empty() {
        return Ok(());
    }
    let rows = last.iter();
    sqlx::query(sql)
        .bind(rows.clone().map(|((party, ..), _)| *party).collect::<Vec<_>>())
        .bind(rows.clone().map(|((_, channel, _), _)| *channel).collect::<Vec<_>>())
        .bind(rows.clone().map(|((.., direction), _)| *direction).collect::<Vec<_>>())
        .bind(rows.map(|(_, stamp)| stamp.as_bytes()).collect::<Vec<_>>())
        .execute(connection)
        .await?;
    Ok(())
}

/// Inserts the touches that are new; leaves those that are later than what is known.
async fn insert_new_touches(connection: &mut PgConnection, last: &mut Touches<'_>) -> Result<(), sqlx::Error> {
    let mut parties: Vec<Uuid> = last.keys().map(|(party, ..)| *party).collect();
    parties.dedup();
    let rows: Vec<(Uuid, String, String, Vec<u8>)> =
        sqlx::query_as("SELECT party, channel, direction, stamp FROM touches WHERE party = ANY($1)")
            .bind(parties)
            .fetch_all(&mut *connection)
            .await?;
    let known: HashMap<(Uuid, &str, &str), &[u8]> =
        rows.iter().map(|(p, c, d, stamp)| ((*p, c.as_str(), d.as_str()), stamp.as_slice())).collect();
    let mut new = CopyBuffer::with_capacity(4, last.len() * 96);
    last.retain(|touch, stamp| match known.get(touch) {
        Some(known) => *known < stamp.as_bytes(),
        None => {
            let (party, channel, direction) = *touch;
            new.begin_row().put_uuid(party).put_text(channel).put_text(direction).put_bytes(stamp.as_bytes());
            false
        }
    });
    copy_in(connection, "COPY touches (party, channel, direction, stamp) FROM STDIN BINARY", new).await?;
    Ok(())
}

fn fields<'e>(effects: &[&'e Effects<'_>]) -> Fields<'e> {
    let mut last = Fields::new();
    for effect in effects.iter().filter(|e| !e.fields.is_empty()) {
        for party in effect.parties() {
            for (field, value) in &effect.fields {
                let entry = last.entry((party, field)).or_insert((effect.stamp, value));
                *entry = (effect.stamp, value.as_str()).max(*entry);
            }
        }
    }
    last
}

/// Upserts profile fields.
pub(crate) async fn profile_fields(connection: &mut PgConnection, fields: &Fields<'_>) -> Result<(), sqlx::Error> {
    if fields.is_empty() {
        return Ok(());
    }
    let rows = fields.iter();
    sqlx::query(include_str!("../sql/upsert_profile_fields.sql"))
        .bind(rows.clone().map(|((party, _), _)| *party).collect::<Vec<_>>())
        .bind(rows.clone().map(|((_, field), _)| *field).collect::<Vec<_>>())
        .bind(rows.clone().map(|(_, (stamp, _))| stamp.as_bytes()).collect::<Vec<_>>())
        .bind(rows.map(|(_, (_, value))| *value).collect::<Vec<_>>())
        .execute(connection)
        .await?;
    Ok(())
}

async fn affiliations(connection: &mut PgConnection, effects: &[&Effects<'_>]) -> Result<(), sqlx::Error> {
    let mut spans: BTreeMap<(Uuid, &str), (&Stamp, &Stamp)> = BTreeMap::new();
    for effect in effects {
        for group in &effect.groups {
            for party in effect.parties() {
                let (first, last) = spans.entry((party, group)).or_insert((effect.stamp, effect.stamp));
                (*first, *last) = (effect.stamp.min(first), effect.stamp.max(last));
            }
        }
    }
    if spans.is_empty() {
        return Ok(());
    }
    let rows = spans.iter();
    sqlx::query(include_str!("../sql/upsert_affiliations.sql"))
        .bind(rows.clone().map(|((party, _), _)| *party).collect::<Vec<_>>())
        .bind(rows.clone().map(|((_, group), _)| *group).collect::<Vec<_>>())
        .bind(rows.clone().map(|(_, (first, _))| first.as_bytes()).collect::<Vec<_>>())
        .bind(rows.map(|(_, (_, last))| last.as_bytes()).collect::<Vec<_>>())
        .execute(connection)
        .await?;
    Ok(())
}
