//! Every parser that meets outside bytes takes what fuzzing has found so far, and variations of it. Long runs: `make fuzz`.

use std::{
    collections::BTreeSet,
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    path::PathBuf,
};

use system_tests::fuzz::{Mutator, TARGETS, Target};

/// Of all variations; another one tries others.
const SEED: u64 = 20_261_122;
/// The corpus is kept in the repository.
const CORPUS_BYTES_MAX: u64 = 2 * 1024 * 1024;

fn here() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("fuzz")
}

/// A target's files, in the order of their names.
fn corpus(target: &Target) -> Vec<(String, Vec<u8>)> {
    let folder = here().join("corpus").join(target.name);
    let files = std::fs::read_dir(&folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display()));
    let mut read: Vec<_> = files
        .map(|file| {
            let path = file.expect("a file of the corpus").path();
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            (name, std::fs::read(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display())))
        })
        .collect();
    read.sort();
    assert!(!read.is_empty(), "{} is empty: the target has nothing to begin with", folder.display());
    read
}

fn fuzz(name: &str) {
    let target = TARGETS.iter().find(|target| target.name == name).unwrap_or_else(|| panic!("no target {name}"));
    let corpus = corpus(target);
    for (file, bytes) in &corpus {
        run(target, &format!("corpus/{name}/{file}"), bytes);
    }
    let seeds: Vec<Vec<u8>> = corpus.into_iter().map(|(_, bytes)| bytes).collect();
    let mut mutator = Mutator::new(SEED, target.tokens);
    for n in 0..target.variations {
        run(target, &format!("variation {n}"), &mutator.variation(&seeds));
    }
    println!("{name}: {} files of the corpus, {} variations", seeds.len(), target.variations);
}

/// Says which bytes it was, should they be too much.
fn run(target: &Target, which: &str, bytes: &[u8]) {
    if let Err(panic) = catch_unwind(AssertUnwindSafe(|| (target.run)(bytes))) {
        println!("{}, {which}, {} bytes: {}", target.name, bytes.len(), bytes.escape_ascii());
        resume_unwind(panic);
    }
}

macro_rules! short_runs {
    ($($name:ident),*) => {
        $(#[test] fn $name() { fuzz(stringify!($name)); })*

        /// The short runs, the long runs and the list of targets are of the same ones.
        #[test]
        fn every_target_is_run() {
            let listed: BTreeSet<&str> = TARGETS.iter().map(|target| target.name).collect();
            assert_eq!(BTreeSet::from([$(stringify!($name)),*]), listed);
            let manifest = std::fs::read_to_string(here().join("Cargo.toml")).expect("the manifest of the long runs");
            for target in listed {
                let path = here().join("fuzz_targets").join(format!("{target}.rs"));
                let text = std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
                let call = format!("libfuzzer_sys::fuzz_target!(|data: &[u8]| system_tests::fuzz::{target}(data));");
                assert!(text.contains(&call), "{} does not call {target}", path.display());
                assert!(manifest.contains(&format!("name = \"{target}\"")), "{target} is no program of the manifest");
            }
        }
    };
}

short_runs!(event, request, record, token, identifier, number, question, csv, ndjson, mail, mapping, settings, resume);

#[test]
fn the_corpus_is_small() {
    let of = |target: &Target| corpus(target).iter().map(|(_, bytes)| bytes.len() as u64).sum::<u64>();
    let bytes: u64 = TARGETS.iter().map(of).sum();
    assert!(bytes <= CORPUS_BYTES_MAX, "the corpus has {bytes} bytes");
}
