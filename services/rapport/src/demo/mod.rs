//! `rapport demo`: a company that does not exist, over eighteen months that end on 2026-10-01, published as any other
//! events are.
//!
//! ```text
//! seed ──> history: tale after tale ──> JSON ──> collector ──> log ──> three read models ──> three things to look at
//! ```
//!
//! Ids and times depend on the seed alone: no clock is read, and the same seed gives the same bytes. The first N events
//! of a seed are the beginning of its first N + 1.
//!
//! | module | responsibility |
//! |---|---|
//! | `rng`, `time` | chance from a seed; when people do things |
//! | `company` | what it sells, who works for it, its prices, campaigns and partners |
//! | `people` | names, addresses and numbers that belong to nobody |
//! | `tale` | the events around one person, put in order and written as CloudEvents |
//! | `web`, `orders`, `calls`, `desk`, `marketing`, `business` | what happens: visits and carts, orders, calls, mails and cases, campaigns, deals |
//! | `lives` | who meets the company, and how it goes with each |
//! | `history` | all of it, one event after the other |
//! | `load`, `tour` | publishing and waiting; what is worth looking at |

mod business;
mod calls;
mod company;
mod desk;
mod history;
mod lives;
mod load;
mod marketing;
mod orders;
mod people;
mod rng;
mod tale;
#[cfg(test)]
mod tests;
mod time;
mod tour;
mod web;

use service_kit::Config;

pub(crate) use load::Demo;
pub(crate) use tour::tour;

use crate::cli::DemoArgs;
use crate::failure::Outcome;
use crate::publish::{Progress, collector_url};
use crate::say;
use history::History;
use load::Step;

/// What `rapport up --demo` loads.
pub(crate) const SMALL_EVENTS: u64 = 5000;

/// The seed where none is named.
pub(crate) const SEED: u64 = 1;

/// The query service's address, where none is named.
pub(crate) fn query_url(config: &Config, named: Option<&str>) -> String {
    named.map_or_else(|| format!("http://{}", config.listen(config.ports().query)), str::to_owned)
}

/// Loads a demo, or prints its events.
pub(crate) async fn run(config: &Config, args: &DemoArgs) -> Outcome {
    if args.print {
        return print(args);
    }
    let (collector, query) = (collector_url(config, args.url.as_deref()), query_url(config, args.query_url.as_deref()));
    let demo = Demo { events: args.events, seed: args.seed, collector, query };
    let mut progress = Progress::new("demo", Some(args.events));
    let position = demo
        .load(&mut |step| {
            let done = if let Step::Publishing { done, .. } = step { done } else { args.events };
            progress.set(done, || step.say());
        })
        .await?;
    progress.finish();
    let token = position.token();
    say::line(format_args!("{} events of seed {} are in all three read models", args.events, args.seed));
    say::line(format_args!("position {token}\n"));
    say::line(format_args!("{}", tour(config, &demo.query, args.seed, Some(&token))));
    Ok(())
}

/// The events as NDJSON.
fn print(args: &DemoArgs) -> Outcome {
    let mut lines = Vec::new();
    let mut left = args.events;
    for event in History::new(args.seed) {
        lines.extend_from_slice(&event);
        lines.push(b'\n');
        left -= 1;
        if left == 0 || lines.len() > PRINTED_BYTES {
            if !say::write(&lines)? || left == 0 {
                return Ok(());
            }
            lines.clear();
        }
    }
    Ok(())
}

/// Printed at a time.
const PRINTED_BYTES: usize = 256 * 1024;
