//! Ctrl-C and SIGTERM: the first asks for a safe stop, the second ends the process. A terminal that goes away (SIGHUP: the
//! SSH session ended) stops nothing: half an upgrade is what nobody wants who has just lost the way to the machine.
//!
//! A thread of its own listens, so that the second signal is heard even while the command's thread is busy.

use std::sync::Arc;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::oneshot;

use crate::exit;
use crate::fault::{Code, Fault, Result};
use crate::messages::cli::Words;

use super::sink::Sink;
use super::view::Look;

/// The wish of a person to stop.
pub struct Stop {
    wish: oneshot::Receiver<&'static str>,
}

impl Stop {
    /// Begins to listen.
    pub fn listen(sink: Arc<dyn Sink>, look: Look) -> Result<Self> {
        let fault = |error: std::io::Error| Fault::from_error(Code::Io, "SIGINT/SIGTERM", error);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build().map_err(fault)?;
        let (interrupt, terminate) = {
            let _inside = runtime.enter();
            let interrupt = signal(SignalKind::interrupt()).map_err(fault)?;
            // From now on it is heard, and not answered.
            drop(signal(SignalKind::hangup()).map_err(fault)?);
            (interrupt, signal(SignalKind::terminate()).map_err(fault)?)
        };
        let (wishes, wish) = oneshot::channel();
        let listen = move || runtime.block_on(listen(interrupt, terminate, wishes, sink.as_ref(), look));
        std::thread::Builder::new().name("signals".into()).spawn(listen).map_err(fault)?;
        Ok(Self { wish })
    }

    /// Resolves, with the signal's name, when a stop is wished for.
    pub async fn wished(self) -> &'static str {
        match self.wish.await {
            Ok(signal) => signal,
            // The listener ended without a signal: nobody can wish any more.
            Err(_) => std::future::pending().await,
        }
    }
}

async fn listen(
    mut interrupt: Signal,
    mut terminate: Signal,
    wishes: oneshot::Sender<&'static str>,
    sink: &dyn Sink,
    look: Look,
) {
    let name = next(&mut interrupt, &mut terminate).await;
    sink.talk(&look.say(Words::Stopping { signal: name }));
    // A command that has already ended does not wait for the wish, and needs none.
    let _ = wishes.send(name);
    next(&mut interrupt, &mut terminate).await;
    std::process::exit(i32::from(exit::INTERRUPTED));
}

async fn next(interrupt: &mut Signal, terminate: &mut Signal) -> &'static str {
    tokio::select! {
        _ = interrupt.recv() => "SIGINT",
        _ = terminate.recv() => "SIGTERM",
    }
}
