use std::collections::BTreeMap;
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::settings::{Ports, SETTINGS, Secrecy, Setting, setting};
use super::value::{Kind, Unit, Value};

/// What a program ends with when its configuration is bad (`EX_CONFIG`).
pub const EXIT_CONFIG: u8 = 78;

const VARIABLE_PREFIX: &str = "RAPPORT_";
const FILE_SUFFIX: &str = "_FILE";

/// Variables that are ours without being settings.
const OTHER_VARIABLES: &[&str] = &["RAPPORT_CONFIG", "RAPPORT_STACK_DIR", "RAPPORT_FAIL_POINT"];

/// The settings that say where on this machine the services are.
const PLACES: [&str; 2] = ["bind", "port_base"];

/// librdkafka properties that hold Rapport's promises up; whoever changes one loses events.
const KEPT_PROPERTIES: &[&str] = &[
    "acks",
    "request.required.acks",
    "enable.idempotence",
    "partitioner",
    "isolation.level",
    "auto.offset.reset",
    "enable.auto.commit",
    "enable.auto.offset.store",
    "enable.partition.eof",
    "check.crcs",
    "group.id",
    "message.max.bytes",
];

/// Where a value came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// A flag of the command line.
    Flag,
    /// This variable of the environment.
    Environment(String),
    /// The file that this variable names.
    SecretFile { variable: String, path: PathBuf },
    /// The configuration file.
    File(PathBuf),
    /// What runs on this machine now, as this file of it says.
    Running(PathBuf),
    /// Another setting decides it.
    Derived(&'static str),
    /// Nobody said anything.
    Default,
}

impl fmt::Display for Origin {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Flag => formatter.write_str("flag"),
            Self::Environment(variable) => write!(formatter, "environment {variable}"),
            Self::SecretFile { variable, path } => write!(formatter, "file {} ({variable})", path.display()),
            Self::File(path) => write!(formatter, "file {}", path.display()),
            Self::Running(path) => write!(formatter, "what runs now, {}", path.display()),
            Self::Derived(name) => write!(formatter, "from {name}"),
            Self::Default => formatter.write_str("default"),
        }
    }
}

/// A configuration that cannot be used. Ends the program with [`EXIT_CONFIG`].
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// A value that the setting does not allow.
    #[error("{name} = {value:?} ({origin}) is not allowed: it must be {allowed}")]
    Value { name: String, value: String, origin: Origin, allowed: String },

    /// A name that is no setting.
    #[error("{name:?} ({origin}) is not a setting{}; `rapport config` lists them all", hint(.suggestion))]
    Unknown { name: String, origin: Origin, suggestion: Option<&'static str> },

    /// A value and a file with a value, both in the environment.
    #[error("{variable} and {variable}_FILE are both set: keep one of them")]
    Twice { variable: String },

    /// A property that Rapport sets itself.
    #[error(
        "[kafka] {name:?} ({origin}) cannot be set: no event is lost or counted twice only with Rapport's own value"
    )]
    KeptProperty { name: String, origin: Origin },

    /// A setting that this program needs and nobody gave.
    #[error("{name} is not set; give --{flag}, {variable} or {name} in rapport.toml")]
    Missing { name: &'static str, flag: String, variable: String },

    /// The configuration file is not TOML.
    #[error("{} cannot be read as TOML: {detail}", path.display())]
    Syntax { path: PathBuf, detail: String },

    /// A file could not be read.
    #[error("{} ({origin}) cannot be read: {source}", path.display())]
    Unreadable { path: PathBuf, origin: String, source: std::io::Error },
}

fn hint(suggestion: &Option<&str>) -> String {
    suggestion.map(|name| format!(" (did you mean {name}?)")).unwrap_or_default()
}

/// The effective settings of one process.
#[derive(Debug, Clone)]
pub struct Config {
    values: BTreeMap<&'static str, (Value, Origin)>,
    kafka_properties: BTreeMap<String, (String, Origin)>,
    warnings: Vec<String>,
}

/// One line of `rapport config`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The setting, or `kafka.` and a librdkafka property.
    pub name: String,
    /// As it may be shown: secrets are `***`; `None` is "not set".
    pub shown: Option<String>,
    pub origin: Origin,
    pub help: &'static str,
}

/// The environment, as far as it is text.
pub fn environment() -> impl Iterator<Item = (String, String)> {
    std::env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
}

impl Config {
    /// Reads the settings: `cli` (by setting name) before `env` before the TOML `file` before the
    /// defaults. An empty variable is an unset one.
    ///
    /// # Errors
    /// With the first value, name or file that cannot be used.
    pub fn load(
        cli: BTreeMap<String, String>,
        env: impl Iterator<Item = (String, String)>,
        file: Option<&Path>,
    ) -> Result<Self, ConfigError> {
        let mut config = Self { values: BTreeMap::new(), kafka_properties: BTreeMap::new(), warnings: Vec::new() };
        // From the weakest to the strongest: each overwrites what is there.
        for line in SETTINGS {
            if let Some(default) = line.default {
                config.set(line, default, Origin::Default)?;
            }
        }
        if let Some(path) = file {
            config.read_file(path)?;
        }
        config.read_environment(env)?;
        for (name, value) in cli {
            let line = known(&name, Origin::Flag)?;
            config.set(line, &value, Origin::Flag)?;
        }
        config.derive();
        Ok(config)
    }

    /// Where the services are by these settings, as [`Config::follow`] reads it: lines of TOML.
    pub fn places(&self) -> String {
        let places = PLACES.iter().filter_map(|name| Some((*name, &self.values.get(name)?.0)));
        let places = places.map(|(name, value)| (name.to_owned(), toml::Value::String(value.display())));
        places.collect::<toml::Table>().to_string()
    }

    /// Takes where the services are from `file`, which what runs now has left, unless somebody gave any of it: half of
    /// one place and half of another is none. Everything else in the file is left alone.
    ///
    /// # Errors
    /// The file cannot be read, is no TOML, or names a place that is not allowed.
    pub fn follow(&mut self, file: &Path) -> Result<(), ConfigError> {
        if PLACES.iter().any(|name| self.is_given(name)) {
            return Ok(());
        }
        let table = table(file)?;
        for name in PLACES {
            if let Some(text) = table.get(name).and_then(scalar) {
                let origin = Origin::Running(file.to_owned());
                self.set(known(name, origin.clone())?, &text, origin)?;
            }
        }
        self.values.retain(|_, (_, origin)| !matches!(origin, Origin::Derived(_)));
        self.derive();
        Ok(())
    }

    /// The text of a setting that has a default or is derived.
    ///
    /// # Panics
    /// When the table has no such setting with a value: a mistake in the program. The same holds
    /// for the other readers.
    pub fn text(&self, name: &str) -> &str {
        self.optional_text(name).unwrap_or_else(|| panic!("the setting {name} has no value: use `optional_text`"))
    }

    /// The text of a setting that may be unset.
    pub fn optional_text(&self, name: &str) -> Option<&str> {
        match &self.values.get(name)?.0 {
            Value::Text(text) => Some(text),
            other => panic!("the setting {name} is no text but {other:?}"),
        }
    }

    /// The text of a setting that this program cannot do without.
    ///
    /// # Errors
    /// [`ConfigError::Missing`].
    pub fn required_text(&self, name: &'static str) -> Result<&str, ConfigError> {
        self.optional_text(name).ok_or_else(|| ConfigError::Missing {
            name,
            flag: name.replace('_', "-"),
            variable: variable(name),
        })
    }

    /// A number.
    pub fn u64(&self, name: &str) -> u64 {
        match self.values.get(name) {
            Some((Value::Int(number), _)) => *number,
            other => panic!("the setting {name} is no number but {other:?}"),
        }
    }

    /// A number that the table bounds below 65536.
    pub fn u16(&self, name: &str) -> u16 {
        u16::try_from(self.u64(name)).expect("the table bounds it below 65536")
    }

    /// A number that the table bounds below 2^32.
    pub fn u32(&self, name: &str) -> u32 {
        u32::try_from(self.u64(name)).expect("the table bounds it below 2^32")
    }

    /// A number of things or bytes.
    pub fn usize(&self, name: &str) -> usize {
        usize::try_from(self.u64(name)).expect("the table bounds it below 2^32")
    }

    /// A size in bytes.
    pub fn bytes(&self, name: &str) -> u64 {
        self.u64(name)
    }

    /// A time span in milliseconds.
    pub fn duration_ms(&self, name: &str) -> u64 {
        match setting(name).map(|line| line.kind) {
            Some(Kind::Duration { unit: Unit::Ms, .. }) => self.u64(name),
            Some(Kind::Duration { unit: Unit::S, .. }) => self.u64(name) * 1000,
            other => panic!("the setting {name} is no time span but {other:?}"),
        }
    }

    /// A time span.
    pub fn duration(&self, name: &str) -> Duration {
        Duration::from_millis(self.duration_ms(name))
    }

    /// Yes or no.
    pub fn bool(&self, name: &str) -> bool {
        match self.values.get(name) {
            Some((Value::Bool(yes), _)) => *yes,
            other => panic!("the setting {name} is no yes or no but {other:?}"),
        }
    }

    /// The texts of a list.
    pub fn list(&self, name: &str) -> &[String] {
        match self.values.get(name) {
            Some((Value::List(items), _)) => items,
            other => panic!("the setting {name} is no list but {other:?}"),
        }
    }

    /// Whether somebody gave this setting; `kafka` and `database_url` are derived when nobody did.
    pub fn is_given(&self, name: &str) -> bool {
        self.values.get(name).is_some_and(|(_, origin)| !matches!(origin, Origin::Default | Origin::Derived(_)))
    }

    /// The block of ports.
    pub fn ports(&self) -> Ports {
        Ports::from_base(self.u16("port_base"))
    }

    /// Where a service listens: the address of `bind` with this port.
    pub fn listen(&self, port: u16) -> SocketAddr {
        let address: IpAddr = self.text("bind").parse().expect("the setting's check has parsed it");
        SocketAddr::new(address, port)
    }

    /// What goes to librdkafka beside Rapport's own properties: `[kafka]` and the passwords.
    pub fn kafka_properties(&self) -> BTreeMap<String, String> {
        let mut properties: BTreeMap<String, String> =
            self.kafka_properties.iter().map(|(name, (value, _))| (name.clone(), value.clone())).collect();
        for (name, property) in
            [("kafka_sasl_password", "sasl.password"), ("kafka_ssl_key_password", "ssl.key.password")]
        {
            if let Some(password) = self.optional_text(name) {
                properties.insert(property.to_owned(), password.to_owned());
            }
        }
        properties
    }

    /// Every setting in the table's order, then the librdkafka properties.
    pub fn entries(&self) -> Vec<Entry> {
        let settings = SETTINGS.iter().map(|line| {
            let (shown, origin) = match self.values.get(line.name) {
                Some((value, origin)) => (Some(masked(line.secrecy, value.display())), origin.clone()),
                None => (None, Origin::Default),
            };
            Entry { name: line.name.to_owned(), shown, origin, help: line.help }
        });
        let properties = self.kafka_properties.iter().map(|(name, (value, origin))| {
            let secret =
                ["password", "secret", "pem", "jaas", "oauthbearer.config"].iter().any(|part| name.contains(part));
            let secrecy = if secret { Secrecy::Secret } else { Secrecy::Open };
            let shown = Some(masked(secrecy, value.clone()));
            Entry { name: format!("kafka.{name}"), shown, origin: origin.clone(), help: "librdkafka property" }
        });
        settings.chain(properties).collect()
    }

    /// What looks like a mistake and does no harm, as sentences to log.
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }

    fn set(&mut self, line: &'static Setting, text: &str, origin: Origin) -> Result<(), ConfigError> {
        match line.kind.parse(text) {
            Ok(value) => {
                self.values.insert(line.name, (value, origin));
                Ok(())
            }
            Err(allowed) => Err(ConfigError::Value {
                name: line.name.to_owned(),
                value: masked(line.secrecy, text.to_owned()),
                origin,
                allowed,
            }),
        }
    }

    fn read_environment(&mut self, env: impl Iterator<Item = (String, String)>) -> Result<(), ConfigError> {
        let ours: BTreeMap<String, String> =
            env.filter(|(name, value)| name.starts_with(VARIABLE_PREFIX) && !value.is_empty()).collect();
        for (variable, value) in &ours {
            if let Some(line) = named_by(variable) {
                self.set(line, value, Origin::Environment(variable.clone()))?;
                continue;
            }
            if let Some(plain) = variable.strip_suffix(FILE_SUFFIX)
                && let Some(line) = named_by(plain)
            {
                if ours.contains_key(plain) {
                    return Err(ConfigError::Twice { variable: plain.to_owned() });
                }
                let path = PathBuf::from(value);
                let content = read(&path, variable)?;
                let origin = Origin::SecretFile { variable: variable.clone(), path };
                self.set(line, content.trim_end_matches(['\r', '\n']), origin)?;
                continue;
            }
            // Not an error: container platforms inject variables that begin with a service's name.
            if !OTHER_VARIABLES.contains(&variable.as_str()) && !variable.starts_with("RAPPORT_TEST_") {
                let name = variable[VARIABLE_PREFIX.len()..].to_ascii_lowercase();
                self.warnings.push(format!("the variable {variable} names no setting{}", hint(&similar(&name))));
            }
        }
        Ok(())
    }

    fn read_file(&mut self, path: &Path) -> Result<(), ConfigError> {
        let origin = Origin::File(path.to_owned());
        for (name, value) in table(path)? {
            match value {
                toml::Value::Table(properties) if name == "kafka" => {
                    self.read_properties("", properties, &origin)?;
                }
                value => {
                    let line = known(&name, origin.clone())?;
                    let Some(text) = scalar(&value) else {
                        let allowed = line.kind.parse("").err().unwrap_or_else(|| "a plain value".to_owned());
                        let value = masked(line.secrecy, value.to_string());
                        return Err(ConfigError::Value { name, value, origin, allowed });
                    };
                    self.set(line, &text, origin.clone())?;
                }
            }
        }
        Ok(())
    }

    /// Properties may be written `"sasl.mechanism" = …` or `sasl.mechanism = …`, which TOML reads
    /// as a table in a table.
    fn read_properties(&mut self, prefix: &str, table: toml::Table, origin: &Origin) -> Result<(), ConfigError> {
        for (name, value) in table {
            let name = if prefix.is_empty() { name } else { format!("{prefix}.{name}") };
            if let toml::Value::Table(inner) = value {
                self.read_properties(&name, inner, origin)?;
                continue;
            }
            let Some(text) = scalar(&value) else {
                let (value, allowed) = (value.to_string(), "a text, a number, true or false".to_owned());
                return Err(ConfigError::Value { name, value, origin: origin.clone(), allowed });
            };
            if KEPT_PROPERTIES.contains(&name.as_str()) {
                return Err(ConfigError::KeptProperty { name, origin: origin.clone() });
            }
            if name == "bootstrap.servers" || name == "metadata.broker.list" || name == "brokers" {
                let line = setting("kafka").expect("the table has it");
                self.set(line, &text, origin.clone())?;
            } else {
                self.kafka_properties.insert(name, (text, origin.clone()));
            }
        }
        Ok(())
    }

    /// Without servers of somebody's own, the ones that `rapport up` starts.
    fn derive(&mut self) {
        let ports = self.ports();
        let kafka = format!("127.0.0.1:{}", ports.kafka);
        let database_url = format!("postgres://rapport@127.0.0.1:{}/rapport", ports.postgres);
        for (name, value) in [("kafka", kafka), ("database_url", database_url)] {
            self.values.entry(name).or_insert((Value::Text(value), Origin::Derived("port_base")));
        }
    }
}

fn known(name: &str, origin: Origin) -> Result<&'static Setting, ConfigError> {
    setting(name).ok_or_else(|| ConfigError::Unknown { name: name.to_owned(), origin, suggestion: similar(name) })
}

fn variable(name: &str) -> String {
    format!("{VARIABLE_PREFIX}{}", name.to_ascii_uppercase())
}

fn named_by(variable: &str) -> Option<&'static Setting> {
    let name = variable.strip_prefix(VARIABLE_PREFIX)?;
    SETTINGS.iter().find(|line| line.name.eq_ignore_ascii_case(name))
}

fn read(path: &Path, origin: &str) -> Result<String, ConfigError> {
    std::fs::read_to_string(path).map_err(|source| ConfigError::Unreadable {
        path: path.to_owned(),
        origin: origin.to_owned(),
        source,
    })
}

fn table(path: &Path) -> Result<toml::Table, ConfigError> {
    let syntax = |error: toml::de::Error| ConfigError::Syntax {
        path: path.to_owned(),
        detail: error.to_string().trim().to_owned(),
    };
    read(path, "configuration")?.parse().map_err(syntax)
}

/// A TOML value as the text that a flag would have; an array of such as a list.
fn scalar(value: &toml::Value) -> Option<String> {
    match value {
        toml::Value::String(text) => Some(text.clone()),
        toml::Value::Integer(number) => Some(number.to_string()),
        toml::Value::Float(number) => Some(number.to_string()),
        toml::Value::Boolean(yes) => Some(yes.to_string()),
        toml::Value::Array(items) => {
            let items: Option<Vec<String>> = items.iter().map(scalar).collect();
            items.map(|items| items.join(","))
        }
        toml::Value::Datetime(_) | toml::Value::Table(_) => None,
    }
}

fn masked(secrecy: Secrecy, value: String) -> String {
    const MASK: &str = "***";
    match secrecy {
        Secrecy::Open => value,
        Secrecy::Secret => MASK.to_owned(),
        Secrecy::UrlPassword => {
            let authority = value.find("://").map_or(0, |at| at + 3);
            // The last `@`: a password that was not percent-encoded may hold one.
            let Some(at) = value.rfind('@').filter(|at| *at > authority) else { return value };
            match value[authority..at].find(':') {
                Some(colon) => format!("{}:{MASK}{}", &value[..authority + colon], &value[at..]),
                None => value,
            }
        }
    }
}

/// The setting that a mistyped name may have meant: the nearest one within three edits.
fn similar(name: &str) -> Option<&'static str> {
    const EDITS_MAX: usize = 3;
    let nearest = SETTINGS.iter().map(|line| (edits(name, line.name), line.name)).min()?;
    (nearest.0 <= EDITS_MAX).then_some(nearest.1)
}

/// Levenshtein's distance, in bytes.
fn edits(left: &str, right: &str) -> usize {
    let mut row: Vec<usize> = (0..=right.len()).collect();
    for (i, l) in left.bytes().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, r) in right.bytes().enumerate() {
            let substituted = diagonal + usize::from(l != r);
            diagonal = row[j + 1];
            row[j + 1] = substituted.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[right.len()]
}
