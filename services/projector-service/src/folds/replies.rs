//! Who wrote to a case, and what counts as a reply.

use std::collections::BTreeMap;

use domain::Stamp;
use projection::bounded::Fact;
use rapport_proto::v1::interaction::Data;

use super::mail::Mail;

/// Everything written to one case.
#[derive(Debug, Default)]
pub(crate) struct Replies<'a> {
    /// What we wrote, by message id; what has none stands alone.
    ours: Vec<Reply<'a>>,
    by_message: BTreeMap<&'a str, usize>,
    /// When the customer wrote, in order.
    customers: Vec<Fact<'a>>,
}

/// One reply. A mail and a `case.replied` with one message id are one, at the earlier of the two; it is internal, or
/// not a person's, if either says so.
#[derive(Debug)]
struct Reply<'a> {
    first: Fact<'a>,
    public: bool,
    by_agent: bool,
}

impl<'a> Replies<'a> {
    /// Notes a fact of the case, if it is a message. Facts come in order.
    pub(crate) fn note(&mut self, case_id: &str, fact: Fact<'a>) {
        let actor = fact.wire.actor.as_deref();
        let (public, message_id, auto) = match fact.wire.data.as_ref() {
            Some(Data::CaseReplied(body)) if body.case_id.as_deref() == Some(case_id) => {
                (body.visibility.as_deref() == Some("public"), body.message_id.as_deref(), body.auto)
            }
            Some(data @ Data::EmailMessageSent(body)) => {
                (true, body.message_id.as_deref(), Mail::of(data).map(|mail| mail.is_automatic(actor)))
            }
            Some(Data::MessageSent(body)) => {
                (body.visibility.as_deref() != Some("internal"), body.message_id.as_deref(), body.auto)
            }
            Some(Data::EmailMessageReceived(_) | Data::MessageReceived(_)) => return self.customers.push(fact),
            _ => return,
        };
        if actor == Some("customer") {
            return self.customers.push(fact);
        }
        // Nobody named: an agent, unless a machine says that it is one.
        let by_agent = actor.is_none_or(is_human) && auto != Some(true);
        let reply = Reply { first: fact, public, by_agent };
        match message_id.filter(|id| !id.is_empty()) {
            None => self.ours.push(reply),
            Some(id) => match self.by_message.get(id) {
                None => {
                    self.by_message.insert(id, self.ours.len());
                    self.ours.push(reply);
                }
                Some(&known) => {
                    self.ours[known].public &= public;
                    self.ours[known].by_agent &= by_agent;
                }
            },
        }
    }

    /// Public replies by human agents, in order.
    fn of_agents(&self) -> impl Iterator<Item = Fact<'a>> {
        self.ours.iter().filter(|r| r.public && r.by_agent).map(|r| r.first)
    }

    /// How many public replies human agents gave.
    pub(crate) fn public_by_agents(&self) -> i32 {
        count(self.of_agents())
    }

    /// How many internal ones were written, by whomever.
    pub(crate) fn internal(&self) -> i32 {
        count(self.ours.iter().filter(|r| !r.public))
    }

    /// How often the customer wrote.
    pub(crate) fn by_customer(&self) -> i32 {
        count(self.customers.iter())
    }

    /// The first public reply of a human agent after `from` in the order of facts.
    pub(crate) fn first_after(&self, from: Option<&Stamp>) -> Option<Fact<'a>> {
        self.of_agents().find(|reply| from.is_none_or(|from| reply.stamp > from))
    }

    /// The first message of the customer.
    pub(crate) fn first_of_customer(&self) -> Option<Fact<'a>> {
        self.customers.first().copied()
    }
}

/// Whether this actor is one of our people.
pub(crate) fn is_human(actor: &str) -> bool {
    actor.starts_with("human:")
}

fn count<T>(items: impl Iterator<Item = T>) -> i32 {
    i32::try_from(items.count()).unwrap_or(i32::MAX)
}
