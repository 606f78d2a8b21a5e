//! Checks the contract against the last release, then renews the golden bytes of every event type.
//!
//! `cargo run -p rapport-proto --example golden`; with `--release-contract` what is now becomes the last release.

use prost::Message;
use rapport_proto::{DESCRIPTORS, json, v1};
use std::fmt::Write as _;
use std::path::Path;
use std::process::ExitCode;

#[path = "../tests/it/example_events.rs"]
mod example_events;
#[path = "../tests/it/wire.rs"]
mod wire;

fn main() -> std::io::Result<ExitCode> {
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("golden");
    let released = golden.join("released.bin");
    std::fs::create_dir_all(&golden)?;
    if released.exists() {
        let breaks = wire::breaks(&std::fs::read(&released)?, DESCRIPTORS);
        if !breaks.is_empty() {
            eprintln!("the last release would be broken: {}", breaks.join("; "));
            return Ok(ExitCode::FAILURE);
        }
    }

    let (mut events, mut bytes) = (String::new(), String::new());
    for (info, event) in example_events::all() {
        let event = event.to_string();
        let read: v1::Interaction = match json::read(event.as_bytes()) {
            Ok(read) => read,
            Err(faults) => {
                eprintln!("the example of {} is at fault: {faults:?}", info.name);
                return Ok(ExitCode::FAILURE);
            }
        };
        let _ = writeln!(events, "{event}");
        for byte in read.encode_to_vec() {
            let _ = write!(bytes, "{byte:02x}");
        }
        bytes.push('\n');
    }
    std::fs::write(golden.join("events.ndjson"), events)?;
    std::fs::write(golden.join("events.hex"), bytes)?;
    if !released.exists() || std::env::args().any(|a| a == "--release-contract") {
        std::fs::write(&released, DESCRIPTORS)?;
    }
    Ok(ExitCode::SUCCESS)
}
