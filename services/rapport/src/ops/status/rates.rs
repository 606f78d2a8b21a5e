use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use tokio::time::Instant;

use super::look::{Place, by_generation, next_offsets};

/// Rates are of so many of the last seconds.
const WINDOW: Duration = Duration::from_secs(5);

/// Model and number of a generation -> records it has folded, or read for its load.
type Folded = BTreeMap<(String, i32), i64>;

/// How fast generations come on.
#[derive(Default)]
pub(super) struct Rates {
    seen: VecDeque<(Instant, Folded)>,
}

/// How many records a generation has folded, or read for its load so far.
pub(super) fn folded(places: &[&Place]) -> i64 {
    let loading = places.first().and_then(|place| place.loading_events).unwrap_or(0);
    next_offsets(places).values().sum::<i64>().max(loading)
}

impl Rates {
    /// Takes note of where generations stood at `at`.
    pub(super) fn saw(&mut self, at: Instant, places: &[Place]) {
        let folded = by_generation(places)
            .into_iter()
            .map(|((model, generation), places)| ((model.to_owned(), generation), folded(&places)));
        self.seen.push_back((at, folded.collect()));
        // The one before the window stays, so that the window is covered whole.
        while self.seen.get(1).is_some_and(|(second, _)| at.duration_since(*second) >= WINDOW) {
            self.seen.pop_front();
        }
    }

    /// Records a second over the last seconds; `None` until it was looked at twice.
    pub(super) fn of(&self, model: &str, generation: i32) -> Option<f64> {
        let key = (model.to_owned(), generation);
        let mut known = self.seen.iter().filter_map(|(at, folded)| Some((*at, *folded.get(&key)?)));
        let (first, before) = known.next()?;
        let (last, after) = known.next_back()?;
        let seconds = last.duration_since(first).as_secs_f64();
        // A load that is begun anew goes back to its beginning.
        (seconds > 0.0).then(|| (after - before).max(0) as f64 / seconds)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(next_offset: i64, loading_events: Option<i64>) -> Place {
        Place {
            model: "sales".into(),
            generation: 1,
            schema_name: "sales_g1".into(),
            definition: String::new(),
            state: "live".into(),
            loaded: true,
            failure: None,
            dead_letters: 0,
            workers: 1,
            loading_events,
            partition: Some(0),
            next_offset: Some(next_offset),
            epoch: None,
            holder: None,
            expires_at: None,
            expires_in_ms: None,
            now_us: 0,
        }
    }

    #[test]
    fn a_rate_is_of_the_last_seconds() {
        let (mut rates, began) = (Rates::default(), Instant::now());
        rates.saw(began, &[place(0, None)]);
        assert_eq!(rates.of("sales", 1), None);
        for second in 1..=20 {
            rates.saw(
                began + Duration::from_secs(second),
                &[place(if second < 10 { 0 } else { (second as i64 - 9) * 40 }, None)],
            );
        }
        assert_eq!(rates.of("sales", 1), Some(40.0), "what it stood still for has passed");
        assert_eq!(rates.of("sales", 2), None);
    }

    #[test]
    fn a_load_is_counted_by_what_it_has_read() {
        let (mut rates, began) = (Rates::default(), Instant::now());
        rates.saw(began, &[place(0, Some(100))]);
        rates.saw(began + Duration::from_secs(2), &[place(0, Some(500))]);
        assert_eq!(rates.of("sales", 1), Some(200.0));
    }
}
