//! To whom an entity belongs. The models that keep the facts of an entity ask this function, also where more facts name it
//! than they fold; customer360, which has no such limit, decides by the same rule in SQL: the subject with the least stamp.

use uuid::Uuid;

/// The owner of an entity: the subject of its first identified, unvoided fact. `facts` come in the order of their
/// stamps and are unvoided; each gives the subject its event names, if any. `None` while nobody is identified.
pub fn owner(facts: impl IntoIterator<Item = Option<Uuid>>) -> Option<Uuid> {
    facts.into_iter().flatten().next()
}
