//! Cases, the order they run in, and what is done when one is bad.

use std::cell::RefCell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use rand::{Rng, SeedableRng};

use crate::cases;
use crate::options::Options;
use crate::shop::Shop;
use crate::site::Site;
use crate::table::{Cell, Table};

/// Where a case runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// The guestbook on the machine's disk.
    Disk,
    /// The guestbook on a small disk of its own.
    Small,
    /// A process of its own, with a tiny stack on an engine of its own.
    Own,
}

/// What a case has to say when it was good.
pub struct Outcome {
    /// `new`, `old`, `factory`, `needs attention`, with the exit code.
    pub text: String,
    /// From the fault to the end of the recovery.
    pub recovery: Duration,
}

/// What a case gets.
pub struct Ground<'a, 'b> {
    pub site: &'a Site<'b>,
    pub random: &'a mut StdRng,
}

impl Ground<'_, '_> {
    /// A moment in which the world goes on without the client.
    pub fn pause(&mut self) {
        std::thread::sleep(Duration::from_millis(self.random.random_range(0..120)));
    }
}

type Act = Box<dyn Fn(&mut Ground<'_, '_>) -> Outcome>;

/// One cell of the matrix.
pub struct Case {
    /// The table's section.
    pub section: &'static str,
    /// The table's row.
    pub row: String,
    /// The table's column; empty where the row has but one.
    pub column: String,
    pub place: Place,
    /// The version it begins on; none where that is all the same.
    pub begin: Option<&'static str>,
    pub act: Act,
}

impl Case {
    /// The name that `--only` and the list go by.
    pub fn name(&self) -> String {
        format!("{}/{}/{}", self.section, self.row, self.column).trim_end_matches('/').replace(' ', "-")
    }
}

thread_local! {
    static SAID: RefCell<String> = const { RefCell::new(String::new()) };
}

/// Runs something that panics when it is bad; what it said.
pub fn attempt<T>(work: impl FnOnce() -> T) -> Result<T, String> {
    catch_unwind(AssertUnwindSafe(work)).map_err(|_| SAID.with_borrow_mut(std::mem::take))
}

/// Panics are what cases say, not something to print where they happen.
pub fn keep_panics() {
    std::panic::set_hook(Box::new(|info| {
        let place =
            info.location().map(|place| format!(" ({}:{})", place.file(), place.line())).unwrap_or_default();
        let text = said(info.payload());
        SAID.with_borrow_mut(|said| *said = format!("{text}{place}"));
    }));
}

/// Runs the wanted cases and prints the table; whether all were good.
pub fn run_all(options: &Options) -> bool {
    let mut random = StdRng::seed_from_u64(options.seed);
    let mut cases: Vec<Case> = cases::all().into_iter().filter(|case| options.wants(&case.name())).collect();
    if options.list {
        cases.iter().for_each(|case| println!("{}", case.name()));
        return true;
    }
    keep_panics();
    let began = Instant::now();
    let mut table = Table::new(&cases);
    cases.shuffle(&mut random);
    let total = cases.len();
    let mut number = 0;
    for place in [Place::Disk, Place::Small, Place::Own] {
        let (mut open, rest): (Vec<Case>, Vec<Case>) =
            cases.into_iter().partition(|case| case.place == place);
        cases = rest;
        if open.is_empty() {
            continue;
        }
        let mut ground = Keeper::new(place);
        while !open.is_empty() {
            // What begins where the stack is costs no change of version in between.
            let version = ground.version();
            let fits = |case: &Case| case.begin.is_none() || case.begin == version.as_deref();
            let index = open.iter().position(fits).unwrap_or(0);
            let case = open.remove(index);
            number += 1;
            let started = Instant::now();
            let result = ground.run(&case, &mut random);
            let told = match &result {
                Ok(outcome) => format!("{} after {:.1} s", outcome.text, outcome.recovery.as_secs_f64()),
                Err(text) => format!("BAD: {text}"),
            };
            eprintln!(
                "[{number}/{total}] {} ({:.1} s): {told}",
                case.name(),
                started.elapsed().as_secs_f64()
            );
            table.set(&case, result.map_or_else(Cell::Bad, Cell::Good));
        }
    }
    println!("{}", table.markdown());
    let bad = table.bad();
    println!(
        "seed {}: {total} cases in {:.0} s, {} bad",
        options.seed,
        began.elapsed().as_secs_f64(),
        bad.len()
    );
    for (name, text) in &bad {
        println!("\n### {name}\n\n{text}");
    }
    bad.is_empty()
}

/// Keeps the installation of a place, and makes it anew after a bad case.
struct Keeper {
    place: Place,
    // Before the shop it came from.
    site: Option<Site<'static>>,
    shop: Option<&'static Shop>,
}

impl Keeper {
    fn new(place: Place) -> Self {
        Self { place, site: None, shop: None }
    }

    fn version(&self) -> Option<String> {
        self.site.as_ref().and_then(|site| attempt(|| site.current()).ok())
    }

    fn run(&mut self, case: &Case, random: &mut StdRng) -> Result<Outcome, String> {
        if self.place == Place::Own {
            return crate::inner::spawn(&case.name());
        }
        let result = attempt(|| {
            let shop = *self.shop.get_or_insert_with(|| Box::leak(Box::new(Shop::open())));
            let site = self.site.get_or_insert_with(|| Site::install(shop, self.place == Place::Small));
            if let Some(version) = case.begin {
                site.go_to(version);
            }
            let outcome = (case.act)(&mut Ground { site, random });
            crate::whole::check(site, &site.current());
            if case.section != cases::RESTORE {
                site.writer.nothing_lost();
            }
            outcome
        });
        if let Some(site) = &self.site {
            site.shop.all_well();
            if result.is_err() {
                if std::env::var_os("FAULTS_KEEP").is_some() {
                    eprintln!("kept: {} ({})", site.root.display(), site.shop.project());
                    std::process::exit(1);
                }
                self.site = None;
            }
        }
        result
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        self.site = None;
        if let Some(shop) = self.shop {
            shop.close();
        }
    }
}

/// The words of a panic.
fn said(payload: &dyn std::any::Any) -> &str {
    let literal = payload.downcast_ref::<&str>().copied();
    literal.or_else(|| payload.downcast_ref::<String>().map(String::as_str)).unwrap_or("no reason given")
}
