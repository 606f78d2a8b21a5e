//! The read model against random histories, and its folds against histories told by hand.

mod capped;
mod database;
mod folds;
mod history;
