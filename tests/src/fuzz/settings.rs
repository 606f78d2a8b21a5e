use std::{
    cell::RefCell,
    collections::BTreeMap,
    io::{Seek, Write},
};

use service_kit::Config;
use tempfile::NamedTempFile;

thread_local! {
    static FILE: RefCell<NamedTempFile> = RefCell::new(NamedTempFile::new().expect("a temporary file"));
}

/// Reads `data` as `rapport.toml`, as what `rapport up` leaves for other commands, and line by line as variables.
///
/// # Panics
/// A setting that was taken cannot be used.
pub fn settings(data: &[u8]) {
    FILE.with_borrow_mut(|file| {
        file.rewind().and_then(|()| file.as_file().set_len(0)).expect("a temporary file");
        file.write_all(data).expect("a temporary file can be written");
        if let Ok(config) = Config::load(BTreeMap::new(), std::iter::empty(), Some(file.path())) {
            used(&config);
        }
        let mut defaults = Config::load(BTreeMap::new(), std::iter::empty(), None).expect("the defaults are allowed");
        if defaults.follow(file.path()).is_ok() {
            used(&defaults);
        }
    });
    let text = String::from_utf8_lossy(data);
    let variables = text.lines().filter_map(|line| line.split_once('='));
    // A variable that names a file would have it read.
    let variables = variables.filter(|(name, _)| !name.ends_with("_FILE"));
    let variables = variables.map(|(name, value)| (format!("RAPPORT_{name}"), value.to_owned()));
    if let Ok(config) = Config::load(BTreeMap::new(), variables, None) {
        used(&config);
    }
}

fn used(config: &Config) {
    assert!(config.entries().iter().all(|entry| !entry.name.is_empty()));
    let _ = (config.kafka_properties(), config.warnings());
    let listens = config.listen(config.ports().collector_http);
    assert!(config.places().contains(&listens.ip().to_string()), "others would look elsewhere: {}", config.places());
}
