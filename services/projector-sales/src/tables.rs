//! The derived tables, and how their rows are encoded.

use domain::interaction::SESSION;
use projection::{
    bounded::{Change, Table, replace},
    copy::CopyBuffer,
};
use sqlx::PgConnection;

use crate::folds::{Cart, CartLine, Order, OrderLine, Refund, Rows, Session, SessionProduct};

/// The table of orders.
const ORDERS: Table = Table {
    name: "orders",
    kind: "order",
    key: "order_id",
    columns: &[
        "order_id",
        "subject_id",
        "placed_at",
        "changed_at",
        "cancelled_at",
        "channel",
        "currency",
        "line_count",
        "gross_minor",
        "discount_minor",
        "tax_minor",
        "shipping_minor",
        "refunds_minor",
        "net_minor",
        "cost_minor",
        "margin_minor",
        "captured_minor",
        "payment_state",
        "shipment_state",
        "shipped_at",
        "delivered_at",
        "expected_at",
        "expected_is_day",
        "unshipped",
        "carrier",
        "tracking",
        "returned_at",
        "cancel_reason",
        "rep",
        "quote_id",
        "cart_id",
        "checkout_id",
        "session_id",
        "opportunity_id",
        "campaign_id",
        "flags",
        "set_by",
    ],
};

/// The table of their lines.
const ORDER_LINES: Table = Table {
    name: "order_lines",
    kind: "order",
    key: "order_id",
    columns: &[
        "order_id",
        "line_no",
        "sku",
        "name",
        "category",
        "quantity",
        "returned_quantity",
        "currency",
        "unit_price_minor",
        "discount_minor",
        "total_minor",
        "cost_minor",
        "margin_minor",
        "set_by",
    ],
};

/// The table of their refunds.
const ORDER_REFUNDS: Table = Table {
    name: "order_refunds",
    kind: "order",
    key: "order_id",
    columns: &["order_id", "event_id", "refunded_at", "source", "amount_minor", "currency", "set_by"],
};

/// The columns of the tables of carts, one table for each kind of name.
const CART_COLUMNS: &[&str] = &[
    "cart_id",
    "subject_id",
    "session_id",
    "checkout_id",
    "session_ids",
    "checkout_ids",
    "currency",
    "value_minor",
    "furthest_step",
    "active_at",
    "line_counts",
    "values_minor",
    "longest_idle_us",
    "flags",
    "set_by",
];

/// The columns of the tables of their lines.
const CART_LINE_COLUMNS: &[&str] =
    &["cart_id", "line_no", "sku", "name", "category", "quantity", "currency", "value_minor", "set_by"];

/// Carts that have a `cart_id`, those that are a session's, and those that are a checkout's.
const CARTS: [Table; 3] = [
    Table { name: "carts", kind: "cart", key: "cart_id", columns: CART_COLUMNS },
    Table { name: "session_carts", kind: SESSION, key: "cart_id", columns: CART_COLUMNS },
    Table { name: "checkout_carts", kind: "checkout", key: "cart_id", columns: CART_COLUMNS },
];

/// Their lines.
const CART_LINES: [Table; 3] = [
    Table { name: "cart_lines", kind: "cart", key: "cart_id", columns: CART_LINE_COLUMNS },
    Table { name: "session_cart_lines", kind: SESSION, key: "cart_id", columns: CART_LINE_COLUMNS },
    Table { name: "checkout_cart_lines", kind: "checkout", key: "cart_id", columns: CART_LINE_COLUMNS },
];

/// The table of sessions.
const SESSIONS: Table = Table {
    name: "sessions",
    kind: SESSION,
    key: "session_id",
    columns: &["session_id", "subject_id", "viewed_at", "carted_at", "checkout_at", "flags", "set_by"],
};

/// The table of the products in them.
const SESSION_PRODUCTS: Table = Table {
    name: "session_products",
    kind: SESSION,
    key: "session_id",
    columns: &["session_id", "product_no", "sku", "viewed_at", "carted_at", "set_by"],
};

/// All of them.
pub(crate) const ALL: [Table; 11] = [
    ORDERS,
    ORDER_LINES,
    ORDER_REFUNDS,
    CARTS[0],
    CARTS[1],
    CARTS[2],
    CART_LINES[0],
    CART_LINES[1],
    CART_LINES[2],
    SESSIONS,
    SESSION_PRODUCTS,
];

/// Writes what has changed.
pub(crate) async fn write(connection: &mut PgConnection, changes: &[Change<Rows>]) -> Result<(), sqlx::Error> {
    replace(connection, &ORDERS, changes, |rows| rows.order.order.as_slice(), order).await?;
    replace(connection, &ORDER_LINES, changes, |rows| &rows.order.lines, line).await?;
    replace(connection, &ORDER_REFUNDS, changes, |rows| &rows.order.refunds, refund).await?;
    for table in &CARTS {
        replace(connection, table, changes, |rows| rows.cart.cart.as_slice(), cart).await?;
    }
    for table in &CART_LINES {
        replace(connection, table, changes, |rows| &rows.cart.lines, cart_line).await?;
    }
    replace(connection, &SESSIONS, changes, |rows| rows.session.session.as_slice(), session).await?;
    replace(connection, &SESSION_PRODUCTS, changes, |rows| &rows.session.products, session_product).await
}

fn order(row: &Order, to: &mut CopyBuffer) {
    to.put_text(&row.order_id)
        .put_opt(row.subject_id, CopyBuffer::put_uuid)
        .put_opt(row.placed_at, CopyBuffer::put_timestamptz)
        .put_opt(row.changed_at, CopyBuffer::put_timestamptz)
        .put_opt(row.cancelled_at, CopyBuffer::put_timestamptz)
        .put_opt(row.channel.as_deref(), CopyBuffer::put_text)
        .put_opt(row.currency.as_deref(), CopyBuffer::put_text)
        .put_i32(row.line_count)
        .put_opt(row.gross_minor, CopyBuffer::put_i64)
        .put_opt(row.discount_minor, CopyBuffer::put_i64)
        .put_opt(row.tax_minor, CopyBuffer::put_i64)
        .put_opt(row.shipping_minor, CopyBuffer::put_i64)
        .put_i64(row.refunds_minor)
        .put_opt(row.net_minor, CopyBuffer::put_i64)
        .put_opt(row.cost_minor, CopyBuffer::put_i64)
        .put_opt(row.margin_minor, CopyBuffer::put_i64)
        .put_i64(row.captured_minor)
        .put_text(row.payment_state)
        .put_opt(row.shipment_state.as_deref(), CopyBuffer::put_text)
        .put_opt(row.shipped_at, CopyBuffer::put_timestamptz)
        .put_opt(row.delivered_at, CopyBuffer::put_timestamptz)
        .put_opt(row.expected_at, CopyBuffer::put_timestamptz)
        .put_bool(row.expected_is_day)
        .put_bool(row.unshipped)
        .put_opt(row.carrier.as_deref(), CopyBuffer::put_text)
        .put_opt(row.tracking.as_deref(), CopyBuffer::put_text)
        .put_opt(row.returned_at, CopyBuffer::put_timestamptz)
        .put_opt(row.cancel_reason.as_deref(), CopyBuffer::put_text)
        .put_opt(row.rep.as_deref(), CopyBuffer::put_text)
        .put_opt(row.quote_id.as_deref(), CopyBuffer::put_text)
        .put_opt(row.cart_id.as_deref(), CopyBuffer::put_text)
        .put_opt(row.checkout_id.as_deref(), CopyBuffer::put_text)
        .put_opt(row.session_id.as_deref(), CopyBuffer::put_text)
        .put_opt(row.opportunity_id.as_deref(), CopyBuffer::put_text)
        .put_opt(row.campaign_id.as_deref(), CopyBuffer::put_text)
        .put_text_array(&row.flags)
        .put_uuid(row.set_by);
}

fn line(row: &OrderLine, to: &mut CopyBuffer) {
    to.put_text(&row.order_id)
        .put_i32(row.line_no)
        .put_opt(row.sku.as_deref(), CopyBuffer::put_text)
        .put_opt(row.name.as_deref(), CopyBuffer::put_text)
        .put_opt(row.category.as_deref(), CopyBuffer::put_text)
        .put_opt(row.quantity, |to, quantity| to.put_numeric(&quantity.to_plain()))
        .put_numeric(&row.returned_quantity.to_plain())
        .put_opt(row.currency.as_deref(), CopyBuffer::put_text)
        .put_opt(row.unit_price_minor, CopyBuffer::put_i64)
        .put_i64(row.discount_minor)
        .put_opt(row.total_minor, CopyBuffer::put_i64)
        .put_opt(row.cost_minor, CopyBuffer::put_i64)
        .put_opt(row.margin_minor, CopyBuffer::put_i64)
        .put_uuid(row.set_by);
}

fn refund(row: &Refund, to: &mut CopyBuffer) {
    to.put_text(&row.order_id)
        .put_uuid(row.event_id)
        .put_timestamptz(row.refunded_at)
        .put_text(row.source)
        .put_i64(row.amount_minor)
        .put_text(&row.currency)
        .put_uuid(row.event_id);
}

fn cart(row: &Cart, to: &mut CopyBuffer) {
    to.put_text(&row.cart_id)
        .put_opt(row.subject_id, CopyBuffer::put_uuid)
        .put_opt(row.session_id.as_deref(), CopyBuffer::put_text)
        .put_opt(row.checkout_id.as_deref(), CopyBuffer::put_text)
        .put_text_array(&row.session_ids)
        .put_text_array(&row.checkout_ids)
        .put_opt(row.currency.as_deref(), CopyBuffer::put_text)
        .put_opt(row.value_minor, CopyBuffer::put_i64)
        .put_opt(row.furthest_step.as_deref(), CopyBuffer::put_text)
        .put_timestamptz_array(&row.active_at)
        .put_i64_array(&row.line_counts)
        .put_i64_array(&row.values_minor)
        .put_i64_array(&row.longest_idle_us)
        .put_text_array(&row.flags)
        .put_uuid(row.set_by);
}

fn cart_line(row: &CartLine, to: &mut CopyBuffer) {
    to.put_text(&row.cart_id)
        .put_i32(row.line_no)
        .put_text(&row.sku)
        .put_opt(row.name.as_deref(), CopyBuffer::put_text)
        .put_opt(row.category.as_deref(), CopyBuffer::put_text)
        .put_numeric(&row.quantity.to_plain())
        .put_opt(row.currency.as_deref(), CopyBuffer::put_text)
        .put_opt(row.value_minor, CopyBuffer::put_i64)
        .put_uuid(row.set_by);
}

fn session(row: &Session, to: &mut CopyBuffer) {
    to.put_text(&row.session_id)
        .put_opt(row.subject_id, CopyBuffer::put_uuid)
        .put_opt(row.viewed_at, CopyBuffer::put_timestamptz)
        .put_opt(row.carted_at, CopyBuffer::put_timestamptz)
        .put_opt(row.checkout_at, CopyBuffer::put_timestamptz)
        .put_text_array(&row.flags)
        .put_uuid(row.set_by);
}

fn session_product(row: &SessionProduct, to: &mut CopyBuffer) {
    to.put_text(&row.session_id)
        .put_i32(row.product_no)
        .put_text(&row.sku)
        .put_opt(row.viewed_at, CopyBuffer::put_timestamptz)
        .put_opt(row.carted_at, CopyBuffer::put_timestamptz)
        .put_uuid(row.set_by);
}
