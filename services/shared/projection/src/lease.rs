//! Leases of partitions in PostgreSQL, by PostgreSQL's clock. Whoever takes one over ends its predecessor's database
//! session first: a client stopped in mid-COPY would keep its locks for ever.

use std::collections::BTreeMap;
use std::time::Duration;

use sqlx::{Connection as _, PgConnection};
use tokio::time::Instant;
use uuid::Uuid;

use crate::checkpoint::Partition;
use crate::failpoint::{Step, reach};
use crate::generation::Generation;

/// How long a predecessor's session may take to end before its partitions are left for the next look.
const TERMINATE_TIMEOUT_MS: i64 = 5000;

/// What the last heartbeat saw.
#[derive(Clone, Debug)]
pub(crate) struct View {
    /// The leases that are this worker's: partition -> epoch.
    pub(crate) mine: BTreeMap<i32, i64>,
    /// When the heartbeat was sent, by this machine's clock: what was taken later it does not know of.
    pub(crate) sent_at: Instant,
    /// Until when they are: counted from `sent_at`.
    pub(crate) valid_until: Instant,
    /// Partitions that nobody holds, or whose holder has not been heard of in time.
    pub(crate) free: usize,
    /// The fair share of a worker: partitions / live workers, rounded up. All of them while the generation is not
    /// loaded: one worker loads it.
    pub(crate) share: usize,
}

/// One worker's place among the others of its generation.
#[derive(Clone, Debug)]
pub(crate) struct Leases {
    pub(crate) generation: Generation,
    pub(crate) worker: Uuid,
    pub(crate) ttl: Duration,
}

impl Leases {
    fn ttl_s(&self) -> f64 {
        self.ttl.as_secs_f64()
    }

    /// Says that this worker is alive, renews its leases and looks around; one statement.
    /// `None`: the generation is gone. `loading_events`: how many events a load has read, which nobody else can see yet.
    pub(crate) async fn heartbeat(
        &self,
        connection: &mut PgConnection,
        loading_events: Option<u64>,
    ) -> Result<Option<View>, sqlx::Error> {
        let sent_at = Instant::now();
        /// Partitions and epochs of this worker's, free ones, all of them, other workers, whether it is loaded.
        type Row = (Vec<i32>, Vec<i64>, i64, i64, i64, Option<bool>);
        let (partitions, epochs, free, all, others, is_loaded): Row = sqlx::query_as(
            "WITH alive AS (
                 INSERT INTO backbone.workers (worker, model, generation, expires_at, pid, backend_start, loading_events)
                 VALUES ($1, $2, $3, clock_timestamp() + make_interval(secs => $4), pg_backend_pid(),
                         (SELECT backend_start FROM pg_stat_activity WHERE pid = pg_backend_pid()), $5)
                 ON CONFLICT (worker) DO UPDATE
                 SET expires_at = EXCLUDED.expires_at, pid = EXCLUDED.pid, backend_start = EXCLUDED.backend_start,
                     loading_events = EXCLUDED.loading_events
             ), renewed AS (
                 UPDATE backbone.leases SET expires_at = clock_timestamp() + make_interval(secs => $4)
                 WHERE holder = $1 AND model = $2 AND generation = $3
                 RETURNING partition, epoch
             ), leases AS (
                 SELECT count(*) AS partitions,
                        count(*) FILTER (WHERE holder IS NULL OR holder <> $1
                            AND (expires_at < clock_timestamp() OR NOT backbone.is_session(pid, backend_start))) AS free
                 FROM backbone.leases WHERE model = $2 AND generation = $3
             ), others AS (
                 SELECT count(*) AS workers FROM backbone.workers
                 WHERE model = $2 AND generation = $3 AND expires_at >= clock_timestamp() AND worker <> $1
                   AND backbone.is_session(pid, backend_start)
             )
             SELECT coalesce((SELECT array_agg(partition ORDER BY partition) FROM renewed), '{}'),
                    coalesce((SELECT array_agg(epoch ORDER BY partition) FROM renewed), '{}'),
                    leases.free, leases.partitions, others.workers,
                    (SELECT loaded FROM backbone.generations WHERE model = $2 AND generation = $3)
             FROM leases, others",
        )
        .bind(self.worker)
        .bind(&self.generation.model)
        .bind(self.generation.number)
        .bind(self.ttl_s())
        .bind(loading_events.map(|events| i64::try_from(events).unwrap_or(i64::MAX)))
        .fetch_one(connection)
        .await?;
        let Some(is_loaded) = is_loaded else { return Ok(None) };
        let (all, workers) = (usize::try_from(all).unwrap_or(0), usize::try_from(others).unwrap_or(0) + 1);
        Ok(Some(View {
            mine: partitions.into_iter().zip(epochs).collect(),
            sent_at,
            valid_until: sent_at + self.ttl,
            free: usize::try_from(free).unwrap_or(0),
            share: if is_loaded { all.div_ceil(workers) } else { all },
        }))
    }

    /// Takes up to `count` partitions that are not `held` already: this worker's own from an earlier session first, then
    /// free and lapsed ones; says which of them another worker had not given back. Each gets a new epoch, and whoever held it last has no session any more when this returns.
    /// Commits to the disk.
    pub(crate) async fn acquire(
        &self,
        connection: &mut PgConnection,
        held: &[i32],
        count: usize,
    ) -> Result<(BTreeMap<i32, Partition>, Vec<i32>), sqlx::Error> {
        let g = &self.generation;
        let mut tx = connection.begin().await?;
        // Whoever is stopped between these statements holds rows that nobody can find its session by: PostgreSQL ends it.
        let limits = format!(
            "SET LOCAL synchronous_commit = on; SET LOCAL idle_in_transaction_session_timeout = {}",
            self.ttl.as_millis().max(1)
        );
        sqlx::raw_sql(&limits).execute(&mut *tx).await?;
        // Who loads a generation takes all of it: of two who begin together, one after the other.
        sqlx::query("SELECT FROM backbone.generations WHERE model = $1 AND generation = $2 AND NOT loaded FOR UPDATE")
            .bind(&g.model)
            .bind(g.number)
            .execute(&mut *tx)
            .await?;
        let found: Vec<(i32, bool)> = sqlx::query_as(
            "SELECT partition, holder IS NOT NULL AND holder <> $3 FROM backbone.leases
             WHERE model = $1 AND generation = $2
               AND (holder IS NULL OR holder = $3 OR expires_at < clock_timestamp()
                    OR NOT backbone.is_session(pid, backend_start))
               AND partition <> ALL($5)
             ORDER BY holder IS NOT DISTINCT FROM $3 DESC, partition LIMIT $4
             FOR UPDATE SKIP LOCKED",
        )
        .bind(&g.model)
        .bind(g.number)
        .bind(self.worker)
        .bind(i64::try_from(count).unwrap_or(i64::MAX))
        .bind(held)
        .fetch_all(&mut *tx)
        .await?;
        if found.is_empty() {
            tx.rollback().await?;
            return Ok(Default::default());
        }
        let takeable: Vec<i32> = found.iter().map(|(partition, _)| *partition).collect();
        let ended = self.end_predecessors(&mut tx, &takeable).await?;
        /// Partition, epoch, next offset, last offset, hash of the last value, its receipt in microseconds.
        type Row = (i32, i64, i64, Option<i64>, Option<Vec<u8>>, Option<i64>);
        let rows: Vec<Row> = sqlx::query_as(
            "WITH taken AS (
                 UPDATE backbone.leases
                 SET epoch = epoch + 1, holder = $3, pid = pg_backend_pid(),
                     backend_start = (SELECT backend_start FROM pg_stat_activity WHERE pid = pg_backend_pid()),
                     expires_at = clock_timestamp() + make_interval(secs => $4)
                 WHERE model = $1 AND generation = $2 AND partition = ANY($5)
                 RETURNING partition, epoch
             )
             UPDATE backbone.checkpoints c SET epoch = taken.epoch
             FROM taken WHERE c.model = $1 AND c.generation = $2 AND c.partition = taken.partition
             RETURNING c.partition, c.epoch, c.next_offset, c.last_offset, c.last_hash,
                       (extract(epoch FROM c.last_received_at) * 1000000)::bigint",
        )
        .bind(&g.model)
        .bind(g.number)
        .bind(self.worker)
        .bind(self.ttl_s())
        .bind(&ended)
        .fetch_all(&mut *tx)
        .await?;
        // Whoever folds it again has got past what ended others.
        sqlx::query(
            "UPDATE backbone.generations SET failure = NULL
             WHERE model = $1 AND generation = $2 AND failure IS NOT NULL",
        )
        .bind(&g.model)
        .bind(g.number)
        .execute(&mut *tx)
        .await?;
        reach(Step::Taking);
        tx.commit().await?;
        let since = Instant::now();
        let taken = rows.into_iter().map(|(partition, epoch, next, offset, hash, last_received_at)| {
            (partition, Partition { epoch, since, next, last: offset.zip(hash), last_received_at })
        });
        let taken: BTreeMap<i32, Partition> = taken.collect();
        let of_others = found.into_iter().filter(|(partition, others)| *others && taken.contains_key(partition));
        let of_others = of_others.map(|(partition, _)| partition).collect();
        Ok((taken, of_others))
    }

    /// Ends the sessions of other workers whose leases have lapsed. They can commit nothing more under them, and a client
    /// that was stopped keeps its locks for as long as its session lives.
    pub(crate) async fn end_lapsed(&self, connection: &mut PgConnection) -> Result<(), sqlx::Error> {
        sqlx::query(
            "SELECT pg_terminate_backend(a.pid)
             FROM pg_stat_activity a
             WHERE (a.pid, a.backend_start) IN (
                 SELECT pid, backend_start FROM backbone.leases
                 WHERE model = $1 AND generation = $2 AND holder <> $3 AND expires_at < clock_timestamp()
             )",
        )
        .bind(&self.generation.model)
        .bind(self.generation.number)
        .bind(self.worker)
        .execute(connection)
        .await?;
        Ok(())
    }

    /// Ends the sessions that last held these partitions; returns those whose session is gone.
    async fn end_predecessors(&self, tx: &mut PgConnection, partitions: &[i32]) -> Result<Vec<i32>, sqlx::Error> {
        let rows: Vec<(i32, bool)> = sqlx::query_as(
            "WITH sessions AS MATERIALIZED (
                 SELECT DISTINCT a.pid FROM backbone.leases l
                 JOIN pg_stat_activity a ON a.pid = l.pid AND a.backend_start = l.backend_start
                 WHERE l.model = $1 AND l.generation = $2 AND l.partition = ANY($3) AND a.pid <> pg_backend_pid()
             ), ended AS MATERIALIZED (
                 SELECT pid, pg_terminate_backend(pid, $4) AS gone FROM sessions
             )
             SELECT l.partition, coalesce(e.gone, true)
             FROM backbone.leases l LEFT JOIN ended e ON e.pid = l.pid
             WHERE l.model = $1 AND l.generation = $2 AND l.partition = ANY($3)",
        )
        .bind(&self.generation.model)
        .bind(self.generation.number)
        .bind(partitions)
        .bind(TERMINATE_TIMEOUT_MS)
        .fetch_all(tx)
        .await?;
        Ok(rows.into_iter().filter(|(_, gone)| *gone).map(|(partition, _)| partition).collect())
    }

    /// Gives partitions back, so that others need not wait for the lease to lapse.
    pub(crate) async fn release(&self, connection: &mut PgConnection, partitions: &[i32]) -> Result<(), sqlx::Error> {
        sqlx::query(
            "UPDATE backbone.leases SET holder = NULL, pid = NULL, backend_start = NULL, expires_at = NULL
             WHERE model = $1 AND generation = $2 AND holder = $3 AND partition = ANY($4)",
        )
        .bind(&self.generation.model)
        .bind(self.generation.number)
        .bind(self.worker)
        .bind(partitions)
        .execute(connection)
        .await?;
        Ok(())
    }

    /// Gives everything back and leaves; sweeps up those who vanished long ago.
    pub(crate) async fn leave(&self, connection: &mut PgConnection) -> Result<(), sqlx::Error> {
        sqlx::query(
            "WITH gone AS (
                 DELETE FROM backbone.workers
                 WHERE worker = $1 OR expires_at < clock_timestamp() - interval '1 hour'
             )
             UPDATE backbone.leases SET holder = NULL, pid = NULL, backend_start = NULL, expires_at = NULL
             WHERE holder = $1",
        )
        .bind(self.worker)
        .execute(connection)
        .await?;
        Ok(())
    }
}
