//! To whom an entity belongs. One function, used by every read model, so that they cannot disagree.

use uuid::Uuid;

/// The owner of an entity: the subject of its first identified, unvoided fact. `facts` come in the order of their
/// stamps and are unvoided; each gives the subject its event names, if any. `None` while nobody is identified.
pub fn owner(facts: impl IntoIterator<Item = Option<Uuid>>) -> Option<Uuid> {
    facts.into_iter().flatten().next()
}
