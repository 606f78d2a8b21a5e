//! HTTP to services, ours or somebody else's.

use std::net::IpAddr;

use reqwest::{ClientBuilder, Url};

/// A client for what answers at `url`. No proxy of the environment (`http_proxy`) stands between us and this machine's
/// loopback: it would look for the service on its own machine.
pub(crate) fn builder(url: &str) -> ClientBuilder {
    let builder = reqwest::Client::builder();
    if is_loopback(url) { builder.no_proxy() } else { builder }
}

fn is_loopback(url: &str) -> bool {
    let Ok(url) = Url::parse(url) else { return false };
    let host = url.host_str().unwrap_or_default();
    // The brackets of an IPv6 address belong to the URL.
    let address = host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
    host.eq_ignore_ascii_case("localhost") || address.is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::is_loopback;

    #[test]
    fn this_machine_is_known() {
        for here in ["http://127.0.0.1:7070", "http://localhost:7070/", "http://[::1]:7070", "http://127.8.0.1"] {
            assert!(is_loopback(here), "{here}");
        }
        for elsewhere in ["http://other:7070", "http://10.0.0.1", "http://localhost.example.com", "127.0.0.1:7070", ""]
        {
            assert!(!is_loopback(elsewhere), "{elsewhere}");
        }
    }
}
