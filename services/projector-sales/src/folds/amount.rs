//! Sums of money in one currency, and quantities.

use domain::money::{Decimal, FRACTION_DIGITS_MAX, clamp, divide_half_away};
use rapport_proto::v1::Money;

/// The money of one order or cart: amounts in its currency count, others are noticed and count nowhere.
#[derive(Debug, Default)]
pub(crate) struct Book<'a> {
    currency: Option<&'a str>,
    /// An amount in another currency was met.
    pub(crate) foreign: bool,
    /// A sum lies beyond a `bigint` and was set to its bound.
    pub(crate) out_of_range: bool,
}

impl<'a> Book<'a> {
    /// A book in the currency of the first of these amounts.
    pub(crate) fn new(amounts: impl IntoIterator<Item = Option<&'a Money>>) -> Self {
        let currency = amounts.into_iter().flatten().find_map(|m| m.currency.as_deref());
        Self { currency, ..Self::default() }
    }

    /// The currency all sums are in; `None` if no amount was ever named.
    pub(crate) fn currency(&self) -> Option<&'a str> {
        self.currency
    }

    /// The amount, if there is one in the book's currency.
    pub(crate) fn read(&mut self, money: Option<&Money>) -> Option<i64> {
        let money = money?;
        if money.currency.as_deref() != self.currency {
            self.foreign = true;
            return None;
        }
        money.amount_minor
    }

    /// A sum as it is stored.
    pub(crate) fn write(&mut self, sum: i128) -> i64 {
        let stored = clamp(sum);
        self.out_of_range |= i128::from(stored) != sum;
        stored
    }
}

/// No sum of money comes near it; cut to it, thousands of products can be summed without a further thought.
const PRODUCT_MAX: i128 = 1_000_000_000_000_000_000_000_000_000;

/// `quantity` times `minor`, halves away from zero. One beyond [`PRODUCT_MAX`] is cut to it, and flagged when it is
/// written, as it is beyond a `bigint` too.
pub(crate) fn product(quantity: Decimal, minor: i64) -> i128 {
    quantity.times(minor).clamp(-PRODUCT_MAX, PRODUCT_MAX)
}

/// A quantity in units of 10^-9, the finest that an event may name: exact, and it can be summed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Quantity(i128);

impl Quantity {
    /// Reads the decimal of an event. `None` if it is none.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        Decimal::parse(text).map(|d| Self(d.to_minor(FRACTION_DIGITS_MAX as u32)))
    }

    /// Plain decimal text, as short as possible.
    pub fn to_plain(self) -> String {
        let sign = if self.0 < 0 { "-" } else { "" };
        let digits = format!("{:0>width$}", self.0.unsigned_abs(), width = FRACTION_DIGITS_MAX + 1);
        let (whole, fraction) = digits.split_at(digits.len() - FRACTION_DIGITS_MAX);
        match fraction.trim_end_matches('0') {
            "" => format!("{sign}{whole}"),
            fraction => format!("{sign}{whole}.{fraction}"),
        }
    }

    /// Whether there is any.
    pub(crate) fn is_positive(self) -> bool {
        self.0 > 0
    }

    /// So much more.
    pub(crate) fn plus(self, more: Self) -> Self {
        Self(self.0.saturating_add(more.0))
    }

    /// So much less.
    pub(crate) fn minus(self, less: Self) -> Self {
        Self(self.0.saturating_sub(less.0))
    }

    /// What `part` of it is worth where all of it is worth `minor`, halves away from zero. `None` beyond all sums of money,
    /// or if there is none of it.
    pub(crate) fn share(self, part: Self, minor: i128) -> Option<i128> {
        let product = minor.checked_mul(part.0)?;
        self.is_positive().then(|| divide_half_away(product, self.0))
    }

    /// Moves as much of `from` here as fits below `limit`.
    pub(crate) fn fill(&mut self, limit: Self, from: &mut Self) {
        let moved = (limit.0 - self.0).max(0).min(from.0.max(0));
        self.0 += moved;
        from.0 -= moved;
    }

    /// Moves all of `from` here.
    pub(crate) fn take(&mut self, from: &mut Self) {
        self.0 = self.0.saturating_add(std::mem::take(&mut from.0));
    }
}
