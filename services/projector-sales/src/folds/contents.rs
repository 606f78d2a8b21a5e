//! What is in a cart.

use std::collections::BTreeMap;

use domain::money::Decimal;
use rapport_proto::v1::{self, Money};
use uuid::Uuid;

use super::{
    amount::{Book, Quantity},
    lines::Worth,
};

/// One sku in a cart.
#[derive(Clone, Debug, PartialEq)]
pub struct CartLine {
    /// The cart's key.
    pub cart_id: String,
    /// Its place among the cart's skus in their order, from 1.
    pub line_no: i32,
    /// As published.
    pub sku: String,
    /// As last published.
    pub name: Option<String>,
    /// As last published.
    pub category: Option<String>,
    /// More than zero.
    pub quantity: Quantity,
    /// The cart's.
    pub currency: Option<String>,
    /// Minor units; `None` if some of it has no price in the cart's currency.
    pub value_minor: Option<i64>,
    /// The event that last changed it.
    pub set_by: Uuid,
}

/// One sku while the changes are told.
struct Item<'a> {
    name: Option<&'a str>,
    category: Option<&'a str>,
    quantity: Quantity,
    value: Option<i128>,
    set_by: Uuid,
}

/// What is in a cart after the changes told so far.
pub(crate) struct Contents<'a> {
    items: BTreeMap<&'a str, Item<'a>>,
    /// What they are worth, without those that have no price. Kept, for it is asked for after every change.
    sum: i128,
    /// Additions that name no line.
    unlisted: i64,
    pub(crate) book: Book<'a>,
}

impl<'a> Contents<'a> {
    /// Nothing yet, in the currency that these changes, which are to be told in their order, decide on: that of the total
    /// the last one states, else of their first amount.
    pub(crate) fn new(changes: impl DoubleEndedIterator<Item = &'a v1::WebCartChanged> + Clone) -> Self {
        let stated = changes.clone().next_back().map(|c| c.total_after.as_ref());
        let lines = changes.clone().flat_map(|c| &c.lines).flat_map(|l| [l.total.as_ref(), l.unit_price.as_ref()]);
        let totals = changes.map(|c| c.total_after.as_ref());
        let book = Book::new(stated.into_iter().chain(lines).chain(totals));
        Self { items: BTreeMap::new(), sum: 0, unlisted: 0, book }
    }

    pub(crate) fn change(&mut self, change: &'a v1::WebCartChanged, by: Uuid) {
        self.book.read(change.total_after.as_ref());
        match change.op.as_deref() {
            Some("added") if change.lines.is_empty() => self.unlisted += 1,
            Some("removed") if change.lines.is_empty() => self.unlisted = (self.unlisted - 1).max(0),
            Some("set") if change.lines.is_empty() && !says_no_lines(change) => {}
            Some("set" | "emptied") => {
                self.items.clear();
                (self.sum, self.unlisted) = (0, 0);
                if change.op.as_deref() == Some("set") {
                    change.lines.iter().for_each(|line| self.add(line, by));
                }
            }
            Some("removed") => change.lines.iter().for_each(|line| self.remove(line, by)),
            _ => change.lines.iter().for_each(|line| self.add(line, by)),
        }
    }

    fn add(&mut self, line: &'a v1::Line, by: Uuid) {
        let Some(sku) = line.sku.as_deref() else { return };
        let value = Worth::read(line, line.quantity.as_deref().and_then(Decimal::parse), &mut self.book).total;
        let quantity = line.quantity.as_deref().and_then(Quantity::parse).unwrap_or_default();
        self.sum = self.sum.saturating_sub(self.priced(sku));
        let nothing = Item { name: None, category: None, quantity: Quantity::default(), value: Some(0), set_by: by };
        let item = self.items.entry(sku).or_insert(nothing);
        item.name = line.name.as_deref().or(item.name);
        item.category = line.category.as_deref().or(item.category);
        item.quantity = item.quantity.plus(quantity);
        item.value = item.value.zip(value).map(|(a, b)| a.saturating_add(b));
        item.set_by = by;
        if !item.quantity.is_positive() {
            self.items.remove(sku);
        }
        self.sum = self.sum.saturating_add(self.priced(sku));
    }

    fn remove(&mut self, line: &'a v1::Line, by: Uuid) {
        let Some(sku) = line.sku.as_deref() else { return };
        self.sum = self.sum.saturating_sub(self.priced(sku));
        let Some(item) = self.items.get_mut(sku) else { return };
        let rest = item.quantity.minus(line.quantity.as_deref().and_then(Quantity::parse).unwrap_or_default());
        if rest.is_positive() {
            item.value = item.value.and_then(|value| item.quantity.share(rest, value));
            item.quantity = rest;
            item.set_by = by;
        } else {
            self.items.remove(sku);
        }
        self.sum = self.sum.saturating_add(self.priced(sku));
    }

    /// What is in it of this sku is worth; 0 of one without a price.
    fn priced(&self, sku: &str) -> i128 {
        self.items.get(sku).and_then(|item| item.value).unwrap_or_default()
    }

    /// How many lines it has; each addition that names none counts as one.
    pub(crate) fn line_count(&self) -> i64 {
        i64::try_from(self.items.len()).unwrap_or(i64::MAX).saturating_add(self.unlisted)
    }

    /// Something is in it, and no line says what.
    pub(crate) fn has_unlisted(&self) -> bool {
        self.unlisted > 0
    }

    /// The currency all amounts are in.
    pub(crate) fn currency(&self) -> Option<&'a str> {
        self.book.currency()
    }

    /// What it is worth: what the last change states, else the sum of its lines, without those that have no price. `None` if
    /// no amount is named in any change, those to come among them.
    pub(crate) fn value(&mut self, stated: Option<&Money>) -> Option<i64> {
        self.book.currency()?;
        Some(self.book.read(stated).unwrap_or_else(|| self.book.write(self.sum)))
    }

    /// Its lines, by sku.
    pub(crate) fn lines(&mut self, cart_id: &str) -> Vec<CartLine> {
        let book = &mut self.book;
        let line = |(at, (sku, item)): (usize, (&&'a str, &Item<'a>))| CartLine {
            cart_id: cart_id.to_owned(),
            line_no: i32::try_from(at + 1).unwrap_or(i32::MAX),
            sku: (*sku).to_owned(),
            name: item.name.map(str::to_owned),
            category: item.category.map(str::to_owned),
            quantity: item.quantity,
            currency: book.currency().map(str::to_owned),
            value_minor: item.value.map(|value| book.write(value)),
            set_by: item.set_by,
        };
        self.items.iter().enumerate().map(line).collect()
    }
}

/// Whether an empty list of lines was published, which says that nothing is in the cart, and not none at all. The contract
/// keeps that beside the other fields.
pub(crate) fn says_no_lines(change: &v1::WebCartChanged) -> bool {
    #[derive(serde::Deserialize)]
    struct Extra {
        lines: Option<Vec<serde::de::IgnoredAny>>,
    }
    let extra: Option<Extra> = serde_json::from_slice(&change.extra_json).ok();
    extra.is_some_and(|extra| extra.lines.is_some())
}
