use std::path::{Path, PathBuf};

/// What went wrong with the local Kafka or PostgreSQL. Each message says what to do.
#[derive(Debug, thiserror::Error)]
pub enum StackError {
    /// A program that the stack needs is not on the `PATH`.
    #[error("`{tool}` is needed {purpose} and is not installed; {remedy}")]
    ToolMissing { tool: &'static str, purpose: &'static str, remedy: &'static str },

    /// There is no PostgreSQL build for this machine.
    #[error("there is no bundled PostgreSQL for {os} on {architecture}; use your own with --database-url and --kafka")]
    Platform { os: &'static str, architecture: &'static str },

    /// Maven ended without having fetched everything.
    #[error(
        "could not fetch Kafka and PostgreSQL from Maven Central: {detail}. Check that this machine reaches it \
         (a mirror or proxy goes into ~/.m2/settings.xml) and run it again: what has arrived is kept. \
         Maven's whole output is in {}", log_file.display()
    )]
    Fetch { detail: String, log_file: PathBuf },

    /// Another process answers on a port that the stack needs.
    #[error("port {port} for {name} is taken: end what listens there, or move the block of ports with --port-base")]
    PortTaken { name: &'static str, port: u16 },

    /// A server ended before it answered.
    #[error("{name} ended while it started ({status}); the end of {}:\n{tail}", log_file.display())]
    Exited { name: &'static str, status: String, log_file: PathBuf, tail: String },

    /// A server did not answer in time. It has been ended again.
    #[error("{name} did not answer within {seconds} s; the end of {}:\n{tail}", log_file.display())]
    NotReady { name: &'static str, seconds: u64, log_file: PathBuf, tail: String },

    /// A helper command (`initdb`, `StorageTool`, `tar`) failed.
    #[error("{name} failed ({status}): {output}")]
    Command { name: &'static str, status: String, output: String },

    /// Another `rapport up` holds the data directory.
    #[error(
        "{} is in use by another `rapport up`: stop it first, or choose another directory with --data-dir",
        data_dir.display()
    )]
    InUse { data_dir: PathBuf },

    /// A file or directory could not be read or written.
    #[error("could not {what} {}", path.display())]
    Io {
        what: &'static str,
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
}

impl StackError {
    /// An adapter for `map_err`: what was being done, and to which path.
    pub(crate) fn io(what: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io { what, path, source }
    }
}
