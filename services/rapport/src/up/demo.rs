//! The demo company that `rapport up --demo` loads beside everything else.

use std::time::Duration;

use service_kit::Config;
use tokio::time::Instant;

use super::screen::Screen;
use crate::demo::{Demo, SEED, SMALL_EVENTS, query_url, tour};
use crate::failure::Outcome;
use crate::publish::collector_url;

/// How often it is said how far it is.
const TOLD_INTERVAL: Duration = Duration::from_secs(5);

/// Loads the small demo, unless it is there. That it fails stops nothing: `rapport demo` can be run by hand.
pub(super) async fn load(config: &Config, screen: &Screen) {
    if let Err(failure) = attempt(config, screen).await {
        screen.note(&format!("the demo company could not be loaded: {failure}; `rapport demo` tries again"));
    }
}

async fn attempt(config: &Config, screen: &Screen) -> Outcome {
    let demo = Demo {
        events: SMALL_EVENTS,
        seed: SEED,
        collector: collector_url(config, None),
        query: query_url(config, None),
    };
    if demo.is_loaded().await? {
        show(config, screen, &demo, None);
        return Ok(());
    }
    screen.note(&format!("loading the demo company, {SMALL_EVENTS} events"));
    let mut told = Instant::now();
    let position = demo
        .load(&mut |step| {
            if told.elapsed() >= TOLD_INTERVAL {
                told = Instant::now();
                screen.note(&format!("demo: {}", step.say()));
            }
        })
        .await?;
    show(config, screen, &demo, Some(&position.token()));
    Ok(())
}

fn show(config: &Config, screen: &Screen, demo: &Demo, token: Option<&str>) {
    let text = tour(config, &demo.query, demo.seed, token);
    screen.plain(&format!("\nThe demo company is in.\n\n{text}\n"));
}
