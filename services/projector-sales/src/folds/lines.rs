//! The lines of an order.

use std::collections::BTreeMap;

use domain::money::Decimal;
use rapport_proto::v1;
use uuid::Uuid;

use super::amount::{Book, Quantity, product};

/// One line. Two equal lines of an order are two.
#[derive(Clone, Debug, PartialEq)]
pub struct OrderLine {
    /// The order it belongs to.
    pub order_id: String,
    /// Its place in the order, from 1.
    pub line_no: i32,
    /// As published.
    pub sku: Option<String>,
    /// As published.
    pub name: Option<String>,
    /// As published.
    pub category: Option<String>,
    /// `None` if the event names no decimal.
    pub quantity: Option<Quantity>,
    /// How much of it came back: a returned sku fills the order's lines of that sku from the first on.
    pub returned_quantity: Quantity,
    /// The order's currency, in which all amounts of the line are.
    pub currency: Option<String>,
    /// Minor units.
    pub unit_price_minor: Option<i64>,
    /// The line's own discount, minor units; 0 if there is none.
    pub discount_minor: i64,
    /// After the line's discount, minor units; `None` if the event prices it in no way or in another currency.
    pub total_minor: Option<i64>,
    /// Minor units; `None` if unknown.
    pub cost_minor: Option<i64>,
    /// `total - cost`, minor units; `None` if the cost or the total is unknown.
    pub margin_minor: Option<i64>,
    /// The event that last set it.
    pub set_by: Uuid,
}

/// The lines of an order and their sums, which are not cut to a column's range.
#[derive(Debug, Default)]
pub(crate) struct Lines {
    pub(crate) lines: Vec<OrderLine>,
    /// Of the lines that have a total.
    pub(crate) total: i128,
    /// Of all lines; `None` if one's is unknown, or there is no line.
    pub(crate) cost: Option<i128>,
    /// A line has no total.
    pub(crate) unpriced: bool,
}

impl Lines {
    /// Reads the lines that the event `set_by` names for an order.
    pub(crate) fn read(order_id: &str, lines: &[v1::Line], set_by: Uuid, book: &mut Book<'_>) -> Self {
        let mut read = Self { cost: (!lines.is_empty()).then_some(0), ..Self::default() };
        for (at, line) in lines.iter().enumerate() {
            let quantity = line.quantity.as_deref().and_then(Decimal::parse);
            let Worth { unit_price, discount, total } = Worth::read(line, quantity, book);
            let cost = cost(line, total, quantity, book);
            read.total += total.unwrap_or(0);
            read.unpriced |= total.is_none();
            read.cost = read.cost.zip(cost).map(|(sum, cost)| sum + cost);
            read.lines.push(OrderLine {
                order_id: order_id.to_owned(),
                line_no: i32::try_from(at + 1).unwrap_or(i32::MAX),
                sku: line.sku.clone(),
                name: line.name.clone(),
                category: line.category.clone(),
                quantity: line.quantity.as_deref().and_then(Quantity::parse),
                returned_quantity: Quantity::default(),
                currency: book.currency().map(str::to_owned),
                unit_price_minor: unit_price,
                discount_minor: discount,
                total_minor: total.map(|t| book.write(t)),
                cost_minor: cost.map(|c| book.write(c)),
                margin_minor: total.zip(cost).map(|(total, cost)| book.write(total - cost)),
                set_by,
            });
        }
        read
    }

    /// Spreads what the event `set_by` says came back over the lines of each sku, from the first on; what is more than was
    /// ordered stands at the last of them. Returns whether every sku was ordered.
    pub(crate) fn take_back(&mut self, returned: &[v1::Line], set_by: Uuid) -> bool {
        let mut by_sku: BTreeMap<&str, Quantity> = BTreeMap::new();
        for line in returned {
            let quantity = line.quantity.as_deref().and_then(Quantity::parse);
            if let (Some(sku), Some(mut quantity)) = (line.sku.as_deref(), quantity) {
                by_sku.entry(sku).or_default().take(&mut quantity);
            }
        }
        let mut all_known = true;
        for (sku, mut rest) in by_sku {
            let mut last = None;
            for line in self.lines.iter_mut().filter(|l| l.sku.as_deref() == Some(sku)) {
                let before = line.returned_quantity;
                line.returned_quantity.fill(line.quantity.unwrap_or_default(), &mut rest);
                if line.returned_quantity != before {
                    line.set_by = set_by;
                }
                last = Some(line);
            }
            match last {
                Some(line) if rest != Quantity::default() => {
                    line.returned_quantity.take(&mut rest);
                    line.set_by = set_by;
                }
                Some(_) => {}
                None => all_known = false,
            }
        }
        all_known
    }
}

/// What a line is worth, minor units.
pub(crate) struct Worth {
    pub(crate) unit_price: Option<i64>,
    pub(crate) discount: i64,
    /// After the discount: a stated total, else the price of one times the quantity less the discount. `None` if neither is
    /// known in the book's currency.
    pub(crate) total: Option<i128>,
}

impl Worth {
    pub(crate) fn read(line: &v1::Line, quantity: Option<Decimal>, book: &mut Book<'_>) -> Self {
        let unit_price = book.read(line.unit_price.as_ref());
        let discount = book.read(line.discount.as_ref()).unwrap_or(0);
        let total = match &line.total {
            Some(total) => book.read(Some(total)).map(i128::from),
            None => unit_price.zip(quantity).map(|(price, quantity)| product(quantity, price) - i128::from(discount)),
        };
        Self { unit_price, discount, total }
    }
}

/// What a line cost: a stated margin tells it, else `cost`, else the unit cost times the quantity.
fn cost(line: &v1::Line, total: Option<i128>, quantity: Option<Decimal>, book: &mut Book<'_>) -> Option<i128> {
    if let Some(margin) = &line.margin {
        let margin = book.read(Some(margin));
        return total.zip(margin).map(|(total, margin)| total - i128::from(margin));
    }
    if let Some(cost) = &line.cost {
        return book.read(Some(cost)).map(i128::from);
    }
    let unit_cost = book.read(line.unit_cost.as_ref());
    unit_cost.zip(quantity).map(|(cost, quantity)| product(quantity, cost))
}
