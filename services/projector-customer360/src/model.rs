//! The model as the runtime sees it.

use domain::Namespace;
use projection::{ApplyError, Batch, BatchTx, Mode, ReadModel};

use crate::apply;
use crate::identity::HubLimits;
use crate::load::Gathered;

/// Raised whenever the folds give other rows for the same events.
const FOLD_VERSION: u32 = 1;

/// Arrival: another run of the same events may differ here.
const ARRIVAL: &[&str] = &["received_at", "partition", "log_offset"];

/// The read model customer360 of one log.
#[derive(Clone, Debug)]
pub struct Customer360 {
    pub(crate) namespace: Namespace,
    pub(crate) limits: HubLimits,
    pub(crate) always_resolve: bool,
}

impl Customer360 {
    /// Its name: of its stable schema and of its checkpoints.
    pub const NAME: &'static str = "customer360";

    /// The model over the log whose secret namespace this is, with the default hub limits.
    pub fn new(namespace: Namespace) -> Self {
        Self { namespace, limits: HubLimits::default(), always_resolve: false }
    }

    /// The same with other hub limits; they are part of the model's definition.
    #[must_use]
    pub fn with_limits(self, limits: HubLimits) -> Self {
        Self { limits, ..self }
    }

    /// Takes no short ways in the identity graph: every change resolves whole clusters. The rows are the same, and
    /// tests hold the short ways against it.
    #[must_use]
    pub fn always_resolving(self) -> Self {
        Self { always_resolve: true, ..self }
    }
}

impl ReadModel for Customer360 {
    type Load = Gathered;

    fn name(&self) -> &'static str {
        Self::NAME
    }

    fn schema_sql(&self) -> &'static str {
        include_str!("../sql/schema.sql")
    }

    fn row_indexes_sql(&self) -> &'static str {
        include_str!("../sql/row_indexes.sql")
    }

    fn indexes_sql(&self) -> &'static str {
        include_str!("../sql/indexes.sql")
    }

    fn load(&self) -> Option<Gathered> {
        Some(Gathered::new(self))
    }

    async fn finish_load(&self, cx: &mut BatchTx<'_>, load: Gathered) -> Result<(), sqlx::Error> {
        load.write(cx).await
    }

    fn views(&self) -> &'static str {
        include_str!("../sql/views.sql")
    }

    fn digested(&self) -> &'static [(&'static str, &'static [&'static str])] {
        &[
            ("subjects", &[]),
            ("identifiers", &[]),
            ("links", &[]),
            ("customers", &[]),
            ("conflicts", &[]),
            ("accounts", &[]),
            ("affiliations", &[]),
            ("duplicates", ARRIVAL),
            ("profiles", &[]),
            ("timeline", ARRIVAL),
            ("last_touches", &[]),
        ]
    }

    fn row_key(&self, view: &str) -> &'static [&'static str] {
        match view {
            "subjects" => &["subject_id"],
            "identifiers" => &["identifier"],
            "links" | "conflicts" => &["left_identifier", "right_identifier"],
            "customers" => &["customer_id"],
            "accounts" => &["group_identifier"],
            "affiliations" => &["customer_id", "group_identifier"],
            "duplicates" => &["event_id", "hash"],
            "profiles" => &["customer_id", "field"],
            "last_touches" => &["customer_id", "channel", "direction"],
            _ => &["event_id"],
        }
    }

    fn fold_version(&self) -> u32 {
        FOLD_VERSION
    }

    fn settings(&self) -> String {
        format!("hub_limits={}", self.limits.canonical())
    }

    async fn apply(&self, cx: &mut BatchTx<'_>, batch: &Batch, mode: Mode) -> Result<(), ApplyError> {
        apply::apply(self, cx, batch, mode).await
    }
}
