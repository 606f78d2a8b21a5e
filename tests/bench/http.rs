//! The least HTTP client that measures a server and not itself: one connection, kept open, one request at a time.

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use crate::Outcome;

/// An answer's head may be this long.
const HEAD_BYTES_MAX: usize = 64 * 1024;

/// A kept-open connection.
pub(crate) struct Connection {
    stream: TcpStream,
    port: u16,
    request: Vec<u8>,
    answer: Vec<u8>,
}

impl Connection {
    /// Connects to a port of this machine.
    pub(crate) async fn open(port: u16) -> Outcome<Self> {
        let stream = TcpStream::connect(("127.0.0.1", port)).await?;
        stream.set_nodelay(true)?;
        Ok(Self { stream, port, request: Vec::new(), answer: Vec::with_capacity(16 * 1024) })
    }

    /// Publishes one event. Returns its position.
    ///
    /// # Errors
    /// The connection broke, or it was not accepted.
    pub(crate) async fn publish_one(&mut self, event: &str) -> Outcome<Option<String>> {
        self.post("application/cloudevents+json", event.len(), |to| to.extend_from_slice(event.as_bytes())).await
    }

    /// Publishes several in one request. Returns their position.
    ///
    /// # Errors
    /// The connection broke, or not all were accepted.
    pub(crate) async fn publish_batch<'e>(
        &mut self,
        events: impl ExactSizeIterator<Item = &'e str> + Clone,
    ) -> Outcome<Option<String>> {
        let length = 1 + events.len() + events.clone().map(str::len).sum::<usize>();
        self.post("application/cloudevents-batch+json", length, |to| {
            for (index, event) in events.enumerate() {
                to.push(if index == 0 { b'[' } else { b',' });
                to.extend_from_slice(event.as_bytes());
            }
            to.push(b']');
        })
        .await
    }

    /// Asks for a path.
    ///
    /// # Errors
    /// The connection broke, or the status is not 200.
    pub(crate) async fn get(&mut self, path: &str) -> Outcome<Option<String>> {
        self.request.clear();
        self.request
            .extend_from_slice(format!("GET {path} HTTP/1.1\r\nhost: 127.0.0.1:{}\r\n\r\n", self.port).as_bytes());
        self.exchange().await
    }

    async fn post(&mut self, mode: &str, length: usize, body: impl FnOnce(&mut Vec<u8>)) -> Outcome<Option<String>> {
        let port = self.port;
        self.request.clear();
        self.request.extend_from_slice(
            format!("POST /events HTTP/1.1\r\nhost: 127.0.0.1:{port}\r\ncontent-type: {mode}\r\ncontent-length: {length}\r\n\r\n").as_bytes(),
        );
        body(&mut self.request);
        self.exchange().await
    }

    async fn exchange(&mut self) -> Outcome<Option<String>> {
        self.stream.write_all(&self.request).await?;
        self.answer.clear();
        let head = loop {
            if let Some(end) = self.answer.windows(4).position(|w| w == b"\r\n\r\n") {
                break end;
            }
            if self.answer.len() > HEAD_BYTES_MAX || self.stream.read_buf(&mut self.answer).await? == 0 {
                return Err("the server closed the connection before it had answered".into());
            }
        };
        let text = std::str::from_utf8(&self.answer[..head])?;
        let status: u16 =
            text.split(' ').nth(1).and_then(|s| s.parse().ok()).ok_or("the server's answer is no HTTP")?;
        let header = |wanted: &str| {
            text.lines()
                .skip(1)
                .filter_map(|line| line.split_once(':'))
                .find(|(name, _)| name.eq_ignore_ascii_case(wanted))
                .map(|(_, v)| v.trim())
        };
        let length: usize =
            header("content-length").and_then(|l| l.parse().ok()).ok_or("the server's answer has no length")?;
        let position = header("rapport-position").map(str::to_owned);
        while self.answer.len() < head + 4 + length {
            if self.stream.read_buf(&mut self.answer).await? == 0 {
                return Err("the server closed the connection in the middle of its answer".into());
            }
        }
        if status != 200 {
            let body: String = String::from_utf8_lossy(&self.answer[head + 4..]).chars().take(600).collect();
            return Err(format!("the server answered with status {status}: {body}").into());
        }
        Ok(position)
    }
}
