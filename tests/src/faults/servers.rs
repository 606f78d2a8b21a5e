//! Kafka and PostgreSQL: silent, away, restarted, out of room.

use std::{
    fs::File,
    io::Write,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    process::Command,
    time::{Duration, Instant},
};

use rand::Rng;
use sqlx::PgConnection;

use super::{
    Injected, World, finished,
    processes::replaced,
    rival::{LOOK_PAUSE, MODELS, PATIENCE},
    said,
};

/// Longer than a publish waits for Kafka.
const SILENT: Duration = Duration::from_secs(4);
/// How long a server is away, milliseconds.
const AWAY_MS: std::ops::Range<u64> = 1_500..3_000;
/// What tables may still grow by before the disk is full: less than they do in a second or two.
const ROOM_BYTES: i64 = 1 << 20;
/// Bytes of the ballast at a time.
const BALLAST: [u8; 1 << 12] = [0; 1 << 12];

/// The broker is stopped: its connections stay open, and nothing comes.
pub(super) async fn broker_silent(world: &mut World) -> Injected {
    assert!(world.stack.signal("kafka", "STOP"), "Kafka was not running");
    tokio::time::sleep(SILENT).await;
    assert!(world.stack.signal("kafka", "CONT"), "Kafka was not running");
    Injected::Times(1)
}

/// The broker is killed, and nobody starts it again for a while: `up` is stopped meanwhile.
pub(super) async fn broker_away(world: &mut World) -> Injected {
    away(world, "kafka").await;
    Injected::Times(1)
}

/// The same with PostgreSQL. Publishing does not need it.
pub(super) async fn postgres_away(world: &mut World) -> Injected {
    let publisher = world.publisher.clone();
    let ((), position) = tokio::join!(away(world, "postgres"), publisher.probe());
    crate::load::caught_up(&world.stack, position).await;
    Injected::Times(1)
}

async fn away(world: &mut World, server: &str) {
    let pid = world.stack.pid(server);
    world.stack.signal_up("STOP");
    assert!(world.stack.signal(server, "KILL"), "{server} was not running");
    tokio::time::sleep(Duration::from_millis(world.rng.random_range(AWAY_MS))).await;
    world.stack.signal_up("CONT");
    replaced(world, server, pid).await;
}

/// PostgreSQL ends all sessions and itself, as for an update; `up` starts it again.
pub(super) async fn postgres_restart(world: &mut World) -> Injected {
    let pid = world.stack.pid("postgres");
    assert!(world.stack.signal("postgres", "INT"), "PostgreSQL was not running");
    replaced(world, "postgres", pid).await;
    Injected::Times(1)
}

/// A small file system; unmounted when it goes.
struct Disk(PathBuf);

impl Disk {
    /// Mounts one of so many bytes, for the account that owns `like`. What the system says against it, if it refuses.
    async fn mount(bytes: i64, like: &Path) -> Result<Self, String> {
        let owner = std::fs::metadata(like).map_err(|e| format!("{}: {e}", like.display()))?;
        let dir = tempfile::Builder::new().prefix("rapport-disk-").tempdir().map_err(|e| e.to_string())?.keep();
        let mut mount = Command::new("mount");
        let options = format!("size={bytes},uid={},gid={},mode=700", owner.uid(), owner.gid());
        mount.args(["-t", "tmpfs", "-o", &options, "tmpfs"]).arg(&dir);
        // Whoever owns the tables passes through.
        let opened = std::fs::set_permissions(&dir, std::os::unix::fs::PermissionsExt::from_mode(0o755));
        opened.map_err(|e| e.to_string())?;
        let output = finished(mount).await;
        if output.status.success() {
            return Ok(Self(dir));
        }
        let _ = std::fs::remove_dir(&dir);
        Err(format!("a file system of its own cannot be mounted, which takes root: {}", said(&output).trim()))
    }

    /// Fills it. Removing the file makes room again.
    fn fill(&self) -> PathBuf {
        let path = self.0.join("ballast");
        let mut ballast = File::create(&path).expect("there is room for a name");
        while ballast.write_all(&BALLAST).is_ok() {}
        path
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // Lazily: where a test has failed, PostgreSQL may still have files open.
        let unmounted = Command::new("umount").arg("-l").arg(&self.0).status();
        if unmounted.is_ok_and(|status| status.success()) {
            let _ = std::fs::remove_dir(&self.0);
        }
    }
}

/// The tables that grow with every event are put on a small disk, which is filled. The projectors try again and again, and
/// publishing goes on; there is room again, and so do they.
pub(super) async fn disk_full(world: &mut World) -> Injected {
    let mut connection = world.connection().await;
    let tables = growing_tables(&mut connection).await;
    let bytes: i64 = tables.iter().map(|(_, bytes)| bytes).sum();
    let directory: String =
        sqlx::query_scalar("SHOW data_directory").fetch_one(&mut connection).await.expect("a directory");
    // Half as much again: they grow while they are moved.
    let disk = match Disk::mount(bytes + bytes / 2 + 8 * ROOM_BYTES, Path::new(&directory)).await {
        Ok(disk) => disk,
        Err(why) => return Injected::Skipped(why),
    };
    let create = format!("CREATE TABLESPACE small LOCATION '{}'", disk.0.display());
    sqlx::query(&create).execute(&mut connection).await.expect("a tablespace");
    moved(&mut connection, &tables, "small").await;
    let shortages = |model: &str| {
        let says = |line: &&str| line.contains("PostgreSQL is short of something") && line.contains(model);
        world.stack.log().lines().filter(says).count()
    };
    let before = MODELS.map(shortages);
    let ballast = disk.fill();
    let end = Instant::now() + PATIENCE;
    while MODELS.map(shortages).iter().zip(before).any(|(now, before)| *now <= before) {
        assert!(Instant::now() < end, "nobody met a full disk within {PATIENCE:?}");
        tokio::time::sleep(LOOK_PAUSE * 5).await;
    }
    // What is published meanwhile is acknowledged: the log is not on that disk.
    world.publisher.probe().await;
    std::fs::remove_file(ballast).expect("the ballast is removed");
    world.recovers().await;
    moved(&mut connection, &tables, "pg_default").await;
    sqlx::query("DROP TABLESPACE small").execute(&mut connection).await.expect("it is empty");
    Injected::Times(1)
}

/// Facts and timeline of the live generations, and how many bytes each has.
async fn growing_tables(connection: &mut PgConnection) -> Vec<(String, i64)> {
    sqlx::query_as(
        "SELECT format('%I.%I', schema_name, name), pg_table_size(format('%I.%I', schema_name, name)::regclass)
         FROM (SELECT schema_name, CASE model WHEN 'customer360' THEN 'timeline' ELSE 'facts' END AS name
               FROM backbone.generations WHERE state = 'live') AS growing",
    )
    .fetch_all(connection)
    .await
    .expect("tables of live generations")
}

async fn moved(connection: &mut PgConnection, tables: &[(String, i64)], to: &str) {
    for (table, _) in tables {
        let alter = format!("ALTER TABLE {table} SET TABLESPACE {to}");
        sqlx::query(&alter).execute(&mut *connection).await.unwrap_or_else(|e| panic!("{alter}: {e}"));
    }
}
