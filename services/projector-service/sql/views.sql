CREATE OR REPLACE VIEW {model}.cases AS
SELECT
    case_id,
    subject_id,
    title,
    priority,
    status,
    assignee,
    queue,
    product,
    serial,
    topic,
    channel,
    opened_at,
    opened_by,
    opened_by_agent,
    first_reply_at,
    first_reply_min,
    first_solved_at,
    solved_at,
    closed_at,
    resolution_min,
    first_resolution_min,
    agent_work_min,
    requester_wait_min,
    agent_wait_min,
    status_since,
    reopens,
    escalations,
    escalation_level,
    replies_public_agent,
    replies_internal,
    messages_customer,
    one_touch,
    merged_into,
    flags,
    set_by
FROM {schema}.cases;

COMMENT ON VIEW {model}.cases IS 'Cases: one row a case, as its events in order of their time leave it. A case with merged_into became part of another and belongs in no count. Minutes are calendar minutes.';

COMMENT ON COLUMN {model}.cases.case_id IS 'The case, as published.';
COMMENT ON COLUMN {model}.cases.subject_id IS 'Its owner: the subject of the first identified event that names it. NULL while nobody is.';
COMMENT ON COLUMN {model}.cases.title IS 'As last opened.';
COMMENT ON COLUMN {model}.cases.priority IS 'low, normal, high or urgent, as last opened or changed.';
COMMENT ON COLUMN {model}.cases.status IS 'new, open, pending, on_hold, solved or closed. NULL if neither an opening nor a change of status is known.';
COMMENT ON COLUMN {model}.cases.assignee IS 'As last changed.';
COMMENT ON COLUMN {model}.cases.queue IS 'As last opened or changed.';
COMMENT ON COLUMN {model}.cases.product IS 'As last opened.';
COMMENT ON COLUMN {model}.cases.serial IS 'The serial number, as last opened.';
COMMENT ON COLUMN {model}.cases.topic IS 'As last opened or changed.';
COMMENT ON COLUMN {model}.cases.channel IS 'As last opened.';
COMMENT ON COLUMN {model}.cases.opened_at IS 'When it was first opened. NULL if no opening is known.';
COMMENT ON COLUMN {model}.cases.opened_by IS 'Who opened it, as published: human:ID, bot:ID, customer, partner:ID.';
COMMENT ON COLUMN {model}.cases.opened_by_agent IS 'A person of ours opened it: the first reply is counted from the first message of the customer, also one before the opening.';
COMMENT ON COLUMN {model}.cases.first_reply_at IS 'When a human agent first replied in public. A mail and a reply with one message id are one; automatic and internal ones do not count.';
COMMENT ON COLUMN {model}.cases.first_reply_min IS 'Minutes to the first reply from the opening, or from the first message of the customer where opened_by_agent. NULL if there is none.';
COMMENT ON COLUMN {model}.cases.first_solved_at IS 'When it was first solved (or closed at once).';
COMMENT ON COLUMN {model}.cases.solved_at IS 'When it was last solved, also if it was reopened since: status tells.';
COMMENT ON COLUMN {model}.cases.closed_at IS 'When it was last closed.';
COMMENT ON COLUMN {model}.cases.resolution_min IS 'Minutes from the opening to solved_at. NULL if it was solved before it was opened.';
COMMENT ON COLUMN {model}.cases.first_resolution_min IS 'Minutes from the opening to first_solved_at.';
COMMENT ON COLUMN {model}.cases.agent_work_min IS 'Minutes in new and open. The stretch that still lasts is not in it, here and in the next two: status_since tells where it began.';
COMMENT ON COLUMN {model}.cases.requester_wait_min IS 'Minutes in new, open and on_hold.';
COMMENT ON COLUMN {model}.cases.agent_wait_min IS 'Minutes in pending.';
COMMENT ON COLUMN {model}.cases.status_since IS 'Since when it is in its status.';
COMMENT ON COLUMN {model}.cases.reopens IS 'Changes from solved or closed back to an open status.';
COMMENT ON COLUMN {model}.cases.escalations IS 'How often it was escalated.';
COMMENT ON COLUMN {model}.cases.escalation_level IS 'As last escalated.';
COMMENT ON COLUMN {model}.cases.replies_public_agent IS 'Public replies of human agents.';
COMMENT ON COLUMN {model}.cases.replies_internal IS 'Internal replies.';
COMMENT ON COLUMN {model}.cases.messages_customer IS 'Messages of the customer.';
COMMENT ON COLUMN {model}.cases.one_touch IS 'Solved or closed now, with exactly one public reply of a human agent.';
COMMENT ON COLUMN {model}.cases.merged_into IS 'The case it became part of: it belongs in no count.';
COMMENT ON COLUMN {model}.cases.flags IS 'What is doubtful: facts_capped (it has more than 10,000 events, the first count).';
COMMENT ON COLUMN {model}.cases.set_by IS 'The event that last set this row.';

CREATE OR REPLACE VIEW {model}.case_spans AS
SELECT
    case_id,
    span_no,
    status,
    started_at,
    ended_at,
    length_min,
    set_by
FROM {schema}.case_spans;

COMMENT ON VIEW {model}.case_spans IS 'The history of cases: one row a stretch of time in one status.';

COMMENT ON COLUMN {model}.case_spans.case_id IS 'The case.';
COMMENT ON COLUMN {model}.case_spans.span_no IS 'From 1, in order.';
COMMENT ON COLUMN {model}.case_spans.status IS 'new, open, pending, on_hold, solved or closed.';
COMMENT ON COLUMN {model}.case_spans.started_at IS 'When it came into the status.';
COMMENT ON COLUMN {model}.case_spans.ended_at IS 'When it left it. NULL while it lasts.';
COMMENT ON COLUMN {model}.case_spans.length_min IS 'Calendar minutes. NULL while it lasts: how many depends on when one asks.';
COMMENT ON COLUMN {model}.case_spans.set_by IS 'The event that began or ended the stretch.';

CREATE OR REPLACE VIEW {model}.calls AS
SELECT
    call_id,
    subject_id,
    direction,
    from_number,
    to_number,
    queue,
    agent_id,
    case_id,
    offered_at,
    answered_at,
    ended_at,
    answered,
    disposition,
    wait_s,
    talk_s,
    hold_s,
    wrap_s,
    duration_s,
    leg_count,
    flags,
    set_by
FROM {schema}.calls;

COMMENT ON VIEW {model}.calls IS 'Calls: one row a call, whether told by its events or by a record at its end.';

COMMENT ON COLUMN {model}.calls.call_id IS 'The call, as published.';
COMMENT ON COLUMN {model}.calls.subject_id IS 'Its owner: the subject of the first identified event that names it. NULL while nobody is.';
COMMENT ON COLUMN {model}.calls.direction IS 'inbound or outbound.';
COMMENT ON COLUMN {model}.calls.from_number IS 'Who called.';
COMMENT ON COLUMN {model}.calls.to_number IS 'Who was called.';
COMMENT ON COLUMN {model}.calls.queue IS 'The queue it was first offered to.';
COMMENT ON COLUMN {model}.calls.agent_id IS 'The agent who last had it.';
COMMENT ON COLUMN {model}.calls.case_id IS 'The case that a record of it names.';
COMMENT ON COLUMN {model}.calls.offered_at IS 'When it was first offered.';
COMMENT ON COLUMN {model}.calls.answered_at IS 'When it was first answered.';
COMMENT ON COLUMN {model}.calls.ended_at IS 'When its last leg ended. NULL while it lasts.';
COMMENT ON COLUMN {model}.calls.answered IS 'Somebody answered it.';
COMMENT ON COLUMN {model}.calls.disposition IS 'Of its last leg: answered, abandoned, voicemail, failed or transferred.';
COMMENT ON COLUMN {model}.calls.wait_s IS 'Seconds from offered_at to answered_at, else until it ended; where it has one leg, or its first leg answered it, as published.';
COMMENT ON COLUMN {model}.calls.talk_s IS 'Seconds talked, in all legs. NULL if no leg tells.';
COMMENT ON COLUMN {model}.calls.hold_s IS 'Seconds on hold, in all legs. NULL if no leg tells.';
COMMENT ON COLUMN {model}.calls.wrap_s IS 'Seconds of work after it, in all legs. NULL if no leg tells.';
COMMENT ON COLUMN {model}.calls.duration_s IS 'Seconds it lasted: of one leg as its record says, of several from the first offer to the last end.';
COMMENT ON COLUMN {model}.calls.leg_count IS 'How many legs have ended.';
COMMENT ON COLUMN {model}.calls.flags IS 'What is doubtful: facts_capped (it has more than 10,000 events, the first count), time_out_of_range (a time of a leg lies outside the years 1900 to 9999 and is unknown).';
COMMENT ON COLUMN {model}.calls.set_by IS 'The event that last set this row.';

CREATE OR REPLACE VIEW {model}.call_legs AS
SELECT
    call_id,
    leg_no,
    leg_id,
    queue,
    agent_id,
    offered_at,
    answered_at,
    ended_at,
    disposition,
    wait_s,
    talk_s,
    hold_s,
    wrap_s,
    duration_s,
    transfer_to,
    reason,
    set_by
FROM {schema}.call_legs;

COMMENT ON VIEW {model}.call_legs IS 'The legs of calls: one row a call record, each an offer to its queue.';

COMMENT ON COLUMN {model}.call_legs.call_id IS 'The call.';
COMMENT ON COLUMN {model}.call_legs.leg_no IS 'From 1, by the time of the offer.';
COMMENT ON COLUMN {model}.call_legs.leg_id IS 'As published. NULL for a call of one leg.';
COMMENT ON COLUMN {model}.call_legs.queue IS 'The queue it was offered to.';
COMMENT ON COLUMN {model}.call_legs.agent_id IS 'Who had it.';
COMMENT ON COLUMN {model}.call_legs.offered_at IS 'As published, else its end less its duration. Its end if that lies outside the years 1900 to 9999.';
COMMENT ON COLUMN {model}.call_legs.answered_at IS 'As published, else worked out of the wait or of the talk. NULL if not answered.';
COMMENT ON COLUMN {model}.call_legs.ended_at IS 'When it ended.';
COMMENT ON COLUMN {model}.call_legs.disposition IS 'answered, abandoned, voicemail, failed or transferred.';
COMMENT ON COLUMN {model}.call_legs.wait_s IS 'Seconds until it was answered, else until it ended.';
COMMENT ON COLUMN {model}.call_legs.talk_s IS 'Seconds talked.';
COMMENT ON COLUMN {model}.call_legs.hold_s IS 'Seconds on hold.';
COMMENT ON COLUMN {model}.call_legs.wrap_s IS 'Seconds of work after it.';
COMMENT ON COLUMN {model}.call_legs.duration_s IS 'Seconds it lasted, as published.';
COMMENT ON COLUMN {model}.call_legs.transfer_to IS 'Where it was transferred to.';
COMMENT ON COLUMN {model}.call_legs.reason IS 'As published.';
COMMENT ON COLUMN {model}.call_legs.set_by IS 'The event that last set this row.';
