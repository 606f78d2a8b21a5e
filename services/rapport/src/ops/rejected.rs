use std::borrow::Cow;

use collector::RejectedRecord;
use domain::position::Offsets;
use event_log::{Log, RangeReader, Record, Start, Topic};
use serde::Deserialize;
use serde_json::{Value, json};
use service_kit::Config;

use super::open_log;
use super::redrive_rejected::redrive;
use crate::cli::{ListArgs, RejectedCommand};
use crate::failure::{Exit, Failure, OrExit, Outcome};
use crate::say;

/// `rapport rejected list | show | redrive`.
pub(crate) async fn rejected(config: &Config, command: &RejectedCommand) -> Outcome {
    let log = open_log(config).await?;
    match command {
        RejectedCommand::List(args) => list(&log, *args).await,
        RejectedCommand::Show { id, output } => show(&log, id, output.json).await,
        RejectedCommand::Redrive(args) => redrive(config, &log, args).await,
    }
}

async fn list(log: &Log, args: ListArgs) -> Outcome {
    let marks = log.watermarks(Topic::Rejected).await.or_exit(Exit::Unavailable)?;
    let from: Offsets = marks.iter().map(|(p, w)| (*p, w.start.max(w.end - i64::from(args.last)))).collect();
    let mut records = read(log, from, usize::MAX).await?;
    records.sort_by_key(|r| (r.timestamp_ms, r.partition, r.offset));
    let records = &records[records.len().saturating_sub(args.last as usize)..];
    if args.output.json {
        let documents: Vec<_> = records.iter().map(|r| document(r, false)).collect();
        say::json(&json!({"rejected": documents}));
        return Ok(());
    }
    if records.is_empty() {
        say::line(format_args!("no event was rejected"));
        return Ok(());
    }
    let mut rows = vec![["rejection_id", "received_at", "source", "id", "why"].map(str::to_owned).to_vec()];
    for record in records {
        let place = format!("{}-{}", record.partition, record.offset);
        let unread = || "?".to_owned();
        match RejectedRecord::parse(&record.value) {
            Ok(kept) => {
                let (source, id) = (source(&kept), kept.id.as_deref().map(shown));
                let (source, id) = (source.unwrap_or_else(unread), id.unwrap_or_else(unread));
                rows.push(vec![place, kept.received_at.to_string(), source, id, reasons(&kept)]);
            }
            Err(error) => rows.push(vec![place, String::new(), unread(), unread(), format!("not readable: {error}")]),
        }
    }
    say::table(&rows);
    Ok(())
}

/// The record that an id names.
pub(super) async fn find(log: &Log, id: &str) -> Outcome<Record> {
    let place = id.split_once('-').and_then(|(p, o)| Some((p.parse().ok()?, o.parse().ok()?)));
    let Some((partition, offset)) = place else {
        return Err(Failure::new(
            Exit::BadInput,
            format_args!("{id:?} is no rejection id, like 0-17; `rapport rejected list` shows them"),
        ));
    };
    let marks = log.watermarks(Topic::Rejected).await.or_exit(Exit::Unavailable)?;
    let there = marks.get(&partition).is_some_and(|w| (w.start..w.end).contains(&offset));
    let records = if there { read(log, Offsets::from([(partition, offset)]), 1).await? } else { Vec::new() };
    let found = records.into_iter().find(|r| (r.partition, r.offset) == (partition, offset));
    found.ok_or_else(|| Failure::new(Exit::BadInput, format_args!("there is no rejected event {id}")))
}

async fn show(log: &Log, id: &str, as_json: bool) -> Outcome {
    let record = &find(log, id).await?;
    if as_json {
        say::json(&document(record, true));
        return Ok(());
    }
    let kept = RejectedRecord::parse(&record.value).map_err(|e| {
        Failure::new(Exit::BadInput, format_args!("the record {id} was not written by a collector: {e}"))
    })?;
    say::note(format_args!("received {} as {} ({})", kept.received_at, kept.mode, kept.content_type));
    for reason in kept.errors.iter() {
        say::note(format_args!("{} {}: {}", reason.code, reason.pointer, reason.detail));
    }
    if let Some(bytes) = kept.cut_from_bytes {
        say::note(format_args!("only its beginning was kept; it had {bytes} bytes"));
    }
    say::line(format_args!("{}", kept.event));
    Ok(())
}

/// The event's source, where the event is an object that was kept whole.
fn source(kept: &RejectedRecord<'_>) -> Option<String> {
    #[derive(Deserialize)]
    struct Event<'e> {
        #[serde(borrow)]
        source: Cow<'e, str>,
    }
    Some(shown(&serde_json::from_str::<Event<'_>>(&kept.event).ok()?.source))
}

/// What a sender named something, on one line and not too long.
fn shown(name: &str) -> String {
    const CHARACTERS_MAX: usize = 40;
    let printed = || name.chars().map(|c| if c.is_control() { ' ' } else { c });
    if printed().count() > CHARACTERS_MAX {
        printed().take(CHARACTERS_MAX - 1).chain(['…']).collect()
    } else {
        printed().collect()
    }
}

fn reasons(kept: &RejectedRecord<'_>) -> String {
    kept.errors.iter().map(|e| format!("{} {}", e.code, e.pointer)).collect::<Vec<_>>().join(", ")
}

fn document(record: &Record, whole: bool) -> Value {
    let parsed = RejectedRecord::parse(&record.value);
    let source = parsed.as_ref().ok().and_then(source);
    let mut document = match parsed.map(serde_json::to_value) {
        Ok(Ok(kept)) => kept,
        Ok(Err(error)) | Err(error) => json!({"unreadable": error.to_string()}),
    };
    if let Some(members) = document.as_object_mut() {
        if let Some(source) = source {
            members.insert("source".to_owned(), json!(source));
        }
        if !whole {
            members.remove("event");
        }
        members.insert("rejection_id".to_owned(), json!(format!("{}-{}", record.partition, record.offset)));
    }
    document
}

async fn read(log: &Log, from: Offsets, records_max: usize) -> Outcome<Vec<Record>> {
    let mut reader =
        RangeReader::open(log, Topic::Rejected, Start::Offsets(from), false).await.or_exit(Exit::Unavailable)?;
    let mut records = Vec::new();
    while let Some(more) = reader.next().await.or_exit(Exit::Unavailable)? {
        records.extend(more);
        if records.len() >= records_max {
            break;
        }
    }
    Ok(records)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_source_is_told_where_it_can_be_read() {
        let long = format!(r#"{{"source":"{}"}}"#, "s".repeat(50));
        for (event, told) in [
            (r#"{"id":"1","source":"shop","data":{"a":[1]}}"#, Some("shop".to_owned())),
            (r#"{"source":"two\nlines"}"#, Some("two lines".to_owned())),
            (&long, Some(format!("{}…", "s".repeat(39)))),
            (r#"{"source":7}"#, None),
            (r#"{"source":"cut o"#, None),
            ("nonsense", None),
        ] {
            let record = json!({"received_at": "", "mode": "batch", "content_type": "", "errors": [], "event": event});
            let record = RejectedRecord::parse(record.to_string().as_bytes()).expect("a record");
            assert_eq!(source(&record), told, "{event}");
        }
    }
}
