use std::net::SocketAddr;
use std::time::Duration;

use axum::Router;
use axum::routing::get;
use service_kit::{Health, ServeOptions, admin_router, init_metrics, serve};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

const SOON: Duration = Duration::from_secs(10);

struct Running {
    address: SocketAddr,
    shutdown: CancellationToken,
    served: JoinHandle<usize>,
}

async fn start(router: Router, options: ServeOptions) -> Running {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port is free");
    let address = listener.local_addr().expect("it is bound");
    let shutdown = CancellationToken::new();
    #[expect(clippy::disallowed_methods, reason = "the test awaits it")]
    let served = tokio::spawn(serve(listener, router, options, shutdown.clone()));
    Running { address, shutdown, served }
}

fn slow_router(delay: Duration) -> Router {
    Router::new().route(
        "/",
        get(async move || {
            sleep(delay).await;
            "done"
        }),
    )
}

async fn send(address: SocketAddr, text: &str) -> TcpStream {
    let mut stream = TcpStream::connect(address).await.expect("it accepts");
    stream.write_all(text.as_bytes()).await.expect("it reads");
    stream
}

/// All that arrives until the server closes the connection.
async fn read_all(mut stream: TcpStream) -> String {
    let mut text = String::new();
    timeout(SOON, stream.read_to_string(&mut text)).await.expect("in time").expect("as text");
    text
}

async fn ask(address: SocketAddr, path: &str) -> String {
    read_all(send(address, &format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")).await).await
}

#[tokio::test]
async fn open_requests_finish_after_the_shutdown_and_no_new_ones_begin() {
    let running = start(slow_router(Duration::from_millis(300)), ServeOptions::default()).await;
    let open = send(running.address, "GET / HTTP/1.1\r\nHost: x\r\n\r\n").await;
    sleep(Duration::from_millis(100)).await;
    running.shutdown.cancel();
    assert!(read_all(open).await.ends_with("done"));
    assert_eq!(running.served.await.expect("it ends"), 0);
    assert!(TcpStream::connect(running.address).await.is_err());
}

#[tokio::test]
async fn the_drain_has_an_end() {
    let options = ServeOptions { drain_timeout: Duration::from_millis(100), ..ServeOptions::default() };
    let running = start(slow_router(Duration::from_secs(600)), options).await;
    let open = send(running.address, "GET / HTTP/1.1\r\nHost: x\r\n\r\n").await;
    sleep(Duration::from_millis(50)).await;
    running.shutdown.cancel();
    assert_eq!(timeout(SOON, running.served).await.expect("in time").expect("it ends"), 1);
    assert_eq!(read_all(open).await, "");
}

#[tokio::test]
async fn a_header_that_never_ends_is_not_waited_for() {
    let options = ServeOptions { header_read_timeout: Duration::from_millis(100), ..ServeOptions::default() };
    let running = start(slow_router(Duration::ZERO), options).await;
    let half = send(running.address, "GET / HTTP/1.1\r\nHos").await;
    let answer = read_all(half).await;
    assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 408"), "{answer}");
}

#[tokio::test]
async fn connections_beyond_the_limit_wait_for_one_to_close() {
    let options = ServeOptions { connections_max: 1, ..ServeOptions::default() };
    let running = start(slow_router(Duration::ZERO), options).await;
    let first = send(running.address, "").await;
    sleep(Duration::from_millis(50)).await;
    let mut second = send(running.address, "GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").await;
    let mut byte = [0];
    assert!(timeout(Duration::from_millis(200), second.read(&mut byte)).await.is_err(), "it was served");
    drop(first);
    assert!(read_all(second).await.ends_with("done"));
}

#[tokio::test]
async fn the_admin_pages_tell_how_it_is() {
    let health = Health::new(["kafka"]);
    let router = admin_router(health.clone(), init_metrics().expect("nobody else has"));
    let running = start(router, ServeOptions::default()).await;
    assert!(ask(running.address, "/livez").await.starts_with("HTTP/1.1 200"));
    let answer = ask(running.address, "/readyz").await;
    assert!(answer.starts_with("HTTP/1.1 503") && answer.contains(r#""kafka":"starting""#), "{answer}");
    health.holds("kafka");
    assert!(ask(running.address, "/readyz").await.starts_with("HTTP/1.1 200"));
    assert!(ask(running.address, "/metrics").await.contains("text/plain; version=0.0.4"));
}
