use std::collections::BTreeMap;
use std::sync::Arc;

use super::csv::Fault;
use crate::publish::Verdict;

/// Reasons that are told apart among what is not written out; those beyond count as one.
const REASONS_MAX: usize = 100;

/// Of these, how many are named at the end.
const NAMED_MAX: usize = 10;

/// How much of a reason tells it from others, in characters.
const REASON_CHARS_MAX: usize = 200;

/// How many events came to what.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Counts {
    pub(super) new: u64,
    pub(super) known: u64,
    pub(super) rejected: u64,
    /// How many rows the rejected ones had.
    pub(super) rejected_rows: u64,
    /// Among the new and the known ones.
    pub(super) warned: u64,
}

/// What is kept of an event that is under way.
#[derive(Clone, Debug)]
pub(super) struct Sent {
    pub(super) file: Arc<str>,
    pub(super) line: u64,
    pub(super) rows: u64,
    /// Only a dry run sends what is known already, to have it checked.
    pub(super) known: bool,
}

/// What an import has come to: everything is counted, and the first so many faults and warnings are written out.
pub(super) struct Tally {
    pub(super) counts: Counts,
    show: u64,
    shown: u64,
    unshown: Unshown,
}

/// Faults and warnings that are not written out, by reason.
#[derive(Default)]
struct Unshown {
    reasons: BTreeMap<String, u64>,
    others: u64,
}

impl Tally {
    /// `show`: how many faults and warnings are written out.
    pub(super) fn new(show: u64) -> Self {
        Self { counts: Counts::default(), show, shown: 0, unshown: Unshown::default() }
    }

    /// Counts the collector's verdict on an event; answers with the lines to write out.
    pub(super) fn judge(&mut self, sent: &Sent, verdict: Verdict) -> Vec<String> {
        match verdict {
            Verdict::Accepted { warnings } => {
                let count = if sent.known { &mut self.counts.known } else { &mut self.counts.new };
                *count += 1;
                self.counts.warned += u64::from(!warnings.is_empty());
                let told = warnings.iter().filter_map(|warning| {
                    let line = || format!("{}:{}: warning: {warning}", sent.file, sent.line);
                    self.tell(line, || format!("warning: {}", code(warning)))
                });
                told.collect()
            }
            Verdict::Rejected { reasons } => {
                self.count_rejected(sent.rows);
                let line = || format!("{}:{}: {}{}", sent.file, sent.line, reasons.join("; "), of_group(sent.rows));
                let codes = || reasons.iter().map(|reason| code(reason)).collect::<Vec<_>>().join("; ");
                self.tell(line, codes).into_iter().collect()
            }
        }
    }

    /// Counts a group of rows that makes no event; answers with the lines to write out.
    pub(super) fn reject(&mut self, file: &str, rows: u64, faults: &[Fault]) -> Vec<String> {
        self.count_rejected(rows);
        let told = faults.iter().filter_map(|fault| {
            let column = fault.column.map(|c| format!(":{c}")).unwrap_or_default();
            let line = || format!("{file}:{}{column}: {}{}", fault.line, fault.reason, of_group(rows));
            self.tell(line, || fault.reason.clone())
        });
        told.collect()
    }

    fn count_rejected(&mut self, rows: u64) {
        self.counts.rejected += 1;
        self.counts.rejected_rows += rows;
    }

    /// The line, if it is to be written out; else its reason is counted.
    fn tell(&mut self, line: impl FnOnce() -> String, reason: impl FnOnce() -> String) -> Option<String> {
        if self.shown < self.show {
            self.shown += 1;
            return Some(line());
        }
        self.unshown.add(&reason());
        None
    }

    /// How many faults and warnings were not written out, and the most frequent reasons for them; nothing where all were.
    pub(super) fn rest(&self) -> Vec<String> {
        let unshown = self.unshown.total();
        if unshown == 0 {
            return Vec::new();
        }
        let more = if self.shown > 0 { " more" } else { "" };
        let all = self.shown + unshown;
        let mut lines = vec![format!("{unshown}{more} faults and warnings are not shown (--show {all} shows all):")];
        lines.extend(self.unshown.named());
        lines
    }

    /// What it has come to so far, for people.
    pub(super) fn so_far(&self) -> String {
        let Counts { new, known, rejected, .. } = self.counts;
        format!("{new} new, {known} known, {rejected} rejected")
    }
}

impl Unshown {
    fn add(&mut self, reason: &str) {
        let reason = without_values(reason);
        if let Some(count) = self.reasons.get_mut(&reason) {
            *count += 1;
        } else if self.reasons.len() < REASONS_MAX {
            self.reasons.insert(reason, 1);
        } else {
            self.others += 1;
        }
    }

    fn total(&self) -> u64 {
        self.reasons.values().sum::<u64>() + self.others
    }

    /// A line a reason, the most frequent first.
    fn named(&self) -> Vec<String> {
        let mut reasons: Vec<_> = self.reasons.iter().map(|(reason, count)| (*count, reason)).collect();
        // Of equal ones in the order of the alphabet.
        reasons.sort_by_key(|(count, _)| std::cmp::Reverse(*count));
        let named = &reasons[..reasons.len().min(NAMED_MAX)];
        let others = self.total() - named.iter().map(|(count, _)| count).sum::<u64>();
        let mut lines: Vec<_> = named.iter().map(|(count, reason)| format!("  {count} x {reason}")).collect();
        if others > 0 {
            lines.push(format!("  {others} x for other reasons"));
        }
        lines
    }
}

fn of_group(rows: u64) -> String {
    if rows > 1 { format!(" (rejects its group of {rows} rows)") } else { String::new() }
}

/// Code and pointer of what the collector says: `CODE /pointer: detail`.
fn code(said: &str) -> &str {
    said.split_once(": ").map_or(said, |(code, _)| code)
}

/// A reason without what is a row's own: what stands in quotes becomes `"..."`, a number `N`. Names with digits in them
/// (UTF-8) stay.
fn without_values(reason: &str) -> String {
    let start: String = reason.chars().take(REASON_CHARS_MAX).collect();
    let pieces = start.split('"').enumerate().map(|(index, piece)| match index % 2 {
        0 => piece.split_inclusive([' ', '/']).map(without_number).collect(),
        _ => "\"...\"".to_owned(),
    });
    pieces.collect()
}

fn without_number(word: &str) -> String {
    let is_digit = |c: char| c.is_ascii_digit();
    if !word.contains(is_digit) || word.contains(char::is_alphabetic) {
        return word.to_owned();
    }
    format!("N{}", &word[word.trim_end_matches(|c| !is_digit(c)).len()..])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sent(known: bool) -> Sent {
        Sent { file: "a.csv".into(), line: 7, rows: 1, known }
    }

    fn warned(detail: &str) -> Verdict {
        Verdict::Accepted { warnings: vec![format!("identifier_not_understood /subject: {detail}")] }
    }

    fn fault(line: u64, reason: &str) -> Fault {
        Fault { line, column: Some(3), reason: reason.to_owned() }
    }

    #[test]
    fn warnings_are_told_and_counted() {
        let mut tally = Tally::new(100);
        assert_eq!(tally.judge(&sent(false), Verdict::Accepted { warnings: vec![] }), [""; 0]);
        assert_eq!(
            tally.judge(&sent(false), warned("no phone")),
            ["a.csv:7: warning: identifier_not_understood /subject: no phone"]
        );
        let two = Verdict::Accepted { warnings: vec!["a /x: b".to_owned(), "c: d".to_owned()] };
        assert_eq!(tally.judge(&sent(true), two), ["a.csv:7: warning: a /x: b", "a.csv:7: warning: c: d"]);
        assert_eq!(tally.counts, Counts { new: 2, known: 1, warned: 2, ..Counts::default() });
        assert_eq!(tally.rest(), [""; 0]);
    }

    #[test]
    fn faults_are_told_with_their_place() {
        let mut tally = Tally::new(100);
        let faults = [fault(2, "not valid UTF-8"), Fault { column: None, ..fault(3, "3 cells, expected 4") }];
        assert_eq!(
            tally.reject("a.csv", 2, &faults),
            [
                "a.csv:2:3: not valid UTF-8 (rejects its group of 2 rows)",
                "a.csv:3: 3 cells, expected 4 (rejects its group of 2 rows)"
            ]
        );
        let reasons = vec!["missing_field /data/order_id: order_id is required".to_owned(), "b /time: c".to_owned()];
        assert_eq!(
            tally.judge(&sent(true), Verdict::Rejected { reasons }),
            ["a.csv:7: missing_field /data/order_id: order_id is required; b /time: c"]
        );
        assert_eq!(tally.counts, Counts { rejected: 2, rejected_rows: 3, ..Counts::default() });
    }

    #[test]
    fn beyond_the_first_ones_reasons_are_counted() {
        let mut tally = Tally::new(2);
        let mut told = Vec::new();
        for line in 2..=1001 {
            told.extend(tally.reject(
                "a.csv",
                1,
                &[fault(line, &format!("not JSON at column {line}: expected value"))],
            ));
        }
        for amount in ["1,5", "1.2.3"] {
            told.extend(tally.reject("a.csv", 1, &[fault(5, &format!("minor: \"{amount}\" is no number"))]));
        }
        for order in 0..30 {
            told.extend(tally.judge(&sent(false), warned(&format!("why {order}"))));
            let reasons = vec![format!("out_of_range /data/lines/{order}/total: it is"), "b /time: c".to_owned()];
            told.extend(tally.judge(&sent(false), Verdict::Rejected { reasons }));
        }
        assert_eq!(told.len(), 2);
        assert!(told[1].starts_with("a.csv:3:3: not JSON at column 3"), "{told:?}");
        assert_eq!((tally.counts.rejected, tally.counts.new, tally.counts.warned), (1032, 30, 30));
        assert_eq!(
            tally.rest(),
            [
                "1060 more faults and warnings are not shown (--show 1062 shows all):",
                "  998 x not JSON at column N: expected value",
                "  30 x out_of_range /data/lines/N/total; b /time",
                "  30 x warning: identifier_not_understood /subject",
                "  2 x minor: \"...\" is no number",
            ]
        );
    }

    #[test]
    fn what_is_told_at_the_end_is_bounded() {
        let mut tally = Tally::new(0);
        for reason in 1..=10 * REASONS_MAX {
            for _ in 0..3 {
                assert_eq!(tally.reject("a", 1, &[fault(1, &format!("{}!", "x".repeat(reason % 150 + 1)))]), [""; 0]);
            }
        }
        let rest = tally.rest();
        assert_eq!((rest.len(), tally.unshown.reasons.len()), (1 + NAMED_MAX + 1, REASONS_MAX));
        assert!(rest[0].starts_with("3000 faults and warnings are not shown"), "{rest:?}");
        assert!(rest[NAMED_MAX + 1].ends_with(" x for other reasons"), "{rest:?}");
        let counted: u64 = rest[1..].iter().filter_map(|l| l.trim().split(' ').next()?.parse::<u64>().ok()).sum();
        assert_eq!(counted, 3000);
        let long = "y".repeat(10 * REASON_CHARS_MAX);
        assert_eq!(without_values(&long).len(), REASON_CHARS_MAX);
    }

    #[test]
    fn a_reason_without_values() {
        for (reason, general) in [
            (
                "column 3 is not valid UTF-8; of a Windows-1252 file",
                "column N is not valid UTF-8; of a Windows-1252 file",
            ),
            (
                "12 cells, expected 3; is the delimiter another one?",
                "N cells, expected N; is the delimiter another one?",
            ),
            ("missing_field /data/lines/12/total", "missing_field /data/lines/N/total"),
            ("date: \"31.02.2026\" is none, -5.3", "date: \"...\" is none, N"),
            ("", ""),
        ] {
            assert_eq!(without_values(reason), general);
        }
    }
}
