use domain::{
    Interaction, Namespace,
    identifier::Normalizer,
    receipt::{self, Limits},
    time,
};
use event_log::Record;
use projector_service::folds::message_id;
use prost::Message;
use rapport_proto::{
    json::{self, FAULTS_MAX, codes},
    v1,
};
use uuid::Uuid;

use super::same::{members, same};

/// 2026-03-01T10:00:00Z.
const RECEIVED_AT: i64 = 1_772_359_200 * time::SECOND;
const NAMESPACE: Namespace = Namespace::new(Uuid::from_u128(7));
/// With its brackets.
const MAIL_ID_BYTES_MAX: usize = 514;
/// Attributes that are put into a normal form which is no equal JSON.
const IN_NORMAL_FORM: [&str; 4] = ["time", "type", "data_base64", "specversion"];

/// Reads `data` as an event in JSON, and goes with it through the collector's checks, the log and back.
///
/// # Panics
/// It does not come back equal, or is accepted and cannot be folded.
pub fn event(data: &[u8]) {
    let mut wire = match json::read::<v1::Interaction>(data) {
        Ok(wire) => wire,
        Err(faults) => {
            assert!((1..=FAULTS_MAX).contains(&faults.len()), "{} faults", faults.len());
            for fault in faults {
                assert!(codes::ALL.contains(&fault.code) && !fault.detail.is_empty(), "{fault:?}");
                assert!(fault.pointer.is_empty() || fault.pointer.starts_with('/'), "{fault:?}");
            }
            return;
        }
    };
    let written = through_the_log(&wire);
    comes_back(std::str::from_utf8(data).expect("what was read is UTF-8"), &written);

    let refused = !receipt::check(&wire, RECEIVED_AT, &Limits { time_ahead_max: time::DAY }).is_empty();
    receive(&mut wire);
    if refused {
        return;
    }
    let folded = Interaction::decode(&wire.encode_to_vec(), RECEIVED_AT, &NAMESPACE);
    assert!(folded.is_ok(), "it is accepted, and no model can fold it: {folded:?}");
}

/// The JSON after a way through the log.
fn through_the_log(wire: &v1::Interaction) -> String {
    let decoded = v1::Interaction::decode(&*wire.encode_to_vec()).expect("what was encoded");
    assert_eq!(&decoded, wire);
    let written = String::from_utf8(json::write(&decoded, Vec::new())).expect("JSON is UTF-8");
    let again = json::read::<v1::Interaction>(written.as_bytes());
    assert_eq!(again.as_ref(), Ok(wire), "published again it is another event: {written}");
    written
}

/// What was sent is what comes back, but for attributes that are put into normal form.
fn comes_back(sent: &str, written: &str) {
    let (sent, written) =
        (members(sent).expect("an event is an object"), members(written).expect("and is written as one"));
    for (name, value) in sent.iter().filter(|(name, _)| !IN_NORMAL_FORM.contains(&name.as_str())) {
        let back = written.get(name).unwrap_or_else(|| panic!("{name} is gone"));
        assert!(same(value.get(), back.get()), "{name} was {value} and comes back as {back}");
    }
    let new: Vec<_> = written.keys().filter(|name| !sent.contains_key(*name)).collect();
    assert!(new.is_empty(), "{new:?} was never sent");
}

/// What the collector makes of it, once and twice.
fn receive(wire: &mut v1::Interaction) {
    let normalizer = Normalizer::new("DE", &["email:*@ours.example".into()]).expect("a country");
    receipt::normalize(wire, &normalizer);
    let mut again = wire.clone();
    receipt::normalize(&mut again, &normalizer);
    assert_eq!(&again, wire, "the normal form has another normal form");
    assert_eq!(receipt::key(&again), receipt::key(wire));
    through_the_log(wire);
}

/// Reads `data` as the value of a record, and as one that stands in the log with headers.
///
/// # Panics
/// Who needs the event whole and who does not disagree on whether it is one, or what is shown of it is no JSON.
pub fn record(data: &[u8]) {
    let whole = Interaction::decode(data, RECEIVED_AT, &NAMESPACE);
    let brief = Interaction::decode_needed(data, RECEIVED_AT, &NAMESPACE, |brief| {
        let _ = (brief.names(|kind| kind == "order"), brief.is_void());
        false
    });
    match (&whole, &brief) {
        (Ok(whole), Ok(brief)) => {
            assert_eq!((whole.event_id, whole.copy_order()), (brief.event_id, brief.copy_order()));
            shown(&whole.wire);
        }
        (Err(whole), Err(brief)) => assert_eq!(whole.to_string(), brief.to_string()),
        _ => panic!("one refuses what the other folds: {whole:?} {brief:?}"),
    }
    kept(data);
    if let Ok(text) = std::str::from_utf8(data) {
        mail_ids(text);
    }
}

fn shown(wire: &v1::Interaction) {
    let json = json::write(wire, Vec::new());
    let is_json = serde_json::from_slice::<serde::de::IgnoredAny>(&json).is_ok();
    assert!(is_json, "what is shown of a record is no JSON: {}", json.escape_ascii());
    let _ = (wire.summary(), wire.entities(), wire.sequence_text(), wire.channel(), wire.direction());
}

/// The bytes as value, key and headers of a record.
fn kept(data: &[u8]) {
    let (name, value) = data.split_at(data.len() / 2);
    let name = String::from_utf8_lossy(name);
    let headers = [(&*name, value), ("ce_subject", data), ("", &b""[..])];
    let record = Record::kept(0, 1, RECEIVED_AT, value.to_vec(), data.to_vec(), headers);
    assert!(record.headers().eq(headers), "other headers come back");
}

/// Ids as mails write them: short enough for an index, in angle brackets, without blanks.
fn mail_ids(text: &str) {
    for id in message_id::own(text).into_iter().chain(message_id::parent(text)).chain(message_id::all(text)) {
        let is_one = id.starts_with('<') && id.ends_with('>') && !id.contains(char::is_whitespace);
        assert!(is_one && id.len() <= MAIL_ID_BYTES_MAX, "{text:?} gives {id:?}");
    }
    let _ = message_id::of_thread(text);
}
