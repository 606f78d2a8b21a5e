use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use chrono::{DateTime, SecondsFormat, Utc};
use domain::{Interaction, Namespace};
use serde_json::value::RawValue;
use serde_json::{Value, json};
use service_kit::Config;
use sqlx::postgres::PgRow;
use sqlx::{FromRow, PgConnection, Row};
use uuid::Uuid;

use super::redrive_dead_letters::redrive;
use super::{STATEMENT_TIMEOUT, connect, is_undefined};
use crate::cli::{DeadLettersCommand, ListArgs};
use crate::failure::{Exit, Failure, OrExit, Outcome};
use crate::say;

struct Letter {
    model: String,
    generation: i32,
    partition: i32,
    log_offset: i64,
    event_id: Option<Uuid>,
    kind: Option<String>,
    error: String,
    fold: String,
    received_at: DateTime<Utc>,
}

struct Whole {
    letter: Letter,
    value: Vec<u8>,
    headers: String,
}

impl FromRow<'_, PgRow> for Letter {
    fn from_row(row: &PgRow) -> Result<Self, sqlx::Error> {
        Ok(Self {
            model: row.try_get("model")?,
            generation: row.try_get("generation")?,
            partition: row.try_get("partition")?,
            log_offset: row.try_get("log_offset")?,
            event_id: row.try_get("event_id")?,
            kind: row.try_get("type")?,
            error: row.try_get("error")?,
            fold: row.try_get("fold")?,
            received_at: row.try_get("received_at")?,
        })
    }
}

impl FromRow<'_, PgRow> for Whole {
    fn from_row(row: &PgRow) -> Result<Self, sqlx::Error> {
        Ok(Self { letter: Letter::from_row(row)?, value: row.try_get("value")?, headers: row.try_get("headers")? })
    }
}

/// `rapport dead-letters list | show | redrive`.
pub(crate) async fn dead_letters(config: &Config, command: &DeadLettersCommand) -> Outcome {
    match command {
        DeadLettersCommand::List(args) => list(&mut connect(config, STATEMENT_TIMEOUT).await?, *args).await,
        DeadLettersCommand::Show { id, output } => {
            show(&mut connect(config, STATEMENT_TIMEOUT).await?, id, output.json).await
        }
        DeadLettersCommand::Redrive(args) => redrive(config, args).await,
    }
}

async fn list(database: &mut PgConnection, args: ListArgs) -> Outcome {
    let query = sqlx::query_as(include_str!("../../sql/dead_letters_list.sql")).bind(i64::from(args.last));
    let mut letters: Vec<Letter> = match query.fetch_all(database).await {
        Ok(letters) => letters,
        Err(error) if is_undefined(&error) => Vec::new(),
        Err(error) => return Err(error).or_exit(Exit::Unavailable),
    };
    // The newest last, where the eye is.
    letters.reverse();
    if args.output.json {
        say::json(&json!({"dead_letters": letters.iter().map(Letter::document).collect::<Vec<_>>()}));
        return Ok(());
    }
    if letters.is_empty() {
        say::line(format_args!("no dead letter"));
        return Ok(());
    }
    let mut rows = vec![["id", "received_at", "type", "error"].map(str::to_owned).to_vec()];
    for letter in letters {
        let kind = letter.kind.clone().unwrap_or_else(|| "?".to_owned());
        rows.push(vec![letter.id(), letter.received(), kind, letter.error.clone()]);
    }
    say::table(&rows);
    Ok(())
}

async fn show(database: &mut PgConnection, id: &str, as_json: bool) -> Outcome {
    let (model, generation, partition, offset) = parse(id)?;
    let query = sqlx::query_as(include_str!("../../sql/dead_letters_show.sql"))
        .bind(model)
        .bind(generation)
        .bind(partition)
        .bind(offset);
    let found: Option<Whole> = match query.fetch_optional(database).await {
        Ok(found) => found,
        Err(error) if is_undefined(&error) => None,
        Err(error) => return Err(error).or_exit(Exit::Unavailable),
    };
    let Some(whole) = found else { return Err(missing(id)) };
    let event = whole.event();
    if as_json {
        let mut document = whole.letter.document();
        document["headers"] = serde_json::from_str(&whole.headers).unwrap_or(Value::Null);
        match &event {
            Some(event) => document["event"] = serde_json::from_str(event.get()).unwrap_or(Value::Null),
            None => document["value_base64"] = json!(STANDARD.encode(&whole.value)),
        }
        say::json(&document);
        return Ok(());
    }
    let letter = &whole.letter;
    say::note(format_args!("{}, received {}", letter.id(), letter.received()));
    say::note(format_args!("{}: {}", letter.fold, letter.error));
    match event {
        Some(event) => say::line(format_args!("{event}")),
        None => {
            // What is to be decoded goes to the standard output alone; what is to be read goes beside it.
            dump(&whole.value).iter().for_each(|line| say::note(format_args!("{line}")));
            say::line(format_args!("{}", STANDARD.encode(&whole.value)));
        }
    }
    Ok(())
}

/// Bytes as people read them: where, in hex, and what of it is ASCII. The beginning of what is long.
fn dump(value: &[u8]) -> Vec<String> {
    const BYTES_MAX: usize = 1024;
    const BYTES_A_LINE: usize = 16;
    if value.is_empty() {
        return vec!["no event: its value is empty".to_owned()];
    }
    let mut lines = vec![format!("no event, but {} bytes:", value.len())];
    for (row, bytes) in value[..value.len().min(BYTES_MAX)].chunks(BYTES_A_LINE).enumerate() {
        let hex: Vec<String> = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        let ascii: String = bytes
            .iter()
            .map(|byte| if byte.is_ascii_graphic() || *byte == b' ' { char::from(*byte) } else { '.' })
            .collect();
        lines.push(format!("{:08x}  {:<47}  |{ascii}|", row * BYTES_A_LINE, hex.join(" ")));
    }
    if value.len() > BYTES_MAX {
        lines.push(format!("... {} bytes more", value.len() - BYTES_MAX));
    }
    lines
}

/// Model, generation, partition and offset of an id.
pub(super) fn parse(id: &str) -> Outcome<(&str, i32, i32, i64)> {
    split(id).ok_or_else(|| {
        let sentence =
            format_args!("{id:?} is no dead letter's id, like sales/1/0-17; `rapport dead-letters list` shows them");
        Failure::new(Exit::BadInput, sentence)
    })
}

/// That an id names no dead letter.
pub(super) fn missing(id: &str) -> Failure {
    Failure::new(Exit::BadInput, format_args!("there is no dead letter {id}"))
}

fn split(id: &str) -> Option<(&str, i32, i32, i64)> {
    let mut parts = id.split('/');
    let (model, generation, place) = (parts.next()?, parts.next()?.parse().ok()?, parts.next()?);
    let (partition, offset) = place.split_once('-')?;
    parts.next().is_none().then_some((model, generation, partition.parse().ok()?, offset.parse().ok()?))
}

impl Letter {
    fn id(&self) -> String {
        format!("{}/{}/{}-{}", self.model, self.generation, self.partition, self.log_offset)
    }

    fn received(&self) -> String {
        self.received_at.to_rfc3339_opts(SecondsFormat::AutoSi, true)
    }

    fn document(&self) -> Value {
        json!({
            "id": self.id(),
            "model": self.model,
            "generation": self.generation,
            "partition": self.partition,
            "offset": self.log_offset,
            "event_id": self.event_id,
            "type": self.kind,
            "error": self.error,
            "fold": self.fold,
            "received_at": self.received(),
        })
    }
}

impl Whole {
    /// The event as JSON, where the record's value is one at all.
    fn event(&self) -> Option<Box<RawValue>> {
        // Only what was published is shown; the namespace would matter for subject ids alone.
        let event = Interaction::decode(&self.value, 0, &Namespace::new(Uuid::nil())).ok()?;
        let text = String::from_utf8(rapport_proto::json::write(&event.wire, Vec::new())).ok()?;
        RawValue::from_string(text).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::{dump, split};

    #[test]
    fn bytes_are_shown_as_hex_and_ascii() {
        assert_eq!(
            dump(b"\x0a\xffCloudEvents  1.0\x00."),
            [
                "no event, but 20 bytes:",
                "00000000  0a ff 43 6c 6f 75 64 45 76 65 6e 74 73 20 20 31  |..CloudEvents  1|",
                "00000010  2e 30 00 2e                                      |.0..|",
            ]
        );
        assert_eq!(dump(b""), ["no event: its value is empty"]);
        let long = dump(&[0; 1040]);
        assert_eq!((long.len(), long.last().map(String::as_str)), (66, Some("... 16 bytes more")));
    }

    #[test]
    fn ids() {
        assert_eq!(split("sales/1/0-17"), Some(("sales", 1, 0, 17)));
        for bad in ["", "sales", "sales/1", "sales/x/0-1", "sales/1/0", "sales/1/0-1/2"] {
            assert_eq!(split(bad), None, "{bad}");
        }
    }
}
