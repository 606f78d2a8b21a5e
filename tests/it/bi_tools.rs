//! Programs that know nothing of Rapport read it through PostgreSQL's own drivers: over JDBC as Metabase and DBeaver do,
//! over ODBC as Excel and Power BI do. Each driver lists every view, and what it reads is what was published.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    io::Write,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
};

use serde_json::{Value, json};
use sqlx::{Connection, PgConnection};
use system_tests::stack::Stack;

/// The schemas that such a program is told to show.
const SCHEMAS: [&str; 3] = ["sales", "service", "customer360"];
/// Every view and every column of [`SCHEMAS`] with its comment. One line: that is a statement to `isql`.
const COMMENTS: &str = "SELECT n.nspname || '.' || c.relname || coalesce('.' || a.attname, ''), \
     CASE WHEN a.attnum IS NULL THEN obj_description(c.oid, 'pg_class') ELSE col_description(c.oid, a.attnum) END \
     FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace \
     CROSS JOIN LATERAL (SELECT attname, attnum FROM pg_attribute WHERE attrelid = c.oid AND attnum > 0 \
     UNION ALL SELECT NULL, NULL) a WHERE c.relkind = 'v' AND n.nspname IN ('sales', 'service', 'customer360')";
/// A number of each kind, a time, texts with letters beyond ASCII, and NULLs of two types.
const LINE: &str = "SELECT order_id, name, category, quantity, total, total_minor, cost, placed_at \
                    FROM sales.order_lines_by_customer";
/// What the analyst must not do.
const DENIED: &str = "DELETE FROM sales.orders";
/// Stands in no text that is read here.
const SEPARATOR: char = '\u{1f}';
/// As the README names it; `odbc-postgresql` of Debian registers it.
const ODBC_DRIVER: &str = "PostgreSQL Unicode";
/// As the README advises: a boolean is one, and there is room for a list longer than 255 characters.
const ODBC_SETTINGS: &str = "BoolsAsChar=0;MaxVarcharSize=8190";

/// `schema.view` and `schema.view.column`, each with its comment.
type Comments = BTreeMap<String, String>;

/// Longer than the 255 characters that psqlODBC describes some texts with.
fn product() -> String {
    format!("Teekessel für Öl, {}Größe L", "sehr lang, ".repeat(30))
}

/// A stack with one order in it, and what PostgreSQL itself says of the views, asked as their owner.
async fn stack_with_an_order() -> (Stack, Comments) {
    let stack = Stack::start().await;
    let price = json!({"amount_minor": 4990, "currency": "EUR"});
    let event = json!({
        "specversion": "1.0", "id": "o-1", "source": "bi-tools", "type": "order.placed",
        "time": "2026-03-01T10:00:00.123456Z", "subject": "email:ann@example.com",
        "data": {"order_id": "1001", "lines": [{"sku": "KETTLE", "name": product(), "quantity": 2, "unit_price": price}]},
    });
    let position = stack.publish(&event).await.position.expect("a position");
    let models = stack.get(&format!("/api/v1/models?position={position}&wait_ms=60000")).await;
    assert_eq!(models.status, 200, "{models:?}");

    let mut connection = PgConnection::connect(&stack.database_url()).await.expect("PostgreSQL answers");
    let rows: Vec<(String, String)> =
        sqlx::query_as(COMMENTS).fetch_all(&mut connection).await.expect("each view and each column has a comment");
    let comments = Comments::from_iter(rows);
    for schema in SCHEMAS {
        assert!(views(&comments).iter().any(|v| v.starts_with(&format!("{schema}."))), "no view in {schema}");
    }
    assert!(comments.values().all(|comment| !comment.trim().is_empty()), "{comments:#?}");
    (stack, comments)
}

/// The views among them.
fn views(comments: &Comments) -> BTreeSet<&str> {
    comments.keys().map(String::as_str).filter(|name| name.matches('.').count() == 1).collect()
}

/// PostgreSQL's port: the last number of `postgres://...:port/...`.
fn port(stack: &Stack) -> String {
    let url = stack.database_url();
    let address = url.rsplit_once('/').expect("a URL names its database").0;
    address.rsplit_once(':').expect("a URL of the local stack has a port").1.to_owned()
}

/// What differs between a driver's answer and PostgreSQL's own: nothing, if all is well.
fn differing<'a>(told: &'a Comments, comments: &'a Comments) -> BTreeMap<&'a str, [Option<&'a String>; 2]> {
    let names = told.keys().chain(comments.keys()).map(|name| (name.as_str(), [told.get(name), comments.get(name)]));
    names.filter(|(_, [told, comment])| told != comment).collect()
}

fn said(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// Runs a program with something on its standard input.
fn run(command: &mut Command, input: &str, if_missing: &str) -> Output {
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap_or_else(|e| panic!("{if_missing} ({e})"));
    let mut stdin = child.stdin.take().expect("the standard input was asked for as a pipe");
    // A program that ends before it has read everything says why on its output.
    let _ = stdin.write_all(input.as_bytes());
    drop(stdin);
    child.wait_with_output().expect("its output can be read")
}

/// Fetches the jars of `tests/jdbc/pom.xml`; answers with their class path. Kept beside what cargo builds: a second run
/// fetches nothing.
fn jars() -> PathBuf {
    let pom = include_str!("../jdbc/pom.xml");
    let work = Path::new(env!("CARGO_TARGET_TMPDIR")).join("jdbc");
    let stamp = work.join("fetched.xml");
    if fs::read_to_string(&stamp).is_ok_and(|fetched| fetched == pom) {
        return work.join("jars/*");
    }
    let _ = fs::remove_dir_all(&work);
    fs::create_dir_all(&work).expect("cargo's directory can be written");
    let pom_file = work.join("pom.xml");
    fs::write(&pom_file, pom).expect("cargo's directory can be written");
    let mut maven = Command::new("mvn");
    maven.args(["-q", "-B", "-Dstyle.color=never", "-f"]).arg(&pom_file).arg("process-resources");
    let missing = "Maven is needed to fetch the JDBC driver; on Debian: apt-get install default-jre-headless maven";
    let fetched = run(&mut maven, "", missing);
    assert!(fetched.status.success(), "mvn could not fetch the JDBC driver:\n{}", said(&fetched));
    fs::rename(&pom_file, &stamp).expect("cargo's directory can be written");
    work.join("jars/*")
}

/// Runs commands of sqlline as the analyst. `zone` is that of the Java program, as a user's machine would set it.
fn sqlline(jars: &Path, port: &str, zone: &str, script: &str) -> Output {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let file = directory.path().join("script.sql");
    fs::write(&file, script).expect("a script");
    let mut java = Command::new("java");
    // What sqlline keeps of its users it keeps in their home.
    java.arg(format!("-Duser.home={}", directory.path().display())).arg(format!("-Duser.timezone={zone}"));
    java.args(["-Dfile.encoding=UTF-8", "-cp"]).arg(jars).env("LC_ALL", "C.UTF-8");
    java.args(["sqlline.SqlLine", "--silent=true", "--outputFormat=json", "-n", "analyst", "-p", "", "-u"]);
    java.arg(format!("jdbc:postgresql://127.0.0.1:{port}/rapport")).arg("-f").arg(&file);
    run(&mut java, "", "Java is needed to try the JDBC driver; on Debian: apt-get install default-jre-headless")
}

/// The rows of each result.
fn results(output: &Output) -> Vec<Vec<Value>> {
    assert!(output.status.success(), "{}", said(output));
    let results = serde_json::Deserializer::from_slice(&output.stdout).into_iter::<Value>();
    let rows = |result: Result<Value, serde_json::Error>| {
        let mut result = result.unwrap_or_else(|e| panic!("{e} in {}", said(output)));
        serde_json::from_value(result["resultset"].take()).expect("a result is an array of rows")
    };
    results.map(rows).collect()
}

/// What the driver's `DatabaseMetaData` tells: each view and each column with its comment.
fn over_jdbc(jars: &Path, port: &str) -> Comments {
    let ask =
        |schema| format!("!metadata getTables rapport {schema} % VIEW\n!metadata getColumns rapport {schema} % %\n");
    let answer = sqlline(jars, port, "UTC", &SCHEMAS.map(ask).concat());
    let text = |row: &Value, name: &str| row[name].as_str().map(str::to_owned);
    let told = |row: &Value| {
        let parts = ["TABLE_SCHEM", "TABLE_NAME", "COLUMN_NAME"].into_iter().filter_map(|name| text(row, name));
        (parts.collect::<Vec<_>>().join("."), text(row, "REMARKS").unwrap_or_default())
    };
    results(&answer).concat().iter().map(told).collect()
}

/// Runs statements as the analyst over ODBC, one a line. `more` is added to the connection string.
fn isql(port: &str, more: &str, statements: &str) -> Output {
    let to = format!("DRIVER={{{ODBC_DRIVER}}};SERVER=127.0.0.1;PORT={port};DATABASE=rapport;UID=analyst");
    let connection = format!("{to};{ODBC_SETTINGS}{more}");
    let mut isql = Command::new("isql");
    // Texts in quotes, to be told from NULL; no column cut by isql itself.
    isql.args(["-v", "-b", "-q", "-L4000", &format!("-d{SEPARATOR}"), "-k", &connection]).env("LC_ALL", "C.UTF-8");
    let missing = "isql is needed to try the ODBC driver; on Debian: apt-get install unixodbc odbc-postgresql";
    let output = run(&mut isql, &format!("{statements}\n"), missing);
    let without = said(&output).contains("Can't open lib");
    assert!(!without, "the ODBC driver is needed; on Debian: apt-get install odbc-postgresql\n{}", said(&output));
    output
}

/// The cells of each row; a text without its quotes, NULL as nothing.
fn rows(output: &Output) -> Vec<Vec<Option<String>>> {
    assert!(output.status.success() && output.stderr.is_empty(), "{}", said(output));
    let cell = |cell: &str| (!cell.is_empty()).then(|| cell.trim_matches('"').to_owned());
    let text = std::str::from_utf8(&output.stdout).expect("UTF-8");
    text.lines().filter(|l| !l.is_empty()).map(|line| line.split(SEPARATOR).map(cell).collect()).collect()
}

/// The views that the driver's `SQLTables` lists.
fn listed_over_odbc(port: &str) -> BTreeSet<String> {
    let ask = SCHEMAS.map(|schema| format!("help null {schema} % VIEW")).join("\n");
    let name = |row: Vec<Option<String>>| match &row[..] {
        [_, Some(schema), Some(view), Some(kind), ..] if kind == "VIEW" => format!("{schema}.{view}"),
        row => panic!("{row:?} is no row of SQLTables"),
    };
    rows(&isql(port, "", &ask)).into_iter().map(name).collect()
}

fn jdbc(jars: &Path, port: &str, comments: &Comments) {
    let told = over_jdbc(jars, port);
    assert_eq!(
        differing(&told, comments),
        BTreeMap::new(),
        "what the driver tells of a view, and what PostgreSQL does"
    );

    let mut line = json!({
        "order_id": "1001", "name": product(), "category": null, "quantity": 2, "total": 99.8, "total_minor": 9980,
        "cost": null, "placed_at": "2026-03-01 10:00:00.123456",
    });
    let script = format!("{LINE};\nSHOW statement_timeout;\n");
    let answer = results(&sqlline(jars, port, "UTC", &script));
    assert_eq!(answer, [[line.clone()], [json!({"statement_timeout": "5min"})]]);
    // A Java program shows times in its own zone.
    line["placed_at"] = json!("2026-03-01 19:00:00.123456");
    assert_eq!(results(&sqlline(jars, port, "Asia/Tokyo", &format!("{LINE};\n"))), [[line]]);

    let denied = sqlline(jars, port, "UTC", &format!("{DENIED};\n"));
    assert!(said(&denied).contains("permission denied for view orders"), "{}", said(&denied));
}

fn odbc(port: &str, comments: &Comments) {
    let listed = listed_over_odbc(port);
    let listed: BTreeSet<&str> = listed.iter().map(String::as_str).collect();
    let differ: Vec<_> = listed.symmetric_difference(&views(comments)).copied().collect();
    assert!(differ.is_empty(), "{differ:?}: listed by the driver or by PostgreSQL, not by both");
    // Its own lists have no comments: PostgreSQL is asked for them.
    let told = rows(&isql(port, "", COMMENTS)).into_iter().map(|row| match &row[..] {
        [Some(name), Some(comment)] => (name.clone(), comment.clone()),
        row => panic!("{row:?} is no name with its comment"),
    });
    assert_eq!(differing(&told.collect(), comments), BTreeMap::new());

    let name = product();
    let line = |placed_at| {
        [Some("1001"), Some(&name), None, Some("2"), Some("99.80"), Some("9980"), None, Some(placed_at)]
            .map(|cell| cell.map(str::to_owned))
    };
    let answer = rows(&isql(port, "", LINE));
    assert_eq!(answer, [line("2026-03-01 10:00:00.123456")], "the local PostgreSQL's zone is UTC");
    let tokyo = ";ConnSettings=SET TIME ZONE 'Asia/Tokyo'";
    assert_eq!(rows(&isql(port, tokyo, LINE)), [line("2026-03-01 19:00:00.123456")]);
    let answer = rows(&isql(port, "", "SELECT expected_is_day FROM sales.orders\nSHOW statement_timeout"));
    assert_eq!(answer, [[Some("0".to_owned())], [Some("5min".to_owned())]]);

    let denied = isql(port, "", DENIED);
    assert!(said(&denied).contains("permission denied for view orders"), "{}", said(&denied));
}

#[tokio::test(flavor = "multi_thread")]
async fn jdbc_and_odbc() {
    let (stack, comments) = stack_with_an_order().await;
    let port = port(&stack);
    tokio::task::block_in_place(|| {
        odbc(&port, &comments);
        jdbc(&jars(), &port, &comments);
    });
    stack.stop().await;
}
