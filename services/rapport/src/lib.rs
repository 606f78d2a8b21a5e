//! The one binary: everything on one machine, one subcommand a service, and the commands of operators.
//!
//! ```text
//! rapport up ──> Kafka, PostgreSQL (crate local-stack)
//!            ──> rapport collector, projector sales | service | customer360, query: a process each
//! ```
//!
//! | module | responsibility |
//! |---|---|
//! | `cli` | the command line, and the settings it gives |
//! | `services` | one service from its settings |
//! | `up` | all of them on one machine: start, supervise, stop |
//! | `publish` | events from a file to the collector |
//! | `import` | rows of a file to events, by a mapping |
//! | `demo` | a company that does not exist, as events |
//! | `ops` | what operators ask and do: `status`, `log`, `report`, `repair`, `replay`, `generation`, `digest`, `rejected`, `dead-letters`, `doctor`, `config` |
//! | `http` | clients that reach this machine's services past any proxy |
//! | `fuzz` | any bytes as the files that commands read, for fuzzing |
//! | `failure`, `say` | exit codes; what is printed |

mod cli;
mod demo;
mod failure;
#[doc(hidden)]
pub mod fuzz;
mod http;
mod import;
mod ops;
mod publish;
mod say;
mod services;
mod up;

use std::process::ExitCode;
use std::time::Duration;

use cli::{Cli, Command, SettingFlags};
use failure::{Exit, OrExit, Outcome};

/// How long a command that has ended waits for what still runs on blocking threads: a question to a Kafka that does not
/// answer, which nobody waits for any more.
const END_TIMEOUT: Duration = Duration::from_secs(2);

/// Runs the command that the process was started with, and answers with its exit code.
pub fn main() -> ExitCode {
    let (cli, flags) = cli::parse();
    match run(cli, &flags) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.report(),
    }
}

fn run(cli: Cli, flags: &SettingFlags) -> Outcome {
    let config = if cli.command.is_service() { flags.load()? } else { flags.load_beside_running()? };
    // A service says it in its log, and `config` beside the settings.
    if !cli.command.is_service() && !matches!(cli.command, Command::Config(_)) {
        for warning in config.warnings() {
            say::note(format_args!("{warning}"));
        }
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().or_exit(Exit::Unavailable)?;
    let result = runtime.block_on(async {
        match cli.command {
            Command::Up(args) => Box::pin(up::run(&config, flags, args)).await,
            Command::Collector => Box::pin(services::collector(&config)).await,
            Command::Projector { model } => Box::pin(services::projector(&config, model)).await,
            Command::Query => Box::pin(services::query(&config)).await,
            Command::Publish(args) => Box::pin(publish::run(&config, &args)).await,
            Command::Import(args) => Box::pin(import::run(&config, &args)).await,
            Command::Demo(args) => Box::pin(demo::run(&config, &args)).await,
            Command::Status(args) => Box::pin(ops::status(&config, args)).await,
            Command::Log(cli::LogCommand::Read(args)) => Box::pin(ops::log_read(&config, &args)).await,
            Command::Log(cli::LogCommand::Forward(args)) => Box::pin(ops::log_forward(&config, &args)).await,
            Command::Repair(args) => Box::pin(ops::repair(&config, &args)).await,
            Command::Replay(args) => Box::pin(ops::replay(&config, args)).await,
            Command::Generation(command) => Box::pin(ops::generation(&config, command)).await,
            Command::Digest(args) => Box::pin(ops::digest(&config, &args)).await,
            Command::Report(args) => Box::pin(ops::report(&config, &args)).await,
            Command::Rejected(command) => Box::pin(ops::rejected(&config, &command)).await,
            Command::DeadLetters(command) => Box::pin(ops::dead_letters(&config, &command)).await,
            Command::Doctor(output) => Box::pin(ops::doctor(&config, output)).await,
            Command::Config(output) => ops::config(&config, output),
        }
    });
    runtime.shutdown_timeout(END_TIMEOUT);
    result
}
