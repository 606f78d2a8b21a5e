use domain::identifier::{Normalized, Normalizer};
use domain::{Identifier, Interaction, Namespace, time};
use event_log::{Log, RangeReader, Record, Start, Topic};
use rapport_proto::{catalogue, json};
use service_kit::Config;
use tokio::signal::unix::{SignalKind, signal};

use super::open_log;
use crate::cli::LogReadArgs;
use crate::failure::{Exit, Failure, OrExit, Outcome};
use crate::say;

/// Output is written in pieces of about this size.
const PIECE_BYTES: usize = 64 * 1024;

/// `rapport log read`.
pub(crate) async fn log_read(config: &Config, args: &LogReadArgs) -> Outcome {
    let filter = Filter::new(config, args)?;
    // From here on Ctrl-C does not end the process by itself.
    let mut interrupt = signal(SignalKind::interrupt()).or_exit(Exit::Unavailable)?;
    let reading = async {
        let log = open_log(config).await?;
        read(&log, &filter, args.follow).await
    };
    tokio::select! {
        result = reading => result,
        _ = interrupt.recv() => interrupted(args.follow),
    }
}

/// Ctrl-C is how following the log ends; a dump that it cuts off must not look whole.
fn interrupted(follow: bool) -> Outcome {
    if follow {
        return Ok(());
    }
    Err(Failure::new(Exit::Interrupted, "interrupted before the end of the log: not all of it was printed"))
}

async fn read(log: &Log, filter: &Filter, follow: bool) -> Outcome {
    // Kafka's own time of a record is never before the event's receipt: nothing is skipped, the filter is exact.
    let start = filter.from.map_or(Start::Beginning, |from| Start::Time(from.div_euclid(1000)));
    let mut reader = RangeReader::open(log, Topic::Log, start, follow).await.or_exit(Exit::Unavailable)?;
    let mut buffer = Vec::with_capacity(2 * PIECE_BYTES);
    while let Some(records) = reader.next().await.or_exit(Exit::Unavailable)? {
        for record in &records {
            append(&mut buffer, record, filter, log.namespace());
            if buffer.len() >= PIECE_BYTES && !flush(&mut buffer)? {
                return Ok(());
            }
        }
        if !flush(&mut buffer)? {
            return Ok(());
        }
    }
    Ok(())
}

fn flush(buffer: &mut Vec<u8>) -> Outcome<bool> {
    let goes_on = say::write(buffer)?;
    buffer.clear();
    Ok(goes_on)
}

fn append(buffer: &mut Vec<u8>, record: &Record, filter: &Filter, namespace: &Namespace) {
    if record.created {
        return;
    }
    match Interaction::decode(&record.value, record.received_at, namespace) {
        Ok(event) if filter.admits(&event) => {
            *buffer = json::write(&event.wire, std::mem::take(buffer));
            buffer.push(b'\n');
        }
        Ok(_) => {}
        Err(error) => say::note(format_args!("record {}-{} is left out: {error}", record.partition, record.offset)),
    }
}

/// Which events are wanted.
struct Filter {
    from: Option<i64>,
    to: Option<i64>,
    kind: Option<String>,
    subject: Option<Identifier>,
}

impl Filter {
    fn new(config: &Config, args: &LogReadArgs) -> Outcome<Self> {
        Ok(Self {
            from: moment("--from", args.from.as_deref())?,
            to: moment("--to", args.to.as_deref())?,
            kind: args.kind.clone(),
            subject: args.subject.as_deref().map(|text| identifier(config, text)).transpose()?,
        })
    }

    fn admits(&self, event: &Interaction) -> bool {
        let kind = || event.wire.r#type.as_deref().unwrap_or_default();
        self.from.is_none_or(|from| event.received_at >= from)
            && self.to.is_none_or(|to| event.received_at < to)
            && self.kind.as_deref().is_none_or(|wanted| bare(kind()) == bare(wanted))
            && self.subject.as_ref().is_none_or(|wanted| names(event, wanted))
    }
}

fn bare(kind: &str) -> &str {
    kind.strip_prefix(catalogue::PREFIX).unwrap_or(kind)
}

fn names(event: &Interaction, wanted: &Identifier) -> bool {
    let own = event.subject.iter().flat_map(|s| &s.identifiers);
    own.chain(&event.groups).chain(&event.participants).any(|named| named == wanted)
}

fn moment(flag: &str, text: Option<&str>) -> Outcome<Option<i64>> {
    let Some(text) = text else { return Ok(None) };
    match time::parse(text) {
        Some(micros) => Ok(Some(micros)),
        None => Err(Failure::new(
            Exit::BadInput,
            format_args!("{flag} {text:?} is no RFC 3339 time, like 2026-03-01T10:00:00Z"),
        )),
    }
}

fn identifier(config: &Config, text: &str) -> Outcome<Identifier> {
    let normalizer =
        Normalizer::new(config.text("default_region"), config.list("placeholders")).or_exit(Exit::Configuration)?;
    match normalizer.normalize(text) {
        Normalized::Identifier(identifier) => Ok(identifier),
        Normalized::Kept(why) => {
            Err(Failure::new(Exit::BadInput, format_args!("--subject {text:?} identifies nobody: {why}")))
        }
        Normalized::Dropped => {
            Err(Failure::new(Exit::BadInput, format_args!("--subject {text:?} is a placeholder and identifies nobody")))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ctrl_c_ends_following_and_breaks_off_a_dump() {
        assert!(interrupted(true).is_ok());
        assert_eq!(interrupted(false).unwrap_err().exit(), Exit::Interrupted);
    }
}
