//! What a model had committed at which time: noted by its workers' heartbeats, so that it can be asked what was known at a
//! time. A note's time is that of the last commit it tells of, however much later it is taken.

use sqlx::PgConnection;

use crate::generation::Generation;

/// How many notes come between two thinnings.
const THIN_EVERY: u32 = 60;

/// Notes, and thins out from time to time. `beats`: how many times it has been called.
///
/// # Errors
/// What PostgreSQL says.
pub(crate) async fn keep(connection: &mut PgConnection, g: &Generation, beats: u32) -> Result<(), sqlx::Error> {
    note(connection, g).await?;
    if beats.is_multiple_of(THIN_EVERY) {
        thin(connection, g).await?;
    }
    Ok(())
}

/// Takes note of the live generation's checkpoints, if they have moved. Whatever is noted had been committed by its time.
///
/// # Errors
/// What PostgreSQL says.
async fn note(connection: &mut PgConnection, g: &Generation) -> Result<(), sqlx::Error> {
    const NOTE: &str = "
        INSERT INTO backbone.moments (model, at, next_offsets)
        SELECT $1, now.moved_at, now.next_offsets
        FROM (
            SELECT array_agg(c.next_offset ORDER BY c.partition) AS next_offsets, max(c.updated_at) AS moved_at
            FROM backbone.checkpoints AS c
            JOIN backbone.generations AS g USING (model, generation)
            WHERE c.model = $1 AND c.generation = $2 AND g.state = 'live' AND g.loaded
        ) AS now
        WHERE now.next_offsets IS DISTINCT FROM
            (SELECT last.next_offsets FROM backbone.moments AS last WHERE last.model = $1 ORDER BY last.at DESC LIMIT 1)
            AND now.next_offsets IS NOT NULL
            AND NOT EXISTS (
                SELECT FROM backbone.moments AS last
                WHERE last.model = $1 AND last.at > clock_timestamp() - interval '900 milliseconds'
            )
        ON CONFLICT DO NOTHING";
    sqlx::query(NOTE).bind(&g.model).bind(g.number).execute(connection).await?;
    Ok(())
}

/// Leaves the last note of each minute of those that are a day old.
///
/// # Errors
/// What PostgreSQL says.
async fn thin(connection: &mut PgConnection, g: &Generation) -> Result<(), sqlx::Error> {
    const THIN: &str = "
        DELETE FROM backbone.moments AS m
        WHERE m.model = $1 AND m.at < now() - interval '1 day'
            AND EXISTS (
                SELECT FROM backbone.moments AS later
                WHERE later.model = m.model AND later.at > m.at AND later.at < date_trunc('minute', m.at) + interval '1 minute'
            )";
    sqlx::query(THIN).bind(&g.model).execute(connection).await?;
    Ok(())
}
