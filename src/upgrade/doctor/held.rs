//! Whether a backup that did not end left containers held still.

use super::Report;
use crate::fault::{Code, Result};
use crate::messages::doctor::Look;
use crate::upgrade::change::Tools;
use crate::upgrade::effects::quiet;
use crate::upgrade::installation::Installation;

impl Report {
    /// Looks for it, and with `fix`, which means that the lock is held, lets them go on.
    pub(super) async fn held(&mut self, installation: &Installation, tools: &Tools, fix: bool) {
        let looked = match fix {
            true => let_go(installation, tools).await,
            false => is_forgotten(installation).map(|held| held.then_some(Look::Held)),
        };
        match looked {
            Ok(None) => {}
            Ok(Some(Look::LetGo)) => self.good("containers", Look::LetGo),
            Ok(Some(look)) => self.broken("containers", look),
            Err(fault) => self.bad("containers", &fault),
        }
    }
}

async fn let_go(installation: &Installation, tools: &Tools) -> Result<Option<Look>> {
    if !quiet::is_held(installation)? {
        return Ok(None);
    }
    quiet::thaw(installation, &tools.engine).await?;
    Ok(Some(Look::LetGo))
}

/// A command that is at work holds them for its own backup, and lets them go on by itself.
fn is_forgotten(installation: &Installation) -> Result<bool> {
    if !quiet::is_held(installation)? {
        return Ok(false);
    }
    let _nobody_else = match installation.lock("doctor") {
        Err(fault) if fault.code() == Code::Locked => return Ok(false),
        lock => lock?,
    };
    // It may have come to its end in between.
    quiet::is_held(installation)
}
