use super::value::{Kind, Unit};

/// One line of the table of settings.
#[derive(Debug, Clone, Copy)]
pub struct Setting {
    /// As in `rapport.toml`; `--name-with-dashes` as a flag, `RAPPORT_NAME` in the environment.
    pub name: &'static str,
    /// What may stand there.
    pub kind: Kind,
    /// What holds when nothing is said; `None` is "not set".
    pub default: Option<&'static str>,
    /// What of it may be shown.
    pub secrecy: Secrecy,
    /// One line for people, ending in how it is counted.
    pub help: &'static str,
}

/// What of a value may be printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Secrecy {
    /// All of it.
    Open,
    /// All but the password in a URL.
    UrlPassword,
    /// Nothing.
    Secret,
}

const MIB: u64 = 1024 * 1024;

/// The ports that follow from `port_base`: the last one is 14 above it.
const PORT_BASE_MAX: u64 = 65_535 - 14;

/// Every setting of every service and command. Names and meanings are public: add, do not change.
pub const SETTINGS: &[Setting] = &[
    open("data_dir", Kind::Text, ".rapport", "where the local Kafka and PostgreSQL keep their data"),
    open(
        "port_base",
        Kind::Int { min: 1024, max: PORT_BASE_MAX },
        "7070",
        "first port of the block of 15 on this machine",
    ),
    open("bind", Kind::Loopback, "127.0.0.1", "address that the services listen on"),
    unset("kafka", Kind::Brokers, Secrecy::Open, "Kafka's brokers, HOST:PORT[,HOST:PORT]; unset: the local one"),
    unset("kafka_sasl_password", Kind::Text, Secrecy::Secret, "librdkafka's sasl.password"),
    unset("kafka_ssl_key_password", Kind::Text, Secrecy::Secret, "librdkafka's ssl.key.password"),
    unset(
        "database_url",
        Kind::PostgresUrl,
        Secrecy::UrlPassword,
        "PostgreSQL 15 or newer, postgres://...; unset: the local one",
    ),
    open("topic", Kind::Topic, "rapport.interactions", "the log's topic"),
    open("rejected_topic", Kind::Topic, "rapport.rejected", "the topic of rejected events, kept raw"),
    open("partitions", Kind::Int { min: 1, max: 1024 }, "6", "partitions of the log when it is created"),
    open("replication", Kind::Int { min: 1, max: 9 }, "1", "copies of each partition when the log is created"),
    open("default_region", Kind::Region, "DE", "country of phone numbers without a country code, two letters"),
    open(
        "placeholders",
        Kind::List,
        "",
        "identifier values that mean nobody, besides the usual ones (kind:value or value)",
    ),
    open(
        "hub_limits",
        Kind::List,
        "",
        "how many others an identifier may stand beside before it says nothing about who somebody is, where not as \
         usual: email/user_id=5,device_id/*=5; another value is another definition of customer360",
    ),
    open("reporting_timezone", Kind::TimeZone, "UTC", "time zone of the reports' days, IANA name"),
    open("log_format", Kind::Choice(&["text", "json"]), "text", "form of the services' logs"),
    open(
        "log_level",
        Kind::LogFilter,
        "info",
        "error, warn, info, debug or trace, or directives such as info,sqlx=debug",
    ),
    open("event_bytes_max", Kind::Size { min: 1024, max: 2 * MIB }, "256KiB", "largest event, bytes"),
    open("request_bytes_max", Kind::Size { min: 64 * 1024, max: 256 * MIB }, "5MiB", "largest request body, bytes"),
    open("request_events_max", Kind::Int { min: 1, max: 1_000_000 }, "10000", "events in one request"),
    open(
        "time_ahead_s_max",
        Kind::Duration { unit: Unit::S, max: 366 * 86_400 },
        "86400",
        "how far ahead of its receipt an event's time may be, seconds",
    ),
    open(
        "queue_bytes_max",
        Kind::Size { min: MIB, max: 2048 * MIB },
        "64MiB",
        "unacknowledged bytes in a producer's queue",
    ),
    open(
        "publish_timeout_ms",
        Kind::Duration { unit: Unit::Ms, max: 300_000 },
        "5000",
        "how long a publish waits for Kafka, milliseconds",
    ),
    open("batch_events_max", Kind::Int { min: 1, max: 100_000 }, "5000", "events in one transaction of a projector"),
    open("workers", Kind::Int { min: 1, max: 64 }, "1", "workers of each projector"),
    open(
        "lease_ttl_ms",
        Kind::Duration { unit: Unit::Ms, max: 600_000 },
        "10000",
        "how long a worker's claim on a partition lasts unrenewed, milliseconds",
    ),
    open(
        "query_connections_max",
        Kind::Int { min: 1, max: 100 },
        "16",
        "connections that answer requests of the query service, half of them reports, beside three for itself",
    ),
    open(
        "report_timeout_ms",
        Kind::Duration { unit: Unit::Ms, max: 600_000 },
        "30000",
        "how long PostgreSQL may work on one report, milliseconds",
    ),
    open(
        "wait_ms",
        Kind::Duration { unit: Unit::Ms, max: 60_000 },
        "5000",
        "how long a read waits for its position, milliseconds",
    ),
    open("connections_max", Kind::Int { min: 1, max: 100_000 }, "4096", "open HTTP connections of each service"),
    open(
        "header_timeout_ms",
        Kind::Duration { unit: Unit::Ms, max: 600_000 },
        "60000",
        "how long a connection may take to send a request's header, milliseconds",
    ),
    open(
        "drain_ms",
        Kind::Duration { unit: Unit::Ms, max: 600_000 },
        "10000",
        "how long a service that stops waits for open requests, milliseconds",
    ),
    open("kafka_heap_mib_max", Kind::Int { min: 128, max: 65_536 }, "512", "heap of the local Kafka, MiB"),
    open(
        "postgres_buffers_mib",
        Kind::Int { min: 16, max: 65_536 },
        "512",
        "shared buffers of the local PostgreSQL, MiB",
    ),
];

/// The line of the table with this name.
pub fn setting(name: &str) -> Option<&'static Setting> {
    SETTINGS.iter().find(|setting| setting.name == name)
}

const fn open(name: &'static str, kind: Kind, default: &'static str, help: &'static str) -> Setting {
    Setting { name, kind, default: Some(default), secrecy: Secrecy::Open, help }
}

const fn unset(name: &'static str, kind: Kind, secrecy: Secrecy, help: &'static str) -> Setting {
    Setting { name, kind, default: None, secrecy, help }
}

/// The block of ports on one machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ports {
    pub collector_http: u16,
    pub collector_grpc: u16,
    pub query: u16,
    pub postgres: u16,
    pub kafka: u16,
    pub kafka_controller: u16,
    pub admin_collector: u16,
    pub admin_sales: u16,
    pub admin_service: u16,
    pub admin_customer360: u16,
    pub admin_query: u16,
}

impl Ports {
    /// The block that begins at `base`, which the setting's limit keeps below 65522.
    pub fn from_base(base: u16) -> Self {
        Self {
            collector_http: base,
            collector_grpc: base + 1,
            query: base + 2,
            postgres: base + 3,
            kafka: base + 4,
            kafka_controller: base + 5,
            admin_collector: base + 10,
            admin_sales: base + 11,
            admin_service: base + 12,
            admin_customer360: base + 13,
            admin_query: base + 14,
        }
    }
}
