//! The command line.

/// What is run.
pub enum Mode {
    /// The matrix.
    Matrix,
    /// So many random kills.
    Kills(usize),
    /// One case, in a process of its own that talks to an engine of its own.
    Inner(String),
}

/// The options.
pub struct Options {
    pub mode: Mode,
    pub seed: u64,
    /// Only cases whose name contains one of these.
    pub only: Vec<String>,
    pub list: bool,
    /// Cases that were good in a run which was cut short.
    pub done: Vec<String>,
    /// Random kills that are counted, but not made: for the replay of one.
    pub skip: usize,
}

const USAGE: &str = "\
usage: make faults FAULTS=\"[--seed N] [--only TEXT]… [--done LOG] [--list]\"
       make kills KILLS=\"[--count N] [--seed N] [--skip N]\"
--seed N      the order of cases and every random choice (default 1)
--only TEXT   cases whose name contains TEXT; may be repeated
--done LOG    go on after a run that was cut short: leave out what was good in it; LOG is what it wrote to stderr
--list        print the names of the cases
--count N     so many random kills instead of 1000
--skip N      begin with the iteration N, for a replay";

impl Options {
    /// From the words after the program's name.
    pub fn parse(words: impl Iterator<Item = String>) -> Result<Self, String> {
        let mut words = words;
        let mut options =
            Self { mode: Mode::Matrix, seed: 1, only: Vec::new(), done: Vec::new(), list: false, skip: 0 };
        while let Some(word) = words.next() {
            let mut value = || words.next().ok_or_else(|| format!("{word} needs a value\n{USAGE}"));
            match word.as_str() {
                "--seed" => options.seed = number(&value()?)?,
                "--only" => options.only.push(value()?),
                "--done" => options.done.extend(good_in(&value()?)?),
                "--list" => options.list = true,
                "--kills" | "--count" => options.mode = Mode::Kills(number(&value()?)? as usize),
                "--skip" => options.skip = number(&value()?)? as usize,
                // Cases share an engine and two cores: there is no more than one job.
                "--jobs" => drop(value()?),
                "--inner" => options.mode = Mode::Inner(value()?),
                _ => return Err(USAGE.to_owned()),
            }
        }
        Ok(options)
    }

    /// Whether the case of that name is wanted.
    pub fn wants(&self, name: &str) -> bool {
        let wanted = self.only.is_empty() || self.only.iter().any(|text| name.contains(text));
        wanted && !self.done.iter().any(|done| done == name)
    }
}

/// The names of the cases that a run's log says were good: `[7/306] section/row/column (9.2 s): new after 7.0 s`.
fn good_in(log: &str) -> Result<Vec<String>, String> {
    let text = std::fs::read_to_string(log).map_err(|error| format!("{log}: {error}"))?;
    let name = |line: &str| {
        let (name, result) = line.strip_prefix('[')?.split_once("] ")?.1.rsplit_once(" s): ")?;
        (!result.starts_with("BAD")).then(|| Some(name.rsplit_once(" (")?.0.to_owned())).flatten()
    };
    Ok(text.lines().filter_map(name).collect())
}

fn number(word: &str) -> Result<u64, String> {
    word.parse().map_err(|_| format!("{word:?} is not a number\n{USAGE}"))
}
