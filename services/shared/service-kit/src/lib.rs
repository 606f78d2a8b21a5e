//! What every service process has, whatever it does: settings, logs, metrics, health, an HTTP
//! server with limits, a clean end.
//!
//! | module | responsibility |
//! |---|---|
//! | `config` | the one table of settings; flags, environment, file, default; where each value came from |
//! | `telemetry` | logs to the standard error, metrics in Prometheus' text form |
//! | `disk` | room on the disks that the local servers write to |
//! | `metric` | what each number of `/metrics` is |
//! | [`messaging`] | what is measured and logged of records, by OpenTelemetry's names |
//! | `health` | named conditions; `/livez`, `/readyz`, `/metrics` |
//! | `serve` | HTTP/1.1 with a limit on connections, header time and the final drain |
//! | `shutdown` | SIGINT and SIGTERM as a token |
//! | `clock` | the time, passed as a value |
//! | `problem` | errors as `application/problem+json` (RFC 9457) |

mod clock;
mod config;
mod disk;
mod health;
pub mod messaging;
mod metric;
mod problem;
mod serve;
mod shutdown;
mod telemetry;

pub use clock::Clock;
pub use config::{
    Config, ConfigError, EXIT_CONFIG, Entry, Kind, Origin, Ports, SETTINGS, Secrecy, Setting, environment, setting,
};
pub use disk::{DISK_METRICS, watch_disks};
pub use health::{CONDITION_HOLDS, Condition, HEALTH_METRICS, Health, admin_router};
pub use metric::{Metric, MetricKind, describe};
pub use problem::{Problem, ProblemError};
pub use serve::{ServeOptions, serve};
pub use shutdown::shutdown_on_signal;
pub use telemetry::{LogFormat, TelemetryError, init_logs, init_metrics, keep_metrics_small};
