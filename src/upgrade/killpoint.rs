//! Where the crash tests and the fault harness get hold of a change: before a step's mark, between the mark and the
//! effect, between the effect and its mark. Debug builds only; release builds have none of it.
//!
//! - `COMPOSE_UPGRADE_KILL_AT=started:swap:api` ends the process there with SIGKILL.
//! - `COMPOSE_UPGRADE_PAUSE_AT=started:swap:api` with `COMPOSE_UPGRADE_PAUSE_SOCKET=<path>` tells the listener on that
//!   Unix socket, in one line, that the point is reached, and waits until the listener answers or hangs up. Meanwhile
//!   the listener does to the world what it likes. `*` stops at every point.

use super::step::Step;

/// The process is at `moment` of `step`.
#[cfg(debug_assertions)]
pub fn reached(moment: &str, step: &Step) {
    use std::env::var;
    let here = format!("{moment}:{}", step.name());
    if var("COMPOSE_UPGRADE_KILL_AT").is_ok_and(|wanted| wanted == here) {
        let own = rustix::process::getpid();
        rustix::process::kill_process(own, rustix::process::Signal::KILL).expect("a process may kill itself");
    }
    if var("COMPOSE_UPGRADE_PAUSE_AT").is_ok_and(|wanted| wanted == here || wanted == "*") {
        let socket = var("COMPOSE_UPGRADE_PAUSE_SOCKET").expect("a pause needs COMPOSE_UPGRADE_PAUSE_SOCKET");
        pause(&socket, &here).expect("whoever asks for a pause listens");
    }
}

/// Blocks the thread on purpose: nothing of this step may go on meanwhile.
#[cfg(debug_assertions)]
fn pause(socket: &str, here: &str) -> std::io::Result<()> {
    use std::io::{Read, Write};
    let mut listener = std::os::unix::net::UnixStream::connect(socket)?;
    writeln!(listener, "{here}")?;
    listener.read(&mut [0]).map(drop)
}

/// Nothing.
#[cfg(not(debug_assertions))]
pub fn reached(_moment: &str, _step: &Step) {}
