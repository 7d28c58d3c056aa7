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
    /// Random kills that are counted, but not made: for the replay of one.
    pub skip: usize,
}

const USAGE: &str = "\
usage: make faults FAULTS=\"[--seed N] [--only TEXT]… [--list]\"
       make kills KILLS=\"[--count N] [--seed N] [--skip N]\"
--seed N      the order of cases and every random choice (default 1)
--only TEXT   cases whose name contains TEXT; may be repeated
--list        print the names of the cases
--count N     so many random kills instead of 1000
--skip N      begin with the iteration N, for a replay";

impl Options {
    /// From the words after the program's name.
    pub fn parse(words: impl Iterator<Item = String>) -> Result<Self, String> {
        let mut words = words;
        let mut options = Self { mode: Mode::Matrix, seed: 1, only: Vec::new(), list: false, skip: 0 };
        while let Some(word) = words.next() {
            let mut value = || words.next().ok_or_else(|| format!("{word} needs a value\n{USAGE}"));
            match word.as_str() {
                "--seed" => options.seed = number(&value()?)?,
                "--only" => options.only.push(value()?),
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
        self.only.is_empty() || self.only.iter().any(|text| name.contains(text))
    }
}

fn number(word: &str) -> Result<u64, String> {
    word.parse().map_err(|_| format!("{word:?} is not a number\n{USAGE}"))
}
