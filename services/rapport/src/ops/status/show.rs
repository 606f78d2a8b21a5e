//! A status as lines that fit into 80 columns.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::ops::plain;

/// A number with one digit behind the point; what is unknown is `?`.
pub(super) fn decimal(value: &Value) -> String {
    value.as_f64().map_or("?".to_owned(), |number| format!("{number:.1}"))
}

/// Who holds a lease, in few letters.
pub(super) fn holder(value: &Value) -> String {
    value.as_str().map_or("nobody".to_owned(), |holder| holder.chars().take(8).collect())
}

/// How far a build is; `None` of a generation that is built.
pub(super) fn progress(generation: &Value) -> Option<String> {
    if let Some(failure) = generation["failure"].as_str() {
        return Some(format!("not folded any more: {failure}"));
    }
    if generation["is_built"] == true {
        return None;
    }
    let (records, end) = (generation["records"].as_i64().unwrap_or(0), generation["log_end"].as_i64());
    let Some(end) = end.filter(|end| *end > 0) else { return Some(format!("{records} records read")) };
    let percent = records.clamp(0, end) * 100 / end;
    let told = format!("{records} of {end} records read ({percent} %)");
    Some(match generation["seconds_left"].as_f64() {
        _ if generation["is_folded"] == false => format!("{told}, and no projector of its version is at it"),
        Some(seconds) => format!("{told}, about {} left", duration(seconds)),
        None if records >= end => format!("{told}; deriving and indexing"),
        None => told,
    })
}

fn duration(seconds: f64) -> String {
    let seconds = seconds.ceil().clamp(0.0, 359_999.0) as u64;
    match (seconds / 3600, seconds / 60 % 60, seconds % 60) {
        (0, 0, seconds) => format!("{seconds} s"),
        (0, minutes, seconds) => format!("{minutes}:{seconds:02} min"),
        (hours, minutes, _) => format!("{hours}:{minutes:02} h"),
    }
}

/// A status, whole.
pub(super) fn lines(document: &Value) -> Vec<String> {
    let mut lines = servers(document);
    let generations: Vec<&Value> = document["generations"].as_array().into_iter().flatten().collect();
    lines.push(String::new());
    if generations.is_empty() {
        if document["models_unknown"].is_null() {
            lines.push("no read model yet: no projector has run on this database".to_owned());
        }
        return lines;
    }
    lines.push(row(["model", "gen", "state", "position", "log end", "lag", "lag s", "events/s", "dead"]));
    for generation in &generations {
        lines.push(row([
            &*plain(&generation["model"]),
            &plain(&generation["generation"]),
            &plain(&generation["state"]),
            &plain(&generation["records"]),
            &plain(&generation["log_end"]),
            &plain(&generation["lag_events"]),
            &if generation["state"] == "live" { decimal(&generation["lag_seconds"]) } else { "-".to_owned() },
            &decimal(&generation["events_per_second"]),
            &plain(&generation["dead_letters"]),
        ]));
        lines.extend(progress(generation).map(|progress| format!("  {progress}")));
    }
    lines.push(String::new());
    lines.push(lease(["model", "gen", "holder", "ends in", "partitions"]));
    lines.extend(generations.iter().flat_map(|generation| leases(generation)));
    lines
}

fn servers(document: &Value) -> Vec<String> {
    let kafka = match document["log_end_unknown"].as_str() {
        Some(reason) => format!("cannot be asked: {reason}"),
        None => {
            let ends = document["log_end"].as_object();
            let end: i64 = ends.into_iter().flat_map(|ends| ends.values()).filter_map(Value::as_i64).sum();
            let (partitions, rejected) = (ends.map_or(0, serde_json::Map::len), plain(&document["rejected"]));
            format!("the log ends at {end} in {partitions} partitions; {rejected} rejected")
        }
    };
    let postgres =
        document["models_unknown"].as_str().map_or("answers".to_owned(), |r| format!("cannot be asked: {r}"));
    vec![format!("Kafka       {kafka}"), format!("PostgreSQL  {postgres}")]
}

fn row(cells: [&str; 9]) -> String {
    let [model, generation, state, position, end, lag, seconds, rate, dead] = cells;
    format!("{model:<11} {generation:>3} {state:<8} {position:>11} {end:>11} {lag:>9} {seconds:>7} {rate:>8} {dead:>4}")
}

fn lease(cells: [&str; 5]) -> String {
    let [model, generation, holder, ends, partitions] = cells;
    format!("{model:<11} {generation:>3} {holder:<8} {ends:>8} {partitions}")
}

/// Who holds which partitions of a generation, a line each.
fn leases(generation: &Value) -> Vec<String> {
    let mut holders: BTreeMap<String, (Vec<String>, Option<i64>)> = BTreeMap::new();
    for partition in generation["partitions"].as_array().into_iter().flatten() {
        let (partitions, ends) = holders.entry(holder(&partition["holder"])).or_default();
        partitions.push(plain(&partition["partition"]));
        let until = partition["lease_expires_in_ms"].as_i64().filter(|_| !partition["holder"].is_null());
        *ends = match (*ends, until) {
            (Some(one), Some(other)) => Some(one.min(other)),
            (one, other) => one.or(other),
        };
    }
    let (model, number) = (plain(&generation["model"]), plain(&generation["generation"]));
    let line = |(holder, (partitions, ends)): (String, (Vec<String>, Option<i64>))| {
        let ends = ends.map_or("-".to_owned(), |ms| format!("{:.1} s", ms as f64 / 1000.0));
        lease([&model, &number, &holder, &ends, &partitions.join(" ")])
    };
    holders.into_iter().map(line).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_build_tells_how_far_it_is() {
        let building = |records: i64, seconds_left: Value, is_folded: bool| {
            let generation = json!({"is_built": false, "is_folded": is_folded, "failure": null, "records": records,
                                    "log_end": 200, "seconds_left": seconds_left});
            progress(&generation).expect("it is not built")
        };
        assert_eq!(building(50, json!(90.0), true), "50 of 200 records read (25 %), about 1:30 min left");
        assert_eq!(building(50, json!(0.4), true), "50 of 200 records read (25 %), about 1 s left");
        assert_eq!(building(50, json!(7260.0), true), "50 of 200 records read (25 %), about 2:01 h left");
        assert_eq!(building(200, json!(null), true), "200 of 200 records read (100 %); deriving and indexing");
        assert!(building(0, json!(null), false).ends_with("no projector of its version is at it"));
        assert_eq!(progress(&json!({"is_built": true, "failure": null})), None);
        assert!(progress(&json!({"is_built": true, "failure": "gone"})).is_some_and(|p| p.ends_with("gone")));
    }

    #[test]
    fn the_largest_company_fits_into_eighty_columns() {
        let (end, holder) = (json!({"0": 99_999_999_999_i64}), "0f0f0f0f-0000-4000-8000-000000000000");
        let partitions: Vec<_> = (0..12)
            .map(|p| json!({"partition": p, "holder": if p < 6 { json!(holder) } else { json!(null) }, "lease_expires_in_ms": 9_900}))
            .collect();
        let document = json!({
            "log_end": end, "log_end_unknown": null, "rejected": 123_456,
            "generations": [{
                "model": "customer360", "generation": 999, "state": "building", "is_built": true, "is_folded": true,
                "failure": null, "records": 99_999_999_999_i64, "log_end": 99_999_999_999_i64, "lag_events": 999_999_999,
                "lag_seconds": 99_999.9, "events_per_second": 999_999.9, "dead_letters": 9_999, "partitions": partitions,
            }],
        });
        let lines = lines(&document);
        for line in &lines {
            assert!(line.chars().count() <= 80, "{} in {line}", line.chars().count());
        }
        let said = lines.join("\n");
        assert!(said.contains("0f0f0f0f    9.9 s 0 1 2 3 4 5\n"), "{said}");
        assert!(said.contains("nobody          - 6 7 8 9 10 11"), "{said}");
    }

    #[test]
    fn what_is_away_is_said() {
        let document = json!({"log_end_unknown": "no broker", "models_unknown": "refused", "generations": []});
        let said = lines(&document).join("\n");
        assert_eq!(said, "Kafka       cannot be asked: no broker\nPostgreSQL  cannot be asked: refused\n");
    }
}
