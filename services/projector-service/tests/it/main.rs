//! The read model against random histories, and its folds against histories told by hand.

mod calls;
mod cases;
mod database;
mod history;
mod waiting;
