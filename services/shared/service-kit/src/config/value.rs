use std::net::IpAddr;

use tracing_subscriber::EnvFilter;

/// What may stand in a setting.
#[derive(Debug, Clone, Copy)]
pub enum Kind {
    /// Any text that is not empty.
    Text,
    /// A whole number.
    Int { min: u64, max: u64 },
    /// A number of bytes: plain or with KiB, MiB, GiB.
    Size { min: u64, max: u64 },
    /// A time span from 1 `unit` up: plain (counted in `unit`) or with ms, s, min, h, d.
    Duration { unit: Unit, max: u64 },
    /// `true` or `false`.
    Bool,
    /// Texts separated by commas (in the file: an array of texts).
    List,
    /// One of these.
    Choice(&'static [&'static str]),
    /// `HOST:PORT[,HOST:PORT]`.
    Brokers,
    /// A PostgreSQL address.
    PostgresUrl,
    /// A Kafka topic's name.
    Topic,
    /// An ISO 3166 country, two letters. Whether there is one is for those to say who know its phone numbers.
    Region,
    /// An IANA time zone.
    TimeZone,
    /// An IP address of this machine's loopback.
    Loopback,
    /// A level or directives of the `tracing` crate.
    LogFilter,
}

/// How a plain number of a time span is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    Ms,
    S,
}

/// A checked value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Value {
    Text(String),
    /// A number; bytes for a size, the kind's unit for a time span.
    Int(u64),
    Bool(bool),
    List(Vec<String>),
}

impl Value {
    pub(super) fn display(&self) -> String {
        match self {
            Self::Text(text) => text.clone(),
            Self::Int(number) => number.to_string(),
            Self::Bool(yes) => yes.to_string(),
            Self::List(items) => items.join(","),
        }
    }
}

impl Unit {
    fn ms(self) -> u64 {
        match self {
            Self::Ms => 1,
            Self::S => 1000,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Ms => "milliseconds",
            Self::S => "seconds",
        }
    }
}

const NON_LOOPBACK: &str = "an address of this machine's loopback, such as 127.0.0.1 or ::1: whoever reaches Rapport may \
     read and write everything until it has keys; put a proxy that checks its callers in front of it to reach it from elsewhere";

impl Kind {
    /// Checks `text`, or says what would be allowed.
    pub(super) fn parse(&self, text: &str) -> Result<Value, String> {
        let trimmed = text.trim();
        let parsed = match *self {
            Self::Int { min, max } => trimmed.parse().ok().filter(|n| (min..=max).contains(n)).map(Value::Int),
            Self::Size { min, max } => size(trimmed).filter(|n| (min..=max).contains(n)).map(Value::Int),
            Self::Duration { unit, max } => span(trimmed, unit).filter(|n| (1..=max).contains(n)).map(Value::Int),
            Self::Bool => match trimmed {
                "true" | "1" | "yes" => Some(Value::Bool(true)),
                "false" | "0" | "no" => Some(Value::Bool(false)),
                _ => None,
            },
            Self::List => {
                let items = trimmed.split(',').map(str::trim).filter(|item| !item.is_empty());
                Some(Value::List(items.map(str::to_owned).collect()))
            }
            Self::Region => {
                let region = trimmed.to_ascii_uppercase();
                // UK is what people write and no country's code.
                let good = region.len() == 2 && region.bytes().all(|b| b.is_ascii_uppercase()) && region != "UK";
                good.then_some(Value::Text(region))
            }
            Self::Loopback => loopback(trimmed).map(|address| Value::Text(address.to_string())),
            Self::Text
            | Self::Choice(_)
            | Self::Brokers
            | Self::PostgresUrl
            | Self::Topic
            | Self::TimeZone
            | Self::LogFilter => self.accepts(trimmed).then(|| Value::Text(trimmed.to_owned())),
        };
        parsed.ok_or_else(|| self.allowed())
    }

    fn accepts(&self, text: &str) -> bool {
        match *self {
            Self::Choice(choices) => choices.contains(&text),
            Self::Brokers => text.split(',').all(is_broker),
            Self::PostgresUrl => text
                .strip_prefix("postgres://")
                .or(text.strip_prefix("postgresql://"))
                .is_some_and(|rest| !rest.is_empty()),
            Self::Topic => is_topic(text),
            Self::TimeZone => text.parse::<chrono_tz::Tz>().is_ok(),
            Self::LogFilter => !text.is_empty() && EnvFilter::try_new(text).is_ok(),
            _ => !text.is_empty(),
        }
    }

    fn allowed(&self) -> String {
        match *self {
            Self::Text => "a text that is not empty".into(),
            Self::Int { min, max } => format!("a whole number from {min} to {max}"),
            Self::Size { min, max } => format!("a number of bytes from {min} to {max}, plain or with KiB, MiB or GiB"),
            Self::Duration { unit, max } => {
                format!("a number of {} from 1 to {max}, or one with ms, s, min, h or d", unit.name())
            }
            Self::Bool => "true or false".into(),
            Self::List => "texts separated by commas".into(),
            Self::Choice(choices) => format!("one of {}", choices.join(", ")),
            Self::Brokers => "HOST:PORT, several separated by commas".into(),
            Self::PostgresUrl => "an address such as postgres://user@host:5432/database".into(),
            Self::Topic => "1 to 249 letters, digits, dots, dashes and underscores".into(),
            Self::Region => "a country code of two letters, such as DE (the United Kingdom's is GB)".into(),
            Self::TimeZone => "an IANA time zone, such as Europe/Berlin".into(),
            Self::Loopback => NON_LOOPBACK.into(),
            Self::LogFilter => "error, warn, info, debug or trace, or directives such as info,sqlx=debug".into(),
        }
    }
}

fn loopback(text: &str) -> Option<IpAddr> {
    let text = if text == "localhost" { "127.0.0.1" } else { text };
    text.parse().ok().filter(IpAddr::is_loopback)
}

fn is_broker(text: &str) -> bool {
    text.trim().rsplit_once(':').is_some_and(|(host, port)| {
        !host.is_empty() && !host.contains("//") && port.parse::<u16>().is_ok_and(|port| port > 0)
    })
}

fn is_topic(text: &str) -> bool {
    (1..=249).contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_'))
        && text != "."
        && text != ".."
}

/// A number with an optional unit behind it.
fn number_and_unit(text: &str) -> Option<(u64, &str)> {
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    Some((text[..end].parse().ok()?, text[end..].trim()))
}

fn size(text: &str) -> Option<u64> {
    let (number, unit) = number_and_unit(text)?;
    let factor = match unit {
        "" | "B" => 1,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        _ => return None,
    };
    number.checked_mul(factor)
}

fn span(text: &str, plain: Unit) -> Option<u64> {
    let (number, unit) = number_and_unit(text)?;
    let factor_ms = match unit {
        "" => return Some(number),
        "ms" => 1,
        "s" => 1000,
        "min" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => return None,
    };
    let ms = number.checked_mul(factor_ms)?;
    // A span that the unit cannot express exactly would be cut silently.
    (ms % plain.ms() == 0).then_some(ms / plain.ms())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_read_and_bounded() {
        let ms = Kind::Duration { unit: Unit::Ms, max: 60_000 };
        let s = Kind::Duration { unit: Unit::S, max: 200_000 };
        let bytes = Kind::Size { min: 1024, max: 1 << 30 };
        for (kind, text, expected) in [
            (ms, "250", Some(Value::Int(250))),
            (ms, "5s", Some(Value::Int(5000))),
            (ms, "1 min", Some(Value::Int(60_000))),
            (ms, "61s", None),
            (ms, "0", None),
            (ms, "5 weeks", None),
            (s, "1d", Some(Value::Int(86_400))),
            (s, "1500ms", None),
            (bytes, "256KiB", Some(Value::Int(262_144))),
            (bytes, "1000", None),
            (bytes, "99999999999999999999GiB", None),
            (bytes, "18014398509481984GiB", None),
            (Kind::Bool, "yes", Some(Value::Bool(true))),
            (Kind::Bool, "maybe", None),
            (Kind::List, " a, ,b ", Some(Value::List(vec!["a".into(), "b".into()]))),
            (Kind::Region, "de", Some(Value::Text("DE".into()))),
            (Kind::Region, "DEU", None),
            (Kind::Region, "uk", None),
            (Kind::Region, "GB", Some(Value::Text("GB".into()))),
            (Kind::TimeZone, "Europe/Berlin", Some(Value::Text("Europe/Berlin".into()))),
            (Kind::TimeZone, "Berlin", None),
            (Kind::Loopback, "localhost", Some(Value::Text("127.0.0.1".into()))),
            (Kind::Loopback, "::1", Some(Value::Text("::1".into()))),
            (Kind::Loopback, "0.0.0.0", None),
            (Kind::Brokers, "a:1, b:2", Some(Value::Text("a:1, b:2".into()))),
            (Kind::Brokers, "a", None),
            (Kind::Brokers, "http://a:1", None),
            (Kind::Topic, "rapport interactions", None),
            (Kind::PostgresUrl, "mysql://x", None),
            (Kind::LogFilter, "info,sqlx=debug", Some(Value::Text("info,sqlx=debug".into()))),
            (Kind::LogFilter, "info,sqlx=loud", None),
        ] {
            assert_eq!(kind.parse(text).ok(), expected, "{kind:?} {text}");
        }
    }
}
