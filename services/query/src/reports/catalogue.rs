//! Which reports there are: the views that `analyst` may read in the models' schemas. A view that a projector adds is
//! found here by itself.

use serde::Deserialize;
use serde_json::{Value, json};
use sqlx::PgConnection;

use super::RESERVED;
use crate::{problem::Problem, views::quoted};

/// One report.
#[derive(Debug)]
pub(crate) struct Report {
    /// `model.view`.
    pub(crate) name: String,
    pub(super) comment: String,
    pub(crate) columns: Vec<Column>,
    /// What the function of the same name with `_at` takes, where there is one: the report depends on now.
    pub(crate) arguments: Option<Vec<Argument>>,
}

/// A column of a report.
#[derive(Debug, Deserialize)]
pub(crate) struct Column {
    pub(crate) name: String,
    /// PostgreSQL's name of its type.
    #[serde(rename = "type")]
    pub(crate) kind: String,
    comment: String,
}

/// An argument of the function with `_at`.
#[derive(Debug, Deserialize)]
pub(crate) struct Argument {
    pub(crate) name: String,
    #[serde(rename = "type")]
    pub(crate) kind: String,
    /// SQL, as PostgreSQL writes it.
    pub(crate) default: Option<String>,
}

/// How the text of a parameter is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reading {
    Text,
    /// The column holds texts; the parameter is one that it is to hold.
    OneOf,
    Boolean,
    Integer {
        min: i64,
        max: i64,
    },
    Decimal,
    Uuid,
    Time,
    Day,
    /// An argument of another type: PostgreSQL reads it.
    Other,
}

impl Reading {
    /// By PostgreSQL's name of a type. `None`: no parameter can be compared with it.
    pub(crate) fn of(kind: &str) -> Option<Self> {
        Some(match kind {
            "text" | "character varying" => Self::Text,
            "text[]" => Self::OneOf,
            "boolean" => Self::Boolean,
            "smallint" => Self::Integer { min: i16::MIN.into(), max: i16::MAX.into() },
            "integer" => Self::Integer { min: i32::MIN.into(), max: i32::MAX.into() },
            "bigint" => Self::Integer { min: i64::MIN, max: i64::MAX },
            "numeric" => Self::Decimal,
            "uuid" => Self::Uuid,
            "timestamp with time zone" => Self::Time,
            "date" => Self::Day,
            _ => return None,
        })
    }
}

impl Column {
    /// Whether rows can be put in order by it.
    pub(crate) fn sorts(&self) -> bool {
        !matches!(self.kind.trim_end_matches("[]"), "json" | "xml" | "point" | "unknown")
    }

    /// How a parameter of its name is read.
    pub(crate) fn reading(&self) -> Option<Reading> {
        if RESERVED.contains(&self.name.as_str()) { None } else { Reading::of(&self.kind) }
    }
}

impl Argument {
    /// Its parameter: the first time is `at`, whatever the function calls it.
    pub(crate) fn parameter<'a>(&'a self, all: &'a [Self]) -> &'a str {
        let first_time = all.iter().find(|argument| argument.reading() == Reading::Time);
        match first_time {
            Some(time) if std::ptr::eq(time, self) => "at",
            _ => &self.name,
        }
    }

    pub(crate) fn reading(&self) -> Reading {
        match Reading::of(&self.kind) {
            None | Some(Reading::OneOf) => Reading::Other,
            Some(reading) => reading,
        }
    }
}

impl Report {
    /// Its COMMENT's first sentence; its name while it has none.
    pub(crate) fn title(&self) -> &str {
        if self.comment.is_empty() {
            return &self.name;
        }
        self.comment.split_once(". ").map_or(self.comment.trim_end_matches('.'), |(first, _)| first)
    }

    pub(crate) fn comment(&self) -> &str {
        &self.comment
    }

    /// Its view, quoted.
    pub(crate) fn relation(&self) -> String {
        self.named("")
    }

    /// The function that takes a time, quoted.
    pub(crate) fn function(&self) -> String {
        self.named("_at")
    }

    fn named(&self, ending: &str) -> String {
        let (schema, view) = self.name.split_once('.').unwrap_or(("", &self.name));
        format!("{}.{}", quoted(schema), quoted(format!("{view}{ending}")))
    }

    /// The function's arguments that have a name of their own as a parameter.
    pub(crate) fn parameters(&self) -> impl Iterator<Item = (&str, &Argument)> {
        let all = self.arguments.as_deref().unwrap_or_default();
        all.iter()
            .map(|argument| (argument.parameter(all), argument))
            .filter(|(name, argument)| !RESERVED.contains(name) && !argument.name.is_empty())
    }

    /// As `GET /reports` shows it.
    pub(crate) fn to_json(&self) -> Value {
        let columns: Vec<_> =
            self.columns.iter().map(|c| json!({"name": c.name, "type": c.kind, "comment": c.comment})).collect();
        json!({
            "name": self.name,
            "title": self.title(),
            "comment": self.comment,
            "parameters": self.parameters_json(),
            "columns": columns,
            "formats": ["json", "csv"],
            "href": format!("/api/v1/reports/{}", self.name),
            "sql": format!("/api/v1/reports/{}/sql", self.name),
        })
    }

    fn parameters_json(&self) -> Vec<Value> {
        let mut all = Vec::new();
        for (name, argument) in self.parameters() {
            let says = match argument.reading() {
                Reading::Time if name == "at" => "the time it is asked for".to_owned(),
                _ => format!("an argument of {}_at", self.name),
            };
            all.push(json!({"name": name, "type": argument.kind, "default": argument.default, "comment": says}));
        }
        let taken: Vec<String> = self.parameters().map(|(name, _)| name.to_owned()).collect();
        for column in &self.columns {
            let Some(reading) = column.reading().filter(|_| !taken.contains(&column.name)) else { continue };
            let (kind, says) = match reading {
                Reading::OneOf => ("text", format!("only rows whose {} hold this", column.name)),
                _ => (column.kind.as_str(), format!("only rows with this {}", column.name)),
            };
            all.push(json!({"name": column.name, "type": kind, "default": null, "comment": says}));
        }
        all.push(json!({
            "name": "limit", "type": "integer", "default": super::LIMIT_DEFAULT,
            "comment": format!("how many rows at most, up to {}", super::LIMIT_MAX),
        }));
        all
    }
}

type Row = (String, String, String, Option<String>);

/// All reports, by name.
pub(crate) async fn all(connection: &mut PgConnection) -> Result<Vec<Report>, Problem> {
    read(connection, None).await
}

/// The report of this name.
pub(crate) async fn one(connection: &mut PgConnection, name: &str) -> Result<Option<Report>, Problem> {
    // U+0000 is in no name, and PostgreSQL takes it in no text.
    if name.contains('\0') {
        return Ok(None);
    }
    Ok(read(connection, Some(name)).await?.pop())
}

async fn read(connection: &mut PgConnection, name: Option<&str>) -> Result<Vec<Report>, Problem> {
    let rows: Vec<Row> = sqlx::query_as(include_str!("../../sql/reports.sql")).bind(name).fetch_all(connection).await?;
    let read = |(name, comment, columns, arguments): Row| {
        let arguments = arguments.map(|text| serde_json::from_str(&text)).transpose()?;
        Ok(Report { name, comment, columns: serde_json::from_str(&columns)?, arguments })
    };
    let reports: Result<Vec<Report>, serde_json::Error> = rows.into_iter().map(read).collect();
    reports.map_err(|e| Problem::internal("PostgreSQL's catalogue cannot be read", &e))
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A report of a few columns, with a function of two arguments.
    pub(crate) fn orders() -> Report {
        let column = |(name, kind): (&str, &str)| Column {
            name: name.into(),
            kind: kind.into(),
            comment: format!("The {name}."),
        };
        let columns = [
            ("order_id", "text"),
            ("net", "numeric"),
            ("line_count", "integer"),
            ("placed_at", "timestamp with time zone"),
            ("flags", "text[]"),
            ("payload", "json"),
            ("limit", "integer"),
        ];
        let argument = |name: &str, kind: &str, default: &str| Argument {
            name: name.into(),
            kind: kind.into(),
            default: Some(default.into()),
        };
        Report {
            name: "sales.orders".into(),
            comment: "Orders: one row an order. More of it.".into(),
            columns: columns.map(column).into(),
            arguments: Some(vec![
                argument("asked_at", "timestamp with time zone", "now()"),
                argument("idle", "interval", "'01:00:00'::interval"),
            ]),
        }
    }

    #[test]
    fn what_a_report_says_of_itself() {
        let shown = orders().to_json();
        assert_eq!(shown["title"], json!("Orders: one row an order"));
        let names: Vec<_> = shown["parameters"]
            .as_array()
            .expect("a list")
            .iter()
            .map(|p| p["name"].as_str().expect("a name"))
            .collect();
        assert_eq!(names, ["at", "idle", "order_id", "net", "line_count", "placed_at", "flags", "limit"]);
        assert_eq!(shown["parameters"][0]["default"], json!("now()"));
        assert_eq!(shown["formats"], json!(["json", "csv"]));
        assert_eq!(orders().function(), r#""sales"."orders_at""#);
    }
}
