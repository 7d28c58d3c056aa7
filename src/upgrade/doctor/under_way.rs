//! Whether the stack is on its way from one version to another.

use super::Report;
use crate::fault::{Code, Fault};
use crate::messages::doctor::Look;
use crate::upgrade::installation::Installation;
use crate::upgrade::journal::Journal;

impl Report {
    /// Tells of a client that is at work and of a change that has not ended: until it has, the containers are its own.
    /// `own` says that the lock is ours.
    pub(super) fn under_way(&mut self, installation: &Installation, own: bool) -> bool {
        let holder = holder(installation).filter(|_| !own);
        if let Some(busy) = &holder {
            self.add("journal", "warning", busy.message(self.lang), busy.help(self.lang));
        }
        match Journal::new(installation.store.clone()).unfinished() {
            Ok(None) => self.good("journal", Look::NothingUnfinished),
            Ok(Some(change)) => {
                self.worry("journal", Look::Unfinished { id: change.id, state: change.state.name() });
                return true;
            }
            Err(fault) => {
                self.bad("journal", &fault);
                return true;
            }
        }
        holder.is_some()
    }
}

/// The refusal of the lock, where another client has it.
fn holder(installation: &Installation) -> Option<Fault> {
    installation.lock("doctor").err().filter(|fault| fault.code() == Code::Locked)
}
