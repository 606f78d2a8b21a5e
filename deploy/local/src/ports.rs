//! Ports for servers that start a while after their ports were chosen.

use std::collections::BTreeSet;
use std::io;
use std::net::{Ipv4Addr, TcpListener};
use std::sync::{Mutex, PoisonError};

use uuid::Uuid;

/// Above the ports that well-known servers use …
const FIRST: u16 = 10_000;
/// … and below those that Linux gives to outgoing connections, unless it is told otherwise: a port that the kernel handed
/// out and took back may be somebody's connection by the time a server wants to listen on it.
const END: u16 = 32_768;
const TRIES_MAX: u32 = 1_000;

/// What this process has chosen already, whether or not anything listens there yet.
static CHOSEN: Mutex<BTreeSet<u16>> = Mutex::new(BTreeSet::new());

/// The first of `count` ports in a row, of 10000 to 32767, on which nobody listens at 127.0.0.1. No port is given out twice
/// in one process; another process may still come first.
///
/// # Errors
/// No such block was found.
pub fn free_ports(count: u16) -> io::Result<u16> {
    let none = || io::Error::new(io::ErrorKind::AddrNotAvailable, format!("no {count} free ports in a row were found"));
    let last = (END - FIRST).checked_sub(count).ok_or_else(none)?;
    let mut chosen = CHOSEN.lock().unwrap_or_else(PoisonError::into_inner);
    for _ in 0..TRIES_MAX {
        let [high, low, ..] = *Uuid::new_v4().as_bytes();
        let first = FIRST + u16::from_be_bytes([high, low]) % (last + 1);
        let mut ports = first..first + count;
        if ports.all(|port| !chosen.contains(&port) && TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok()) {
            chosen.extend(first..first + count);
            return Ok(first);
        }
    }
    Err(none())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_are_free_and_apart() {
        let mut seen = BTreeSet::new();
        for count in [20, 1, 2, 20] {
            let first = free_ports(count).expect("a machine has free ports");
            assert!(first >= FIRST && first + count <= END, "{first}");
            for port in first..first + count {
                assert!(seen.insert(port), "{port} was given out twice");
                TcpListener::bind((Ipv4Addr::LOCALHOST, port)).expect("nobody listens there");
            }
        }
        free_ports(END).expect_err("there are not so many");
    }
}
