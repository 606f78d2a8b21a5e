//! Senders that stop in the middle.

use std::time::Duration;

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::{Instant, timeout},
};

use crate::support::{Running, STRUCTURED, order, start};

/// Longer than any limit of these tests.
const PATIENCE: Duration = Duration::from_secs(30);

impl Running {
    /// A connection whose body has stopped after `bytes` bytes. The request has its place among those being worked on:
    /// the collector has asked for its body. Whether it has read those bytes already is not known.
    pub(crate) async fn half_sent(&self, bytes: usize) -> TcpStream {
        const CONTINUE: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";
        let mut stream = self
            .connect(
                "Content-Type: application/cloudevents-batch+json\r\nContent-Length: 90000\r\nExpect: 100-continue\r\n\r\n",
            )
            .await;
        let mut said = vec![0; CONTINUE.len()];
        timeout(PATIENCE, stream.read_exact(&mut said)).await.expect("in time").expect("the collector answers");
        assert_eq!(said, CONTINUE, "{}", String::from_utf8_lossy(&said));
        stream.write_all(&vec![b' '; bytes]).await.expect("the collector reads");
        stream
    }

    async fn connect(&self, rest: &str) -> TcpStream {
        let mut stream = TcpStream::connect(self.handle.addr()).await.expect("the collector listens");
        let head = format!("POST /events HTTP/1.1\r\nHost: localhost\r\n{rest}");
        stream.write_all(head.as_bytes()).await.expect("the collector reads");
        stream
    }
}

/// What comes back until the collector closes the connection.
async fn until_closed(stream: &mut TcpStream) -> String {
    let mut answer = Vec::new();
    // A reset is a close too.
    let _ = timeout(PATIENCE, stream.read_to_end(&mut answer)).await.expect("the collector closes the connection");
    String::from_utf8_lossy(&answer).into_owned()
}

#[tokio::test]
async fn half_a_request_is_given_up() {
    let collector = start(|options| {
        options.limits.header_timeout = Duration::from_millis(300);
        options.limits.body_timeout = Duration::from_millis(300);
    })
    .await;
    let started = Instant::now();
    let mut header = collector.connect("Content-Type: app").await;
    let mut body = collector.half_sent(10).await;
    let (mut cut, rest) = (collector.half_sent(10).await, order("whole"));
    cut.shutdown().await.expect("half closed");

    // Meanwhile others are served.
    assert_eq!(collector.post(STRUCTURED, rest).await.status, 200);
    let answer = until_closed(&mut header).await;
    assert!(answer.is_empty() || answer.contains(" 408 "), "{answer}");
    let answer = until_closed(&mut body).await;
    assert!(answer.contains("HTTP/1.1 408") && answer.contains("slow-body"), "{answer}");
    until_closed(&mut cut).await;
    assert!(started.elapsed() < PATIENCE);
    assert_eq!(collector.records().await.len(), 1);
}

#[tokio::test]
async fn a_chunked_body_is_read_to_its_end() {
    let collector = start(|_| {}).await;
    let (event, head) = (
        order("chunked"),
        "Content-Type: application/cloudevents+json\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n",
    );
    let mut stream = collector.connect(head).await;
    for chunk in event.as_bytes().chunks(50) {
        stream
            .write_all(format!("{:x}\r\n{}\r\n", chunk.len(), String::from_utf8_lossy(chunk)).as_bytes())
            .await
            .expect("it reads");
    }
    stream.write_all(b"0\r\n\r\n").await.expect("it reads");
    let answer = until_closed(&mut stream).await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    assert_eq!(collector.records().await.len(), 1);
}

#[tokio::test]
async fn what_was_begun_is_finished_at_shutdown() {
    let collector = start(|_| {}).await;
    let publishing = (0..50).map(|i| collector.post(STRUCTURED, order(&format!("o-{i}"))));
    let answers = futures::future::join_all(publishing).await;
    assert!(answers.iter().all(|a| a.status == 200));
    let mut idle = collector.connect("Content-Ty").await;
    let addr = collector.handle.addr();
    collector.handle.shut_down();
    timeout(PATIENCE, collector.handle.stopped()).await.expect("it ends");
    until_closed(&mut idle).await;
    assert!(TcpStream::connect(addr).await.is_err());
}
