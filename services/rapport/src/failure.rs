use std::fmt::Display;
use std::process::ExitCode;

/// How a command ends, as sysexits have it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exit {
    /// A difference was found, or a check failed.
    Difference = 1,
    /// The input holds something that was rejected or cannot be read.
    BadInput = 65,
    /// Something needed is not reachable.
    Unavailable = 69,
    /// A mistake in the program.
    Internal = 70,
    /// Trying again later can help.
    TryAgain = 75,
    /// The configuration is wrong.
    Configuration = 78,
    /// Ctrl-C came before the result was whole: 128 and the signal's number, as shells have it.
    Interrupted = 130,
}

/// Why a command did not do what it was asked: a sentence for people, a code for programs.
#[derive(Debug)]
pub(crate) struct Failure {
    exit: Exit,
    error: Option<anyhow::Error>,
}

/// What a command answers with.
pub(crate) type Outcome<T = ()> = Result<T, Failure>;

impl Failure {
    /// A failure with a sentence.
    pub(crate) fn new(exit: Exit, sentence: impl Display) -> Self {
        Self { exit, error: Some(anyhow::Error::msg(sentence.to_string())) }
    }

    /// A failure by an error, with all its causes.
    pub(crate) fn of(exit: Exit, error: impl Into<anyhow::Error>) -> Self {
        Self { exit, error: Some(error.into()) }
    }

    /// The same failure, and what to do about it.
    pub(crate) fn with_advice(self, advice: &str) -> Self {
        Self { exit: self.exit, error: self.error.map(|error| anyhow::Error::msg(format!("{error:#}; {advice}"))) }
    }

    /// A failure whose reasons have been printed already.
    pub(crate) fn told(exit: Exit) -> Self {
        Self { exit, error: None }
    }

    /// Prints it and answers with the process's code.
    pub(crate) fn report(self) -> ExitCode {
        if let Some(error) = self.error {
            // `{:#}`: the sentence and what caused it, on one line.
            crate::say::error(format_args!("rapport: {error:#}"));
        }
        ExitCode::from(self.exit as u8)
    }

    /// What the command would end with.
    pub(crate) fn exit(&self) -> Exit {
        self.exit
    }
}

impl Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.error {
            Some(error) => write!(f, "{error:#}"),
            None => f.write_str("the reasons stand above"),
        }
    }
}

/// Gives an error the code that the command ends with.
pub(crate) trait OrExit<T> {
    /// The error, with all its causes, ends the command with `exit`.
    fn or_exit(self, exit: Exit) -> Outcome<T>;
}

impl<T, E: Into<anyhow::Error>> OrExit<T> for Result<T, E> {
    fn or_exit(self, exit: Exit) -> Outcome<T> {
        self.map_err(|error| Failure::of(exit, error))
    }
}
