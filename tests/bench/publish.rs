//! Publishing over HTTP, as fast as the collector answers.

use std::{ops::Range, sync::Arc, time::Instant};

use tokio::task::JoinSet;

use crate::{
    Outcome,
    cpu::Meter,
    http::Connection,
    machine::Machine,
    mix::Told,
    table::{Figure, Limit},
    work::{Queue, finish},
};

/// How events are published.
#[derive(Clone, Debug)]
pub(crate) struct Shape {
    /// Connections, each with one request at a time.
    pub(crate) connections: usize,
    /// Events of one request; one is sent as itself, not as a batch of one.
    pub(crate) events: usize,
}

/// Publishes `range` of what is told; every event must be accepted.
///
/// # Errors
/// The collector refused an event or broke a connection.
pub(crate) async fn measure(
    machine: &Machine,
    told: &Arc<[Told]>,
    range: Range<usize>,
    shape: Shape,
    what: &str,
    limit: Limit,
) -> Outcome<Figure> {
    let queue = Arc::new(Queue::new(what, range.clone(), shape.events));
    let mut connections = Vec::with_capacity(shape.connections);
    for _ in 0..shape.connections {
        connections.push(Connection::open(machine.collector()).await?);
    }
    let mut tasks = JoinSet::new();
    let meter = Meter::start(&machine.processes());
    for mut connection in connections {
        let (told, queue, single) = (Arc::clone(told), Arc::clone(&queue), shape.events == 1);
        tasks.spawn(async move {
            let mut taken = Vec::new();
            while let Some(range) = queue.take() {
                let began = Instant::now();
                if single {
                    connection.publish_one(&told[range.start].json).await?;
                } else {
                    connection.publish_batch(told[range].iter().map(|t| t.json.as_str())).await?;
                }
                taken.push(began.elapsed());
            }
            Ok(taken)
        });
    }
    let latencies = finish(tasks).await?;
    Ok(Figure::new(what, range.len(), &meter.stop(), limit).with(latencies))
}
