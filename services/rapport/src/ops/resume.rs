//! The file that remembers how far a delivery has come.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use domain::position::Offsets;
use event_log::Watermarks;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use tokio::time::Instant;
use uuid::Uuid;

use super::selection::Places;
use crate::failure::{Exit, Failure, Outcome};

/// Between two times that the file is written, while there is something new to remember.
const SAVE_INTERVAL: Duration = Duration::from_millis(500);

/// What a delivery is of: a file of another one says nothing about this one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Delivery {
    pub(super) log_id: Uuid,
    /// Flag -> what it asks for.
    pub(super) selection: BTreeMap<String, String>,
    pub(super) destination: String,
}

/// The file's content.
#[derive(Debug, Serialize, Deserialize)]
struct Remembered {
    #[serde(flatten)]
    delivery: Delivery,
    /// Partition -> next offset: everything wanted before it has been delivered.
    next: Offsets,
    /// Of a delivery of single places: the hash of those before `next`. A customer who has since been merged with
    /// another one has events there that were never delivered.
    #[serde(skip_serializing_if = "Option::is_none")]
    places_sha256: Option<String>,
}

/// Remembers how far a delivery is.
pub(super) struct Memory {
    path: PathBuf,
    delivery: Delivery,
    places: Option<Arc<Places>>,
    saved: Offsets,
    saved_at: Instant,
}

impl Memory {
    /// Reads the file, if there is one; answers with where to go on in each partition that it names.
    ///
    /// `places`: what the delivery is of, if it is of single places. `marks`: how far the log reaches.
    pub(super) fn open(
        path: &Path,
        delivery: Delivery,
        places: Option<Arc<Places>>,
        marks: &BTreeMap<i32, Watermarks>,
    ) -> Outcome<(Self, Offsets)> {
        let refused = |why: &str| {
            let sentence = format_args!("{}: {why}; name another --resume file to begin anew", path.display());
            Failure::new(Exit::BadInput, sentence)
        };
        let next = match std::fs::read(path) {
            Ok(bytes) => {
                let remembered: Remembered = serde_json::from_slice(&bytes)
                    .map_err(|_| refused("this is no file that `log forward --resume` has written"))?;
                remembered.check(&delivery, places.as_deref(), marks).map_err(|why| refused(&why))?;
                remembered.next
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Offsets::new(),
            Err(error) => return Err(refused(&format!("it cannot be read: {error}"))),
        };
        let memory = Self { path: path.to_owned(), delivery, places, saved: Offsets::new(), saved_at: Instant::now() };
        Ok((memory, next))
    }

    /// When `next` is to be saved at the latest; `None` if it is.
    pub(super) fn due(&self, next: &Offsets) -> Option<Instant> {
        (self.saved != *next).then(|| self.saved_at + SAVE_INTERVAL)
    }

    /// Writes the file, whole or not at all.
    pub(super) fn save(&mut self, next: &Offsets) -> Outcome {
        let remembered = Remembered {
            delivery: self.delivery.clone(),
            next: next.clone(),
            places_sha256: self.places.as_deref().map(|places| hash_before(places, next)),
        };
        let written = serde_json::to_vec_pretty(&remembered).map_err(io::Error::from).and_then(|text| {
            let directory = self.path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
            let mut file = tempfile::NamedTempFile::new_in(directory)?;
            file.write_all(&text)?;
            file.as_file().sync_all()?;
            file.persist(&self.path).map_err(|error| error.error)?;
            Ok(())
        });
        written.map_err(|error| {
            let path = self.path.display();
            Failure::new(Exit::Unavailable, format_args!("how far it is could not be written to {path}: {error}"))
        })?;
        self.saved.clone_from(next);
        self.saved_at = Instant::now();
        Ok(())
    }
}

impl Remembered {
    /// Whether it says where this delivery goes on.
    fn check(
        &self,
        delivery: &Delivery,
        places: Option<&Places>,
        marks: &BTreeMap<i32, Watermarks>,
    ) -> Result<(), String> {
        if self.delivery.log_id != delivery.log_id {
            return Err("it says how far a delivery of another log is".to_owned());
        }
        let flags: Vec<&str> = differing(&self.delivery.selection, &delivery.selection).collect();
        if !flags.is_empty() {
            return Err(format!("it says how far a delivery of another selection is ({} differ)", flags.join(", ")));
        }
        if self.delivery.destination != delivery.destination {
            return Err(format!("it says how far a delivery to {} is", self.delivery.destination));
        }
        for (partition, next) in &self.next {
            match marks.get(partition) {
                Some(marks) if *next < marks.start => {
                    let gap = format!("records {partition}-{next} to {partition}-{}", marks.start - 1);
                    return Err(format!("it goes on with {gap}, which the log does not hold any more"));
                }
                Some(marks) if *next <= marks.end => {}
                _ => return Err(format!("it goes on at {partition}-{next}, which is beyond the log's end")),
            }
        }
        if self.places_sha256 != places.map(|places| hash_before(places, &self.next)) {
            return Err(
                "what is on the customer's timeline before the place where it goes on has changed since (a merge, \
                        a split, an event taken back), so that something would be left out"
                    .to_owned(),
            );
        }
        Ok(())
    }
}

/// The flags that do not ask for the same.
fn differing<'a>(
    one: &'a BTreeMap<String, String>,
    other: &'a BTreeMap<String, String>,
) -> impl Iterator<Item = &'a str> {
    let flags = one.keys().chain(other.keys().filter(|flag| !one.contains_key(*flag)));
    flags.filter(|flag| one.get(*flag) != other.get(*flag)).map(String::as_str)
}

/// The hash of the places that stand before these offsets, in lower-case hex.
fn hash_before(places: &Places, next: &Offsets) -> String {
    let mut hash = Sha256::new();
    for (partition, offsets) in places {
        // Nothing has been delivered of a partition that is not named.
        let end = next.get(partition).copied().unwrap_or(0);
        for offset in offsets.range(..end.max(0)) {
            hash.update(partition.to_be_bytes());
            hash.update(offset.to_be_bytes());
        }
    }
    hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn delivery() -> Delivery {
        Delivery {
            log_id: Uuid::from_u128(1),
            selection: BTreeMap::from([("--type".to_owned(), "order.placed".to_owned())]),
            destination: "topic t".to_owned(),
        }
    }

    fn marks() -> BTreeMap<i32, Watermarks> {
        BTreeMap::from([(0, Watermarks { start: 5, end: 20 }), (1, Watermarks { start: 0, end: 20 })])
    }

    fn places() -> Places {
        Places::from([(0, BTreeSet::from([7, 9])), (1, BTreeSet::from([3]))])
    }

    /// What opening a file answers with that was saved by [`delivery`] of these places.
    fn reopened(next: &Offsets, delivery_now: Delivery, places_now: Option<Places>) -> Result<Offsets, String> {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("forward.json");
        let saved_of = places_now.is_some().then(|| Arc::new(places()));
        let (mut memory, begun) = Memory::open(&path, delivery(), saved_of, &marks()).expect("there is no file yet");
        assert!(begun.is_empty());
        memory.save(next).expect("it is written");
        let left: Vec<_> = std::fs::read_dir(directory.path()).expect("a directory").collect();
        assert_eq!(left.len(), 1, "nothing is left beside it");
        let opened = Memory::open(&path, delivery_now, places_now.map(Arc::new), &marks());
        opened.map(|(_, next)| next).map_err(|failure| {
            assert_eq!(failure.exit(), Exit::BadInput);
            failure.to_string()
        })
    }

    #[test]
    fn a_delivery_goes_on_where_it_was() {
        let next = Offsets::from([(0, 9), (1, 20)]);
        assert_eq!(reopened(&next, delivery(), None), Ok(next.clone()));
        assert_eq!(reopened(&next, delivery(), Some(places())), Ok(next));
    }

    #[test]
    fn another_delivery_is_refused_with_its_reason() {
        let next = Offsets::from([(0, 9), (1, 4)]);
        let other_selection = BTreeMap::from([("--channel".to_owned(), "web".to_owned())]);
        let refused = |next: &Offsets, delivery: Delivery, says: &str| {
            let why = reopened(next, delivery, None).expect_err(says);
            assert!(why.contains(says) && why.contains("name another --resume file"), "{why}");
        };
        refused(&next, Delivery { log_id: Uuid::from_u128(2), ..delivery() }, "another log");
        refused(&next, Delivery { selection: other_selection, ..delivery() }, "(--type, --channel differ)");
        refused(&next, Delivery { destination: "topic u".to_owned(), ..delivery() }, "to topic t");
        refused(&Offsets::from([(0, 3)]), delivery(), "records 0-3 to 0-4, which the log does not hold any more");
        refused(&Offsets::from([(1, 21)]), delivery(), "1-21, which is beyond the log's end");
    }

    #[test]
    fn what_has_joined_the_timeline_before_the_place_is_no_gap() {
        let next = Offsets::from([(0, 9)]);
        // Behind the place, or in a partition not begun: it will be delivered.
        let mut later = places();
        later.entry(0).or_default().insert(12);
        later.entry(1).or_default().insert(1);
        assert!(reopened(&next, delivery(), Some(later)).is_ok());
        for offset in [6, 8] {
            let mut merged = places();
            merged.entry(0).or_default().insert(offset);
            assert!(reopened(&next, delivery(), Some(merged)).expect_err("a gap").contains("has changed since"));
        }
    }

    #[test]
    fn what_is_no_such_file_stays_as_it_is() {
        let file = tempfile::NamedTempFile::new().expect("a file");
        std::fs::write(file.path(), "{\"orders\": 1}").expect("written");
        let failure = Memory::open(file.path(), delivery(), None, &marks()).err().expect("refused");
        assert!(failure.exit() == Exit::BadInput && failure.to_string().contains("this is no file"), "{failure}");
        assert_eq!(std::fs::read(file.path()).expect("it is there"), b"{\"orders\": 1}");
    }

    #[tokio::test]
    async fn only_what_is_new_is_to_be_saved() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("forward.json");
        let (mut memory, _) = Memory::open(&path, delivery(), None, &marks()).expect("no file yet");
        let next = Offsets::from([(0, 9)]);
        assert!(memory.due(&next).is_some());
        memory.save(&next).expect("it is written");
        assert_eq!(memory.due(&next), None);
        assert!(memory.due(&Offsets::from([(0, 10)])).is_some());
    }
}
