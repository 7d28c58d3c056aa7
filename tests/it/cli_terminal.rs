//! `client` with a person at a terminal: the question, its answers, and Ctrl-C.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::process::{Child, Stdio};

use rustix::process::{Pid, Signal, kill_process};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};

use crate::cli::{bare_installation, client};
use crate::support::stack::{Device, IDLE, Stack};

/// A `client` whose stdin and stderr are a terminal.
struct Session {
    child: Child,
    screen: File,
    seen: String,
}

impl Session {
    fn start(root: &Path, arguments: &[&str]) -> Self {
        let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
        grantpt(&master).unwrap();
        unlockpt(&master).unwrap();
        let name = ptsname(&master, Vec::new()).unwrap();
        let path = Path::new(std::ffi::OsStr::from_bytes(name.to_bytes()));
        let slave = || Stdio::from(OwnedFd::from(File::options().read(true).write(true).open(path).unwrap()));
        let mut command = client();
        command.arg("--root").arg(root).args(arguments);
        let child = command.stdin(slave()).stdout(Stdio::null()).stderr(slave()).spawn().unwrap();
        Self { child, screen: File::from(master), seen: String::new() }
    }

    /// Reads the screen until `text` is on it. The end of the session ends the wait.
    fn wait_for(&mut self, text: &str) {
        while !self.seen.contains(text) {
            let mut buffer = [0; 1024];
            // A terminal whose other side is closed answers with EIO.
            let count = self.screen.read(&mut buffer).unwrap_or(0);
            assert!(count > 0, "{text:?} did not come: {}", self.seen);
            self.seen.push_str(&String::from_utf8_lossy(&buffer[..count]));
        }
    }

    fn answer(&mut self, text: &str) {
        self.screen.write_all(text.as_bytes()).unwrap();
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    fn end(mut self) -> i32 {
        // A terminal that nobody reads would fill up and hold the client.
        let mut rest = Vec::new();
        let _ended = self.screen.read_to_end(&mut rest);
        self.child.wait().unwrap().code().unwrap()
    }
}

#[test]
fn a_no_is_a_no() {
    let root = bare_installation();
    let mut session = Session::start(root.path(), &["backup", "delete", "x"]);
    session.wait_for("Delete backup x for good? [y/N]");
    session.answer("n\n");
    session.wait_for("CONSENT_MISSING");
    assert_eq!(session.end(), 11);
}

#[test]
fn a_yes_goes_on() {
    let root = bare_installation();
    let mut session = Session::start(root.path(), &["--lang", "zh-CN", "backup", "delete", "x"]);
    session.wait_for("永久删除备份 x 吗？ [y/N]");
    session.answer("y\n");
    session.wait_for("×");
    assert!(!session.seen.contains("CONSENT_MISSING"), "{}", session.seen);
    assert_ne!(session.end(), 11);
}

/// On 1.0.0, with 1.1.0 in the source.
fn with_newer() -> (Stack, Device) {
    let mut stack = Stack::new();
    stack.release("1.0.0", |r| {
        r.service("app", IDLE);
    });
    let device = Device::init(&stack);
    stack.release("1.1.0", |r| {
        r.rebuild("app");
    });
    (stack, device)
}

#[test]
fn a_rollback_shows_its_plan_and_asks() {
    let (_stack, device) = with_newer();
    assert_eq!(device.upgrade(&[]).code, 0);
    for (answer, code, version) in [("n\n", 11, "1.1.0"), ("y\n", 0, "1.0.0")] {
        let mut session = Session::start(&device.path(""), &["rollback"]);
        session.wait_for("roll back: 1.1.0 → 1.0.0");
        session.wait_for("left as it is");
        session.wait_for("Roll back now? [y/N]");
        session.answer(answer);
        assert_eq!(session.end(), code);
        assert_eq!(device.version("current"), version);
    }
}

#[test]
fn ctrl_c_and_terminate_stop_it_safely() {
    for (signal, name) in [(Signal::INT, "SIGINT"), (Signal::TERM, "SIGTERM")] {
        let root = bare_installation();
        let mut session = Session::start(root.path(), &["backup", "delete", "x"]);
        session.wait_for("[y/N]");
        session.signal(signal);
        session.wait_for(&format!("{name}: stopping at a safe point"));
        session.wait_for("INTERRUPTED");
        assert_eq!(session.end(), 130, "{name}");
    }
}

#[test]
fn a_terminal_that_goes_away_stops_no_upgrade() {
    let (_stack, device) = with_newer();
    let output = device.held("started:swap:app", &["upgrade", "--yes", "--json"], |client| {
        kill_process(Pid::from_raw(client.id() as i32).unwrap(), Signal::HUP).unwrap();
    });
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert_eq!(device.version("current"), "1.1.0");
}
