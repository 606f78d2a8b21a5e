//! The program `rapport`; everything it does is in the library of the same name.

use std::process::ExitCode;

/// Decoding an event takes some forty small allocations, and they end on another thread than they began on: the usual
/// allocator took a sixth of all processor time.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    rapport::main()
}
