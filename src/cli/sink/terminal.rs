//! Bars and signs on a terminal: a spinner names the step that runs, a bar under it measures.

use std::io::Write;
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::cli::view::{Look, Paint, bytes, clean, duration};
use crate::messages::cli::Words;
use crate::progress::{Amount, Event, Kind, Outcome, Reporter, Unit};

use super::Sink;

/// Cells of the bar; fixed, so that the figures do not jump, and short enough for 80 columns.
const CELLS: u64 = 24;

/// Draws on a terminal.
pub struct Terminal {
    bars: MultiProgress,
    lines: Mutex<Box<dyn Write + Send>>,
    look: Look,
    drawn: Mutex<Drawn>,
}

#[derive(Default)]
struct Drawn {
    spinner: Option<ProgressBar>,
    meter: Option<ProgressBar>,
}

impl Drawn {
    fn clear(&mut self) {
        for bar in [self.meter.take(), self.spinner.take()].into_iter().flatten() {
            bar.finish_and_clear();
        }
    }
}

impl Terminal {
    /// Draws on stderr.
    pub fn new(look: Look) -> Self {
        Self::on(ProgressDrawTarget::stderr(), std::io::stderr(), look)
    }

    /// Draws on `target`, with lines that stay written to `lines`, which is the same terminal.
    pub fn on(target: ProgressDrawTarget, lines: impl Write + Send + 'static, look: Look) -> Self {
        let bars = MultiProgress::with_draw_target(target);
        Self { bars, lines: Mutex::new(Box::new(lines)), look, drawn: Mutex::default() }
    }

    fn drawn(&self) -> MutexGuard<'_, Drawn> {
        self.drawn.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    /// A line above the bars that stays. It is written past indicatif, which fills its own lines up to the
    /// width with blanks: those end up in recordings and copies.
    fn print(&self, line: &str) {
        self.bars.suspend(|| {
            let mut lines = self.lines.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
            // A terminal that went away leaves nobody to tell.
            let _ = writeln!(lines, "{line}").and_then(|()| lines.flush());
        });
    }

    fn spin(&self, drawn: &mut Drawn, message: String) {
        let spinner = drawn.spinner.get_or_insert_with(|| {
            let bar =
                self.bars.insert(0, ProgressBar::new_spinner().with_style(style("{spinner} {wide_msg}")));
            bar.enable_steady_tick(Duration::from_millis(120));
            bar
        });
        spinner.set_message(message);
    }

    fn measure(&self, drawn: &mut Drawn, amount: &Amount) {
        let meter = drawn.meter.get_or_insert_with(|| {
            self.bars.add(ProgressBar::new_spinner().with_style(style("  {wide_msg}")))
        });
        meter.set_message(figures(amount, self.look));
    }
}

impl Reporter for Terminal {
    fn report(&self, event: &Event) {
        let mut drawn = self.drawn();
        let message = clean(&event.message).replace('\n', " ");
        match (event.kind, &event.amount) {
            (Kind::Started, _) => {
                drawn.clear();
                self.spin(&mut drawn, message);
            }
            (_, Some(amount)) => {
                self.spin(&mut drawn, message);
                self.measure(&mut drawn, amount);
            }
            (Kind::Progress | Kind::Result, None) => {
                self.print(&format!("  {}", self.look.line(Paint::Dim, &message)))
            }
            (Kind::Finished, None) => {
                drawn.clear();
                self.print(&self.look.line(Paint::Good, &message));
            }
            (Kind::Warning, None) => {
                let line = format!("! {}: {message}", self.look.say(Words::WarningHead));
                self.print(&self.look.paint(Paint::Warn, &line));
            }
            (Kind::Failed, None) => {
                drawn.clear();
                self.print(&self.look.paint(Paint::Bad, &format!("✗ {message}")));
            }
        }
    }

    fn outcome(&self, _outcome: &Outcome) {
        self.drawn().clear();
    }
}

impl Sink for Terminal {
    fn talk(&self, line: &str) {
        self.print(line);
    }

    fn close(&self) {
        self.drawn().clear();
    }
}

fn style(template: &str) -> ProgressStyle {
    // The templates are constants; one that does not parse would fall back to indicatif's own.
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_spinner())
}

/// Hundredths done, where the total is known.
pub fn percent(amount: &Amount) -> Option<u64> {
    let total = amount.total.filter(|total| *total > 0)?;
    let hundredths = u128::from(amount.done.min(total)) * 100 / u128::from(total);
    u64::try_from(hundredths).ok()
}

/// `█████████░░░  37%  26.2 MiB / 70.0 MiB  5.0 MiB/s  8.7 s left`, of which the bar comes first so that a
/// narrow terminal cuts off what matters least.
pub fn figures(amount: &Amount, look: Look) -> String {
    let count = |value: u64| match amount.unit {
        Unit::Bytes => bytes(value),
        Unit::Files | Unit::Images | Unit::Services => value.to_string(),
    };
    let mut parts = Vec::new();
    if let Some(percent) = percent(amount) {
        let full = usize::try_from(percent * CELLS / 100).unwrap_or(0);
        let empty = usize::try_from(CELLS).unwrap_or(0).saturating_sub(full);
        parts.push(format!("{}{} {percent:>3}%", "█".repeat(full), "░".repeat(empty)));
    }
    parts.push(match amount.total {
        Some(total) => format!("{} / {}", count(amount.done), count(total)),
        None => count(amount.done),
    });
    if let Some(rate) = amount.rate.filter(|_| amount.unit == Unit::Bytes) {
        parts.push(format!("{}/s", bytes(rate)));
    }
    if let Some(eta) = amount.eta_ms.filter(|ms| *ms > 0) {
        parts.push(look.say(Words::Left { time: &duration(eta) }));
    }
    parts.join("  ")
}
