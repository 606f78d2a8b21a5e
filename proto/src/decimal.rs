//! Decimal numbers as JSON writes them, kept as their digits: no floating point anywhere.

/// The digits before and after the point that a decimal of an event may have.
pub const INTEGER_DIGITS_MAX: usize = 18;
/// See [`INTEGER_DIGITS_MAX`].
pub const FRACTION_DIGITS_MAX: usize = 9;

/// The value times 10^9 of a JSON number (`-1.50`, `2e3`): exact.
///
/// `None` where the text is no JSON number, or has more than [`INTEGER_DIGITS_MAX`] digits before the point or more
/// than [`FRACTION_DIGITS_MAX`] after it, zeros at either end not counted.
///
/// ```
/// use rapport_proto::decimal::nanos;
/// assert_eq!(nanos("-1.50"), Some(-1_500_000_000));
/// assert_eq!(nanos("0.0000000001"), None);
/// ```
pub fn nanos(text: &str) -> Option<i128> {
    let (negative, text) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text),
    };
    let (mantissa, exponent) = match text.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, exponent_of(exponent)?),
        None => (text, 0),
    };
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let digits_only = |s: &str| s.bytes().all(|b| b.is_ascii_digit());
    let point_is_followed = mantissa.len() == whole.len() || !fraction.is_empty();
    let leads_with_zero = whole.len() > 1 && whole.starts_with('0');
    if whole.is_empty() || leads_with_zero || !point_is_followed {
        return None;
    }
    if !digits_only(whole) || !digits_only(fraction) {
        return None;
    }

    // The digits without the zeros at either end, and the power of ten of the last of them.
    let (whole, fraction) = (whole.trim_start_matches('0'), fraction.trim_end_matches('0'));
    let (whole, cut, fraction) = match (fraction.is_empty(), whole.is_empty()) {
        (true, _) => {
            let significant = whole.trim_end_matches('0');
            (significant, whole.len() - significant.len(), "")
        }
        (false, true) => ("", 0, fraction),
        (false, false) => (whole, 0, fraction),
    };
    let last = i64::try_from(cut).ok()? - i64::try_from(fraction.len()).ok()? + exponent;
    let digits = match whole.is_empty() {
        true => fraction.trim_start_matches('0').len(),
        false => whole.len() + fraction.len(),
    };
    if digits == 0 {
        return Some(0);
    }
    let first = last + i64::try_from(digits).ok()?;
    if first > INTEGER_DIGITS_MAX as i64 || last < -(FRACTION_DIGITS_MAX as i64) {
        return None;
    }
    // At most 27 digits are left, which an i128 holds.
    let add = |sum: i128, digit: u8| sum * 10 + i128::from(digit - b'0');
    let value = whole.bytes().chain(fraction.bytes()).fold(0, add);
    let power = u32::try_from(last + FRACTION_DIGITS_MAX as i64).ok()?;
    let value = value * 10_i128.pow(power);
    Some(if negative { -value } else { value })
}

/// What stands behind the `e` of a JSON number; an exponent of more digits than fit is as good as a very large one.
pub fn exponent_of(text: &str) -> Option<i64> {
    let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
    if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let value = digits.parse::<i64>().unwrap_or(i64::MAX).min(1 << 40);
    Some(if text.starts_with('-') { -value } else { value })
}

#[cfg(test)]
mod tests {
    use super::nanos;

    #[test]
    fn json_numbers_are_exact() {
        let check = |text, want: Option<i128>| assert_eq!(nanos(text), want, "{text}");
        check("0", Some(0));
        check("-0.0", Some(0));
        check("1.50", Some(1_500_000_000));
        check("0.050", Some(50_000_000));
        check("-100.10", Some(-100_100_000_000));
        check("1200e-2", Some(12_000_000_000));
        check("0.00012e4", Some(1_200_000_000));
        check("2e3", Some(2_000_000_000_000));
        check("2E-9", Some(2));
        check("2e-10", None);
        check("0.000000001000", Some(1));
        check("999999999999999999.999999999", Some(999_999_999_999_999_999_999_999_999));
        check("1000000000000000000", None);
        check("1e18", None);
        check("0e99999999999999999999", Some(0));
        check("1e99999999999999999999", None);
        for wrong in ["", "-", "+1", "01", "1.", ".5", "1e", "1e+", "0x1", "1,5", "NaN", " 1"] {
            check(wrong, None);
        }
    }
}
