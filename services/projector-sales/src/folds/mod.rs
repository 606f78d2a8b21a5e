//! Pure folds: the facts of an order, in order, to its rows. They know no SQL and read no clock.

mod amount;
mod lines;
mod order;

pub use amount::Quantity;
pub use lines::OrderLine;
pub use order::{Order, OrderRows, Refund, order};
