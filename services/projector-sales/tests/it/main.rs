//! The read model against random histories, and its folds against histories told by hand.

mod capped;
mod carts;
mod database;
mod folds;
mod history;
