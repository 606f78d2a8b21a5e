//! The stretches of time a case spent in each status.

use uuid::Uuid;

/// One stretch in a status.
#[derive(Clone, Debug, PartialEq)]
pub struct Span {
    /// The case.
    pub case_id: String,
    /// From 1, in order.
    pub span_no: i32,
    /// `new`, `open`, `pending`, `on_hold`, `solved`, `closed`.
    pub status: String,
    /// Microseconds UTC.
    pub started_at: i64,
    /// Microseconds UTC; `None` while it lasts: how long that is depends on when one asks.
    pub ended_at: Option<i64>,
    /// The event that began or ended it.
    pub set_by: Uuid,
}

impl Span {
    /// How long it lasted, in microseconds; `None` while it lasts.
    pub fn length(&self) -> Option<i64> {
        self.ended_at.map(|ended| ended.saturating_sub(self.started_at))
    }
}

/// Whether somebody still has to do something about a case in this status.
pub(crate) fn is_open(status: &str) -> bool {
    !matches!(status, "solved" | "closed")
}

/// The history of a case's status.
#[derive(Debug, Default)]
pub(crate) struct Spans {
    pub(crate) spans: Vec<Span>,
    /// Changes from solved or closed back to an open status.
    pub(crate) reopens: i32,
    /// When it first went from an open status (or none) to solved or closed.
    pub(crate) first_solved_at: Option<i64>,
    /// When it last did.
    pub(crate) solved_at: Option<i64>,
    /// When it was last closed.
    pub(crate) closed_at: Option<i64>,
}

impl Spans {
    /// The status now.
    pub(crate) fn status(&self) -> Option<&str> {
        self.spans.last().map(|s| s.status.as_str())
    }

    /// The case is in `status` from `at` on. The status it has already changes nothing.
    pub(crate) fn turn(&mut self, case_id: &str, status: &str, at: i64, event: Uuid) {
        let before = self.status();
        if before == Some(status) {
            return;
        }
        let was_open = before.is_none_or(is_open);
        if was_open && !is_open(status) {
            self.first_solved_at = self.first_solved_at.or(Some(at));
            self.solved_at = Some(at);
        }
        if !was_open && is_open(status) {
            self.reopens += 1;
        }
        if status == "closed" {
            self.closed_at = Some(at);
        }
        if let Some(last) = self.spans.last_mut() {
            last.ended_at = Some(at);
            last.set_by = event;
        }
        self.spans.push(Span {
            case_id: case_id.to_owned(),
            span_no: i32::try_from(self.spans.len() + 1).unwrap_or(i32::MAX),
            status: status.to_owned(),
            started_at: at,
            ended_at: None,
            set_by: event,
        });
    }

    /// Microseconds spent in any of these statuses, in stretches that have ended.
    pub(crate) fn spent_in(&self, statuses: &[&str]) -> i64 {
        let counted = self.spans.iter().filter(|s| statuses.contains(&s.status.as_str()));
        counted.filter_map(Span::length).fold(0, i64::saturating_add)
    }
}
