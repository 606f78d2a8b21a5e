use std::path::Path;

use serde::Deserialize;

/// What the program of mail is where the mapping has none: the mail's event as it is.
const MAIL_PROGRAM: &str = ".rows[]";

/// A mapping file: how the rows of a CSV or NDJSON file, or mails, become events.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Mapping {
    /// `csv`, `ndjson` or `mail`.
    pub(crate) format: Format,
    /// The events' `source`, unless the program sets one. With the hash of the row, or of the mail, it is their identity:
    /// two mappings that make different events of one file need two sources.
    pub(crate) source: String,
    /// What stands between two cells; one ASCII character.
    #[serde(default = "comma")]
    pub(crate) delimiter: char,
    /// Whether the first record names the columns.
    #[serde(default = "yes")]
    pub(crate) header: bool,
    /// The names of the columns of a file without a header.
    #[serde(default)]
    pub(crate) columns: Vec<String>,
    /// Only UTF-8 so far; said so that a file in something else is converted on purpose.
    #[serde(default)]
    #[expect(dead_code, reason = "there is one encoding so far; naming another one is refused")]
    pub(crate) encoding: Encoding,
    /// Columns that a row must have.
    #[serde(default)]
    pub(crate) require: Vec<String>,
    /// Adjacent rows that agree in these columns become one input of the program.
    #[serde(default)]
    pub(crate) group_by: Vec<String>,
    /// Columns that are not part of what a row is: a running number, the date of the export.
    #[serde(default)]
    pub(crate) ignore: Vec<String>,
    /// Whose mails are sent and not received: our addresses, and our domains with an `@` in front. Mail only.
    #[serde(default)]
    pub(crate) ours: Vec<String>,
    /// How the names of the files end that are taken from a directory; without any, all but those that begin with a
    /// dot. Mail only.
    #[serde(default)]
    pub(crate) files: Vec<String>,
    /// A jq program: `{key, rows}` in, CloudEvents out. Of mail, the row is the mail's event already, and mail needs no
    /// program.
    #[serde(default)]
    pub(crate) program: String,
}

#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Format {
    Csv,
    Ndjson,
    /// Mailboxes, maildirs and single messages.
    Mail,
}

#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
pub(crate) enum Encoding {
    #[default]
    #[serde(rename = "utf-8")]
    Utf8,
}

/// A mapping file that cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum MappingError {
    #[error("could not read the mapping {path}: {source}")]
    Read { path: String, source: std::io::Error },
    #[error("the mapping {path} is not understood: {detail}")]
    Parse { path: String, detail: String },
    #[error("the mapping {path}: {detail}")]
    Invalid { path: String, detail: String },
}

impl Mapping {
    pub(crate) fn load(path: &Path) -> Result<Self, MappingError> {
        let name = path.display().to_string();
        let text = std::fs::read_to_string(path).map_err(|source| MappingError::Read { path: name.clone(), source })?;
        Self::parse(&text).map_err(|error| match error {
            MappingError::Parse { detail, .. } => MappingError::Parse { path: name.clone(), detail },
            MappingError::Invalid { detail, .. } => MappingError::Invalid { path: name.clone(), detail },
            read @ MappingError::Read { .. } => read,
        })
    }

    pub(crate) fn parse(text: &str) -> Result<Self, MappingError> {
        let mut mapping: Self =
            toml::from_str(text).map_err(|e| MappingError::Parse { path: String::new(), detail: e.to_string() })?;
        if mapping.format == Format::Mail && mapping.program.is_empty() {
            MAIL_PROGRAM.clone_into(&mut mapping.program);
        }
        match mapping.fault() {
            Some(detail) => Err(MappingError::Invalid { path: String::new(), detail }),
            None => Ok(mapping),
        }
    }

    fn fault(&self) -> Option<String> {
        if !self.delimiter.is_ascii() || matches!(self.delimiter, '"' | '\n' | '\r') {
            return Some("`delimiter` is one ASCII character, neither a quote nor a line break".to_owned());
        }
        if self.source.trim().is_empty() {
            return Some("`source` names where the events come from and may not be empty".to_owned());
        }
        if self.program.is_empty() {
            return Some("`program` is missing: it says what event a row becomes".to_owned());
        }
        if self.format == Format::Mail
            && !(self.columns.is_empty() && self.group_by.is_empty() && self.require.is_empty())
        {
            return Some("`columns`, `group_by` and `require` are for rows; mail has none".to_owned());
        }
        if self.format != Format::Mail && !(self.ours.is_empty() && self.files.is_empty()) {
            return Some("`ours` and `files` are for mail (`format = \"mail\"`)".to_owned());
        }
        if let Some(wrong) = self.ours.iter().find(|address| !address.contains('@')) {
            return Some(format!(
                "`ours` holds \"{wrong}\"; it holds addresses (ann@example.com) and domains (@example.com)"
            ));
        }
        if self.format == Format::Csv && !self.header && self.columns.is_empty() {
            return Some("with `header = false`, `columns` must name the columns".to_owned());
        }
        if self.header && !self.columns.is_empty() {
            return Some("`columns` is for files without a header (`header = false`)".to_owned());
        }
        None
    }
}

fn comma() -> char {
    ','
}

fn yes() -> bool {
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wrong_is_said() {
        let base = "format = \"csv\"\nsource = \"s\"\nprogram = \".\"\n";
        assert!(Mapping::parse(base).is_ok());
        assert!(Mapping::parse("format = \"mail\"\nsource = \"s\"").is_ok());
        for (text, says) in [
            ("format = \"xml\"", "expected one of `csv`, `ndjson`, `mail`"),
            ("format = \"csv\"\nsource = \"s\"", "`program` is missing"),
            ("format = \"mail\"\nsource = \"s\"\ngroup_by = [\"a\"]", "mail has none"),
            ("format = \"mail\"\nsource = \"s\"\nours = [\"example.com\"]", "domains (@example.com)"),
            (&format!("{base}ours = [\"@a.example\"]"), "are for mail"),
            ("program = \".\"", "format"),
            (&format!("{base}delimiter = \"ä\""), "one ASCII character"),
            (&format!("{base}header = false"), "must name the columns"),
            (&format!("{base}columns = [\"a\"]"), "without a header"),
            (&format!("{base}grupby = []"), "grupby"),
            (&format!("{base}encoding = \"latin-1\""), "utf-8"),
        ] {
            let error = Mapping::parse(text).expect_err(text).to_string();
            assert!(error.contains(says), "{text}: {error}");
        }
    }
}
