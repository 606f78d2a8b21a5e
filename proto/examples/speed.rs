//! What it costs to read an order from JSON and to encode it, and the way back: microseconds an event, on one core.

use prost::Message;
use rapport_proto::{json, v1};
use std::hint::black_box;
use std::time::Instant;

const ORDER: &str = r#"{"specversion":"1.0","id":"order-4711-placed","source":"https://shop.example/eu","type":"io.rapport.order.placed","time":"2026-03-01T10:00:00.25Z","subject":"email:ada@example.org","identifiers":"user_id:4711","data":{"order_id":"4711","lines":[{"sku":"A-100","quantity":2,"unit_price":{"amount_minor":12990,"currency":"EUR"},"name":"Lamp"},{"sku":"B-7","quantity":1.5,"total":{"amount_minor":450,"currency":"EUR"},"colour":"red"}],"total":{"amount_minor":26430,"currency":"EUR"},"cart_id":"c-1","session_id":"s-1","channel":"web","gift":{"wrap":true}}}"#;
const ROUNDS: u32 = 200_000;

fn main() -> Result<(), Vec<json::Fault>> {
    let order: v1::Interaction = json::read(ORDER.as_bytes())?;
    let bytes = order.encode_to_vec();
    println!("{} bytes of JSON, {} in the log", ORDER.len(), bytes.len());
    measure("JSON -> bytes", || {
        let read = json::read::<v1::Interaction>(black_box(ORDER.as_bytes()));
        black_box(read.map(|order| order.encode_to_vec()).is_ok());
    });
    measure("bytes -> message", || {
        black_box(v1::Interaction::decode(black_box(&*bytes)).is_ok());
    });
    measure("message -> JSON", || {
        black_box(json::write(black_box(&order), Vec::with_capacity(1024)));
    });
    Ok(())
}

fn measure(name: &str, f: impl Fn()) {
    let start = Instant::now();
    for _ in 0..ROUNDS {
        f();
    }
    let each_us = start.elapsed().as_secs_f64() * 1e6 / f64::from(ROUNDS);
    println!("{name}: {each_us:.2} us");
}
