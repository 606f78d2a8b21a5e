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

CREATE OR REPLACE VIEW {model}.threads AS
SELECT
    thread_id,
    subject_id,
    channel,
    title,
    first_at,
    last_at,
    message_count,
    messages_customer,
    messages_agent,
    wait_count,
    first_asked_at,
    first_answered_at,
    first_wait_s,
    unanswered_since,
    flags,
    set_by
FROM {schema}.threads;

COMMENT ON VIEW {model}.threads IS 'Threads of mail and messages: one row a thread. Mails that name each other (Message-ID, In-Reply-To, References), whichever came first, are one thread, also by way of a mail that is not there; messages of other channels are one by the thread they name.';

COMMENT ON COLUMN {model}.threads.thread_id IS 'The published id of the thread (of several the least), else the message id of its first mail, in angle brackets. A thread gets the id of an earlier mail when one comes late.';
COMMENT ON COLUMN {model}.threads.subject_id IS 'Its owner: the subject of the first identified event of it. NULL while nobody is.';
COMMENT ON COLUMN {model}.threads.channel IS 'Of its first message: email, sms, chat, whatsapp, fax or letter.';
COMMENT ON COLUMN {model}.threads.title IS 'The subject line of its first message.';
COMMENT ON COLUMN {model}.threads.first_at IS 'When its first message was written.';
COMMENT ON COLUMN {model}.threads.last_at IS 'When its last message was written.';
COMMENT ON COLUMN {model}.threads.message_count IS 'How many messages it has, automatic and internal ones among them. Several events with one message id are one message.';
COMMENT ON COLUMN {model}.threads.messages_customer IS 'Those that the customer wrote by hand.';
COMMENT ON COLUMN {model}.threads.messages_agent IS 'Those that a human agent wrote for the customer to see.';
COMMENT ON COLUMN {model}.threads.wait_count IS 'How often the customer waited for an answer, the wait that lasts included: the rows of thread_waits.';
COMMENT ON COLUMN {model}.threads.first_asked_at IS 'When the first of these waits began.';
COMMENT ON COLUMN {model}.threads.first_answered_at IS 'When a human agent ended it. NULL while nobody has.';
COMMENT ON COLUMN {model}.threads.first_wait_s IS 'Seconds from the one to the other. NULL if there is no answer, or it is dated before the question.';
COMMENT ON COLUMN {model}.threads.unanswered_since IS 'When the customer wrote the earliest message that no human agent has answered. NULL if nobody waits.';
COMMENT ON COLUMN {model}.threads.flags IS 'What is doubtful: facts_capped (it has more than 10,000 events, the first count).';
COMMENT ON COLUMN {model}.threads.set_by IS 'The last event that tells of a message of it.';

CREATE OR REPLACE VIEW {model}.thread_waits AS
SELECT
    thread_id,
    wait_no,
    subject_id,
    channel,
    title,
    asked_at,
    asked_message_id,
    answered_at,
    answered_message_id,
    answered_by,
    wait_s,
    ended_at,
    next_asked_at,
    flags,
    asked_event_id,
    COALESCE(answered_event_id, asked_event_id) AS set_by
FROM {schema}.thread_waits;

COMMENT ON VIEW {model}.thread_waits IS 'How long customers waited for answers: one row a wait, from a message of the customer to the first answer of a human agent after it. What the customer writes meanwhile does not begin it anew, and what machines write is no answer.';

COMMENT ON COLUMN {model}.thread_waits.thread_id IS 'The thread.';
COMMENT ON COLUMN {model}.thread_waits.wait_no IS 'From 1, in order.';
COMMENT ON COLUMN {model}.thread_waits.subject_id IS 'The owner of the thread. NULL while nobody is.';
COMMENT ON COLUMN {model}.thread_waits.channel IS 'Of the message that began it.';
COMMENT ON COLUMN {model}.thread_waits.title IS 'The subject line of the thread''s first message.';
COMMENT ON COLUMN {model}.thread_waits.asked_at IS 'When the customer wrote the message that began it.';
COMMENT ON COLUMN {model}.thread_waits.asked_message_id IS 'That message, as published.';
COMMENT ON COLUMN {model}.thread_waits.answered_at IS 'When a human agent answered. NULL while nobody has.';
COMMENT ON COLUMN {model}.thread_waits.answered_message_id IS 'The answer, as published.';
COMMENT ON COLUMN {model}.thread_waits.answered_by IS 'Who answered, as published: human:ID. NULL where nobody is named.';
COMMENT ON COLUMN {model}.thread_waits.wait_s IS 'Seconds from asked_at to answered_at; never negative. NULL while nobody has answered, and where the answer is dated before the question.';
COMMENT ON COLUMN {model}.thread_waits.ended_at IS 'When it was over: answered_at, or where that is before the message which the answer names, when that message was written. NULL while it lasts.';
COMMENT ON COLUMN {model}.thread_waits.next_asked_at IS 'When the next wait of the thread began. NULL for its last.';
COMMENT ON COLUMN {model}.thread_waits.flags IS 'What is doubtful: answered_before_asked (a mail that answers this one by its In-Reply-To is dated before it), facts_capped (the thread has more than 10,000 events, the first count).';
COMMENT ON COLUMN {model}.thread_waits.asked_event_id IS 'The event that began it.';
COMMENT ON COLUMN {model}.thread_waits.set_by IS 'The event that ended it, else the one that began it.';

CREATE OR REPLACE VIEW {model}.waiting AS
SELECT
    thread_id,
    subject_id,
    channel,
    title,
    'unanswered'::text AS state,
    wait_no,
    asked_at,
    asked_message_id,
    NULL::timestamptz AS answered_at,
    NULL::text AS answered_message_id,
    NULL::text AS answered_by,
    NULL::numeric AS wait_s,
    round(EXTRACT(epoch FROM now() - asked_at), 3) AS age_s,
    flags,
    asked_event_id AS set_by
FROM {model}.thread_waits
WHERE asked_at <= now() AND (ended_at IS NULL OR ended_at > now())
UNION ALL
SELECT
    thread_id,
    subject_id,
    channel,
    title,
    'answered'::text,
    wait_no,
    asked_at,
    asked_message_id,
    answered_at,
    answered_message_id,
    answered_by,
    wait_s,
    NULL::numeric,
    flags,
    set_by
FROM {model}.thread_waits
WHERE ended_at <= now() AND (next_asked_at IS NULL OR next_asked_at > now());

COMMENT ON VIEW {model}.waiting IS 'Who waits for an answer, as of now: one row a thread in which a customer has written. An automatic reply is no answer, and a second message of the customer does not begin the wait anew. waiting_at tells the same as of another time.';

COMMENT ON COLUMN {model}.waiting.thread_id IS 'The thread.';
COMMENT ON COLUMN {model}.waiting.subject_id IS 'Its owner: the subject of the first identified event of it. NULL while nobody is.';
COMMENT ON COLUMN {model}.waiting.channel IS 'Of the message that began the wait.';
COMMENT ON COLUMN {model}.waiting.title IS 'The subject line of the thread''s first message.';
COMMENT ON COLUMN {model}.waiting.state IS 'unanswered: the customer waits. answered: a human agent has answered everything; the row tells of the last wait.';
COMMENT ON COLUMN {model}.waiting.wait_no IS 'Which wait of the thread it is, from 1.';
COMMENT ON COLUMN {model}.waiting.asked_at IS 'When the customer wrote the earliest message that was not answered before.';
COMMENT ON COLUMN {model}.waiting.asked_message_id IS 'That message, as published.';
COMMENT ON COLUMN {model}.waiting.answered_at IS 'When a human agent answered. NULL if unanswered.';
COMMENT ON COLUMN {model}.waiting.answered_message_id IS 'The answer, as published.';
COMMENT ON COLUMN {model}.waiting.answered_by IS 'Who answered, as published: human:ID. NULL where nobody is named.';
COMMENT ON COLUMN {model}.waiting.wait_s IS 'Seconds from asked_at to answered_at; never negative. NULL if unanswered, and where the answer is dated before the question.';
COMMENT ON COLUMN {model}.waiting.age_s IS 'Seconds since asked_at, as of now. NULL if answered.';
COMMENT ON COLUMN {model}.waiting.flags IS 'What is doubtful: answered_before_asked (a mail that answers this one by its In-Reply-To is dated before it), facts_capped (the thread has more than 10,000 events, the first count).';
COMMENT ON COLUMN {model}.waiting.set_by IS 'The event that ended the wait, else the one that began it.';

CREATE OR REPLACE FUNCTION {model}.waiting_at(at timestamptz DEFAULT now()) RETURNS SETOF {model}.waiting
LANGUAGE sql STABLE PARALLEL SAFE
AS $waiting_at$
SELECT
    thread_id,
    subject_id,
    channel,
    title,
    'unanswered'::text AS state,
    wait_no,
    asked_at,
    asked_message_id,
    NULL::timestamptz AS answered_at,
    NULL::text AS answered_message_id,
    NULL::text AS answered_by,
    NULL::numeric AS wait_s,
    round(EXTRACT(epoch FROM waiting_at.at - asked_at), 3) AS age_s,
    flags,
    asked_event_id AS set_by
FROM {model}.thread_waits
WHERE asked_at <= waiting_at.at AND (ended_at IS NULL OR ended_at > waiting_at.at)
UNION ALL
SELECT
    thread_id,
    subject_id,
    channel,
    title,
    'answered'::text,
    wait_no,
    asked_at,
    asked_message_id,
    answered_at,
    answered_message_id,
    answered_by,
    wait_s,
    NULL::numeric,
    flags,
    set_by
FROM {model}.thread_waits
WHERE ended_at <= waiting_at.at AND (next_asked_at IS NULL OR next_asked_at > waiting_at.at)
$waiting_at$;

COMMENT ON FUNCTION {model}.waiting_at(timestamptz) IS 'The view waiting as of a time: what was written later, questions and answers, does not count. Which messages are one thread, and whose it is, is told by all that is known now.';

CREATE OR REPLACE VIEW {model}.messages AS
SELECT
    m.message_id,
    t.thread_id,
    m.subject_id,
    m.channel,
    CASE WHEN m.outbound THEN 'outbound' ELSE 'inbound' END AS direction,
    m.writer,
    m.internal,
    m.actor,
    m.title,
    m.case_id,
    m.occurred_at,
    m.in_reply_to,
    p.message_id AS parent_message_id,
    COALESCE(p.sent_at, p.occurred_at) AS parent_at,
    CASE
        WHEN COALESCE(m.sent_at, m.occurred_at) >= COALESCE(p.sent_at, p.occurred_at)
            THEN round(EXTRACT(epoch FROM COALESCE(m.sent_at, m.occurred_at) - COALESCE(p.sent_at, p.occurred_at)) / 60, 3)
    END AS reply_min,
    COALESCE(COALESCE(m.sent_at, m.occurred_at) < COALESCE(p.sent_at, p.occurred_at), false) AS dated_before_parent,
    m.event_id AS set_by,
    COALESCE(m.sent_at, m.occurred_at) AS sent_at
FROM {schema}.thread_facts m
JOIN {schema}.threads t USING (component)
LEFT JOIN {schema}.thread_facts p ON p.message_key = m.parent_key AND p.counts
WHERE m.counts;

COMMENT ON VIEW {model}.messages IS 'Mails and messages of all channels: one row a message. Where several events tell of one message id, an internal one counts before that of a machine, that before one of ours, that before the customer''s, of equals the first.';

COMMENT ON COLUMN {model}.messages.message_id IS 'As published.';
COMMENT ON COLUMN {model}.messages.thread_id IS 'The thread it is in.';
COMMENT ON COLUMN {model}.messages.subject_id IS 'The subject that its event names. NULL if it names nobody: the thread has an owner of its own.';
COMMENT ON COLUMN {model}.messages.channel IS 'email, sms, chat, whatsapp, fax or letter.';
COMMENT ON COLUMN {model}.messages.direction IS 'inbound or outbound.';
COMMENT ON COLUMN {model}.messages.writer IS 'customer, agent (a person of ours), partner or machine (a program on either side: an acknowledgement, an absence notice, a bot). Without actor an outbound one is an agent''s. A mail is a machine''s as auto states, else by its headers, and, unless actor names a person, by its sender or subject line.';
COMMENT ON COLUMN {model}.messages.internal IS 'The customer cannot see it.';
COMMENT ON COLUMN {model}.messages.actor IS 'Who wrote it, as published.';
COMMENT ON COLUMN {model}.messages.title IS 'Its subject line.';
COMMENT ON COLUMN {model}.messages.case_id IS 'The case that it names.';
COMMENT ON COLUMN {model}.messages.occurred_at IS 'When its event occurred.';
COMMENT ON COLUMN {model}.messages.sent_at IS 'When it was sent: a mail''s own date, which may be wrong; else occurred_at.';
COMMENT ON COLUMN {model}.messages.in_reply_to IS 'The In-Reply-To, as published. NULL if it has none.';
COMMENT ON COLUMN {model}.messages.parent_message_id IS 'The message that its In-Reply-To means (the last id in it), as published. NULL if that message is not there.';
COMMENT ON COLUMN {model}.messages.parent_at IS 'The sent_at of that message. NULL if it is not there.';
COMMENT ON COLUMN {model}.messages.reply_min IS 'Minutes from parent_at to sent_at. NULL without a parent, and where dated_before_parent.';
COMMENT ON COLUMN {model}.messages.dated_before_parent IS 'It is dated before the message that it answers: a clock was wrong.';
COMMENT ON COLUMN {model}.messages.set_by IS 'The event that counts.';
