use std::sync::LazyLock;

use mail_parser::{HeaderName, MessageParser};

/// Parses what we need of it: what describes the parts, whom the mail is from and to, and its title. Any other field is
/// left as it is: the parser's own reader of dates takes three letters for a zone, and so `UT`, at the end of a line, took
/// the field on the next line with it.
pub(super) fn parser() -> &'static MessageParser {
    static PARSER: LazyLock<MessageParser> = LazyLock::new(|| {
        MessageParser::new()
            .with_mime_headers()
            .with_address_headers()
            .header_text(HeaderName::Subject)
            .default_header_raw()
    });
    &PARSER
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_behind_a_date_is_read() {
        for date in ["Sat, 14 Sep 2002 06:00:48 UT", "Sat, 14 Sep 2002 06:00:48 Z", "sometime", ""] {
            for field in ["Date", "Resent-Date", "Received: from a by b;"] {
                let mail = format!("{field}: {date}\nFrom: Ann <ann@x.example>\nSubject: Hi\n\nHello");
                let parsed = parser().parse(&mail).expect("a mail");
                let from = parsed.from().and_then(|from| from.first()).and_then(|from| from.address());
                assert_eq!((from, parsed.subject()), (Some("ann@x.example"), Some("Hi")), "{mail}");
            }
        }
    }
}
