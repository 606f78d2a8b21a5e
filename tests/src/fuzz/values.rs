use domain::{
    Identifier, Position, Stamp,
    identifier::{Normalized, Normalizer},
    interaction::{list, list_entry},
    money::Decimal,
    time,
};
use rapport_proto::{decimal, time as wire_time};

const NANOS: i128 = 1_000_000_000;

/// Reads `data` as a position's token, and as the bytes of a place in the order of facts.
///
/// # Panics
/// It does not read back as itself.
pub fn token(data: &[u8]) {
    if let Some(stamp) = Stamp::from_bytes(data.to_vec()) {
        assert_eq!(stamp.as_bytes(), data);
        let _ = (stamp.occurred_at(), stamp.event_id());
    }
    let Ok(text) = std::str::from_utf8(data) else { return };
    if let Ok(position) = Position::parse(text) {
        assert_eq!(Position::parse(&position.token()).as_ref(), Ok(&position));
        let _ = position.for_model("sales");
    }
}

/// Reads `data` as an identifier, and as a list of them.
///
/// # Panics
/// A normal form has another normal form, or a list's entries do not come back.
pub fn identifier(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    for region in ["DE", "US", ""] {
        let normalizer = Normalizer::new(region, &["email:*@ours.example".into()]).expect("a country, or none");
        if let Normalized::Identifier(identifier) = normalizer.normalize(text) {
            let normal = identifier.to_string();
            assert_eq!(Identifier::parse(&normal).as_ref(), Some(&identifier));
            assert_eq!(normalizer.normalize(&normal), Normalized::Identifier(identifier), "{text:?} became {normal:?}");
        }
    }
    let entries: Vec<String> = list(text).collect();
    let written: Vec<String> = entries.iter().map(|entry| list_entry(entry)).collect();
    let back: Vec<String> = list(&written.join(",")).collect();
    let trimmed: Vec<&str> = entries.iter().map(|entry| entry.trim()).filter(|entry| !entry.is_empty()).collect();
    assert_eq!(back.iter().map(|entry| entry.trim()).collect::<Vec<_>>(), trimmed, "{text:?}");
}

/// Reads `data` as a time, a day, a time of day and a decimal.
///
/// # Panics
/// Two readers disagree, or what is written does not read back.
pub fn number(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    times(text);
    decimals(text);
}

fn times(text: &str) {
    let read = wire_time::parse(text);
    assert_eq!(read, time::parse(text), "{text:?}");
    for micros in [read, wire_time::parse_date(text)].into_iter().flatten() {
        let written = wire_time::format(micros);
        let again = wire_time::parse(&written).expect("a time of ours");
        assert_eq!(wire_time::format(again), written);
        assert!(again == micros || !(time::EARLIEST..=time::LATEST).contains(&micros), "{text:?} became {written}");
        if (time::EARLIEST..=time::LATEST).contains(&micros) {
            assert_eq!(time::format(micros).as_deref().and_then(time::parse), Some(micros));
        }
    }
    assert!(wire_time::clock_minutes(text).is_none_or(|minutes| minutes <= 24 * 60));
}

fn decimals(text: &str) {
    let (decimal, nanos) = (Decimal::parse(text), decimal::nanos(text));
    if let Some(nanos) = nanos {
        let decimal = decimal.expect("what the contract takes is a decimal");
        // As 9 digits after the point are the most, nothing is rounded.
        assert_eq!(decimal.to_minor(9), nanos, "{text:?}");
        assert_eq!(decimal.is_negative(), nanos < 0);
        assert_eq!(decimal.to_minor(0), domain::money::divide_half_away(nanos, NANOS));
    }
    if let Some(decimal) = decimal {
        assert_eq!(Decimal::parse(&decimal.to_plain()), Some(decimal), "{text:?} became {}", decimal.to_plain());
        let _ = (decimal.times(i64::MAX), decimal.times(i64::MIN), decimal.to_minor(2));
    }
}
