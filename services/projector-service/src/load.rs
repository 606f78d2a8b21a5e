//! Loading: facts as they come; threads once all messages are known.

use projection::{BatchTx, Event, Load, bounded::Facts, copy::CopyBuffer};

use crate::{Service, threads};

/// What is gathered of a log.
#[derive(Default)]
pub struct Loading {
    facts: Facts<Service>,
    threads: threads::Gathered,
}

impl Loading {
    /// Writes what the facts do not tell.
    pub(crate) async fn finish(self, cx: &mut BatchTx<'_>) -> Result<(), sqlx::Error> {
        self.threads.write(cx).await
    }
}

impl Load for Loading {
    fn add(&mut self, event: &Event) {
        self.facts.add(event);
        self.threads.add(event);
    }

    fn take_rows(&mut self) -> Vec<(String, CopyBuffer)> {
        self.facts.take_rows()
    }

    fn row_bytes(&self) -> usize {
        self.facts.row_bytes()
    }

    fn held_bytes(&self) -> usize {
        self.threads.bytes()
    }
}
