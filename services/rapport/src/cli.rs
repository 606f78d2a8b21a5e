use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use clap::{Arg, ArgMatches, Args, CommandFactory, FromArgMatches, Parser, Subcommand, ValueEnum};
use domain::identifier::Normalizer;
use service_kit::{Config, ConfigError, Origin, SETTINGS, Secrecy, Setting, environment};
use sqlx::postgres::PgConnectOptions;

use crate::demo::{SEED, SMALL_EVENTS};
use crate::failure::{Exit, OrExit, Outcome};
use crate::up::running;

/// The variable that names the configuration file.
const CONFIG_VARIABLE: &str = "RAPPORT_CONFIG";

/// The configuration file that is read where it exists.
const CONFIG_FILE: &str = "rapport.toml";

/// Settings whose flags every `--help` lists; the others are flags as well.
const LISTED: &[&str] = &["data_dir", "port_base", "kafka", "database_url"];

const SETTINGS_HELP: &str = "\
Every setting is a flag, a variable RAPPORT_<NAME> and a line of rapport.toml; `rapport config` lists them all.
Exit codes: 0 done, 1 a difference or a failed check, 64 usage, 65 bad input, 69 something needed is not reachable,
75 try again later, 78 configuration, 130 interrupted by Ctrl-C.";

/// Faults and warnings that an import shows where nothing else is said.
const SHOWN: u64 = 100;

/// Every touchpoint of a customer, once, in order, in one place.
#[derive(Debug, Parser)]
#[command(name = "rapport", version, after_help = SETTINGS_HELP, max_term_width = 110)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

impl Command {
    /// Whether it is a part of what runs, and so says itself where it is to be found.
    pub(crate) fn is_service(&self) -> bool {
        matches!(self, Self::Up(_) | Self::Collector | Self::Projector { .. } | Self::Query)
    }
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run everything on this machine: Kafka, PostgreSQL and one process a service
    #[command(after_help = "\
Examples:
  rapport up
  rapport up --demo
  rapport up --data-dir /srv/rapport --port-base 9000
  rapport up --kafka broker1:9092,broker2:9092 --database-url postgres://rapport@db/rapport

Ctrl-C stops all of it cleanly; the next run goes on with the same data.")]
    Up(UpArgs),

    /// Run the collector: events in over HTTP, onto the log
    #[command(after_help = "Example:\n  rapport collector --kafka broker1:9092")]
    Collector,

    /// Run the projector of one read model
    #[command(after_help = "Example:\n  rapport projector sales --workers 2")]
    Projector {
        /// Which read model
        model: Model,
    },

    /// Run the query service: the three read models over HTTP
    #[command(after_help = "Example:\n  rapport query --database-url postgres://rapport@db/rapport")]
    Query,

    /// Publish a file of CloudEvents, one a line; safe to run again
    #[command(after_help = "\
Examples:
  rapport publish events.ndjson
  rapport log read | rapport publish - --url http://other:7070

Prints each rejected event with its line, and the position that covers the accepted ones. Exit code 65 if any was rejected.")]
    Publish(PublishArgs),

    /// Import a CSV or NDJSON file, or mail, through a mapping; a second import changes nothing
    #[command(after_help = "\
Examples:
  rapport import orders.csv --mapping orders.toml --dry-run
  rapport import orders.csv.gz --mapping orders.toml
  rapport import Inbox.mbox --mapping mail.toml
  rapport import ~/Maildir --mapping mail.toml

Prints how many events were new, known and rejected, and for each rejected row its line, column and the reason; the rest
goes in. What the collector warns of goes in too and is shown in the same way. A dry run has known events checked as
well, and shows the first event that the mapping makes. Exit code 65 if anything was rejected.")]
    Import(ImportArgs),

    /// Load a company that does not exist: eighteen months of visits, orders, calls, mails and cases
    #[command(after_help = "\
Examples:
  rapport demo
  rapport demo --events 1000000
  rapport demo --print --events 10000 --seed 7 > events.ndjson

The same seed gives the same events, and more of them extend fewer; running it again changes nothing. Ends with the
position and three things worth looking at, once all three read models are there.")]
    Demo(DemoArgs),

    /// Show where each read model stands: generation, lag, rate, leases, dead letters
    #[command(after_help = "\
Examples:
  rapport status
  rapport status --watch
  rapport status --json | jq '.models[].lag_events'

With --watch it is asked each second until Ctrl-C, and says what does not answer meanwhile; on anything but a terminal one
block comes after another, with --json one document a line. Exit code 69 if Kafka or PostgreSQL cannot be asked.")]
    Status(StatusArgs),

    /// Read the log
    #[command(subcommand)]
    Log(LogCommand),

    /// Fold the log anew into a generation beside the live one, compare the two and swap it in
    #[command(after_help = "\
Examples:
  rapport replay sales --dry-run
  rapport replay sales

A projector of this version builds it; interrupted, the same command goes on with it. One of the same definition must be
identical to the live one; where it is of another (a new version, other fold settings), what differs is shown and has to
be agreed to, here or by --yes. Exit code 1: it differs and was not swapped in.")]
    Replay(ReplayArgs),

    /// Hold what stands about one entity or one customer against the log, show what differs, and put it right
    #[command(after_help = "\
Examples:
  rapport repair order:77
  rapport repair email:ann@example.com --yes
  rapport repair order:77 --json | jq '.models[].differences'

REF is an entity (order:77, case:5, call:9, cart:c1) or a customer (a customer id, a subject id, kind:value). Without --yes, or a
yes on the terminal, nothing is changed. Exit code 0: nothing differs, or it has been put right; 1: rows differ.")]
    Repair(RepairArgs),

    /// Build, compare, swap in, ask back and drop generations of a read model: the steps of a replay one by one
    #[command(subcommand)]
    Generation(GenerationCommand),

    /// Compute the digest of a read model: equal sets of events give equal digests
    #[command(after_help = "Examples:\n  rapport digest sales\n  rapport digest customer360 --json | jq -r .digest")]
    Digest(DigestArgs),

    /// Print a report of the read models: any view of theirs; without a name, list them
    #[command(after_help = "\
Examples:
  rapport report
  rapport report sales.revenue --param currency=EUR
  rapport report sales.orders_by_customer --param new_or_repeat=repeat --format csv > orders.csv
  rapport report service.cases --param status=open --sql

Parameters are columns of the report (only rows with this value), limit, and at where the report depends on now.")]
    Report(ReportArgs),

    /// Show events that the collector rejected
    #[command(subcommand)]
    Rejected(RejectedCommand),

    /// Show records that a projector could not fold
    #[command(subcommand)]
    DeadLetters(DeadLettersCommand),

    /// Check Kafka, its topics, PostgreSQL, clocks, disk space and ports: a finding, a reason and a remedy each
    #[command(after_help = "\
Examples:
  rapport doctor
  rapport doctor --json | jq '.checks[] | select(.state != \"ok\")'

Changes nothing. Exit code 0 if all is well, 1 for a finding, 69 if something cannot be reached at all.")]
    Doctor(Output),

    /// Print each effective setting and where it came from; secrets are masked
    #[command(after_help = "Example:\n  rapport config --json")]
    Config(Output),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Model {
    Sales,
    Service,
    Customer360,
}

impl Model {
    /// As it is typed, and as its schema is called.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Sales => "sales",
            Self::Service => "service",
            Self::Customer360 => "customer360",
        }
    }
}

#[derive(Clone, Copy, Debug, Args)]
pub(crate) struct Output {
    /// Print one JSON document
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Clone, Copy, Debug, Args)]
pub(crate) struct StatusArgs {
    /// Show it again each second, until Ctrl-C
    #[arg(long)]
    pub(crate) watch: bool,
    #[command(flatten)]
    pub(crate) output: Output,
}

#[derive(Clone, Copy, Debug, Args)]
pub(crate) struct UpArgs {
    /// Load a small demo company once everything is ready, unless it is there already
    #[arg(long)]
    pub(crate) demo: bool,
}

#[derive(Debug, Args)]
pub(crate) struct DemoArgs {
    /// How many events
    #[arg(long, value_name = "N", default_value_t = SMALL_EVENTS, value_parser = clap::value_parser!(u64).range(1_000..=10_000_000))]
    pub(crate) events: u64,
    /// Another seed is another company of the same kind
    #[arg(long, value_name = "S", default_value_t = SEED)]
    pub(crate) seed: u64,
    /// Print the events, one a line, and publish nothing
    #[arg(long)]
    pub(crate) print: bool,
    /// The collector's address [default: the local one, by port_base]
    #[arg(long, value_name = "URL")]
    pub(crate) url: Option<String>,
    /// The query service's address [default: the local one, by port_base]
    #[arg(long, value_name = "URL")]
    pub(crate) query_url: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct PublishArgs {
    /// NDJSON file, or - for the standard input
    pub(crate) file: PathBuf,
    /// The collector's address [default: the local one, by port_base]
    #[arg(long, value_name = "URL")]
    pub(crate) url: Option<String>,
    /// Have the events checked and append nothing
    #[arg(long)]
    pub(crate) validate_only: bool,
    #[command(flatten)]
    pub(crate) output: Output,
}

#[derive(Debug, Args)]
pub(crate) struct ImportArgs {
    /// The file, plain or gzip; of mail also a directory
    pub(crate) file: PathBuf,
    /// How its rows or mails become events
    #[arg(long, value_name = "MAP.toml")]
    pub(crate) mapping: PathBuf,
    /// The collector's address [default: the local one, by port_base]
    #[arg(long, value_name = "URL")]
    pub(crate) url: Option<String>,
    /// Map, look up and check everything, show the first event, and append nothing
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// How many faults and warnings to show, 0 for none; those beyond are counted by reason
    #[arg(long, value_name = "N", default_value_t = SHOWN)]
    pub(crate) show: u64,
    #[command(flatten)]
    pub(crate) output: Output,
}

#[derive(Debug, Subcommand)]
pub(crate) enum LogCommand {
    /// Print the log as CloudEvents, one a line
    #[command(after_help = "\
Examples:
  rapport log read --type order.placed --from 2026-03-01T00:00:00Z
  rapport log read --subject email:ann@example.com
  rapport log read --follow | jq .type

`--from` and `--to` are times of receipt. Within a partition events come in the order of the log.")]
    Read(LogReadArgs),
    /// Deliver a part of the log again to someone else: a topic, a URL or the standard output
    #[command(after_help = "\
Examples:
  rapport log forward --type order.placed --type order.cancelled --to-topic partner.orders
  rapport log forward --customer email:ann@example.com --to-stdout > ann.ndjson
  rapport log forward --from 2026-03-01T00:00:00Z --dry-run --rate 500
  rapport log forward --to-url http://other:7070 --rate 500 --resume forward.json

`--from` and `--to` are times of receipt. The selection ends where the log ends when the command starts. Within a
partition events come in the order of the log. A topic gets the records byte for byte, in partitions by their keys, and
has to exist; --to-kafka takes the same [kafka] properties as the log. A URL gets batches of CloudEvents, as `publish`
sends them: one without a path is a collector's, any other is used as it is, and a success without results counts for
the whole batch. With --resume an interrupted command goes on where the file says: what was under way then is delivered
again, nothing is left out; run once more after its end, it delivers what has arrived since. Exit code 65 if the other
side rejected any.")]
    Forward(LogForwardArgs),
}

#[derive(Debug, Args)]
pub(crate) struct SelectionArgs {
    /// Only events received at or after this time (RFC 3339)
    #[arg(long, value_name = "TIME")]
    pub(crate) from: Option<String>,
    /// Only events received before this time (RFC 3339)
    #[arg(long, value_name = "TIME")]
    pub(crate) to: Option<String>,
    /// Only events of this type, with or without io.rapport. in front; may be given more than once
    #[arg(long = "type", value_name = "TYPE")]
    pub(crate) kind: Vec<String>,
    /// Only events on this channel, as the timeline has it: web, email, phone ...
    #[arg(long, value_name = "CHANNEL")]
    pub(crate) channel: Option<String>,
    /// Only events that name this identifier (kind:value)
    #[arg(long, value_name = "K:V")]
    pub(crate) subject: Option<String>,
    /// Only events in this partition of the log
    #[arg(long, value_name = "P")]
    pub(crate) partition: Option<i32>,
}

#[derive(Debug, Args)]
pub(crate) struct LogForwardArgs {
    #[command(flatten)]
    pub(crate) selection: SelectionArgs,
    /// Only what is on this customer's timeline: a customer id, any subject id, or kind:value
    #[arg(long, value_name = "REF", conflicts_with = "subject")]
    pub(crate) customer: Option<String>,
    /// Deliver to this topic, which exists and is not the log's
    #[arg(long, value_name = "TOPIC", required_unless_present_any = ["to_url", "to_stdout", "dry_run"],
          conflicts_with_all = ["to_url", "to_stdout"])]
    pub(crate) to_topic: Option<String>,
    /// Where that topic is [default: in the log's own cluster]
    // What conflicts with a required argument lifts the requirement, so both are said.
    #[arg(long, value_name = "HOST:PORT", requires = "to_topic", conflicts_with_all = ["to_url", "to_stdout"])]
    pub(crate) to_kafka: Option<String>,
    /// Deliver to this address: another collector, or a webhook
    #[arg(long, value_name = "URL", conflicts_with = "to_stdout")]
    pub(crate) to_url: Option<String>,
    /// Print the events as CloudEvents, one a line
    #[arg(long)]
    pub(crate) to_stdout: bool,
    /// At most so many events a second
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) rate: Option<u32>,
    /// Keep in this file how far it is, and go on from there
    #[arg(long, value_name = "FILE")]
    pub(crate) resume: Option<PathBuf>,
    /// Count events and bytes, say how long it would take, and deliver nothing
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// The query service's address, for --customer [default: the local one, by port_base]
    #[arg(long, value_name = "URL", requires = "customer")]
    pub(crate) query: Option<String>,
    #[command(flatten)]
    pub(crate) output: Output,
}

#[derive(Debug, Args)]
pub(crate) struct LogReadArgs {
    #[command(flatten)]
    pub(crate) selection: SelectionArgs,
    /// Go on with what arrives, until Ctrl-C
    #[arg(long)]
    pub(crate) follow: bool,
}

#[derive(Debug, Args)]
pub(crate) struct DigestArgs {
    /// Which read model
    pub(crate) model: Model,
    /// Which generation [default: the live one]
    #[arg(long)]
    pub(crate) generation: Option<i32>,
    #[command(flatten)]
    pub(crate) output: Output,
}

#[derive(Debug, Args)]
pub(crate) struct ReplayArgs {
    /// Which read model
    pub(crate) model: Model,
    /// Say what would be done, and do nothing
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Swap it in even where it differs from the live one
    #[arg(long)]
    pub(crate) yes: bool,
    #[command(flatten)]
    pub(crate) output: Output,
}

#[derive(Debug, Args)]
pub(crate) struct RepairArgs {
    /// An entity or a customer
    #[arg(value_name = "REF")]
    pub(crate) reference: String,
    /// Put right what differs
    #[arg(long)]
    pub(crate) yes: bool,
    #[command(flatten)]
    pub(crate) output: Output,
}

#[derive(Debug, Args)]
pub(crate) struct GenerationArgs {
    /// Which read model
    pub(crate) model: Model,
    /// Which generation [default: the one that is being built, else the newest beside the live one]
    #[arg(long)]
    pub(crate) generation: Option<i32>,
    #[command(flatten)]
    pub(crate) output: Output,
}

#[derive(Debug, Subcommand)]
pub(crate) enum GenerationCommand {
    /// List the generations: which is live, how far each has come, who folds it
    #[command(after_help = "Example:\n  rapport generation list sales")]
    List {
        /// Which read model [default: all]
        model: Option<Model>,
        #[command(flatten)]
        output: Output,
    },
    /// Build a generation by this version's definition beside the live one, or go on with one that is being built
    #[command(after_help = "Example:\n  rapport generation build sales")]
    Build(GenerationArgs),
    /// Compare digests with the live generation, both at one position: identical, or the first rows that differ
    #[command(after_help = "Example:\n  rapport generation verify sales")]
    Verify(GenerationArgs),
    /// Show the rows that differ from the live generation, and the events behind each
    #[command(after_help = "Example:\n  rapport generation diff sales --rows 50")]
    Diff {
        #[command(flatten)]
        args: GenerationArgs,
        /// How many rows of each view are shown
        #[arg(long, default_value_t = 20)]
        rows: u32,
    },
    /// Make a generation the live one, in one transaction, once it has caught up
    #[command(after_help = "Example:\n  rapport generation swap sales")]
    Swap(GenerationArgs),
    /// Go back to the generation that was live before
    #[command(after_help = "Example:\n  rapport generation rollback sales")]
    Rollback(GenerationArgs),
    /// Remove a generation that is not live
    #[command(after_help = "Example:\n  rapport generation drop sales --generation 2")]
    Drop(GenerationArgs),
}

#[derive(Debug, Args)]
pub(crate) struct ReportArgs {
    /// model.view, such as sales.orders [default: list the reports]
    pub(crate) name: Option<String>,
    /// A parameter of the report; may be given more than once
    #[arg(long, value_name = "K=V", value_parser = parameter, requires = "name")]
    pub(crate) param: Vec<(String, String)>,
    /// How rows are printed
    #[arg(long, value_enum, default_value_t = ReportFormat::Table)]
    pub(crate) format: ReportFormat,
    /// Print the report's SQL instead of its rows
    #[arg(long, requires = "name")]
    pub(crate) sql: bool,
    /// The query service's address [default: the local one, by port_base]
    #[arg(long, value_name = "URL")]
    pub(crate) query: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum ReportFormat {
    Table,
    Csv,
    Json,
}

fn parameter(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("a parameter has the form name=value")?;
    Ok((name.to_owned(), value.to_owned()))
}

#[derive(Debug, Subcommand)]
pub(crate) enum RejectedCommand {
    /// List rejected events: id, time, why
    #[command(after_help = "Example:\n  rapport rejected list --last 20")]
    List(ListArgs),
    /// Print one rejected event as it came, and why it was rejected
    #[command(after_help = "Example:\n  rapport rejected show 0-17")]
    Show {
        /// The `rejection_id` of the collector's answer: partition-offset
        id: String,
        #[command(flatten)]
        output: Output,
    },
    /// Send rejected events to the collector again, after what was wrong has been put right
    #[command(after_help = "\
Examples:
  rapport rejected redrive --dry-run
  rapport rejected redrive 0-17 0-18

Each is sent as it came, byte for byte; what is rejected again is told with the reasons and is not kept a second time. The
list of rejected events stays as it is, since a log is never changed: what was accepted before is accepted again and changes
nothing. Exit code 1 if any was rejected again, 65 if there is no such id: then nothing is sent.")]
    Redrive(RejectedRedriveArgs),
}

#[derive(Debug, Args)]
pub(crate) struct RejectedRedriveArgs {
    /// The `rejection_id`s: partition-offset [default: all that are kept]
    #[arg(value_name = "ID")]
    pub(crate) ids: Vec<String>,
    /// The collector's address [default: the local one, by port_base]
    #[arg(long, value_name = "URL")]
    pub(crate) url: Option<String>,
    /// Have the events checked and append nothing
    #[arg(long)]
    pub(crate) dry_run: bool,
    #[command(flatten)]
    pub(crate) output: Output,
}

#[derive(Debug, Subcommand)]
pub(crate) enum DeadLettersCommand {
    /// List records that a projector could not fold
    #[command(after_help = "Example:\n  rapport dead-letters list --last 20")]
    List(ListArgs),
    /// Print one dead letter: the event, the error and where it stands in the log
    #[command(after_help = "Example:\n  rapport dead-letters show sales/1/0-17")]
    Show {
        /// model/generation/partition-offset, as `list` prints it
        id: String,
        #[command(flatten)]
        output: Output,
    },
    /// Fold dead letters again into the generation they belong to, after what was wrong has been put right
    #[command(after_help = "\
Examples:
  rapport dead-letters redrive --dry-run
  rapport dead-letters redrive --model sales --type order.placed
  rapport dead-letters redrive sales/1/0-17

Each is folded exactly once, also while projectors fold and generations are built and swapped; what fails again stays with
its new error. A dry run folds them too and takes everything back. Those of a generation that another version has built are
left to that version. Exit code 1 if any was not folded, 65 if there is no such id: then nothing is done.")]
    Redrive(DeadLettersRedriveArgs),
}

#[derive(Debug, Args)]
pub(crate) struct DeadLettersRedriveArgs {
    /// model/generation/partition-offset, as `list` prints it [default: all]
    #[arg(value_name = "ID", conflicts_with_all = ["model", "kind"])]
    pub(crate) ids: Vec<String>,
    /// Only those of this read model
    #[arg(long)]
    pub(crate) model: Option<Model>,
    /// Only events of this type, with or without io.rapport. in front
    #[arg(long = "type", value_name = "TYPE")]
    pub(crate) kind: Option<String>,
    /// Say which can be folded now, and leave everything as it is
    #[arg(long)]
    pub(crate) dry_run: bool,
    #[command(flatten)]
    pub(crate) output: Output,
}

#[derive(Clone, Copy, Debug, Args)]
pub(crate) struct ListArgs {
    /// At most so many, the newest
    #[arg(long, value_name = "N", default_value_t = 100)]
    pub(crate) last: u32,
    #[command(flatten)]
    pub(crate) output: Output,
}

/// What the command line says about settings.
#[derive(Clone, Debug, Default)]
pub(crate) struct SettingFlags {
    pub(crate) values: BTreeMap<String, String>,
    pub(crate) file: Option<PathBuf>,
}

/// Reads the command line. Wrong usage and `--help` end the process, with 64 and 0.
pub(crate) fn parse() -> (Cli, SettingFlags) {
    let matches = match command().try_get_matches() {
        Ok(matches) => matches,
        Err(error) => {
            let _ = error.print();
            std::process::exit(if error.use_stderr() { EXIT_USAGE } else { 0 });
        }
    };
    match Cli::from_arg_matches(&matches) {
        Ok(cli) => (cli, flags(&matches)),
        Err(error) => {
            let _ = error.print();
            std::process::exit(EXIT_USAGE);
        }
    }
}

const EXIT_USAGE: i32 = 64;

/// The commands, with a flag for each setting that is not secret.
pub(crate) fn command() -> clap::Command {
    let flag = |setting: &'static Setting| {
        Arg::new(setting.name)
            // Once a process: the command line wants names that last as long as it.
            .long(&*setting.name.replace('_', "-").leak())
            .value_name("VALUE")
            .help(setting.help)
            .help_heading("Settings")
            .global(true)
            .hide(!LISTED.contains(&setting.name))
    };
    let file = Arg::new("config")
        .long("config")
        .value_name("FILE")
        .help("configuration file")
        .help_heading("Settings")
        .global(true);
    Cli::command().arg(file).args(SETTINGS.iter().filter(|s| s.secrecy != Secrecy::Secret).map(flag))
}

fn flags(matches: &ArgMatches) -> SettingFlags {
    let mut innermost = matches;
    while let Some((_, inner)) = innermost.subcommand() {
        innermost = inner;
    }
    let given = |name: &str| innermost.try_get_one::<String>(name).ok().flatten().cloned();
    let values = SETTINGS.iter().filter_map(|s| Some((s.name.to_owned(), given(s.name)?))).collect();
    SettingFlags { values, file: given("config").map(PathBuf::from) }
}

impl SettingFlags {
    /// The effective settings. Without a file named, `rapport.toml` is read where it exists.
    pub(crate) fn load(&self) -> Outcome<Config> {
        let named = self
            .file
            .clone()
            .or_else(|| std::env::var_os(CONFIG_VARIABLE).filter(|v| !v.is_empty()).map(PathBuf::from));
        let usual = Path::new(CONFIG_FILE);
        let file = named.or_else(|| usual.exists().then(|| usual.to_owned()));
        let config = Config::load(self.values.clone(), environment(), file.as_deref()).or_exit(Exit::Configuration)?;
        check(&config).or_exit(Exit::Configuration)?;
        Ok(config)
    }

    /// The same, and where nobody says where the services are, there where this data directory's are running now.
    pub(crate) fn load_beside_running(&self) -> Outcome<Config> {
        let mut config = self.load()?;
        if let Some(note) = running(Path::new(config.text("data_dir"))) {
            config.follow(&note).or_exit(Exit::Configuration)?;
        }
        Ok(config)
    }

    /// The same settings as variables, for a process of our own: arguments are there for everyone to see.
    pub(crate) fn variables(&self) -> Vec<(String, String)> {
        let file = self.file.iter().map(|f| (CONFIG_VARIABLE.to_owned(), f.display().to_string()));
        let values =
            self.values.iter().map(|(name, value)| (format!("RAPPORT_{}", name.to_uppercase()), value.clone()));
        file.chain(values).collect()
    }
}

/// What the table of settings cannot check by itself: said by whichever command reads it first, and not by a service
/// that ends again and again.
fn check(config: &Config) -> Result<(), ConfigError> {
    let refused = |name: &str, allowed: String| {
        let entry = config.entries().into_iter().find(|entry| entry.name == name);
        let (value, origin) = entry.map_or((None, Origin::Default), |entry| (entry.shown, entry.origin));
        ConfigError::Value { name: name.to_owned(), value: value.unwrap_or_default(), origin, allowed }
    };
    if Normalizer::new(config.text("default_region"), &[]).is_err() {
        let allowed = "a country with phone numbers of its own, two letters such as DE";
        return Err(refused("default_region", allowed.to_owned()));
    }
    let database = config.optional_text("database_url").map(PgConnectOptions::from_str);
    if let Some(Err(error)) = database {
        let allowed = format!("an address such as postgres://user@host:5432/database ({error})");
        return Err(refused("database_url", allowed));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_commands_are_well_formed() {
        command().debug_assert();
    }

    #[test]
    fn settings_are_flags_before_and_after_the_command() {
        for line in [["rapport", "--port-base", "9000", "status"], ["rapport", "status", "--port-base", "9000"]] {
            let matches = command().try_get_matches_from(line).expect("good usage");
            assert_eq!(flags(&matches).values, BTreeMap::from([("port_base".to_owned(), "9000".to_owned())]));
        }
    }

    #[test]
    fn a_demo_is_neither_tiny_nor_endless() {
        for (events, taken) in [("999", false), ("1000", true), ("10000000", true), ("10000001", false)] {
            let parsed = command().try_get_matches_from(["rapport", "demo", "--events", events]);
            assert_eq!(parsed.is_ok(), taken, "{events}");
        }
    }

    #[test]
    fn a_forward_goes_to_one_place() {
        for (more, taken) in [
            (&["--to-topic", "t", "--to-kafka", "h:1"][..], true),
            (&["--to-url", "http://h"], true),
            (&["--to-stdout", "--rate", "1"], true),
            (&["--dry-run"], true),
            (&[], false),
            (&["--to-stdout", "--to-topic", "t"], false),
            (&["--to-stdout", "--to-url", "http://h"], false),
            (&["--to-kafka", "h:1", "--to-url", "http://h"], false),
            (&["--to-stdout", "--rate", "0"], false),
            (&["--to-stdout", "--customer", "email:a@b.c", "--subject", "email:a@b.c"], false),
        ] {
            let parsed = command().try_get_matches_from([&["rapport", "log", "forward"], more].concat());
            assert_eq!(parsed.is_ok(), taken, "{more:?}");
        }
    }

    #[test]
    fn every_command_shows_an_example() {
        fn check(command: &clap::Command) {
            let leaf = command.get_subcommands().next().is_none();
            let help = command.get_after_help().map(ToString::to_string).unwrap_or_default();
            assert!(!leaf || help.contains("Example"), "{}", command.get_name());
            command.get_subcommands().for_each(check);
        }
        check(&Cli::command());
    }
}
