use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};
use tokio::process::Command;

/// Where root keeps what another account has to reach.
const ROOT_STATE_DIR: &str = "/var/lib/rapport";

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
    fn roots_directories_differ_by_their_owner_and_stay_the_same() {
        let account = Some(Account { uid: 1, gid: 1 });
        let one = reachable_dir(account, Path::new("/a"), "postgres");
        assert_eq!(one, reachable_dir(account, Path::new("/a"), "postgres"));
        assert_ne!(one, reachable_dir(account, Path::new("/b"), "postgres"));
        assert_eq!(reachable_dir(None, Path::new("/a"), "postgres"), Path::new("/a/postgres"));
    }
}
