//! The list of faults.

use futures::future::{FutureExt, LocalBoxFuture};
use projection::failpoint::Step;

use super::{Injected, World, clients, processes, servers, steps, topics, upgrade};

/// Something that goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// kill -9 of one of the processes, by the name of its pid file.
    Kill(&'static str),
    /// kill -9 of `rapport up` itself, then a new one on the same data.
    KillUp,
    /// kill -9 of one more projector of each model, at this step of a batch.
    AtStep(Step),
    /// kill -9 at each step of a load, into a database of its own.
    InLoad,
    /// kill -9 at each step of a build beside the live generation, which comes out identical.
    InBuild,
    /// kill -9 of the command that swaps a generation in, before its COMMIT and after it.
    InSwap,
    /// The answers of COMMITs are lost.
    LostCommits,
    /// SIGSTOP of the projectors until their leases have lapsed; then they wake.
    StoppedPastTheLease,
    /// SIGSTOP in the middle of a COPY.
    StoppedInCopy,
    /// Two projectors that both take themselves for the owner of a partition: one is cut off from PostgreSQL for a while.
    TwoClaims,
    /// The broker answers nothing for a while: SIGSTOP, so that connections stay open.
    BrokerSilent,
    /// There is no broker for a while: connections are refused.
    BrokerAway,
    /// There is no PostgreSQL for a while; publishing goes on.
    PostgresAway,
    /// PostgreSQL is restarted in good order, under load.
    PostgresRestart,
    /// PostgreSQL's disk is full for a while.
    DiskFull,
    /// Records that no fold can take.
    Poison,
    /// Half-sent headers, half-sent bodies, answers that are never read.
    SlowClients,
    /// Ten times what can be taken.
    Flood,
    /// Each service replaced in turn while a next version builds its generation; swapped in, and back.
    RollingUpgrade,
    /// The topic is deleted and created again.
    TopicRecreated,
    /// Records are deleted before they are folded.
    LogTruncated,
}

/// Steps of a batch; the others are those of loads and swaps.
const BATCH: [Step; 9] = [
    Step::BeforeBegin,
    Step::AfterLock,
    Step::AfterEntities,
    Step::InCopy,
    Step::AfterFacts,
    Step::AfterDerive,
    Step::AfterCheckpoint,
    Step::AfterCommit,
    Step::Taking,
];

impl Fault {
    /// Each fault once.
    pub fn all() -> Vec<Self> {
        let mut all: Vec<Self> = processes::VICTIMS.into_iter().map(Self::Kill).collect();
        all.extend(BATCH.map(Self::AtStep));
        all.extend([
            Self::KillUp,
            Self::InLoad,
            Self::InBuild,
            Self::InSwap,
            Self::LostCommits,
            Self::StoppedPastTheLease,
            Self::StoppedInCopy,
            Self::TwoClaims,
            Self::BrokerSilent,
            Self::BrokerAway,
            Self::PostgresAway,
            Self::PostgresRestart,
            Self::DiskFull,
            Self::Poison,
            Self::SlowClients,
            Self::Flood,
            Self::RollingUpgrade,
            Self::TopicRecreated,
            Self::LogTruncated,
        ]);
        all
    }

    /// Injects it, and ends it.
    pub(super) fn inject(self, world: &mut World) -> LocalBoxFuture<'_, Injected> {
        match self {
            Self::Kill(victim) => processes::kill(world, victim).boxed_local(),
            Self::KillUp => processes::kill_up(world).boxed_local(),
            Self::AtStep(step) => steps::at(world, step).boxed_local(),
            Self::InLoad => steps::in_load(world).boxed_local(),
            Self::InBuild => steps::in_build(world).boxed_local(),
            Self::InSwap => steps::in_swap(world).boxed_local(),
            Self::LostCommits => steps::lost_commits(world).boxed_local(),
            Self::StoppedPastTheLease => processes::stopped_past_the_lease(world).boxed_local(),
            Self::StoppedInCopy => steps::stopped_in_copy(world).boxed_local(),
            Self::TwoClaims => processes::two_claims(world).boxed_local(),
            Self::BrokerSilent => servers::broker_silent(world).boxed_local(),
            Self::BrokerAway => servers::broker_away(world).boxed_local(),
            Self::PostgresAway => servers::postgres_away(world).boxed_local(),
            Self::PostgresRestart => servers::postgres_restart(world).boxed_local(),
            Self::DiskFull => servers::disk_full(world).boxed_local(),
            Self::Poison => clients::poison(world).boxed_local(),
            Self::SlowClients => clients::slow(world).boxed_local(),
            Self::Flood => clients::flood(world).boxed_local(),
            Self::RollingUpgrade => upgrade::rolling(world).boxed_local(),
            Self::TopicRecreated => topics::recreated(world).boxed_local(),
            Self::LogTruncated => topics::truncated(world).boxed_local(),
        }
    }
}

impl std::fmt::Display for Fault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let text = match self {
            Self::Kill(victim) => &format!("kill -9 of {victim}"),
            Self::KillUp => "kill -9 of rapport up, and a new one",
            Self::AtStep(step) => &format!("kill -9 of a projector of each model at step {}", step.name()),
            Self::InLoad => "kill -9 at each step of a load",
            Self::InBuild => "kill -9 at each step of a build",
            Self::InSwap => "kill -9 in a swap, before and after its COMMIT",
            Self::LostCommits => "answers of COMMITs lost",
            Self::StoppedPastTheLease => "SIGSTOP of the projectors past their leases",
            Self::StoppedInCopy => "SIGSTOP in mid-COPY, past the lease",
            Self::TwoClaims => "two processes claim one partition",
            Self::BrokerSilent => "broker silent (SIGSTOP) and back",
            Self::BrokerAway => "broker killed, away, and back",
            Self::PostgresAway => "PostgreSQL killed, away, and back",
            Self::PostgresRestart => "PostgreSQL restarted",
            Self::DiskFull => "PostgreSQL's disk full, and room again",
            Self::Poison => "poison events in the log",
            Self::SlowClients => "slow clients, half-sent headers and bodies",
            Self::Flood => "ten times the load it can take",
            Self::RollingUpgrade => "rolling upgrade during a build",
            Self::TopicRecreated => "topic deleted and created again",
            Self::LogTruncated => "log truncated before it was folded",
        };
        f.pad(text)
    }
}
