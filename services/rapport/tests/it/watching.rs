//! `rapport status --watch` on a pseudo terminal, and on none.

use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::net::{TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::process::{Child, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{Winsize, tcsetwinsize};
use test_kit::Backbone;

use crate::{Running, command, port_base};

const WAIT: Duration = Duration::from_secs(60);
const HOME: &str = "\x1b[H";
const ENTER: &str = "\x1b[?1049h";
const LEAVE: &str = "\x1b[?25h\x1b[?1049l";

/// A command on a terminal of its own.
struct Terminal {
    child: Child,
    master: OwnedFd,
    written: Arc<Mutex<Vec<u8>>>,
}

impl Terminal {
    fn run(arguments: &[&str], settings: &[(&str, &str)], dir: &std::path::Path) -> Self {
        let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).expect("a pseudo terminal");
        grantpt(&master).and_then(|()| unlockpt(&master)).expect("it may be used");
        let name = ptsname(&master, Vec::new()).expect("it has a name").into_string().expect("text");
        let slave = File::options().read(true).write(true).open(name).expect("its other end");
        let other = || Stdio::from(slave.try_clone().expect("its other end"));
        resize(&master, 80, 24);
        let mut command = command(arguments, settings, dir);
        let child = command.stdin(other()).stdout(other()).stderr(other()).spawn().expect("rapport runs");
        drop((slave, command));
        let written = Arc::<Mutex<Vec<u8>>>::default();
        let (mut reader, sink) = (File::from(master.try_clone().expect("its end")), Arc::clone(&written));
        std::thread::spawn(move || {
            let mut some = [0; 4096];
            // A terminal that nobody writes to any more ends with an error.
            while let Ok(n @ 1..) = reader.read(&mut some) {
                sink.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(&some[..n]);
            }
        });
        Self { child, master, written }
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(&self.written.lock().unwrap_or_else(PoisonError::into_inner)).into_owned()
    }

    /// The lines of the last frame that is whole.
    fn frame(&self) -> Vec<String> {
        let text = self.text();
        let whole = text.rsplit(HOME).nth(1).unwrap_or_default();
        whole
            .replace("\x1b[2K", "")
            .replace("\x1b[J", "")
            .split('\n')
            .map(|line| line.trim_end_matches('\r').to_owned())
            .collect()
    }

    /// Waits for a frame.
    fn shows(&self, what: &str, wanted: impl Fn(&[String]) -> bool) -> Vec<String> {
        let deadline = Instant::now() + WAIT;
        loop {
            let frame = self.frame();
            if wanted(&frame) {
                return frame;
            }
            assert!(Instant::now() < deadline, "{what}: {frame:#?}\n{}", self.text());
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    fn says(&self, what: &str) -> Vec<String> {
        self.shows(what, |frame| frame.iter().any(|line| line.contains(what)))
    }

    /// Ends it by a signal: its code, and all it has written.
    fn end(mut self, signal: Signal) -> (Option<i32>, String) {
        let pid = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw).expect("a process id");
        kill_process(pid, signal).expect("it still runs");
        let code = self.child.wait().expect("it ends").code();
        let deadline = Instant::now() + WAIT;
        while !self.text().ends_with(LEAVE) && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(20));
        }
        (code, self.text())
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn resize(terminal: &OwnedFd, columns: u16, rows: u16) {
    let size = Winsize { ws_col: columns, ws_row: rows, ws_xpixel: 0, ws_ypixel: 0 };
    tcsetwinsize(terminal, size).expect("it takes a size");
}

/// Host and port of a database.
fn place(url: &str) -> String {
    let address = url.split("://").nth(1).expect("a URL").rsplit('@').next().expect("a host");
    address.split('/').next().expect("a host").to_owned()
}

/// Carries connections to the database, from a port where nobody listened before.
fn carry(port: u16, database_url: &str) {
    let target = place(database_url);
    let listener = TcpListener::bind(("127.0.0.1", port)).expect("the port is free");
    std::thread::spawn(move || {
        for client in listener.incoming().flatten() {
            let server = TcpStream::connect(&target).expect("PostgreSQL");
            for (from, to) in [(&client, &server), (&server, &client)] {
                let mut from = from.try_clone().expect("a socket");
                let mut to = to.try_clone().expect("a socket");
                std::thread::spawn(move || std::io::copy(&mut from, &mut to));
            }
        }
    });
}

/// A collector and a projector on a log of their own.
pub(crate) struct Services {
    _collector: Running,
    pub(crate) projector: Running,
    pub(crate) base: String,
}

impl Services {
    pub(crate) fn start(settings: &[(&str, &str)], dir: &std::path::Path) -> Self {
        let base = port_base();
        let start = |arguments: &[&str], until: &str| {
            let arguments = [arguments, &["--port-base", &base]].concat();
            let mut running = Running::start(&mut command(&arguments, settings, dir));
            let stderr = BufReader::new(running.0.stderr.take().expect("it is read"));
            let (sender, said) = std::sync::mpsc::channel();
            // Read to its end: who logs must not wait for whoever reads.
            std::thread::spawn(move || stderr.lines().map_while(Result::ok).for_each(|line| drop(sender.send(line))));
            let mut lines = said.iter();
            assert!(lines.any(|line| line.contains(until)), "{arguments:?} never said {until}");
            running
        };
        let collector = start(&["collector"], "collector listens");
        let projector = start(&["projector", "sales"], "partition taken");
        Self { _collector: collector, projector, base }
    }

    async fn publish(&self, ids: std::ops::Range<u32>) {
        let event = |id: u32| {
            serde_json::json!({"specversion": "1.0", "id": id.to_string(), "source": "s", "type": "page.viewed",
                               "subject": "email:ann@example.com", "data": {"url": "https://shop.example/"}})
        };
        let url = format!("http://127.0.0.1:{}/events", self.base);
        let client = reqwest::Client::builder().no_proxy().build().expect("a client");
        let body = serde_json::Value::Array(ids.map(event).collect()).to_string();
        let request = client.post(url).header("content-type", "application/cloudevents-batch+json").body(body);
        let answer = request.send().await.expect("an answer");
        assert_eq!(answer.status(), 200, "{:?}", answer.text().await);
    }
}

pub(crate) fn settings<'s>(
    backbone: &'s Backbone,
    url: &'s str,
    topics: &'s (String, String),
) -> [(&'s str, &'s str); 5] {
    [
        ("RAPPORT_KAFKA", &backbone.kafka),
        ("RAPPORT_DATABASE_URL", url),
        ("RAPPORT_TOPIC", &topics.0),
        ("RAPPORT_REJECTED_TOPIC", &topics.1),
        ("RAPPORT_PUBLISH_TIMEOUT_MS", "30000"),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn a_screen_is_drawn_over_again_and_given_back() {
    let backbone = test_kit::backbone().await;
    let topics = (backbone.topic("interactions"), backbone.topic("rejected"));
    let dir = tempfile::tempdir().expect("a temporary directory");
    let settings = settings(&backbone, &backbone.database_url, &topics);
    let services = Services::start(&settings, dir.path());
    let terminal = Terminal::run(&["status", "--watch"], &settings, dir.path());
    terminal.says("ends at 1 in");
    services.publish(0..7).await;
    let frame = terminal.shows("seven events and the log's own", |frame| {
        let is_sales = |line: &String| {
            let cells: Vec<&str> = line.split_whitespace().collect();
            cells.starts_with(&["sales", "1", "live", "8", "8", "0", "0.0"])
        };
        frame.iter().any(|line| line.contains("ends at 8 in")) && frame.iter().any(is_sales)
    });
    assert!(frame.iter().any(|line| line == "PostgreSQL  answers"), "{frame:#?}");
    assert!(frame.iter().all(|line| line.chars().count() <= 80), "{frame:#?}");
    assert!(frame.iter().any(|line| line.ends_with("0 1 2 3 4 5")), "all leases are of one worker: {frame:#?}");
    services.publish(7..10).await;
    terminal.says("ends at 11 in");

    resize(&terminal.master, 40, 6);
    terminal.shows("a small terminal", |frame| {
        frame.len() == 6 && frame.iter().all(|line| line.chars().count() <= 40) && frame[5].ends_with("more lines")
    });
    let (code, text) = terminal.end(Signal::INT);
    assert_eq!(code, Some(0));
    assert_eq!((text.matches(ENTER).count(), text.matches(LEAVE).count()), (1, 1), "{text}");
    assert!(text.ends_with(LEAVE), "what was there before is back: {text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_away_is_said_until_it_is_back() {
    let backbone = test_kit::backbone().await;
    let dir = tempfile::tempdir().expect("a temporary directory");
    let port = TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("an address").port();
    let url = backbone.database_url.replace(&place(&backbone.database_url), &format!("127.0.0.1:{port}"));
    let settings = [("RAPPORT_KAFKA", "127.0.0.1:1"), ("RAPPORT_DATABASE_URL", &*url)];
    let terminal = Terminal::run(&["status", "--watch"], &settings, dir.path());
    terminal.says("PostgreSQL  cannot be asked");
    carry(port, &backbone.database_url);
    terminal.says("PostgreSQL  answers");
    terminal.says("Kafka       cannot be asked: Kafka at 127.0.0.1:1");
    terminal.says("no read model yet");
    let (code, text) = terminal.end(Signal::TERM);
    assert_eq!(code, Some(0));
    assert!(text.ends_with(LEAVE), "{text}");
}

/// Where nobody sees a screen, one block comes after another; nothing of it moves a cursor.
#[tokio::test(flavor = "multi_thread")]
async fn a_pipe_gets_blocks_and_documents() {
    let url = test_kit::postgres().await;
    let dir = tempfile::tempdir().expect("a temporary directory");
    let settings = [("RAPPORT_KAFKA", "127.0.0.1:1"), ("RAPPORT_DATABASE_URL", &*url)];
    let mut running = Running::start(&mut command(&["status", "--watch"], &settings, dir.path()));
    let mut lines =
        BufReader::new(running.0.stdout.take().expect("it is read")).lines().map(|line| line.expect("text"));
    for _ in 0..2 {
        let block: Vec<String> = lines.by_ref().take_while(|line| !line.starts_with("no read model")).collect();
        assert!(block.iter().any(|line| line.starts_with("Kafka       cannot be asked")), "{block:?}");
        assert!(block.iter().all(|line| !line.contains('\x1b')), "{block:?}");
    }
    let mut running = Running::start(&mut command(&["status", "--watch", "--json"], &settings, dir.path()));
    let lines = BufReader::new(running.0.stdout.take().expect("it is read")).lines().map(|line| line.expect("text"));
    for line in lines.take(2) {
        let document: serde_json::Value = serde_json::from_str(&line).expect("a document a line");
        assert!(document["log_end_unknown"].is_string() && document["models_unknown"].is_null(), "{document}");
    }
}
