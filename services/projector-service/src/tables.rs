//! The derived tables, and how their rows are encoded.

use domain::{money::divide_half_away, time::MINUTE};
use projection::{
    bounded::{Change, Table, replace},
    copy::CopyBuffer,
};
use sqlx::PgConnection;

use crate::{
    Rows,
    folds::{Call, CallLeg, Case, Span},
};

/// The table of cases.
const CASES: Table = Table {
    name: "cases",
    kind: "case",
    key: "case_id",
    columns: &[
        "case_id",
        "subject_id",
        "title",
        "priority",
        "status",
        "assignee",
        "queue",
        "product",
        "serial",
        "topic",
        "channel",
        "opened_at",
        "opened_by",
        "opened_by_agent",
        "first_reply_at",
        "first_reply_min",
        "first_solved_at",
        "solved_at",
        "closed_at",
        "resolution_min",
        "first_resolution_min",
        "agent_work_min",
        "requester_wait_min",
        "agent_wait_min",
        "status_since",
        "reopens",
        "escalations",
        "escalation_level",
        "replies_public_agent",
        "replies_internal",
        "messages_customer",
        "one_touch",
        "merged_into",
        "flags",
        "set_by",
    ],
};

/// The table of their stretches in a status.
const CASE_SPANS: Table = Table {
    name: "case_spans",
    kind: "case",
    key: "case_id",
    columns: &["case_id", "span_no", "status", "started_at", "ended_at", "length_min", "set_by"],
};

/// The table of calls.
const CALLS: Table = Table {
    name: "calls",
    kind: "call",
    key: "call_id",
    columns: &[
        "call_id",
        "subject_id",
        "direction",
        "from_number",
        "to_number",
        "queue",
        "agent_id",
        "case_id",
        "offered_at",
        "answered_at",
        "ended_at",
        "answered",
        "disposition",
        "wait_s",
        "talk_s",
        "hold_s",
        "wrap_s",
        "duration_s",
        "leg_count",
        "flags",
        "set_by",
    ],
};

/// The table of their legs.
const CALL_LEGS: Table = Table {
    name: "call_legs",
    kind: "call",
    key: "call_id",
    columns: &[
        "call_id",
        "leg_no",
        "leg_id",
        "queue",
        "agent_id",
        "offered_at",
        "answered_at",
        "ended_at",
        "disposition",
        "wait_s",
        "talk_s",
        "hold_s",
        "wrap_s",
        "duration_s",
        "transfer_to",
        "reason",
        "set_by",
    ],
};

/// All of them.
pub(crate) const ALL: [Table; 4] = [CASES, CASE_SPANS, CALLS, CALL_LEGS];

/// Writes what has changed.
pub(crate) async fn write(connection: &mut PgConnection, changes: &[Change<Rows>]) -> Result<(), sqlx::Error> {
    replace(connection, &CASES, changes, |rows| rows.of_case.case.as_slice(), case).await?;
    replace(connection, &CASE_SPANS, changes, |rows| &rows.of_case.spans, span).await?;
    replace(connection, &CALLS, changes, |rows| rows.of_call.call.as_slice(), call).await?;
    replace(connection, &CALL_LEGS, changes, |rows| &rows.of_call.legs, leg).await
}

fn case(row: &Case, to: &mut CopyBuffer) {
    to.put_text(&row.case_id)
        .put_opt(row.subject_id, CopyBuffer::put_uuid)
        .put_opt(row.title.as_deref(), CopyBuffer::put_text)
        .put_opt(row.priority.as_deref(), CopyBuffer::put_text)
        .put_opt(row.status.as_deref(), CopyBuffer::put_text)
        .put_opt(row.assignee.as_deref(), CopyBuffer::put_text)
        .put_opt(row.queue.as_deref(), CopyBuffer::put_text)
        .put_opt(row.product.as_deref(), CopyBuffer::put_text)
        .put_opt(row.serial.as_deref(), CopyBuffer::put_text)
        .put_opt(row.topic.as_deref(), CopyBuffer::put_text)
        .put_opt(row.channel.as_deref(), CopyBuffer::put_text)
        .put_opt(row.opened_at, CopyBuffer::put_timestamptz)
        .put_opt(row.opened_by.as_deref(), CopyBuffer::put_text)
        .put_bool(row.opened_by_agent)
        .put_opt(row.first_reply_at, CopyBuffer::put_timestamptz)
        .put_opt(row.first_reply_us, minutes)
        .put_opt(row.first_solved_at, CopyBuffer::put_timestamptz)
        .put_opt(row.solved_at, CopyBuffer::put_timestamptz)
        .put_opt(row.closed_at, CopyBuffer::put_timestamptz)
        .put_opt(row.resolution_us, minutes)
        .put_opt(row.first_resolution_us, minutes);
    minutes(to, row.agent_work_us);
    minutes(to, row.requester_wait_us);
    minutes(to, row.agent_wait_us)
        .put_opt(row.status_since, CopyBuffer::put_timestamptz)
        .put_i32(row.reopens)
        .put_i32(row.escalations)
        .put_opt(row.escalation_level, CopyBuffer::put_i64)
        .put_i32(row.replies_public_agent)
        .put_i32(row.replies_internal)
        .put_i32(row.messages_customer)
        .put_bool(row.one_touch)
        .put_opt(row.merged_into.as_deref(), CopyBuffer::put_text)
        .put_text_array(&row.flags)
        .put_uuid(row.set_by);
}

fn span(row: &Span, to: &mut CopyBuffer) {
    to.put_text(&row.case_id)
        .put_i32(row.span_no)
        .put_text(&row.status)
        .put_timestamptz(row.started_at)
        .put_opt(row.ended_at, CopyBuffer::put_timestamptz)
        .put_opt(row.length(), minutes)
        .put_uuid(row.set_by);
}

fn call(row: &Call, to: &mut CopyBuffer) {
    to.put_text(&row.call_id)
        .put_opt(row.subject_id, CopyBuffer::put_uuid)
        .put_opt(row.direction.as_deref(), CopyBuffer::put_text)
        .put_opt(row.from.as_deref(), CopyBuffer::put_text)
        .put_opt(row.to.as_deref(), CopyBuffer::put_text)
        .put_opt(row.queue.as_deref(), CopyBuffer::put_text)
        .put_opt(row.agent_id.as_deref(), CopyBuffer::put_text)
        .put_opt(row.case_id.as_deref(), CopyBuffer::put_text)
        .put_opt(row.offered_at, CopyBuffer::put_timestamptz)
        .put_opt(row.answered_at, CopyBuffer::put_timestamptz)
        .put_opt(row.ended_at, CopyBuffer::put_timestamptz)
        .put_bool(row.answered)
        .put_opt(row.disposition.as_deref(), CopyBuffer::put_text)
        .put_opt(row.wait_ms, seconds)
        .put_opt(row.talk_ms, seconds)
        .put_opt(row.hold_ms, seconds)
        .put_opt(row.wrap_ms, seconds)
        .put_opt(row.duration_ms, seconds)
        .put_i32(row.leg_count)
        .put_text_array(&row.flags)
        .put_uuid(row.set_by);
}

fn leg(row: &CallLeg, to: &mut CopyBuffer) {
    to.put_text(&row.call_id)
        .put_i32(row.leg_no)
        .put_opt(row.leg_id.as_deref(), CopyBuffer::put_text)
        .put_opt(row.queue.as_deref(), CopyBuffer::put_text)
        .put_opt(row.agent_id.as_deref(), CopyBuffer::put_text)
        .put_timestamptz(row.offered_at)
        .put_opt(row.answered_at, CopyBuffer::put_timestamptz)
        .put_timestamptz(row.ended_at)
        .put_opt(row.disposition.as_deref(), CopyBuffer::put_text)
        .put_opt(row.wait_ms, seconds)
        .put_opt(row.talk_ms, seconds)
        .put_opt(row.hold_ms, seconds)
        .put_opt(row.wrap_ms, seconds)
        .put_opt(row.duration_ms, seconds)
        .put_opt(row.transfer_to.as_deref(), CopyBuffer::put_text)
        .put_opt(row.reason.as_deref(), CopyBuffer::put_text)
        .put_uuid(row.set_by);
}

/// Microseconds as minutes with three digits, halves away from zero.
fn minutes(to: &mut CopyBuffer, micros: i64) -> &mut CopyBuffer {
    let thousandths = divide_half_away(i128::from(micros) * 1000, i128::from(MINUTE));
    to.put_numeric(&thousandth(thousandths))
}

/// Milliseconds as seconds with three digits.
fn seconds(to: &mut CopyBuffer, millis: i128) -> &mut CopyBuffer {
    to.put_numeric(&thousandth(millis))
}

/// `-1234` as `-1.234`.
pub(crate) fn thousandth(number: i128) -> String {
    let sign = if number < 0 { "-" } else { "" };
    let number = number.unsigned_abs();
    format!("{sign}{}.{:03}", number / 1000, number % 1000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thousandths() {
        for (number, text) in [(0, "0.000"), (-5, "-0.005"), (1234, "1.234"), (-61_000, "-61.000")] {
            assert_eq!(thousandth(number), text);
        }
    }
}
