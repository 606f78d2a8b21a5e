//! Replays as an operator types them: the tutorial, and a generation that is built while events come in.

use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use serde_json::{Value, json};
use sqlx::{Connection, PgConnection};
use system_tests::stack::{Ended, Stack, binary};

fn tutorial() -> String {
    std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/replay.md")).expect("docs/replay.md")
}

/// One line that a reader types.
#[derive(Debug)]
enum Line {
    /// For the lines after it.
    Export(String),
    Run {
        command: String,
        exit: i32,
    },
    /// Runs on beside the next ones.
    Begin(String),
    /// Ends the one that was begun last.
    End,
}

fn lines(text: &str) -> Vec<Line> {
    text.lines()
        .filter_map(|line| line.strip_prefix("    "))
        .filter(|line| !line.starts_with("make ") && !line.starts_with("export PATH"))
        .map(|line| {
            let (command, exit) = line.split_once("    # exit ").unwrap_or((line, "0"));
            let (command, exit) = (command.to_owned(), exit.parse().expect("an exit code"));
            match (command.strip_prefix("export "), command.strip_suffix(" &")) {
                (Some(names), _) => Line::Export(names.to_owned()),
                (_, Some(begun)) => Line::Begin(begun.to_owned()),
                _ if command == "kill %1" => Line::End,
                _ => Line::Run { command, exit },
            }
        })
        .collect()
}

/// A shell in which the reader's lines mean this stack.
struct Shell<'s> {
    stack: &'s Stack,
    exports: String,
}

impl Shell<'_> {
    /// The page's ports are those of a stack that nobody has moved; its second block of ports is one that is free here.
    fn here(&self, text: &str) -> String {
        let base = self.stack.port_base();
        [(7074, base + 4), (7073, base + 3), (8070, base + 40)]
            .iter()
            .fold(text.to_owned(), |text, (there, here)| text.replace(&there.to_string(), &here.to_string()))
    }

    fn command(&self, line: &str) -> Command {
        let mut command = system_tests::stack::command("sh");
        let path = format!(
            "{}:{}",
            binary().parent().expect("a directory").display(),
            std::env::var("PATH").unwrap_or_default()
        );
        let exports = if self.exports.is_empty() { String::new() } else { format!("export {}; ", self.exports) };
        command
            .args(["-c", &format!("{exports}exec env {line}")])
            .env("PATH", path)
            .env("RAPPORT_PORT_BASE", self.stack.port_base().to_string())
            .stdin(Stdio::null());
        command
    }

    fn run(&self, line: &str) -> Output {
        self.command(line).output().expect("a shell")
    }

    fn begin(&self, line: &str) -> Child {
        self.command(line).stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("a shell")
    }
}

fn said(output: &Output) -> String {
    [&output.stdout, &output.stderr].map(|bytes| String::from_utf8_lossy(bytes).into_owned()).concat()
}

fn digest(stack: &Stack) -> Value {
    let output = stack.rapport(&["digest", "customer360", "--json"]);
    let document: Value = serde_json::from_slice(&output.stdout).unwrap_or_else(|e| panic!("{e}: {}", said(&output)));
    document["digest"].clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_tutorial() {
    let stack = Stack::start().await;
    let demo = stack.rapport(&["demo", "--events", "3000"]);
    assert!(demo.status.success(), "{}", said(&demo));
    let before = digest(&stack);
    let mut shell = Shell { stack: &stack, exports: String::new() };
    let (mut begun, mut told): (Vec<Ended>, Vec<String>) = (Vec::new(), Vec::new());
    for line in lines(&tutorial()) {
        match line {
            Line::Export(names) => shell.exports = shell.here(&names),
            Line::Begin(command) => begun.push(Ended(shell.begin(&command))),
            Line::End => {
                let mut last = begun.pop().expect("one was begun");
                last.signal("TERM");
                assert!(last.0.wait().expect("it ends").success());
            }
            Line::Run { command, exit } => {
                let output = shell.run(&command);
                assert_eq!(output.status.code(), Some(exit), "{command}: {}", said(&output));
                told.push(said(&output));
            }
        }
    }
    let told: Vec<&str> = told.iter().map(String::as_str).collect();
    let [list, wrong, diff, swapped, both, back, dropped, right, again, cleared] = told[..] else {
        panic!("{} commands: {told:?}", told.len());
    };
    assert!(list.contains("customer360_g1") && list.contains("live"), "{list}");
    assert!(wrong.contains("DIFFERENT at position p1.") && wrong.contains("was not swapped in"), "{wrong}");
    assert!(diff.contains("\ncustomers: ") && diff.contains("  ~ subject_id=") && diff.contains("      by "), "{diff}");
    assert!(swapped.contains("customer360_g2 is live") && both.contains("retired"), "{swapped}{both}");
    assert!(
        back.contains("customer360_g1 is live") && dropped.contains("customer360_g2 is dropped"),
        "{back}{dropped}"
    );
    assert!(right.contains("identical at position p1.") && right.contains("is live"), "{right}");
    assert!(again.contains("customer360_g1 is live") && cleared.contains("is dropped"), "{again}{cleared}");
    assert_eq!(digest(&stack), before);
    stack.stop().await;
}

/// All three models are replayed while events come in; the answers are those of the live generation at every moment.
#[tokio::test(flavor = "multi_thread")]
async fn every_model_is_replayed_while_events_come_in() {
    let stack = Stack::start().await;
    let demo = stack.rapport(&["demo", "--events", "2000"]);
    assert!(demo.status.success(), "{}", said(&demo));
    let publishing = async {
        for n in 0.. {
            let event = json!({
                "specversion": "1.0", "id": format!("during-{n}"), "source": "test", "type": "io.rapport.order.placed",
                "time": "2026-03-01T10:00:00Z", "subject": "email:during@example.com",
                "data": {"order_id": format!("during-{n}"), "lines": []},
            });
            let answer = stack.publish(&event).await;
            assert_eq!(answer.status, 200, "{answer:?}");
            let position = answer.position.expect("a position");
            let page = stack.get(&format!("/api/v1/customers/email:during@example.com?position={position}")).await;
            assert_eq!(page.status, 200, "{page:?}");
            let orders = page.body["sales"]["orders"].as_array().map_or(0, Vec::len);
            assert!(orders > 0, "{}", page.body);
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let replaying = async {
        for model in ["sales", "service", "customer360"] {
            let arguments = ["replay".to_owned(), model.to_owned()];
            let port_base = stack.port_base().to_string();
            let output = tokio::task::spawn_blocking(move || {
                system_tests::stack::command(binary()).args(arguments).env("RAPPORT_PORT_BASE", port_base).output()
            });
            let output = output.await.expect("it ends").expect("the command runs");
            assert!(output.status.success(), "{model}: {}", said(&output));
            assert!(said(&output).contains("identical at position"), "{model}: {}", said(&output));
        }
    };
    tokio::select! {
        () = publishing => unreachable!("it goes on for ever"),
        () = replaying => {}
    }
    let models = stack.get("/api/v1/models").await;
    let generations: Vec<&Value> =
        models.body["models"].as_array().into_iter().flatten().map(|m| &m["generation"]).collect();
    assert_eq!(generations, [&json!(2), &json!(2), &json!(2)], "{}", models.body);
    // What was built in steps is as fast to read as what was loaded at once.
    let mut database = PgConnection::connect(&stack.database_url()).await.expect("PostgreSQL answers");
    for model in ["sales", "service", "customer360"] {
        let [first, second] = [1, 2].map(|number| format!("{model}_g{number}"));
        assert_eq!(indexes(&mut database, &second).await, indexes(&mut database, &first).await, "{model}");
    }
    // What a command says comes next is said of one generation, by its number.
    for (arguments, next) in [
        (&["generation", "rollback", "sales"][..], "sales_g1 is live again; sales_g2 is folded on"),
        (&["replay", "sales", "--dry-run"], " records of the log into sales_g2, verify"),
        (&["generation", "rollback", "service"], "rapport generation swap service --generation 2 puts it back"),
        (
            &["generation", "swap", "sales", "--generation", "2"],
            "rapport generation drop sales --generation 1 removes it",
        ),
        (&["replay", "sales", "--dry-run"], " records of the log into a new generation of sales, verify"),
    ] {
        let output = stack.rapport(arguments);
        assert!(output.status.success() && said(&output).contains(next), "{arguments:?}: {}", said(&output));
    }
    stack.stop().await;
}

/// What a generation's tables are found by.
async fn indexes(database: &mut PgConnection, schema: &str) -> Vec<String> {
    let all = "SELECT replace(indexdef, schemaname, '') FROM pg_indexes WHERE schemaname = $1 ORDER BY 1";
    let indexes: Vec<String> = sqlx::query_scalar(all).bind(schema).fetch_all(database).await.expect("indexes");
    assert!(indexes.len() > 5, "{schema} has {indexes:?}");
    indexes
}
