//! How fast events fold into sales on this machine: events that name no order and no session, products viewed and put into
//! carts in sessions of ten, orders placed, orders paid and sent later.
//!
//! ```text
//! cargo run -p projector-sales --example fold_speed [postgres://…]
//! ```
//!
//! Without an address it starts a PostgreSQL of its own (which does not flush to disk).

use std::time::Instant;

use domain::{Namespace, time::SECOND};
use projection::{Event, direct, direct::Direct};
use projector_sales::Sales;
use prost::Message;
use rapport_proto::v1;
use uuid::Uuid;

/// Events a batch.
const BATCH: i64 = 5_000;
/// Batches of each kind.
const BATCHES: i64 = 10;
const NAMESPACE: Namespace = Namespace::new(Uuid::from_u128(7));

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let url = match std::env::args().nth(1) {
        Some(url) => url,
        None => test_kit::postgres().await,
    };
    let mut db = Direct::open(&url, Sales, NAMESPACE).await.expect("a database that may be written to");
    let order = |n: i64| format!("o{:x}", n.wrapping_mul(0x9E37_79B9_7F4A_7C15_u64 as i64));
    fold(&mut db, "pages viewed", |n| test_kit::Event::page_viewed(&format!("v{n}"))).await;
    let session = |n: i64| format!("s{:x}", (n / 10).wrapping_mul(0x9E37_79B9_7F4A_7C15_u64 as i64));
    fold(&mut db, "products viewed", |n| {
        let told = test_kit::Event::new("web.product.viewed", &format!("w{n}")).data("session_id", session(n));
        told.data("sku", format!("A{}", n % 7))
    })
    .await;
    fold(&mut db, "carts changed", |n| {
        let told = test_kit::Event::cart_added(&format!("c{n}"), "").data("cart_id", serde_json::Value::Null);
        told.data("session_id", session(n * 2)).at_s(n)
    })
    .await;
    fold(&mut db, "orders placed", |n| test_kit::Event::order_placed(&order(n)).subject("email:a@example.com")).await;
    fold(&mut db, "payments", |n| test_kit::Event::payment_recorded(&format!("p{n}"), &order(n))).await;
    fold(&mut db, "shipments", |n| {
        test_kit::Event::new("shipment.updated", &format!("s{n}")).data("order_id", order(n)).data("status", "shipped")
    })
    .await;
}

async fn fold(db: &mut Direct<Sales>, what: &str, told: impl Fn(i64) -> test_kit::Event) {
    let record = |n: i64| -> Event {
        let json = told(n).json().to_string();
        let wire: v1::Interaction = rapport_proto::json::read(json.as_bytes()).expect("an event");
        direct::event(wire.encode_to_vec(), test_kit::BASE_TIME * SECOND + n, 0, n, &NAMESPACE).expect("a record")
    };
    let batches: Vec<Vec<Event>> = (0..BATCHES).map(|b| (b * BATCH..(b + 1) * BATCH).map(record).collect()).collect();
    let start = Instant::now();
    for batch in batches {
        db.fold(batch).await.expect("folded");
    }
    let micros = start.elapsed().as_micros() as f64 / (BATCH * BATCHES) as f64;
    println!("{what:15} {micros:6.1} us an event, {:7.0} a second", 1e6 / micros);
}
