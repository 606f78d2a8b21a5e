use std::collections::BTreeMap;

use serde_json::value::RawValue;

/// Whether two texts of JSON are equal, numbers digit for digit; of two equal keys the last counts, and a key whose value
/// is `null` is absent.
pub(super) fn same(one: &str, other: &str) -> bool {
    match one.as_bytes().first() {
        Some(b'{') => match (members(one), members(other)) {
            (Some(one), Some(other)) => {
                one.len() == other.len()
                    && one.iter().all(|(key, value)| other.get(key).is_some_and(|v| same(value.get(), v.get())))
            }
            _ => false,
        },
        Some(b'[') => match (items(one), items(other)) {
            (Some(one), Some(other)) => {
                one.len() == other.len() && one.iter().zip(other).all(|(one, other)| same(one.get(), other.get()))
            }
            _ => false,
        },
        Some(b'"') => text(one).is_some_and(|one| text(other) == Some(one)),
        // An integer of the contract has no sign where it is zero.
        _ => one == other || (one.trim_start_matches('-') == "0" && other.trim_start_matches('-') == "0"),
    }
}

/// The members of an object that are not `null`.
pub(super) fn members(json: &str) -> Option<BTreeMap<String, &RawValue>> {
    let mut all: BTreeMap<String, &RawValue> = serde_json::from_str(json).ok()?;
    all.retain(|_, value| value.get() != "null");
    Some(all)
}

fn items(json: &str) -> Option<Vec<&RawValue>> {
    serde_json::from_str(json).ok()
}

fn text(json: &str) -> Option<String> {
    serde_json::from_str(json).ok()
}
