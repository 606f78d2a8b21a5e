use std::net::{IpAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::time::Duration;

use chrono::DateTime;
use service_kit::{Clock, Config};

use super::Check;
use crate::failure::{Exit, OrExit, Outcome};
use crate::{http, up};

/// Clocks that are further apart than this get a finding.
pub(super) const CLOCK_APART_US_MAX: i64 = 2_000_000;

/// An HTTP date says whole seconds.
const HTTP_DATE_US: i64 = 1_000_000;

/// Less free space gets a finding: the log only grows.
const FREE_BYTES_MIN: u64 = 2 * 1024 * 1024 * 1024;

/// How long a service of this machine has to answer.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(2);

/// Where PostgreSQL keeps its data as root.
const ROOT_DATA_DIR: &str = "/var/lib/rapport";

/// Which servers answer as they should: then theirs are the ports of their addresses.
#[derive(Clone, Copy)]
pub(super) struct Servers {
    pub(super) kafka: bool,
    pub(super) postgres: bool,
}

pub(super) async fn checks(config: &Config, clock: &Clock, servers: Servers) -> Outcome<Vec<Check>> {
    let client = http::builder("http://127.0.0.1").timeout(ANSWER_TIMEOUT).build().or_exit(Exit::Internal)?;
    let mut checks = vec![collector_clock(config, clock, &client).await];
    checks.extend(disks(config));
    checks.extend(ports(config, &client, servers).await);
    Ok(checks)
}

/// The collector dates what it receives.
async fn collector_clock(config: &Config, clock: &Clock, client: &reqwest::Client) -> Check {
    let name = "the collector's clock";
    let url = format!("http://{}/livez", config.listen(config.ports().admin_collector));
    let before = clock.now_us();
    let answer = client.get(&url).send().await;
    let after = clock.now_us();
    let date = answer.ok().and_then(|answer| {
        let date = answer.headers().get(reqwest::header::DATE)?.to_str().ok()?.to_owned();
        DateTime::parse_from_rfc2822(&date).ok()
    });
    match date {
        // The second it says has begun, and is not over.
        Some(date) => {
            let middle = date.timestamp_micros() + HTTP_DATE_US / 2;
            of_clock(name, middle, before, after, CLOCK_APART_US_MAX + HTTP_DATE_US / 2)
        }
        None => Check::skipped(name, format!("no collector answers at {url}")),
    }
}

/// `said` between `before` and `after` by our clock, all in microseconds since 1970.
pub(super) fn of_clock(name: &str, said: i64, before: i64, after: i64, apart_max: i64) -> Check {
    // However late the answer came, it was given in between.
    let apart = if said < before { said - before } else { (said - after).max(0) };
    let tenths = (apart.unsigned_abs() + 50_000) / 100_000;
    let seconds = format!("{}.{} s", tenths / 10, tenths % 10);
    if apart.abs() <= apart_max {
        return Check::ok(name, format!("it is at most {seconds} from ours"));
    }
    let side = if apart > 0 { "ahead of" } else { "behind" };
    Check::finding(
        name,
        format!("it is {seconds} {side} ours"),
        "waits, lags, leases and what is abandoned or overdue are told by clocks, and events from the future are rejected",
        "let all machines take their time from one place (chrony or systemd-timesyncd; `timedatectl` shows it)",
    )
}

fn disks(config: &Config) -> Vec<Check> {
    local_directories(config).iter().map(|place| disk(place)).collect()
}

/// Where the local Kafka and PostgreSQL write; nowhere for servers that are not ours.
pub(crate) fn local_directories(config: &Config) -> Vec<PathBuf> {
    if config.is_given("kafka") && config.is_given("database_url") {
        return Vec::new();
    }
    let mut places = vec![PathBuf::from(config.text("data_dir"))];
    if rustix::process::geteuid().is_root() && !config.is_given("database_url") {
        places.push(PathBuf::from(ROOT_DATA_DIR));
    }
    places
}

fn disk(place: &Path) -> Check {
    let name = format!("disk of {}", place.display());
    let whole = std::path::absolute(place).unwrap_or_else(|_| place.to_owned());
    // Before the first start it is not there; what is above it is.
    let there = whole.ancestors().find(|path| path.exists()).unwrap_or(Path::new("/"));
    match rustix::fs::statvfs(there) {
        Ok(disk) => of_disk(name, disk.f_frsize * disk.f_bavail, disk.f_frsize * disk.f_blocks),
        Err(error) => Check::unreachable(
            name,
            format!("{} cannot be looked at: {error}", there.display()),
            "whether there is room for the log cannot be seen",
            "let this user enter the directory, or correct the setting `data_dir`",
        ),
    }
}

fn of_disk(name: String, free: u64, size: u64) -> Check {
    const MIB: u64 = 1024 * 1024;
    let found = format!("{} MiB of {} are free", free / MIB, size / MIB);
    if free >= FREE_BYTES_MIN {
        return Check::ok(name, found);
    }
    Check::finding(
        name,
        found,
        "the log is kept for ever; Kafka and PostgreSQL stop on a full disk",
        "make room, or move `data_dir` to a larger disk while nothing runs",
    )
}

async fn ports(config: &Config, client: &reqwest::Client, servers: Servers) -> Vec<Check> {
    let mut checks = Vec::new();
    let ports = config.ports();
    for (owner, port) in up::ports(config) {
        let local = IpAddr::from([127, 0, 0, 1]);
        let bind = config.text("bind").parse().unwrap_or(local);
        let address = match owner {
            "Kafka" | "Kafka's controller" | "PostgreSQL" => local,
            _ => bind,
        };
        let free = TcpListener::bind((address, port)).is_ok();
        let ours = match owner {
            _ if free => false,
            "Kafka" | "Kafka's controller" => servers.kafka,
            "PostgreSQL" => servers.postgres,
            _ => {
                let path = match port {
                    port if port == ports.collector_http => "/schemas/order.placed",
                    port if port == ports.query => "/api/v1/models",
                    _ => "/livez",
                };
                let answer = client.get(format!("http://{}{path}", config.listen(port))).send().await;
                answer.is_ok_and(|answer| answer.status().is_success())
            }
        };
        checks.push(of_port(owner, port, free, ours));
    }
    checks
}

fn of_port(owner: &str, port: u16, free: bool, ours: bool) -> Check {
    let name = format!("port {port} ({owner})");
    match (free, ours) {
        (true, _) => Check::ok(name, "it is free"),
        (false, true) => Check::ok(name, "it is ours"),
        (false, false) => Check::finding(
            name,
            "somebody else listens there, or what listens there does not answer as it should",
            "`rapport up` does not start",
            format!("see who it is (`ss -ltnp 'sport = :{port}'`) and end it, or move the block with --port-base"),
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::doctor::State;

    #[test]
    fn clocks() {
        let second = 1_000_000;
        for (said, state, says) in [
            (100, State::Ok, "0.0 s"),
            (103, State::Ok, "0.0 s"),
            (105, State::Ok, "1.0 s"),
            (107, State::Finding, "3.0 s ahead of ours"),
            (97, State::Finding, "3.0 s behind ours"),
        ] {
            let check = of_clock("c", said * second, 100 * second, 104 * second, CLOCK_APART_US_MAX);
            assert_eq!(check.state, state, "{said}: {check:?}");
            assert!(check.finding.contains(says), "{check:?}");
        }
    }

    #[test]
    fn disks_and_ports() {
        assert_eq!(of_disk(String::new(), FREE_BYTES_MIN, u64::MAX).state, State::Ok);
        assert_eq!(of_disk(String::new(), FREE_BYTES_MIN - 1, u64::MAX).state, State::Finding);
        assert_ne!(disk(Path::new("no/such/directory")).state, State::Unreachable);
        let states =
            [(true, false), (false, true), (false, false)].map(|(free, ours)| of_port("x", 1, free, ours).state);
        assert_eq!(states, [State::Ok, State::Ok, State::Finding]);
    }
}
