//! Room on the disks of this machine that Kafka and PostgreSQL write to.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use tokio_util::sync::CancellationToken;

use crate::Metric;

/// Bytes that can still be written.
pub(crate) const DISK_FREE_BYTES: &str = "rapport_disk_free_bytes";
/// Bytes that the whole of it holds.
pub(crate) const DISK_BYTES: &str = "rapport_disk_bytes";

/// What is measured of disks.
pub const DISK_METRICS: &[Metric] = &[
    Metric::gauge(
        DISK_FREE_BYTES,
        &["path"],
        "Bytes free on the disk of a directory of the local Kafka or PostgreSQL; said by the collector, and not of servers of yours",
    ),
    Metric::gauge(DISK_BYTES, &["path"], "Bytes that this disk holds"),
];

/// How often they are looked at.
const LOOK_INTERVAL: Duration = Duration::from_secs(15);

/// Measures the disks of these directories until `shutdown`.
pub async fn watch_disks(directories: Vec<PathBuf>, shutdown: CancellationToken) {
    crate::describe(DISK_METRICS);
    loop {
        for directory in &directories {
            // What cannot be looked at keeps its last figure; `rapport doctor` says why.
            if let Some((free, size)) = room(directory) {
                let path = directory.display().to_string();
                metrics::gauge!(DISK_FREE_BYTES, "path" => path.clone()).set(free as f64);
                metrics::gauge!(DISK_BYTES, "path" => path).set(size as f64);
            }
        }
        if shutdown.run_until_cancelled(tokio::time::sleep(LOOK_INTERVAL)).await.is_none() {
            return;
        }
    }
}

/// Bytes free on the disk of a directory, and all it holds. Before the directory is made, it is what stands above it.
fn room(directory: &Path) -> Option<(u64, u64)> {
    let whole = std::path::absolute(directory).ok()?;
    let there = whole.ancestors().find(|path| path.exists())?;
    let disk = rustix::fs::statvfs(there).ok()?;
    Some((disk.f_frsize * disk.f_bavail, disk.f_frsize * disk.f_blocks))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_that_is_not_made_yet_has_room() {
        let (free, size) = room(Path::new("no/such/directory")).expect("the working directory is on a disk");
        assert!(free <= size && size > 0, "{free} of {size}");
    }
}
