use service_kit::{Clock, Config};
use sqlx::Row;
use sqlx::postgres::PgRow;

use super::{Check, machine};
use crate::failure::{Exit, OrExit, Outcome};
use crate::ops::{STATEMENT_TIMEOUT, connect};

const VERSION_NUM_MIN: i32 = 150_000;

/// Connections of a worker of a projector, and what operators and analysts need besides.
const CONNECTIONS_A_WORKER: u32 = 4;
const CONNECTIONS_SPARE: u32 = 10;

const REACHABLE: &str = "PostgreSQL";

/// What the server says of itself.
#[derive(Clone, Debug)]
struct Server {
    version_num: i32,
    version: String,
    encoding: String,
    fsync: String,
    full_page_writes: String,
    connections_max: i32,
    may_create: bool,
    is_replica: bool,
    /// `None`: there is no such role.
    analyst_is_harmless: Option<bool>,
    /// Its statements end after a while by themselves.
    analyst_has_timeout: bool,
    has_backbone: bool,
}

pub(super) async fn checks(config: &Config, clock: &Clock) -> Outcome<Vec<Check>> {
    let mut database = match connect(config, STATEMENT_TIMEOUT).await {
        Ok(database) => database,
        Err(failure) if failure.exit() == Exit::Unavailable => {
            return Ok(vec![Check::unreachable(
                REACHABLE,
                failure.to_string(),
                "without it nothing is folded and nothing can be asked; events are accepted all the same",
                "start it (`rapport up` starts a local one), or correct the setting `database_url`",
            )]);
        }
        Err(failure) => return Err(failure),
    };
    let before = clock.now_us();
    let row = sqlx::query(include_str!("../../../sql/doctor.sql")).fetch_one(&mut database).await;
    let after = clock.now_us();
    let row = row.or_exit(Exit::Unavailable)?;
    let now_us: i64 = row.try_get("now_us").or_exit(Exit::Internal)?;
    let server = Server::of(&row).or_exit(Exit::Internal)?;
    let workers = config.u32("workers");
    let mut checks = of_server(
        &server,
        3 * workers * CONNECTIONS_A_WORKER + config.u32("query_connections_max") + CONNECTIONS_SPARE,
    );
    checks.push(machine::of_clock("PostgreSQL's clock", now_us, before, after, machine::CLOCK_APART_US_MAX));
    Ok(checks)
}

impl Server {
    fn of(row: &PgRow) -> Result<Self, sqlx::Error> {
        Ok(Self {
            version_num: row.try_get("version_num")?,
            version: row.try_get("version")?,
            encoding: row.try_get("encoding")?,
            fsync: row.try_get("fsync")?,
            full_page_writes: row.try_get("full_page_writes")?,
            connections_max: row.try_get("connections_max")?,
            may_create: row.try_get("may_create")?,
            is_replica: row.try_get("is_replica")?,
            analyst_is_harmless: row.try_get("analyst_is_harmless")?,
            analyst_has_timeout: row.try_get("analyst_has_timeout")?,
            has_backbone: row.try_get("has_backbone")?,
        })
    }
}

fn of_server(server: &Server, connections_min: u32) -> Vec<Check> {
    let mut checks = vec![version(server)];
    let setting = |name: &str| format!("PostgreSQL, {name}");
    if server.encoding != "UTF8" {
        checks.push(Check::finding(
            setting("encoding"),
            format!("the database is in {}", server.encoding),
            "events hold any character; the database takes some of them for errors",
            "create the database anew: CREATE DATABASE ... ENCODING 'UTF8' TEMPLATE template0",
        ));
    }
    for (name, value) in [("fsync", &server.fsync), ("full_page_writes", &server.full_page_writes)] {
        if value != "on" {
            checks.push(Check::finding(
                setting(name),
                format!("it is {value}"),
                "a crash of the machine may leave tables that are silently wrong, with checkpoints that call them right",
                format!("ALTER SYSTEM SET {name} = on, and load the configuration again"),
            ));
        }
    }
    if i64::from(server.connections_max) < i64::from(connections_min) {
        checks.push(Check::finding(
            setting("max_connections"),
            format!("it is {}; these settings may need {connections_min}", server.connections_max),
            "a service that gets no connection stands still",
            "raise it, or lower `workers` or `query_connections_max`",
        ));
    }
    if checks.len() == 1 {
        checks.push(Check::ok(setting("settings"), "UTF8, durable, enough connections"));
    }
    checks.push(rights(server));
    checks.push(analyst(server));
    checks
}

fn version(server: &Server) -> Check {
    if server.version_num < VERSION_NUM_MIN {
        return Check::finding(
            REACHABLE,
            format!("version {} answers", server.version),
            "the read models use what came with 15",
            "use PostgreSQL 15 or newer",
        );
    }
    Check::ok(REACHABLE, format!("version {} answers", server.version))
}

fn rights(server: &Server) -> Check {
    let name = "PostgreSQL, rights";
    if server.is_replica {
        return Check::finding(
            name,
            "the server is a replica, and takes no changes",
            "projectors write",
            "let `database_url` of the projectors name the primary",
        );
    }
    if server.may_create {
        return Check::ok(name, "this role may create schemas");
    }
    Check::finding(
        name,
        "this role may not create schemas in the database",
        "each generation of a read model is a schema of its own",
        "GRANT CREATE ON DATABASE ... TO the role in `database_url`",
    )
}

fn analyst(server: &Server) -> Check {
    let name = "PostgreSQL, role analyst";
    match server.analyst_is_harmless {
        Some(true) if server.analyst_has_timeout => {
            Check::ok(name, "it may log in, has no rights over others, and its statements have a time limit")
        }
        Some(true) => Check::finding(
            name,
            "it has no statement_timeout",
            "a statement that never ends takes a core from the folds, and its snapshot keeps dead rows in every table",
            "ALTER ROLE analyst SET statement_timeout = '5min', and the same of idle_in_transaction_session_timeout",
        ),
        Some(false) => Check::finding(
            name,
            "it cannot log in, or is a superuser, or may make roles",
            "analysts read the views and nothing else",
            "ALTER ROLE analyst LOGIN NOSUPERUSER NOCREATEROLE",
        ),
        None if server.has_backbone => Check::finding(
            name,
            "it does not exist",
            "analysts read the views by it",
            "start a projector with a role that may create roles, or CREATE ROLE analyst LOGIN and start a projector",
        ),
        None => Check::skipped(name, "no projector has run on this database yet; the first one creates it"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::doctor::State;

    fn states(change: impl FnOnce(&mut Server)) -> Vec<(String, State)> {
        let mut server = Server {
            version_num: 180_001,
            version: "18.1".to_owned(),
            encoding: "UTF8".to_owned(),
            fsync: "on".to_owned(),
            full_page_writes: "on".to_owned(),
            connections_max: 200,
            may_create: true,
            is_replica: false,
            analyst_is_harmless: Some(true),
            analyst_has_timeout: true,
            has_backbone: true,
        };
        change(&mut server);
        let checks = of_server(&server, 100);
        checks.into_iter().filter(|c| c.state != State::Ok).map(|c| (c.name, c.state)).collect()
    }

    #[test]
    fn what_is_wrong_with_a_server() {
        assert_eq!(states(|_| {}), []);
        /// What is changed, which check sees it, and what it says.
        type Case = (fn(&mut Server), &'static str, State);
        let cases: [Case; 11] = [
            (|s| s.version_num = 140_009, "PostgreSQL", State::Finding),
            (|s| s.encoding = "SQL_ASCII".to_owned(), "PostgreSQL, encoding", State::Finding),
            (|s| s.fsync = "off".to_owned(), "PostgreSQL, fsync", State::Finding),
            (|s| s.full_page_writes = "off".to_owned(), "PostgreSQL, full_page_writes", State::Finding),
            (|s| s.connections_max = 99, "PostgreSQL, max_connections", State::Finding),
            (|s| s.may_create = false, "PostgreSQL, rights", State::Finding),
            (|s| s.is_replica = true, "PostgreSQL, rights", State::Finding),
            (|s| s.analyst_is_harmless = Some(false), "PostgreSQL, role analyst", State::Finding),
            (|s| s.analyst_has_timeout = false, "PostgreSQL, role analyst", State::Finding),
            (|s| s.analyst_is_harmless = None, "PostgreSQL, role analyst", State::Finding),
            (|s| (s.analyst_is_harmless, s.has_backbone) = (None, false), "PostgreSQL, role analyst", State::Skipped),
        ];
        for (change, name, state) in cases {
            assert_eq!(states(change), [(name.to_owned(), state)]);
        }
    }
}
