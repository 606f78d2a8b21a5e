//! What the command line answers where neither Kafka nor PostgreSQL is there; in `servers`, where they are.

mod servers;
mod watching;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use local_stack::{PidFile, StopSignal};
use rustix::process::{Pid, Signal, kill_process};

const ORDERS: &str = "Order ID,Order Date,Customer ID,Product ID,Product Name,Category,Quantity,Sales,Profit\n";

/// Runs `rapport` in a directory of its own, without settings from outside.
fn rapport(arguments: &[&str], variables: &[(&str, &str)], dir: &Path) -> Output {
    command(arguments, variables, dir).output().expect("rapport runs")
}

fn command(arguments: &[&str], variables: &[(&str, &str)], dir: &Path) -> Command {
    let from_outside =
        |name: &str| name.starts_with("RAPPORT_") || ["no_proxy", "http_proxy"].contains(&&*name.to_lowercase());
    let mut command = Command::new(env!("CARGO_BIN_EXE_rapport"));
    for (name, _) in std::env::vars_os().filter(|(name, _)| from_outside(&name.to_string_lossy())) {
        command.env_remove(name);
    }
    command.args(arguments).envs(variables.iter().copied()).current_dir(dir);
    command
}

/// A process that a test has started; it is gone with the test, however that ends.
struct Running(Child);

impl Running {
    fn start(command: &mut Command) -> Self {
        Self(command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("rapport runs"))
    }

    fn signal(&self, signal: Signal) {
        let pid = i32::try_from(self.0.id()).ok().and_then(Pid::from_raw).expect("a process id");
        kill_process(pid, signal).expect("it still runs");
    }

    /// Its exit code, and all it still has to say on the standard error.
    fn ended(mut self) -> (Option<i32>, String) {
        let mut said = String::new();
        self.0.stderr.take().expect("it is read").read_to_string(&mut said).expect("text");
        (self.0.wait().expect("it ends").code(), said)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A first port that a service and its admin server can have, as far as one can know beforehand.
fn port_base() -> String {
    let free = |port| TcpListener::bind(("127.0.0.1", port)).is_ok();
    let candidate = || TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("an address").port();
    let base = std::iter::repeat_with(candidate)
        .find(|base| *base < 65_000 && [0, 2, 10, 11, 12, 13, 14].iter().all(|offset| free(base + offset)));
    base.expect("the iterator does not end").to_string()
}

fn check(arguments: &[&str], variables: &[(&str, &str)], exit: i32, says: &str) {
    let dir = tempfile::tempdir().expect("a temporary directory");
    std::fs::write(dir.path().join("bad.toml"), "source = 1").expect("written");
    std::fs::write(dir.path().join("endless.toml"), "format = \"csv\"\nsource = \"s\"\nprogram = \"{ a: \"")
        .expect("written");
    std::fs::write(dir.path().join("rows.toml"), "format = \"csv\"\nsource = \"s\"\nprogram = \".\"").expect("written");
    std::fs::write(dir.path().join("mail.toml"), "format = \"mail\"\nsource = \"s\"").expect("written");
    let wide: Vec<u8> = "a,b\n1,2\n".encode_utf16().flat_map(u16::to_le_bytes).collect();
    std::fs::write(dir.path().join("wide.csv"), wide).expect("written");
    std::fs::write(dir.path().join("kafka.toml"), "[kafka]\nno.such.property = 1").expect("written");
    std::fs::create_dir(dir.path().join("exports")).expect("made");
    std::fs::write(dir.path().join("rows.csv"), "a,b\n1,2\n").expect("written");
    std::fs::write(dir.path().join("orders.csv"), ORDERS).expect("written");
    let output = rapport(arguments, variables, dir.path());
    let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert_eq!(output.status.code(), Some(exit), "{arguments:?}: {said}");
    assert!(said.contains(says), "{arguments:?}: {said}");
}

#[test]
fn exit_codes() {
    // Nothing listens on port 1, and no port there can be given away meanwhile.
    let nowhere =
        [("RAPPORT_DATABASE_URL", "postgres://rapport@127.0.0.1:1/rapport"), ("RAPPORT_KAFKA", "127.0.0.1:1")];
    check(&["--help"], &[], 0, "rapport config");
    check(&["--version"], &[], 0, "rapport");
    check(&[], &[], 64, "Usage");
    check(&["status", "--no-such-flag"], &[], 64, "no-such-flag");
    check(&["digest", "marketing"], &[], 64, "sales");
    check(&["config", "--port-base", "80"], &[], 78, "port_base = \"80\" (flag)");
    check(&["config"], &[("RAPPORT_WORKERS", "many")], 78, "RAPPORT_WORKERS");
    check(&["config", "--config", "none.toml"], &[], 78, "none.toml");
    check(&["config", "--bind", "0.0.0.0"], &[], 78, "loopback");
    check(&["config", "--default-region", "UK"], &[], 78, "GB");
    check(&["config"], &[("RAPPORT_DEFAULT_REGION", "XX")], 78, "\"XX\" (environment RAPPORT_DEFAULT_REGION)");
    check(&["config", "--database-url", "postgres://me:hunter2@db/x?sslmode=perhaps"], &[], 78, "me:***@db");
    check(&["status"], &nowhere, 69, "is it running");
    check(&["dead-letters", "list"], &nowhere, 69, "127.0.0.1:1");
    let base = port_base();
    check(&["digest", "sales", "--port-base", &base], &[], 69, "nothing of the data directory .rapport runs here");
    check(&["digest", "sales", "--port-base", &base], &[], 69, "`rapport up`");
    let misspelt = [nowhere[0], nowhere[1], ("RAPPORT_LEASE_TTL", "1")];
    check(&["dead-letters", "list"], &misspelt, 69, "the variable RAPPORT_LEASE_TTL names no setting");
    check(&["publish", "none.ndjson"], &nowhere, 65, "none.ndjson");
    check(&["publish", "exports"], &nowhere, 65, "exports is a directory");
    check(&["import", "rows.csv", "--mapping", "none.toml"], &nowhere, 65, "none.toml");
    check(&["import", "rows.csv", "--mapping", "bad.toml"], &nowhere, 78, "bad.toml");
    check(&["import", "rows.csv", "--mapping", "endless.toml"], &nowhere, 78, "line 1 of the program");
    check(&["import", "none.csv", "--mapping", "mail.toml"], &nowhere, 65, "none.csv cannot be read");
    check(&["import", "exports", "--mapping", "rows.toml"], &nowhere, 65, "only mail is read from directories");
    check(&["import", "wide.csv", "--mapping", "rows.toml"], &nowhere, 65, "line 1, column 1: the file is UTF-16");
    check(&["import", "exports", "--mapping", "mail.toml"], &nowhere, 69, "Kafka at 127.0.0.1:1");
    check(&["doctor"], &nowhere, 69, "remedy: start it");
    check(&["doctor", "--json"], &nowhere, 69, "\"state\": \"unreachable\"");
    check(&["log", "read", "--from", "yesterday"], &nowhere, 65, "RFC 3339");
    check(&["log", "read", "--subject", "ann"], &nowhere, 65, "kind:value");
}

/// What runs for a data directory notes where; a process of this test's own stands for it.
#[test]
fn commands_find_what_runs_beside_them() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let said = |arguments: &[&str], variables: &[(&str, &str)]| {
        let output = rapport(arguments, variables, dir.path());
        format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
    };
    let run = dir.path().join(".rapport/run");
    std::fs::create_dir_all(&run).expect("made");
    std::fs::write(run.join("up.toml"), "bind = \"127.0.0.1\"\nport_base = \"1024\"\n").expect("written");
    assert!(said(&["config"], &[]).contains("127.0.0.1:7074"), "nothing runs: the note is an old one");

    let child = Running::start(Command::new("sleep").arg("600"));
    let noted = PidFile::write(&dir.path().join(".rapport"), "query", child.0.id(), StopSignal::Terminate);
    let noted = noted.expect("written");
    let config = said(&["config"], &[]);
    assert!(config.contains("127.0.0.1:1028") && config.contains("what runs now, .rapport/run/up.toml"), "{config}");
    for command in [&["report"][..], &["report", "sales.orders"]] {
        let answer = said(command, &[]);
        assert!(answer.contains("http://127.0.0.1:1026"), "{answer}");
    }
    // Whoever says where it is to be is believed.
    let base = [("RAPPORT_PORT_BASE", "1040")];
    assert!(said(&["report"], &base).contains("http://127.0.0.1:1042"));
    assert!(said(&["report", "--port-base", "1060"], &base).contains("http://127.0.0.1:1062"));
    assert!(said(&["config", "--data-dir", "elsewhere"], &[]).contains("127.0.0.1:7074"));
    noted.remove();
    assert!(said(&["config"], &[]).contains("127.0.0.1:7074"), "it has ended");
}

/// `up` notes where its services are, and takes the note away.
#[test]
fn a_run_is_found_from_another_terminal() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let base = port_base();
    let nowhere =
        [("RAPPORT_DATABASE_URL", "postgres://rapport@127.0.0.1:1/rapport"), ("RAPPORT_KAFKA", "127.0.0.1:1")];
    let up = Running::start(&mut command(&["up", "--port-base", &base], &nowhere, dir.path()));
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        let output = rapport(&["config", "--json"], &[], dir.path());
        let settings: serde_json::Value = serde_json::from_slice(&output.stdout).expect("one JSON document");
        let settings = settings["settings"].as_array().expect("a list");
        let of = settings.iter().find(|setting| setting["name"] == "port_base").expect("it is a setting");
        if of["value"] == *base {
            assert!(of["origin"].as_str().is_some_and(|origin| origin.contains("run/up.toml")), "{of}");
            break;
        }
        assert!(Instant::now() < deadline, "not found in time: {of}");
        std::thread::sleep(Duration::from_millis(50));
    }
    up.signal(Signal::TERM);
    let (code, said) = up.ended();
    assert!(!dir.path().join(".rapport/run/up.toml").exists(), "{code:?}: {said}");
}

#[test]
fn secrets_are_masked() {
    let secrets = [("RAPPORT_DATABASE_URL", "postgres://me:hunter2@db/x"), ("RAPPORT_KAFKA_SASL_PASSWORD", "hunter2")];
    for arguments in [&["config"][..], &["config", "--json"]] {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let output = rapport(arguments, &secrets, dir.path());
        let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(output.status.success() && said.contains("***") && !said.contains("hunter2"), "{said}");
    }
    // Nor does a refusal repeat them.
    for url in
        ["postgres://me:hunter2@db:port/x", "postgres://me:hunter2@db/x?sslmode=perhaps", "mysql://me:hunter2@db"]
    {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let output = rapport(&["config"], &[("RAPPORT_DATABASE_URL", url)], dir.path());
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.code() == Some(78) && said.contains("me:***@db") && !said.contains("hunter2"), "{said}");
    }
}

#[test]
fn the_shipped_mapping_is_understood() {
    let mapping = concat!(env!("CARGO_MANIFEST_DIR"), "/mappings/superstore-orders.toml");
    let nowhere = [("RAPPORT_KAFKA", "127.0.0.1:1"), ("RAPPORT_DATABASE_URL", "postgres://r@127.0.0.1:1/r")];
    // It gets as far as asking for the log: the mapping and its program are right.
    check(&["import", "orders.csv", "--mapping", mapping], &nowhere, 69, "Kafka at 127.0.0.1:1");
    check(&["import", "rows.csv", "--mapping", mapping], &nowhere, 65, "no column \"Order Date\"");
}

/// A service that is started again and again until its configuration is right would never come up.
#[test]
fn what_starting_again_cannot_help() {
    let base = port_base();
    let nowhere =
        [("RAPPORT_DATABASE_URL", "postgres://rapport@127.0.0.1:1/rapport"), ("RAPPORT_KAFKA", "127.0.0.1:1")];
    for arguments in [&["collector"][..], &["projector", "sales"], &["log", "read"], &["rejected", "list"]] {
        let arguments = [arguments, &["--config", "kafka.toml", "--port-base", &base]].concat();
        check(&arguments, &nowhere, 78, "no.such.property");
    }
}

/// A collector that accepts one event and says which.
fn accepting() -> (String, std::thread::JoinHandle<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let url = format!("http://{}", listener.local_addr().expect("an address"));
    let serving = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().expect("a connection");
        let (first, body) = request(&stream);
        let answer = r#"{"accepted":1,"rejected":0,"results":[{"id":"1","status":"accepted"}]}"#;
        write!(stream, "HTTP/1.1 200 OK\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{answer}", answer.len())
            .expect("it is read");
        format!("{first}{body}")
    });
    (url, serving)
}

/// A request's first line and its body.
fn request(stream: &TcpStream) -> (String, String) {
    let mut reader = BufReader::new(stream);
    let (mut first, mut length) = (String::new(), 0);
    reader.read_line(&mut first).expect("a request");
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).expect("a header");
        if line.trim().is_empty() {
            break;
        }
        if let Some(value) = line.to_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().expect("a number");
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).expect("a body");
    (first, String::from_utf8(body).expect("text"))
}

/// The proxy of the environment is for elsewhere; here nothing listens where it should be.
#[test]
fn no_proxy_stands_between_us_and_this_machine() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    std::fs::write(dir.path().join("events.ndjson"), "{\"id\":\"1\"}\n").expect("written");
    let (url, serving) = accepting();
    let proxy = [("http_proxy", "http://127.0.0.1:1"), ("RAPPORT_KAFKA", "127.0.0.1:1")];
    let output = rapport(&["publish", "events.ndjson", "--url", &url], &proxy, dir.path());
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(serving.join().expect("no panic"), "POST /events HTTP/1.1\r\n[{\"id\":\"1\"}]");
}

/// Kafka takes the connection and never answers: Ctrl-C ends the command all the same, soon, and says what is missing.
#[test]
fn a_dump_that_ctrl_c_breaks_off_does_not_look_whole() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    for (arguments, exit, says) in
        [(&["log", "read"][..], Some(130), "not all of it"), (&["log", "read", "--follow"], Some(0), "")]
    {
        let silent = TcpListener::bind("127.0.0.1:0").expect("a port");
        let kafka = silent.local_addr().expect("an address").to_string();
        let running = Running::start(&mut command(arguments, &[("RAPPORT_KAFKA", &kafka)], dir.path()));
        let _connection = silent.accept().expect("it asks Kafka");
        let signalled = Instant::now();
        running.signal(Signal::INT);
        let (code, said) = running.ended();
        assert_eq!(code, exit, "{said}");
        assert!(said.contains(says), "{said}");
        assert!(signalled.elapsed() < Duration::from_secs(5), "it took {:?} to end", signalled.elapsed());
    }
}
