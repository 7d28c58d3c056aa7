//! The sinks, fed with events.

use std::io::{self, Write};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use indicatif::{ProgressDrawTarget, TermLike};
use serde_json::Value;

use super::plain::{Throttle, line};
use super::terminal::figures;
use super::*;
use crate::cli::edge::refused;
use crate::cli::view::Look;
use crate::fault::{Code, Fault};
use crate::messages::{Lang, Say};
use crate::progress::{Amount, Kind, Progress, Step, Unit};

const EN: Look = Look { lang: Lang::En, colour: false };

/// A writer the test can look into, or that is a closed pipe.
#[derive(Clone, Default)]
struct Shared {
    bytes: Arc<Mutex<Vec<u8>>>,
    closed: bool,
}

impl Shared {
    fn text(&self) -> String {
        String::from_utf8(self.bytes.lock().unwrap().clone()).unwrap()
    }
}

impl Write for Shared {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        if self.closed {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        self.bytes.lock().unwrap().extend_from_slice(buffer);
        Ok(buffer.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn feed(reporter: impl Sink + 'static) {
    let reporter = Arc::new(Once::new(reporter));
    let progress = Progress::new(reporter, "u-1", Lang::En);
    progress.started(Step::DownloadingUpdate, Say::DownloadStarted { name: "x".into() });
    let say = Say::DownloadStarted { name: "x".into() };
    let mut meter = progress.meter(Step::DownloadingUpdate, say, Unit::Bytes, Some(2048));
    meter.add(1024);
    meter.add(1024);
    progress.warning(Step::DownloadingUpdate, Say::Warning { text: "slow".into() });
    progress.finished(Step::DownloadingUpdate, Say::DownloadFinished { name: "x".into() });
    let outcome = refused(&Fault::new(Code::Downgrade, "1.0.0", ""), Lang::En);
    progress.outcome(&outcome);
    progress.outcome(&outcome);
    progress.finished(Step::Completed, Say::CleanupFinished);
}

#[test]
fn every_json_line_parses_and_the_result_is_the_last_and_only_one() {
    let out = Shared::default();
    feed(JsonLines::new(out.clone()));
    let text = out.text();
    let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let kinds: Vec<&str> = lines.iter().map(|line| line["kind"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["started", "progress", "progress", "warning", "finished", "result"]);
    assert!(lines.iter().all(|line| line["schema"] == 1));
    assert_eq!(lines[2]["done"], 2048);
    assert_eq!(lines[5]["exit_code"], 11);
    assert_eq!(lines[5]["error"]["code"], "DOWNGRADE");
}

#[test]
fn a_closed_pipe_stops_nothing() {
    feed(JsonLines::new(Shared { closed: true, ..Shared::default() }));
    feed(Plain::new(Shared { closed: true, ..Shared::default() }, EN));
}

#[test]
fn plain_lines_name_time_step_and_message() {
    let out = Shared::default();
    feed(Plain::new(out.clone(), EN));
    let lines: Vec<String> = out.text().lines().map(|line| line[10..].to_owned()).collect();
    assert_eq!(
        lines,
        [
            "DownloadingUpdate: downloading x",
            "DownloadingUpdate: downloading x: ████████████████████████ 100%  2.0 KiB / 2.0 KiB",
            "DownloadingUpdate: warning: slow",
            "DownloadingUpdate: downloaded and verified x",
        ]
    );
}

fn metered(done: u64, total: Option<u64>) -> Event {
    Event {
        schema: 1,
        seq: 1,
        at: time::OffsetDateTime::UNIX_EPOCH,
        upgrade_id: String::new(),
        step: Step::LoadingImages,
        kind: Kind::Progress,
        message: "m".into(),
        amount: Some(Amount { done, total, unit: Unit::Bytes, rate: Some(1024), eta_ms: Some(1500) }),
    }
}

#[test]
fn a_meter_speaks_every_tenth_every_five_seconds_and_at_its_end() {
    let start = Instant::now();
    let mut throttle = Throttle::default();
    // (milliseconds since the start, done of 100, whether a line is due)
    let cases = [
        (0, 0, false),
        (100, 9, false),
        (200, 10, true),
        (300, 19, false),
        (5199, 19, false),
        (5200, 19, true),
        (5300, 55, true),
        (5400, 100, true),
    ];
    for (ms, done, due) in cases {
        let now = start + Duration::from_millis(ms);
        assert_eq!(throttle.lets_pass(&metered(done, Some(100)), now), due, "{ms} ms, {done} %");
    }
    let mut endless = Throttle::default();
    assert!(!endless.lets_pass(&metered(5, None), start));
    assert!(endless.lets_pass(&metered(6, None), start + Duration::from_secs(5)));
}

#[test]
fn figures_in_words() {
    let event = metered(512, Some(2048));
    let amount = event.amount.as_ref().unwrap();
    assert_eq!(figures(amount, EN), "██████░░░░░░░░░░░░░░░░░░  25%  512 B / 2.0 KiB  1.0 KiB/s  1.5 s left");
    let images = Amount { unit: Unit::Images, total: Some(4), done: 1, rate: None, eta_ms: None };
    assert!(figures(&images, EN).ends_with(" 25%  1 / 4"));
    let zh = Look { lang: Lang::Zh, ..EN };
    assert_eq!(line(&metered(512, None), zh), "00:00:00Z LoadingImages: m: 512 B  1.0 KiB/s  剩余 1.5 s");
}

/// A terminal of 40 columns that remembers what it was given, one line for each write: rows are filled up with
/// blanks to the full width and not always ended by a line end.
#[derive(Debug, Clone, Default)]
struct Narrow(Arc<Mutex<String>>);

impl TermLike for Narrow {
    fn width(&self) -> u16 {
        40
    }
    fn move_cursor_up(&self, _: usize) -> io::Result<()> {
        Ok(())
    }
    fn move_cursor_down(&self, _: usize) -> io::Result<()> {
        Ok(())
    }
    fn move_cursor_right(&self, _: usize) -> io::Result<()> {
        Ok(())
    }
    fn move_cursor_left(&self, _: usize) -> io::Result<()> {
        Ok(())
    }
    fn write_line(&self, text: &str) -> io::Result<()> {
        self.write_str(text)
    }
    fn write_str(&self, text: &str) -> io::Result<()> {
        let mut lines = self.0.lock().unwrap();
        lines.push_str(text);
        lines.push('\n');
        Ok(())
    }
    fn clear_line(&self) -> io::Result<()> {
        Ok(())
    }
    fn flush(&self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_terminal_gets_signs_and_nothing_wider_than_itself() {
    let (screen, lines) = (Narrow::default(), Shared::default());
    let target = ProgressDrawTarget::term_like(Box::new(screen.clone()));
    feed(Terminal::on(target, lines.clone(), EN));
    assert_eq!(lines.text(), "! warning: slow\n✓ downloaded and verified x\n");
    let text = screen.0.lock().unwrap().clone();
    assert!(text.contains("downloading x"), "{text}");
    for line in text.lines() {
        assert!(unicode_width::UnicodeWidthStr::width(line.trim_end()) <= 40, "{line:?}");
    }
}
