//! `local-stack fetch [DIR]`: fetches Kafka and PostgreSQL, as `rapport up` and the tests would,
//! so that it happens once and where it can be seen.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// `EX_USAGE` and `EX_UNAVAILABLE` of sysexits.
const EXIT_USAGE: u8 = 64;
const EXIT_UNAVAILABLE: u8 = 69;

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let stack_dir = match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["fetch"] => local_stack::stack_dir(Path::new(".")),
        ["fetch", dir] => PathBuf::from(dir),
        _ => {
            eprintln!("usage: local-stack fetch [DIR]");
            return ExitCode::from(EXIT_USAGE);
        }
    };
    match local_stack::fetch(&stack_dir, |line| eprintln!("local-stack: {line}")).await {
        Ok(_) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("local-stack: {error}");
            if let Some(cause) = std::error::Error::source(&error) {
                eprintln!("local-stack: {cause}");
            }
            ExitCode::from(EXIT_UNAVAILABLE)
        }
    }
}
