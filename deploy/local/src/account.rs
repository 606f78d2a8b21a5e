use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};
use tokio::process::Command;

/// Where root keeps what another account has to reach.
pub(crate) const ROOT_STATE_DIR: &str = "/var/lib/rapport";

/// Names the data directory that a directory under [`ROOT_STATE_DIR`] belongs to.
const OWNER_FILE: &str = "data-directory";

/// `nobody` nearly everywhere: what PostgreSQL runs as when there is no account `postgres`.
const FALLBACK_ID: u32 = 65534;

/// The account a server runs as when it may not run as us.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Account {
    pub(crate) uid: u32,
    pub(crate) gid: u32,
}

impl Account {
    /// The account for PostgreSQL: `None` unless we are root, which PostgreSQL refuses to run as.
    pub(crate) fn for_postgres() -> Option<Self> {
        if !rustix::process::geteuid().is_root() {
            return None;
        }
        let passwd = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
        Some(named(&passwd, "postgres").unwrap_or(Self { uid: FALLBACK_ID, gid: FALLBACK_ID }))
    }

    /// Makes `command` run as this account, out of a directory that any account may enter.
    pub(crate) fn apply(account: Option<Self>, command: &mut Command) {
        if let Some(account) = account {
            command.uid(account.uid).gid(account.gid).current_dir("/");
        }
    }
}

/// The directory for something of `purpose` that belongs to `owner_dir`: in it for a plain user,
/// under `/var/lib/rapport/<hash of the directory>` for root.
pub(crate) fn reachable_dir(account: Option<Account>, owner_dir: &Path, purpose: &str) -> PathBuf {
    match account {
        None => owner_dir.join(purpose),
        Some(_) => {
            let hash = Sha256::digest(owner_dir.as_os_str().as_encoded_bytes());
            let hash: String = hash.iter().take(8).map(|byte| format!("{byte:02x}")).collect();
            Path::new(ROOT_STATE_DIR).join(hash).join(purpose)
        }
    }
}

/// Notes whose directory under `/var/lib/rapport` this is, and deletes those of temporary data
/// directories that are gone: nobody else can know that they belong to nothing.
pub(crate) fn claim(dir: &Path, owner_dir: &Path) -> std::io::Result<()> {
    std::fs::write(dir.join(OWNER_FILE), owner_dir.as_os_str().as_encoded_bytes())?;
    sweep(Path::new(ROOT_STATE_DIR), &std::env::temp_dir())
}

fn sweep(state_dir: &Path, temp_dir: &Path) -> std::io::Result<()> {
    for dir in std::fs::read_dir(state_dir)?.flatten().map(|entry| entry.path()) {
        // Without the note (the programs, or a start that was cut short) it stays.
        let Ok(owner) = std::fs::read_to_string(dir.join(OWNER_FILE)) else { continue };
        let owner = Path::new(&owner);
        // Elsewhere a missing directory may be one that is not mounted.
        if owner.starts_with(temp_dir) && matches!(owner.try_exists(), Ok(false)) {
            // Another start may be deleting it too; what stays is deleted by the next one.
            let _ = std::fs::remove_dir_all(&dir);
        }
    }
    Ok(())
}

fn named(passwd: &str, name: &str) -> Option<Account> {
    passwd.lines().find_map(|line| {
        let mut fields = line.split(':');
        let found = fields.next()? == name;
        let uid = fields.nth(1)?.parse().ok()?;
        let gid = fields.next()?.parse().ok()?;
        found.then_some(Account { uid, gid })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const PASSWD: &str =
        "root:x:0:0:root:/root:/bin/bash\nbroken\npostgres:x:101:104:PG,,,:/var/lib/postgresql:/bin/bash\n";

    #[test]
    fn an_account_is_found_by_its_whole_name() {
        assert_eq!(named(PASSWD, "postgres"), Some(Account { uid: 101, gid: 104 }));
        assert_eq!(named(PASSWD, "postgre"), None);
    }

    #[test]
    fn only_the_directories_of_temporary_owners_that_are_gone_are_deleted() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let (state, temp) = (dir.path().join("state"), dir.path().join("temp"));
        let owners = [("gone", temp.join("a")), ("there", temp.clone()), ("elsewhere", PathBuf::from("/nowhere/b"))];
        std::fs::create_dir_all(&temp).expect("created");
        for (name, owner) in &owners {
            std::fs::create_dir_all(state.join(name)).expect("created");
            std::fs::write(state.join(name).join(OWNER_FILE), owner.to_str().expect("plain")).expect("written");
        }
        std::fs::create_dir_all(state.join("programs")).expect("created");
        sweep(&state, &temp).expect("swept");
        let left = ["gone", "there", "elsewhere", "programs"].map(|name| state.join(name).exists());
        assert_eq!(left, [false, true, true, true]);
    }

    #[test]
    fn roots_directories_differ_by_their_owner_and_stay_the_same() {
        let account = Some(Account { uid: 1, gid: 1 });
        let one = reachable_dir(account, Path::new("/a"), "postgres");
        assert_eq!(one, reachable_dir(account, Path::new("/a"), "postgres"));
        assert_ne!(one, reachable_dir(account, Path::new("/b"), "postgres"));
        assert_eq!(reachable_dir(None, Path::new("/a"), "postgres"), Path::new("/a/postgres"));
    }
}
