//! The read model *sales*: orders, their lines and refunds, revenue; carts, the funnel from a view to an order, products.
//!
//! The path of one event:
//!
//! ```text
//! batch -> events that name an order, a cart, a session, a checkout -> these locked, earlier facts read -> facts written
//!                                                                                              (projection::bounded)
//!       -> folds (facts before), folds (facts now) -> rows that differ replaced                (tables)
//! analyst -> sales.revenue -> orders, order_refunds                                            (sql/views.sql)
//!         -> sales.carts, sales.carts_at(time) -> cart_contents, orders
//! ```
//!
//! A cart is an entity of the kind that names it: its `cart_id`, else the session, else the `checkout_id`. Its row holds
//! facts only. Which order bought it is a join when one asks, by any of its names: an order may name nothing but a session in
//! which the cart once was, and is no fact of a cart that has an id. Whether it is abandoned depends on when one asks.
//!
//! | module | responsibility |
//! |---|---|
//! | [`folds`] | pure: the facts of an order, a cart, a session to its rows |
//! | `tables` | the derived tables and their rows' encoding |
//! | `sql/schema.sql` | the tables of a generation |
//! | `sql/row_indexes.sql`, `sql/indexes.sql` | the indexes of its facts, created once they are loaded, and of what is derived from them |
//! | `sql/views.sql` | what analysts read, every column explained |

pub mod folds;
mod tables;

use domain::{Brief, Entity, interaction::SESSION};
use projection::{
    ApplyError, Batch, BatchTx, Mode, ReadModel,
    bounded::{self, Bounded, Change, Fact, Facts, Kind},
    repair::{self, Find, Part, Repairable},
};
use sqlx::PgConnection;
use uuid::Uuid;

use folds::Rows;

/// Raised whenever [`folds`] give other rows for the same events.
const FOLD_VERSION: u32 = 5;

/// The read model.
#[derive(Clone, Copy, Debug, Default)]
pub struct Sales;

impl ReadModel for Sales {
    type Load = Facts<Self>;

    fn name(&self) -> &'static str {
        "sales"
    }

    fn schema_sql(&self) -> &'static str {
        include_str!("../sql/schema.sql")
    }

    fn row_indexes_sql(&self) -> &'static str {
        include_str!("../sql/row_indexes.sql")
    }

    fn indexes_sql(&self) -> &'static str {
        include_str!("../sql/indexes.sql")
    }

    fn load(&self) -> Option<Self::Load> {
        Some(Facts::default())
    }

    async fn finish_load(&self, cx: &mut BatchTx<'_>, _: Self::Load) -> Result<(), sqlx::Error> {
        bounded::finish_load(self, cx).await
    }

    fn views(&self) -> &'static str {
        include_str!("../sql/views.sql")
    }

    fn digested(&self) -> &'static [(&'static str, &'static [&'static str])] {
        &[
            ("orders", &[]),
            ("order_lines", &[]),
            ("order_refunds", &[]),
            ("revenue", &[]),
            ("cart_contents", &[]),
            ("cart_lines", &[]),
            ("sessions", &[]),
            ("session_products", &[]),
            ("product_performance", &[]),
            ("product_sessions", &[]),
        ]
    }

    fn row_key(&self, view: &str) -> &'static [&'static str] {
        match view {
            "orders" => &["order_id"],
            "order_lines" => &["order_id", "line_no"],
            "order_refunds" => &["order_id", "event_id"],
            "revenue" => &["day", "channel", "currency"],
            "cart_contents" => &["cart_id", "named_by"],
            "cart_lines" => &["cart_id", "named_by", "line_no"],
            "sessions" => &["session_id"],
            "session_products" => &["session_id", "product_no"],
            "product_performance" => &["sku", "currency"],
            _ => &["sku"],
        }
    }

    fn fold_version(&self) -> u32 {
        FOLD_VERSION
    }

    fn settings(&self) -> String {
        format!("facts_max={}", bounded::FACTS_MAX)
    }

    fn needs(&self, brief: &Brief<'_>) -> bool {
        bounded::needs::<Self>(brief)
    }

    async fn apply(&self, cx: &mut BatchTx<'_>, batch: &Batch, mode: Mode) -> Result<(), ApplyError> {
        bounded::apply(self, cx, batch, mode).await
    }
}

impl Repairable for Sales {
    fn finds(&self) -> Vec<Find> {
        repair::finds::<Self>(&tables::ALL)
    }

    fn parts(&self) -> Vec<Part> {
        repair::parts(&tables::ALL)
    }
}

impl Bounded for Sales {
    const KINDS: &'static [Kind] = &[
        Kind { kind: "order", column: "order_id" },
        Kind { kind: "cart", column: "cart_id" },
        Kind { kind: SESSION, column: "session_id" },
        Kind { kind: "checkout", column: "checkout_id" },
    ];

    type Rows = Rows;

    fn derive(&self, entity: &Entity, owner: Option<Uuid>, facts: &[Fact<'_>], capped: bool) -> Self::Rows {
        match entity.kind {
            "order" => Rows { order: folds::order(&entity.key, owner, facts, capped), ..Rows::default() },
            SESSION => Rows {
                cart: folds::cart(entity, owner, facts, capped),
                session: folds::session(&entity.key, owner, facts, capped),
                ..Rows::default()
            },
            _ => Rows { cart: folds::cart(entity, owner, facts, capped), ..Rows::default() },
        }
    }

    async fn write(&self, connection: &mut PgConnection, changes: &[Change<Self::Rows>]) -> Result<(), sqlx::Error> {
        tables::write(connection, changes).await
    }
}
