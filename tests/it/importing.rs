//! What `import` says to those who use it: of rows that are odd or wrong, of a trial, of being interrupted.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use serde_json::Value;
use system_tests::stack::{Ended, Stack, binary, command};
use tokio::net::TcpListener;

/// Far above what anything here takes, however busy the machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// Two rows are right, one has a subject that identifies nobody, one no order number.
const ROWS: &str =
    "id,who\n1,email:ann@example.com\n2,email:nobody at all\n3,email:ben@example.com\n,email:c@example.com\n";

fn mapping(order_id: &str) -> String {
    format!(
        "format = \"csv\"\nsource = \"import:trial\"\nprogram = '''\n.rows[0] | {{type: \"order.placed\", \
         time: \"2026-03-01T10:00:00Z\", subject: .who, data: {{order_id: {order_id}, lines: []}}}}\n'''\n"
    )
}

/// An import's exit code, its standard output, its standard error.
fn import(stack: &Stack, directory: &Path, file: &str, mapping: &str, more: &[&str]) -> (Option<i32>, String, String) {
    let path = |name: &str| directory.join(name).to_string_lossy().into_owned();
    let (file, mapping) = (path(file), path(mapping));
    let output = stack.rapport(&[&["import", &file, "--mapping", &mapping], more].concat());
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.code(), text(&output.stdout), text(&output.stderr))
}

fn json((_, stdout, stderr): &(Option<i32>, String, String)) -> Value {
    serde_json::from_str(stdout).unwrap_or_else(|e| panic!("{e}: {stdout}{stderr}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn what_it_says() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let write = |name: &str, text: &str| std::fs::write(directory.path().join(name), text).expect(name);
    write("rows.csv", ROWS);
    write("right.toml", &mapping(".id"));
    write("wrong.toml", &mapping("7"));
    let stack = Stack::start().await;
    let import = |file: &str, mapping: &str, more: &[&str]| import(&stack, directory.path(), file, mapping, more);

    // A trial shows what the mapping does, what would be rejected, and what is odd.
    let (code, stdout, stderr) = import("rows.csv", "right.toml", &["--dry-run"]);
    assert_eq!(code, Some(65), "{stderr}");
    assert_eq!(stdout, "3 new, 0 known, 1 rejected (1 rows), 1 with warnings (dry run: nothing was appended)\n");
    for says in [
        "rows.csv:2: the first event:\n{\n",
        "\"order_id\": \"1\"",
        "rows.csv:3: warning: identifier_not_understood /subject: ",
        "rows.csv:5: ",
        " /data/order_id: ",
    ] {
        assert!(stderr.contains(says), "{says}: {stderr}");
    }

    let done = import("rows.csv", "right.toml", &["--json"]);
    let report = json(&done);
    assert_eq!((&report["new"], &report["rejected"], &report["warned"]), (&3.into(), &1.into(), &1.into()), "{report}");
    assert!(done.2.contains("rows.csv:3: warning: ") && report.get("example").is_none(), "{done:?}");

    // What is not shown is counted all the same. Known rows are checked again, but only in a trial.
    let tried = import("rows.csv", "right.toml", &["--dry-run", "--json", "--show", "0"]);
    let report = json(&tried);
    assert_eq!(
        (&report["known"], &report["rejected"], &report["warned"]),
        (&3.into(), &1.into(), &1.into()),
        "{report}"
    );
    assert_eq!(report["example"]["data"]["order_id"], "1", "{report}");
    assert!(tried.2.contains("2 faults and warnings are not shown (--show 2 shows all):\n  1 x "), "{}", tried.2);
    assert!(tried.2.contains("  1 x warning: identifier_not_understood /subject\n"), "{}", tried.2);
    assert!(!tried.2.contains("rows.csv:3"), "{}", tried.2);
    for (more, counts) in [(&["--dry-run"][..], "0 new, 0 known, 4 rejected"), (&[], "0 new, 3 known, 1 rejected")] {
        let (code, stdout, stderr) = import("rows.csv", "wrong.toml", more);
        assert!(code == Some(65) && stdout.starts_with(counts), "{stdout}{stderr}");
    }

    // A mailbox of nothing.
    write("mail.toml", "format = \"mail\"\nsource = \"import:mail\"\n");
    write("empty.mbox", "\n");
    let (code, stdout, stderr) = import("empty.mbox", "mail.toml", &[]);
    assert!(code == Some(0) && stdout == "0 new, 0 known, 0 rejected\n", "{stdout}{stderr}");
    assert!(stderr.contains("empty.mbox: there is no mail in it"), "{stderr}");

    interrupted(&stack, directory.path()).await;
    stack.stop().await;
}

/// The collector takes the request and never answers; Ctrl-C ends the import, which says how far it has come.
async fn interrupted(stack: &Stack, directory: &Path) {
    std::fs::write(directory.join("more.csv"), format!("{ROWS}one cell\n4,email:new@example.com\n")).expect("written");
    for (more, says) in [
        (&[][..], "interrupted: 0 new, 3 known, 1 rejected so far; what has been accepted is kept"),
        (&["--dry-run"], "interrupted: 0 new, 0 known, 1 rejected so far; nothing was appended"),
    ] {
        let silent = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let url = format!("http://{}", silent.local_addr().expect("an address"));
        let running = command(binary())
            .args(["import", "more.csv", "--mapping", "right.toml", "--url", &url])
            .args(more)
            .env("RAPPORT_PORT_BASE", stack.port_base().to_string())
            .env("RAPPORT_DATA_DIR", stack.data_dir())
            .current_dir(directory)
            .stderr(Stdio::piped())
            .spawn();
        let mut running = Ended(running.expect("the rapport binary runs"));
        let request = tokio::time::timeout(PATIENCE, silent.accept()).await;
        let _request = request.expect("it gets as far as publishing").expect("a connection");
        running.signal("INT");
        let mut stderr = running.0.stderr.take().expect("it is read");
        let said = std::io::read_to_string(&mut stderr).expect("text");
        assert_eq!(running.0.wait().expect("it ends").code(), Some(130), "{said}");
        assert!(said.contains(says), "{said}");
    }
}
