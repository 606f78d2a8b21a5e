//! `rapport report`: the reports of the running query service.

use std::time::Duration;

use reqwest::{Client, StatusCode, Url};
use serde_json::Value;
use service_kit::Config;

use crate::cli::{ReportArgs, ReportFormat};
use crate::failure::{Exit, Failure, OrExit, Outcome};
use crate::{http, say};

/// A report has its own time in the query service; this is for the way there and back, and for waiting before it.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(15 * 60);

/// Characters of a cell of a table.
const CELL_CHARS_MAX: usize = 60;

/// `rapport report`.
pub(crate) async fn report(config: &Config, args: &ReportArgs) -> Outcome {
    let base = match &args.query {
        Some(url) => url.clone(),
        None => format!("http://{}", config.listen(config.ports().query)),
    };
    let client = http::builder(&base)
        .timeout(REQUEST_TIMEOUT)
        .build()
        .map_err(|e| Failure::new(Exit::Internal, format_args!("the HTTP client could not be made: {e}")))?;
    let Some(name) = &args.name else {
        return list(&client, &base, args.format).await;
    };
    let path = ["api", "v1", "reports", name.as_str()];
    if args.sql {
        let url = address(&base, path.into_iter().chain(["sql"]), &args.param)?;
        return ask(&client, url).await.map(|answer| said(&answer.body))?;
    }
    let format = if args.format == ReportFormat::Csv { "csv" } else { "json" };
    let mut parameters = args.param.clone();
    parameters.push(("format".to_owned(), format.to_owned()));
    let answer = ask(&client, address(&base, path.into_iter(), &parameters)?).await?;
    match args.format {
        ReportFormat::Csv => {
            if answer.truncated {
                say::note(format_args!("there are more rows than shown: narrow the report, or raise --param limit=N"));
            }
            say::write(answer.body.as_bytes()).map(|_| ())
        }
        // As it came: no digit of a number is touched.
        ReportFormat::Json => said(&answer.body),
        ReportFormat::Table => table(&answer.body),
    }
}

/// Characters of a line of the list of reports.
const LIST_CHARS_MAX: usize = 100;

/// What stands before a line that goes on with a title, and before a report's parameters.
const LIST_INDENT: &str = "    ";

/// What stands before a line that goes on with parameters: they stand below each other.
const PARAMETER_INDENT: &str = "            ";

/// An answer, read whole.
pub(super) struct Answer {
    pub(super) body: String,
    truncated: bool,
}

async fn list(client: &Client, base: &str, format: ReportFormat) -> Outcome {
    let answer = ask(client, address(base, ["api", "v1", "reports"].into_iter(), &[])?).await?;
    if format == ReportFormat::Json {
        return said(&answer.body);
    }
    if format == ReportFormat::Csv {
        return Err(Failure::new(Exit::BadInput, "the list of reports is a table or JSON; name a report for CSV"));
    }
    let document: Value = serde_json::from_str(&answer.body).or_exit(Exit::Unavailable)?;
    let text = listed(&document);
    if text.is_empty() {
        say::note(format_args!("no report yet: they come with the first start of the projectors"));
        return Ok(());
    }
    said(&text)
}

/// The reports for people: each name with what it says, and below it the parameters as `--param` takes them.
fn listed(document: &Value) -> String {
    let mut text = String::new();
    for report in document["reports"].as_array().into_iter().flatten() {
        let of = |name: &str| report[name].as_str().unwrap_or_default();
        let title = of("title").split_whitespace().map(str::to_owned);
        wrap(&mut text, std::iter::once(of("name").to_owned() + " ").chain(title), LIST_INDENT);
        let parameters = report["parameters"].as_array().into_iter().flatten();
        let parameters = parameters.filter_map(|parameter| Some(format!("{}=", parameter["name"].as_str()?)));
        wrap(&mut text, std::iter::once(LIST_INDENT.to_owned() + "--param").chain(parameters), PARAMETER_INDENT);
    }
    text
}

/// Appends the words in lines of at most [`LIST_CHARS_MAX`] characters, those after the first with `indent` before them.
fn wrap(text: &mut String, words: impl Iterator<Item = String>, indent: &str) {
    let mut width = 0;
    for word in words {
        let chars = word.chars().count();
        if width > 0 && width + 1 + chars > LIST_CHARS_MAX {
            text.push('\n');
            text.push_str(indent);
            width = indent.len();
        } else if width > 0 {
            text.push(' ');
            width += 1;
        }
        text.push_str(&word);
        width += chars;
    }
    text.push('\n');
}

/// The path's segments and the parameters, encoded.
pub(super) fn address<'a>(
    base: &str,
    segments: impl Iterator<Item = &'a str>,
    parameters: &[(String, String)],
) -> Outcome<Url> {
    let wrong = || Failure::new(Exit::BadInput, format_args!("{base} is no address like http://127.0.0.1:7072"));
    let mut url = Url::parse(base).map_err(|_| wrong())?;
    url.path_segments_mut().map_err(|()| wrong())?.pop_if_empty().extend(segments);
    if !parameters.is_empty() {
        url.query_pairs_mut().extend_pairs(parameters);
    }
    Ok(url)
}

pub(super) async fn ask(client: &Client, url: Url) -> Outcome<Answer> {
    // The address without its parameters: their values may be personal data.
    let place = url.origin().ascii_serialization();
    let unreachable = |error: reqwest::Error| {
        Failure::new(
            Exit::Unavailable,
            format_args!("the query service at {place} does not answer: {}; is it running?", error.without_url()),
        )
    };
    let response = client.get(url).send().await.map_err(unreachable)?;
    let status = response.status();
    let truncated = response.headers().get("rapport-truncated").is_some_and(|value| value == "true");
    let body = response.text().await.map_err(unreachable)?;
    if status.is_success() {
        return Ok(Answer { body, truncated });
    }
    Err(refusal(status, &body))
}

/// What the query service says, as the end of the command.
fn refusal(status: StatusCode, body: &str) -> Failure {
    let problem: Value = serde_json::from_str(body).unwrap_or_default();
    let exit = match status.as_u16() {
        503 => Exit::TryAgain,
        300..500 => Exit::BadInput,
        _ => Exit::Unavailable,
    };
    let details: Vec<&str> =
        problem["errors"].as_array().into_iter().flatten().filter_map(|error| error["detail"].as_str()).collect();
    match problem["detail"].as_str() {
        _ if !details.is_empty() => Failure::new(exit, details.join("\n")),
        Some(detail) => Failure::new(exit, detail),
        None => Failure::new(exit, format_args!("the query service answers {status}")),
    }
}

fn said(text: &str) -> Outcome {
    let newline = if text.ends_with('\n') { "" } else { "\n" };
    say::write(format!("{text}{newline}").as_bytes()).map(|_| ())
}

fn table(body: &str) -> Outcome {
    let (rows, notice) = cells(body).or_exit(Exit::Unavailable)?;
    say::table(&rows);
    match (notice, rows.len()) {
        (Some(notice), _) => say::note(format_args!("{notice}")),
        (None, 1) => say::note(format_args!("no rows")),
        (None, _) => {}
    }
    Ok(())
}

/// What a table shows of a report.
#[derive(serde::Deserialize)]
struct Document {
    columns: Vec<Column>,
    rows: Vec<std::collections::HashMap<String, Box<serde_json::value::RawValue>>>,
    notice: Option<String>,
}

#[derive(serde::Deserialize)]
struct Column {
    name: String,
}

/// The rows of a table, its heading first, and what is to be said beside it.
fn cells(body: &str) -> Result<(Vec<Vec<String>>, Option<String>), serde_json::Error> {
    let document: Document = serde_json::from_str(body)?;
    let mut rows = vec![document.columns.iter().map(|column| column.name.clone()).collect::<Vec<_>>()];
    for row in &document.rows {
        let of = |column: &Column| row.get(&column.name).map_or_else(String::new, |value| cell(value.get()));
        rows.push(document.columns.iter().map(of).collect());
    }
    Ok((rows, document.notice))
}

/// A value of JSON on one line: numbers with all of their digits, nothing that a terminal would take for a command.
fn cell(value: &str) -> String {
    if value == "null" {
        return "-".to_owned();
    }
    let text = serde_json::from_str::<String>(value).unwrap_or_else(|_| value.to_owned());
    let mut line: String = text.chars().take(CELL_CHARS_MAX).map(|c| if c.is_control() { ' ' } else { c }).collect();
    if text.chars().count() > CELL_CHARS_MAX {
        line.push('…');
    }
    line
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn addresses_hold_any_name_and_value() {
        let parameters = [("channel".to_owned(), "a&b=c d".to_owned())];
        let check = |base: &str, expected: &str| {
            let url = address(base, ["api", "v1", "reports", "sales.orders/../x"].into_iter(), &parameters);
            assert_eq!(url.expect("an address").as_str(), expected);
        };
        check("http://h:1", "http://h:1/api/v1/reports/sales.orders%2F..%2Fx?channel=a%26b%3Dc+d");
        check("http://h:1/rapport/", "http://h:1/rapport/api/v1/reports/sales.orders%2F..%2Fx?channel=a%26b%3Dc+d");
        assert!(address("127.0.0.1:7072", std::iter::empty(), &[]).is_err());
    }

    #[test]
    fn the_list_names_parameters_as_they_are_passed() {
        let names: Vec<_> = (0..30).map(|n| json!({"name": format!("column_{n}")})).collect();
        let document = json!({"reports": [
            {"name": "sales.orders", "title": "Orders: one row an order", "parameters": [{"name": "at"}, {"name": "limit"}]},
            {"name": "sales.wide", "title": "many words ".repeat(20), "parameters": names},
        ]});
        let text = listed(&document);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[..2], ["sales.orders  Orders: one row an order", "    --param at= limit="]);
        assert!(lines.iter().all(|line| line.chars().count() <= 100), "{text}");
        for n in 0..30 {
            assert!(text.split_whitespace().any(|word| word == format!("column_{n}=")), "{text}");
        }
        let going_on = lines.iter().find(|line| line.contains("column_12=")).expect("it is listed");
        assert!(going_on.starts_with("            column_"), "{text}");
        assert_eq!(listed(&json!({"reports": []})), "");
    }

    #[test]
    fn tables_keep_digits_and_lines() {
        let body = r#"{"columns":[{"name":"a","type":"text"},{"name":"n","type":"numeric"}],"notice":"more",
                       "rows":[{"a":"x\ny\u001b[31m","n":12345678901234567890.10},{"a":null,"n":-1}]}"#;
        let (rows, notice) = cells(body).expect("a document");
        assert_eq!(rows[0], ["a", "n"]);
        assert_eq!(rows[1], ["x y [31m", "12345678901234567890.10"]);
        assert_eq!(rows[2], ["-", "-1"]);
        assert_eq!(notice.as_deref(), Some("more"));
    }

    #[test]
    fn refusals_say_what_there_is() {
        let body = r#"{"detail":"x is no parameter","errors":[{"code":"c","pointer":"x","detail":"x is no parameter; there are a, b"}]}"#;
        let failure = refusal(StatusCode::BAD_REQUEST, body);
        assert_eq!(failure.exit(), Exit::BadInput);
        assert_eq!(refusal(StatusCode::SERVICE_UNAVAILABLE, "").exit(), Exit::TryAgain);
    }
}
