//! What the query service asks of this model.
