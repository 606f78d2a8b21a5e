//! The name that a misspelt one may have meant.

/// Letters that may be wrong at most, however long the name is.
const EDITS_MAX: usize = 3;

/// The known name that takes the fewest edits to become, if those are few for its length: one wrong, missing, extra or
/// swapped letter in three, and three at most. Capitals do not count. `None` where nothing is near, so that nobody is
/// sent astray.
pub fn nearest<'a>(given: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let given_chars = given.chars().count();
    let edits_max = (given_chars / 3).min(EDITS_MAX);
    // What came from outside may be very long: nothing is compared that could not be near.
    let candidates = known.into_iter().filter(|name| name.chars().count().abs_diff(given_chars) <= edits_max);
    let mut nearest = None;
    let mut given_lower = None;
    for name in candidates {
        let given = given_lower.get_or_insert_with(|| given.to_lowercase());
        let edits = strsim::osa_distance(given, name);
        if edits <= edits_max && nearest.is_none_or(|(fewest, _)| edits < fewest) {
            nearest = Some((edits, name));
        }
    }
    nearest.map(|(_, name)| name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_near_by_few_edits_for_its_length() {
        let known = ["order.placed", "order.changed", "call.ended", "currency", "limit", "at"];
        for (given, expected) in [
            ("oder.placed", Some("order.placed")),
            ("order.palced", Some("order.placed")),
            ("Order.Placed", Some("order.placed")),
            ("ordr.plced", Some("order.placed")),
            ("call.end", Some("call.ended")),
            ("curency", Some("currency")),
            ("limt", Some("limit")),
            ("order.shipped", None),
            ("ta", None),
            ("nonsense", None),
            ("", None),
        ] {
            assert_eq!(nearest(given, known), expected, "{given}");
        }
        assert_eq!(nearest(&"order.placed".repeat(100_000), known), None);
    }
}
