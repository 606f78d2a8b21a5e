//! `make faults`: the fault bar for as long as one likes. Each round is a fresh stack, every fault, and a judgement; see
//! [`system_tests::faults`].

use std::num::NonZeroU64;
use std::process::ExitCode;
use std::str::FromStr;
use std::time::{Duration, Instant};

use system_tests::faults::{Fault, Figures, Round, run};

/// As the services have it.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const USAGE: &str = "\
Usage: faults [--seed N] [--rounds N] [--minutes M] [--only TEXT]

  --seed N     of the first round (default 1); each next round has the next
  --rounds N   so many rounds (default 3)
  --minutes M  as many rounds as begin within M minutes, instead
  --only TEXT  only faults whose name contains TEXT

Exit codes: 0 nothing lost, double or different; 1 something was; 64 usage";

/// `EX_USAGE`.
const EXIT_USAGE: u8 = 64;

struct Arguments {
    seed: u64,
    rounds: NonZeroU64,
    minutes: Option<NonZeroU64>,
    only: String,
}

impl Arguments {
    /// # Errors
    /// What of them is not understood.
    fn parse(mut arguments: impl Iterator<Item = String>) -> Result<Self, String> {
        fn number<T: FromStr>(name: &str, value: &str) -> Result<T, String> {
            value.parse().map_err(|_| format!("{name} {value:?} is no number that will do"))
        }
        let three = NonZeroU64::MIN.saturating_add(2);
        let mut parsed = Self { seed: 1, rounds: three, minutes: None, only: String::new() };
        while let Some(name) = arguments.next() {
            if !["--seed", "--rounds", "--minutes", "--only"].contains(&&*name) {
                return Err(format!("{name:?} is none of its arguments"));
            }
            let value = arguments.next().ok_or_else(|| format!("{name} wants a value"))?;
            match name.as_str() {
                "--seed" => parsed.seed = number(&name, &value)?,
                "--rounds" => parsed.rounds = number(&name, &value)?,
                "--minutes" => parsed.minutes = Some(number(&name, &value)?),
                _ => parsed.only = value,
            }
        }
        Ok(parsed)
    }

    fn faults(&self) -> Vec<Fault> {
        Fault::all().into_iter().filter(|fault| fault.to_string().contains(&self.only)).collect()
    }

    /// Whether another round begins, the nth from 0.
    fn goes_on(&self, nth: u64, elapsed: Duration) -> bool {
        match self.minutes {
            Some(minutes) => nth == 0 || elapsed < Duration::from_secs(minutes.get().saturating_mul(60)),
            None => nth < self.rounds.get(),
        }
    }
}

fn main() -> ExitCode {
    let arguments = match Arguments::parse(std::env::args().skip(1)) {
        Ok(arguments) => arguments,
        Err(what) => {
            eprintln!("faults: {what}\n\n{USAGE}");
            return ExitCode::from(EXIT_USAGE);
        }
    };
    let faults = arguments.faults();
    if faults.is_empty() {
        eprintln!("no fault's name contains {:?}; there are:", arguments.only);
        Fault::all().iter().for_each(|fault| eprintln!("  {fault}"));
        return ExitCode::from(EXIT_USAGE);
    }
    let (began, mut figures, mut is_whole) = (Instant::now(), Figures::default(), true);
    let mut nth = 0;
    while is_whole && arguments.goes_on(nth, began.elapsed()) {
        let round = Round { seed: arguments.seed + nth, faults: faults.clone() };
        println!("round {}, seed {}: {} faults", nth + 1, round.seed, round.faults.len());
        match played(round.clone()) {
            Some(of_round) => {
                is_whole = of_round.is_clean();
                figures.add(of_round);
            }
            None => is_whole = false,
        }
        if !is_whole {
            println!("failed; again: faults --seed {} --rounds 1", round.seed);
        }
        nth += 1;
    }
    println!("\n{nth} rounds in {:.0} s\n{figures}", began.elapsed().as_secs_f64());
    if is_whole { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Plays a round on a thread of its own. `None`: it could not be played to its end; why stands above.
fn played(round: Round) -> Option<Figures> {
    let playing = std::thread::spawn(move || {
        let runtime = tokio::runtime::Runtime::new().expect("a runtime starts");
        let began = Instant::now();
        let tell = |line: &str| println!("{:>6.0} s  {line}", began.elapsed().as_secs_f64());
        runtime.block_on(Box::pin(run(&round, tell)))
    });
    playing.join().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_are_read() {
        let parse = |text: &str| Arguments::parse(text.split_whitespace().map(str::to_owned));
        let parsed = parse("--seed 7 --rounds 2 --only broker").expect("they are understood");
        assert_eq!((parsed.seed, parsed.rounds, parsed.minutes), (7, NonZeroU64::MIN.saturating_add(1), None));
        assert!(!parsed.faults().is_empty() && parsed.faults().len() < Fault::all().len());
        for (wrong, said) in [
            ("--seed", "--seed wants a value"),
            ("--seed x", "--seed \"x\" is no"),
            ("--rounds 0", "--rounds \"0\" is no"),
            ("--minutes 0", "--minutes \"0\" is no"),
            ("--minutes -3", "--minutes \"-3\" is no"),
            ("--what 1", "\"--what\" is none"),
        ] {
            let refused = parse(wrong).err().expect("it is refused");
            assert!(refused.starts_with(said), "{wrong}: {refused}");
        }
        let timed = Arguments { minutes: Some(NonZeroU64::MIN), ..parse("").expect("there are none") };
        let goes_on = |nth, seconds| timed.goes_on(nth, Duration::from_secs(seconds));
        assert!(goes_on(0, 60) && goes_on(7, 59) && !goes_on(1, 60), "one round at least");
    }
}
