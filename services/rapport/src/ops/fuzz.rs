//! Files that operators' commands read again, from any bytes: for fuzzing, and for nothing else.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::sync::Arc;

use event_log::Watermarks;
use uuid::Uuid;

use super::resume::{Delivery, Memory};
use super::selection::Places;

/// Reads a file that `log forward --resume` has written.
///
/// # Panics
/// It is to go on where the log holds nothing.
pub fn resume(data: &[u8]) {
    let mut file = tempfile::NamedTempFile::new().expect("a temporary file");
    file.write_all(data).expect("a temporary file can be written");
    let delivery = Delivery {
        log_id: Uuid::from_u128(1),
        selection: BTreeMap::from([("--type".to_owned(), "order.placed".to_owned())]),
        destination: "topic t".to_owned(),
    };
    let marks = BTreeMap::from([(0, Watermarks { start: 5, end: 20 }), (1, Watermarks { start: 0, end: 20 })]);
    let places = Places::from([(0, BTreeSet::from([7, 9])), (1, BTreeSet::from([3]))]);
    for places in [None, Some(Arc::new(places))] {
        if let Ok((_, next)) = Memory::open(file.path(), delivery.clone(), places, &marks) {
            let within = |(partition, next): (&i32, &i64)| {
                marks.get(partition).is_some_and(|marks| (marks.start..=marks.end).contains(next))
            };
            assert!(next.iter().all(within), "it goes on at {next:?}, where the log holds nothing");
        }
    }
}
