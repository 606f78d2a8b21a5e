//! One cart.

use std::collections::BTreeSet;

use domain::{Entity, interaction};
use projection::bounded::Fact;
use rapport_proto::v1::{self, interaction::Data};
use uuid::Uuid;

use super::{
    contents::{CartLine, Contents},
    flags,
};

/// The rows of one cart. Without a `cart` there are none at all.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct CartRows {
    /// The cart.
    pub cart: Option<Cart>,
    /// What is in it, as far as events tell.
    pub lines: Vec<CartLine>,
}

/// A cart: facts only. Whether it is abandoned depends on when one asks, and whether it is bought on the orders.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Cart {
    /// Its `cart_id`, else the session, else the `checkout_id`: as the entity's kind says.
    pub cart_id: String,
    /// Its owner.
    pub subject_id: Option<Uuid>,
    /// The session it was last active in.
    pub session_id: Option<String>,
    /// The checkout last named with it.
    pub checkout_id: Option<String>,
    /// Every session it was active in, sorted. An order that names one of them names the cart.
    pub session_ids: Vec<String>,
    /// Every checkout named with it, sorted. An order that names one of them names the cart.
    pub checkout_ids: Vec<String>,
    /// The currency of its stated total, else of its first amount.
    pub currency: Option<String>,
    /// What it is worth now: the last of `values_minor`.
    pub value_minor: Option<i64>,
    /// See [`furthest`].
    pub furthest_step: Option<String>,
    /// When something happened to it (a change, a step of its checkout), in order, microseconds UTC. Never empty.
    pub active_at: Vec<i64>,
    /// How many lines it had after each of these; of an addition that names no line, one.
    pub line_counts: Vec<i64>,
    /// What it was worth after each of these: the total that the last change till then states, else the sum of its lines;
    /// minor units of its currency, which all changes decide. Empty if no amount was ever named.
    pub values_minor: Vec<i64>,
    /// The longest pause up to each of these in which there was something in it, microseconds.
    pub longest_idle_us: Vec<i64>,
    /// What is doubtful about it, sorted: `amount_out_of_range`, `facts_capped`, `foreign_currency`, `unlisted_lines`
    /// (something was added, and not said what), `unpriced_line`.
    pub flags: Vec<&'static str>,
    /// The event that last set it.
    pub set_by: Uuid,
}

/// The names by which an event tells of a cart.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Names<'a> {
    pub(crate) cart_id: Option<&'a str>,
    pub(crate) session_id: Option<&'a str>,
    pub(crate) checkout_id: Option<&'a str>,
}

impl<'a> Names<'a> {
    /// Of an order placed, a cart changed or a step of the checkout; `None` of any other event. `correlationid` counts
    /// where the data names none.
    pub(crate) fn of(wire: &'a v1::Interaction) -> Option<Self> {
        let (cart, checkout) = match wire.data.as_ref()? {
            Data::OrderPlaced(body) => (&body.cart_id, &body.checkout_id),
            Data::WebCartChanged(body) => (&body.cart_id, &body.checkout_id),
            Data::WebCheckoutStepReached(body) => (&body.cart_id, &body.checkout_id),
            _ => return None,
        };
        let named = |id: &'a Option<String>, kind: &str| {
            let correlated = || wire.correlation_id.as_deref().and_then(|c| c.split_once(':')).filter(|c| c.0 == kind);
            let id = id.as_deref().filter(|id| !id.is_empty());
            id.or_else(|| correlated().map(|c| c.1).filter(|id| !id.is_empty()))
        };
        Some(Self {
            cart_id: named(cart, "cart"),
            session_id: interaction::session(wire),
            checkout_id: named(checkout, "checkout"),
        })
    }

    /// Kind and key of the one cart that it is about: `cart_id`, else the session, else `checkout_id`.
    fn cart(&self) -> Option<(&'static str, &'a str)> {
        let by = |kind, id: Option<&'a str>| id.map(|id| (kind, id));
        by("cart", self.cart_id)
            .or_else(|| by(interaction::SESSION, self.session_id))
            .or_else(|| by("checkout", self.checkout_id))
    }
}

/// What happens to a cart.
#[derive(Clone, Copy)]
enum Act<'a> {
    Changed(&'a v1::WebCartChanged),
    Step(&'a str),
}

impl<'a> Act<'a> {
    fn of(wire: &'a v1::Interaction) -> Option<Self> {
        match wire.data.as_ref()? {
            Data::WebCartChanged(body) => Some(Self::Changed(body)),
            Data::WebCheckoutStepReached(body) => Some(Self::Step(body.step.as_deref().unwrap_or_default())),
            _ => None,
        }
    }
}

/// Folds the facts of a cart, which is an entity of kind `cart`, `session` or `checkout`; `owner` is whose it is. There is a
/// cart as soon as one `web.cart.changed` is about it; other facts that name it only help to tell its owner.
///
/// What contradictory histories come to:
/// - Removing takes as much as there is, and of the value its share; what is not there cannot be removed.
/// - `set` replaces everything, where it lists lines; an empty list empties the cart, none at all says nothing.
/// - `added` without lines: something is in it (`unlisted_lines`), until it is emptied, set, or removed without lines.
/// - Amounts in another currency than the cart's are flagged and count nowhere.
pub fn cart(entity: &Entity, owner: Option<Uuid>, facts: &[Fact<'_>], capped: bool) -> CartRows {
    let about =
        |fact: &Fact<'_>| Names::of(fact.wire).and_then(|n| n.cart()) == Some((entity.kind, entity.key.as_str()));
    let acts: Vec<(Act<'_>, Fact<'_>)> =
        facts.iter().filter(|f| about(f)).filter_map(|f| Some((Act::of(f.wire)?, *f))).collect();
    let changes = || acts.iter().filter_map(|(act, _)| if let Act::Changed(body) = *act { Some(body) } else { None });
    let (Some(_), Some((_, last))) = (changes().next(), acts.last()) else { return CartRows::default() };
    let mut contents = Contents::new(changes());
    let mut cart = Cart {
        cart_id: entity.key.clone(),
        subject_id: owner,
        furthest_step: furthest(
            acts.iter().filter_map(|(act, _)| if let Act::Step(step) = act { Some(*step) } else { None }),
        ),
        set_by: last.event_id(),
        ..Cart::default()
    };
    let mut stated = None;
    for (act, fact) in &acts {
        if let Act::Changed(body) = act {
            contents.change(body, fact.event_id());
            stated = body.total_after.as_ref();
        }
        cart.act(fact.occurred_at(), contents.line_count(), contents.value(stated));
    }
    cart.names(acts.iter().filter_map(|(_, fact)| Names::of(fact.wire)));
    cart.value_minor = cart.values_minor.last().copied();
    cart.currency = contents.currency().map(str::to_owned);
    let lines = contents.lines(&entity.key);
    let unpriced = lines.iter().any(|line| line.value_minor.is_none());
    cart.flags = flags(&[
        ("amount_out_of_range", contents.book.out_of_range),
        ("facts_capped", capped),
        ("foreign_currency", contents.book.foreign),
        ("unlisted_lines", contents.has_unlisted()),
        ("unpriced_line", unpriced),
    ]);
    CartRows { cart: Some(cart), lines }
}

impl Cart {
    /// Something happened to it at `at`, which left it with so many lines, worth so much.
    fn act(&mut self, at: i64, line_count: i64, value: Option<i64>) {
        let pause = match (self.active_at.last(), self.line_counts.last()) {
            (Some(before), Some(1..)) => at.saturating_sub(*before),
            _ => 0,
        };
        self.longest_idle_us.push(self.longest_idle_us.last().map_or(0, |longest| pause.max(*longest)));
        self.active_at.push(at);
        self.line_counts.push(line_count);
        self.values_minor.extend(value);
    }

    fn names<'a>(&mut self, all: impl Iterator<Item = Names<'a>>) {
        let (mut sessions, mut checkouts) = (BTreeSet::new(), BTreeSet::new());
        let (mut session, mut checkout) = (None, None);
        for names in all {
            (session, checkout) = (names.session_id.or(session), names.checkout_id.or(checkout));
            sessions.extend(names.session_id);
            checkouts.extend(names.checkout_id);
        }
        let owned = |ids: BTreeSet<&str>| ids.into_iter().map(str::to_owned).collect();
        (self.session_ids, self.checkout_ids) = (owned(sessions), owned(checkouts));
        (self.session_id, self.checkout_id) = (session.map(str::to_owned), checkout.map(str::to_owned));
    }
}

/// The furthest of these steps, told in order. Where all are whole numbers, the greatest; else the one that was reached for
/// the first time last, so that going back to an earlier one takes nothing away.
fn furthest<'a>(steps: impl Iterator<Item = &'a str> + Clone) -> Option<String> {
    let numbers: Option<Vec<(i64, &str)>> = steps.clone().map(|step| Some((step.parse().ok()?, step))).collect();
    let by_number = numbers.and_then(|numbers| numbers.into_iter().max());
    let mut seen = BTreeSet::new();
    by_number.map(|(_, step)| step).or_else(|| steps.filter(|step| seen.insert(*step)).last()).map(str::to_owned)
}
