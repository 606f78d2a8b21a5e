use event_log::{Log, RangeReader, Start, Topic};
use rapport_proto::json;
use service_kit::Config;
use tokio::signal::unix::{SignalKind, signal};

use super::open_log;
use super::selection::{Selection, left_out};
use crate::cli::LogReadArgs;
use crate::failure::{Exit, Failure, OrExit, Outcome};
use crate::say;

/// Output is written in pieces of about this size.
const PIECE_BYTES: usize = 64 * 1024;

/// `rapport log read`.
pub(crate) async fn log_read(config: &Config, args: &LogReadArgs) -> Outcome {
    let selection = Selection::new(config, &args.selection)?;
    // From here on Ctrl-C does not end the process by itself.
    let mut interrupt = signal(SignalKind::interrupt()).or_exit(Exit::Unavailable)?;
    let reading = async {
        let log = open_log(config).await?;
        read(&log, &selection, args.follow).await
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

async fn read(log: &Log, selection: &Selection, follow: bool) -> Outcome {
    let start = Start::Offsets(selection.starts(log).await?);
    let mut reader = RangeReader::open(log, Topic::Log, start, follow).await.or_exit(Exit::Unavailable)?;
    let mut buffer = Vec::with_capacity(2 * PIECE_BYTES);
    while let Some(records) = reader.next().await.or_exit(Exit::Unavailable)? {
        for record in &records {
            match selection.pick(record, log.namespace()) {
                Ok(Some(event)) => {
                    buffer = json::write(&event.wire, buffer);
                    buffer.push(b'\n');
                }
                Ok(None) => {}
                Err(error) => left_out(record, &error),
            }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ctrl_c_ends_following_and_breaks_off_a_dump() {
        assert!(interrupted(true).is_ok());
        assert_eq!(interrupted(false).unwrap_err().exit(), Exit::Interrupted);
    }
}
