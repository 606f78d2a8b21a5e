//! Fail points: named steps of the work at which a test has a process kill or stop itself, so that it meets every step and
//! not only those that a random moment happens to hit.
//!
//! `RAPPORT_FAIL_POINT=step[:nth[:action]]` in the environment of a process: when it comes to the step for the nth time
//! (the first, if nothing is said) it sends itself SIGKILL (`kill`, the default) or SIGSTOP (`stop`). The variable is read
//! once; without it a step costs one look at a word in memory, a few dozen times a batch.
//!
//! It is a variable and not a cargo feature for two reasons. What is tested is then the very binary that is shipped, and
//! not one compiled in another way; and a feature would be on wherever the whole workspace is built, the tests being part of
//! it. Whoever may set a process's environment can end the process anyway.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use rustix::process::{Signal, getpid, kill_process};

/// Where the fail point is named.
pub const VARIABLE: &str = "RAPPORT_FAIL_POINT";
/// A signal stops one thread after the other; this one does nothing more until it is its turn.
const STOPPING: Duration = Duration::from_millis(100);

macro_rules! steps {
    ($($(#[$doc:meta])* $step:ident = $name:literal,)*) => {
        /// A step of the work that can be made to fail.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Step { $($(#[$doc])* $step,)* }

        impl Step {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$step,)*];

            /// As it is named in the variable.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$step => $name,)* }
            }
        }
    };
}

steps! {
    /// A batch is decoded; its transaction is not begun.
    BeforeBegin = "before-begin",
    /// The transaction has the generation's lock, and has changed nothing.
    AfterLock = "after-lock",
    /// The rows of the entities that the batch names are locked (customer360: its registers are written).
    AfterEntities = "after-entities",
    /// Rows of a COPY have been sent, its end has not.
    InCopy = "in-copy",
    /// The facts (customer360: the timeline) are written.
    AfterFacts = "after-facts",
    /// Everything derived is written, the checkpoint is not.
    AfterDerive = "after-derive",
    /// The checkpoint is written; COMMIT comes next.
    AfterCheckpoint = "after-checkpoint",
    /// PostgreSQL has answered the COMMIT; the worker has not moved on.
    AfterCommit = "after-commit",
    /// Partitions are about to be taken: leases and checkpoints have their new epochs, uncommitted.
    Taking = "taking",
    /// A load has its transaction and no rows.
    LoadBegun = "load-begun",
    /// A load has sent rows, and is not at its end.
    LoadCopied = "load-copied",
    /// A load beside a live generation has committed a step at its end, and not begun the next.
    LoadStepped = "load-stepped",
    /// A load is whole but for its COMMIT.
    LoadBeforeCommit = "load-before-commit",
    /// The views are on the other generation, uncommitted.
    SwapBeforeCommit = "swap-before-commit",
    /// Another generation is live; whoever asked for it has not been told.
    SwapAfterCommit = "swap-after-commit",
}

/// What a process does to itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Action {
    Kill,
    Stop,
}

/// One fail point.
#[derive(Debug)]
struct FailPoint {
    step: Step,
    /// From 1.
    nth: u64,
    action: Action,
    reached: AtomicU64,
}

impl FailPoint {
    fn parse(text: &str) -> Option<Self> {
        let mut parts = text.split(':');
        let step = parts.next().and_then(|name| Step::ALL.iter().find(|step| step.name() == name))?;
        let nth = parts.next().map_or(Some(1), |nth| nth.parse().ok().filter(|nth| *nth > 0))?;
        let action = match parts.next() {
            None | Some("kill") => Action::Kill,
            Some("stop") => Action::Stop,
            Some(_) => return None,
        };
        parts.next().is_none().then_some(Self { step: *step, nth, action, reached: AtomicU64::new(0) })
    }

    fn from_environment() -> Option<Self> {
        let text = std::env::var(VARIABLE).ok()?;
        let parsed = Self::parse(&text);
        if parsed.is_none() {
            tracing::error!(text, "{VARIABLE} is not understood and does nothing; it is step[:nth[:kill or stop]]");
        }
        parsed
    }

    /// Whether this is the time.
    fn is_due(&self, step: Step) -> bool {
        self.step == step && self.reached.fetch_add(1, Ordering::Relaxed) + 1 == self.nth
    }
}

/// The process is at this step. If that is where it is to fail, a `kill` does not return.
pub fn reach(step: Step) {
    static POINT: OnceLock<Option<FailPoint>> = OnceLock::new();
    if let Some(point) = POINT.get_or_init(FailPoint::from_environment)
        && point.is_due(step)
    {
        let signal = match point.action {
            Action::Kill => Signal::KILL,
            Action::Stop => Signal::STOP,
        };
        // A process may always signal itself.
        let _ = kill_process(getpid(), signal);
        std::thread::sleep(STOPPING);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_variable_names_a_step_and_what_happens_there() {
        let parsed = |text| FailPoint::parse(text).map(|p| (p.step, p.nth, p.action));
        for (text, expected) in [
            ("after-lock", Some((Step::AfterLock, 1, Action::Kill))),
            ("in-copy:3", Some((Step::InCopy, 3, Action::Kill))),
            ("in-copy:3:stop", Some((Step::InCopy, 3, Action::Stop))),
            ("taking:1:kill", Some((Step::Taking, 1, Action::Kill))),
            ("", None),
            ("nowhere", None),
            ("taking:0", None),
            ("taking:x", None),
            ("taking:1:sleep", None),
            ("taking:1:stop:now", None),
        ] {
            assert_eq!(parsed(text), expected, "{text}");
        }
    }

    #[test]
    fn a_step_is_due_once() {
        let point = FailPoint::parse("after-lock:2").expect("it is understood");
        let due: Vec<bool> = (0..4).map(|_| point.is_due(Step::AfterLock)).collect();
        assert_eq!(due, [false, true, false, false]);
        assert!(!point.is_due(Step::AfterFacts), "another step");
    }
}
