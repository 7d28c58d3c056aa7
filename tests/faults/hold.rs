//! Runs a client and gets hold of it at named points, without polling: it calls in and waits to be let go on.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::process::{Command, Stdio};

use crate::tiny::Done;

/// What is said on the socket when the process has ended.
const ENDED: &str = "ended";

/// Runs `command` to its end; wherever it stops (`point`, or every point for `*`), `act` is told where, and it goes on
/// afterwards.
pub fn run(folder: &Path, mut command: Command, point: &str, mut act: impl FnMut(&str)) -> Done {
    let path = folder.join("hold.sock");
    std::fs::remove_file(&path).ok();
    let listener = UnixListener::bind(&path).unwrap();
    command.env("COMPOSE_UPGRADE_PAUSE_AT", point).env("COMPOSE_UPGRADE_PAUSE_SOCKET", &path);
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let child = command.spawn().unwrap();
    let waiter = std::thread::spawn(move || {
        let output = child.wait_with_output().unwrap();
        // Wakes the loop below, which has nothing else to wait for.
        writeln!(UnixStream::connect(path).unwrap(), "{ENDED}").unwrap();
        output
    });
    loop {
        let (mut held, _) = listener.accept().unwrap();
        let mut line = String::new();
        BufReader::new(&held).read_line(&mut line).unwrap();
        if line.trim() == ENDED {
            break;
        }
        act(line.trim());
        held.write_all(b".").ok();
    }
    Done::of_output(waiter.join().unwrap())
}

/// As [`run`] for one point, which must be reached.
pub fn at(folder: &Path, command: Command, point: &str, mut act: impl FnMut()) -> Done {
    let mut reached = false;
    let done = run(folder, command, point, |_| {
        // A step that is repeated comes by again.
        if !std::mem::replace(&mut reached, true) {
            act();
        }
    });
    assert!(reached, "it never came to {point}: {done:#?}");
    done
}
