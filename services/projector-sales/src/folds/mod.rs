//! Pure folds: the facts of an order, a cart or a session, in order, to its rows. They know no SQL and read no clock.

mod amount;
mod cart;
mod contents;
mod lines;
mod order;
mod session;

pub use amount::Quantity;
pub use cart::{Cart, CartRows, cart};
pub use contents::CartLine;
pub use lines::OrderLine;
pub use order::{Order, OrderRows, Refund, order};
pub use session::{Session, SessionProduct, SessionRows, session};

/// The rows of one entity: of an order, of a cart, of a session and the cart that it names.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Rows {
    /// Of an order.
    pub order: OrderRows,
    /// Of a cart, whatever names it.
    pub cart: CartRows,
    /// Of a session.
    pub session: SessionRows,
}

/// The names of the flags that are up, in the order in which they are given.
fn flags(flags: &[(&'static str, bool)]) -> Vec<&'static str> {
    flags.iter().filter(|(_, up)| *up).map(|(name, _)| *name).collect()
}
