//! Money is a whole number of minor units. Nothing here is a floating-point number.

use rapport_proto::decimal::exponent_of;

/// Digits after the point that a quantity may have (checked on receipt).
pub const FRACTION_DIGITS_MAX: usize = 9;

/// A decimal as an integer and a scale: `1.50` is 150 with scale 2.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Decimal {
    units: i128,
    scale: u32,
}

impl Decimal {
    /// Reads a JSON number without going through a float. Exponents are understood. `None` if it is no number or has
    /// more than 18 integer or 9 fraction digits.
    pub fn parse(text: &str) -> Option<Self> {
        let (mantissa, exponent) = match text.split_once(['e', 'E']) {
            Some((m, e)) => (m, exponent_of(e)?),
            None => (text, 0),
        };
        let (negative, digits) = match mantissa.strip_prefix('-') {
            Some(rest) => (true, rest),
            None => (false, mantissa),
        };
        let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
        if whole.is_empty() || !whole.bytes().chain(fraction.bytes()).all(|b| b.is_ascii_digit()) {
            return None;
        }
        let significant = format!("{whole}{fraction}");
        let significant = significant.trim_start_matches('0');
        let trailing = significant.len() - significant.trim_end_matches('0').len();
        let kept = &significant[..significant.len() - trailing];
        if kept.is_empty() {
            return Some(Self { units: 0, scale: 0 });
        }
        // value = kept * 10^power
        let power = exponent + trailing as i64 - fraction.len() as i64;
        let integer_digits = kept.len() as i64 + power;
        if integer_digits > 18 || -power > FRACTION_DIGITS_MAX as i64 || kept.len() > 27 {
            return None;
        }
        let mut units: i128 = kept.parse().ok()?;
        let scale = if power >= 0 {
            units *= 10i128.pow(u32::try_from(power).ok()?);
            0
        } else {
            u32::try_from(-power).ok()?
        };
        Some(Self { units: if negative { -units } else { units }, scale })
    }

    /// A whole number.
    pub const fn whole(units: i128) -> Self {
        Self { units, scale: 0 }
    }

    /// This many times `minor`, rounded to minor units, halves away from zero.
    pub fn times(self, minor: i64) -> i128 {
        // |units| < 10^27 and |minor| < 10^19 may exceed i128: then the result is beyond any sum of money; saturate.
        let product = self.units.saturating_mul(i128::from(minor));
        divide_half_away(product, 10i128.pow(self.scale))
    }

    /// As minor units of a currency with `digits` digits after the point, halves away from zero.
    pub fn to_minor(self, digits: u32) -> i128 {
        divide_half_away(self.units.saturating_mul(10i128.pow(digits.min(9))), 10i128.pow(self.scale))
    }

    /// Whether it is below zero.
    pub const fn is_negative(self) -> bool {
        self.units < 0
    }

    /// The shortest plain decimal text of it (no exponent), as PostgreSQL's `numeric` reads it.
    pub fn to_plain(self) -> String {
        let sign = if self.units < 0 { "-" } else { "" };
        let digits = format!("{:0>width$}", self.units.unsigned_abs(), width = self.scale as usize + 1);
        let (whole, fraction) = digits.split_at(digits.len() - self.scale as usize);
        if fraction.is_empty() { format!("{sign}{whole}") } else { format!("{sign}{whole}.{fraction}") }
    }
}

/// `number / divisor` rounded to the nearest integer, halves away from zero. `divisor` > 0.
pub fn divide_half_away(number: i128, divisor: i128) -> i128 {
    let (quotient, rest) = (number / divisor, number % divisor);
    if rest.unsigned_abs() >= divisor.unsigned_abs() - rest.unsigned_abs() {
        quotient + number.signum()
    } else {
        quotient
    }
}

/// Into a `bigint` column: an amount beyond it stands at the bound (the fold flags the entity).
pub fn clamp(minor: i128) -> i64 {
    i64::try_from(minor).unwrap_or(if minor < 0 { i64::MIN } else { i64::MAX })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn decimals() {
        for (text, minor2) in [
            ("1.005", 101),
            ("-1.005", -101),
            ("1.0049", 100),
            ("0.005", 1),
            ("12", 1200),
            ("1e2", 10000),
            ("1.5E-1", 15),
            ("0", 0),
            ("0.0E-9000000001", 0),
            ("0e99999999999999999999", 0),
            ("-0.00", 0),
            ("1200e-2", 1200),
            ("100000", 10_000_000),
        ] {
            assert_eq!(Decimal::parse(text).map(|d| d.to_minor(2)), Some(minor2), "{text}");
        }
        for text in [
            "",
            "-",
            "1.2.3",
            "abc",
            "1e",
            ".5",
            "1e19",
            "0.0000000001",
            "1234567890123456789",
            "1e999999999999",
            "1e+-5",
            "1e-9000000001",
        ] {
            assert_eq!(Decimal::parse(text), None, "{text}");
        }
        for (text, plain) in [("1.50", "1.5"), ("-0.05", "-0.05"), ("1e3", "1000"), ("0.0", "0")] {
            assert_eq!(Decimal::parse(text).map(Decimal::to_plain).as_deref(), Some(plain));
        }
    }

    #[test]
    fn halves_away_from_zero() {
        for (n, d, q) in
            [(5, 10, 1), (-5, 10, -1), (4, 10, 0), (15, 10, 2), (-15, 10, -2), (1, 3, 0), (2, 3, 1), (7, 1, 7)]
        {
            assert_eq!(divide_half_away(n, d), q, "{n}/{d}");
        }
    }

    proptest! {
        #[test]
        fn parse_never_panics(text in "[-+0-9.eE]{0,40}") {
            let _ = Decimal::parse(&text).map(|d| (d.times(i64::MAX), d.to_minor(2), d.to_plain()));
        }

        #[test]
        fn plain_reads_back(units in -1_000_000_000i64..1_000_000_000, scale in 0usize..9) {
            let text = format!("{:.*}", scale, units as f64 / 10f64.powi(scale as i32));
            let decimal = Decimal::parse(&text).expect("a decimal");
            prop_assert_eq!(Decimal::parse(&decimal.to_plain()), Some(decimal));
        }
    }
}
