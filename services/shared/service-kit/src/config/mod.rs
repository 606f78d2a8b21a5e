mod load;
mod settings;
mod value;

pub use load::{Config, ConfigError, EXIT_CONFIG, Entry, Origin, environment};
pub use settings::{Ports, SETTINGS, Secrecy, Setting, setting};
pub use value::Kind;
