use std::path::{Path, PathBuf};

use service_kit::Config;

use super::child::SERVICES;
use super::screen::Screen;
use crate::failure::{Exit, Failure, Outcome};

/// Where a data directory's run says where its services are, for commands in another terminal.
fn note_path(data_dir: &Path) -> PathBuf {
    data_dir.join("run").join("up.toml")
}

/// The note of what runs now for a data directory. One that is left by a run that was killed counts for as long as any
/// of its processes goes on.
pub(crate) fn running(data_dir: &Path) -> Option<PathBuf> {
    let path = note_path(data_dir);
    (path.is_file() && local_stack::is_running(data_dir)).then_some(path)
}

/// The note while it holds; dropping it takes it away.
pub(super) struct Note(PathBuf);

impl Note {
    /// Writes it in one step: nobody reads a half.
    pub(super) fn write(config: &Config, data_dir: &Path) -> Outcome<Self> {
        let path = note_path(data_dir);
        let written = path.with_extension("toml.new");
        std::fs::write(&written, config.places())
            .and_then(|()| std::fs::rename(&written, &path))
            .map_err(|e| Failure::new(Exit::Unavailable, format_args!("{} cannot be written: {e}", path.display())))?;
        Ok(Self(path))
    }
}

impl Drop for Note {
    fn drop(&mut self) {
        // The next run overwrites one that stays, and nobody follows it once nothing runs.
        let _ = std::fs::remove_file(&self.0);
    }
}

/// The ports of this machine that will be listened on, and by whom.
pub(crate) fn ports(config: &Config) -> Vec<(&'static str, u16)> {
    let ports = config.ports();
    let mut all = vec![("collector", ports.collector_http), ("query", ports.query)];
    all.extend(SERVICES.map(|service| (service.name, (service.admin_port)(&ports))));
    if !config.is_given("database_url") {
        all.push(("PostgreSQL", ports.postgres));
    }
    if !config.is_given("kafka") {
        all.extend([("Kafka", ports.kafka), ("Kafka's controller", ports.kafka_controller)]);
    }
    all
}

/// Says where everything is, and three things to try.
pub(super) fn announce(config: &Config, screen: &Screen) {
    let ports = config.ports();
    let (collector, query) = (config.listen(ports.collector_http), config.listen(ports.query));
    let mut places =
        vec![("publish", format!("http://{collector}/events")), ("ask", format!("http://{query}/api/v1/customers/…"))];
    if !config.is_given("database_url") {
        places.push(("SQL", format!("postgresql://analyst@127.0.0.1:{}/rapport", ports.postgres)));
    }
    if !config.is_given("kafka") {
        places.push(("Kafka", format!("127.0.0.1:{}", ports.kafka)));
    }
    places.push((
        "health",
        format!("http://{}:{}…{}/readyz", config.text("bind"), ports.admin_collector, ports.admin_query),
    ));
    places.push(("data, logs", config.text("data_dir").to_owned()));
    let places: String = places.iter().map(|(name, place)| format!("  {name:<12}{place}\n")).collect();
    screen.plain(&format!("\nRapport is up.\n\n{places}\n{}\n", examples(config)));
}

fn examples(config: &Config) -> String {
    let ports = config.ports();
    let (collector, query) = (config.listen(ports.collector_http), config.listen(ports.query));
    let sql = if config.is_given("database_url") {
        "psql \"$RAPPORT_DATABASE_URL\"".to_owned()
    } else {
        format!("psql postgresql://analyst@127.0.0.1:{}/rapport", ports.postgres)
    };
    format!(
        r#"Three things to try:

  1. Publish an order; the answer holds a position.

     curl -sS {collector}/events -H 'content-type: application/cloudevents+json' -d '{{
       "specversion":"1.0", "id":"o-1", "source":"shop", "type":"order.placed", "time":"2026-03-01T10:00:00Z",
       "subject":"email:ann@example.com",
       "data":{{"order_id":"1001","lines":[{{"sku":"KETTLE","quantity":1,"unit_price":{{"amount_minor":4990,"currency":"EUR"}}}}]}}}}'

  2. Ask for the customer at that position (in place of p1.…); the answer has what you published.

     curl -sS '{query}/api/v1/customers/email:ann@example.com?position=p1.…'

  3. Ask in SQL.

     {sql} -c 'SELECT order_id, gross, currency, placed_at FROM sales.orders'

Ctrl-C stops all of it; the data stay."#
    )
}
