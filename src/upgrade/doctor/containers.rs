//! The containers of the version that is installed.

use super::Report;
use crate::layout::Pointer;
use crate::messages::doctor::Look;
use crate::upgrade::change::Tools;
use crate::upgrade::installation::Installation;
use crate::upgrade::pointers;
use crate::upgrade::standing::{self, Kind, Trouble};

impl Report {
    /// Looks at them. While a change is `moving` them it is not told how to mend them: whoever started a container that
    /// the change had stopped would have the old one and the new one on the same data.
    pub(super) async fn containers(&mut self, installation: &Installation, tools: &Tools, moving: bool) {
        let version = match pointers::read(&installation.layout, Pointer::Current) {
            Ok(Some(version)) => version,
            // Told with the pointers.
            Ok(None) | Err(_) => return,
        };
        match standing::is_down(installation, tools).await {
            Ok(false) => {}
            Ok(true) => {
                let current = installation.layout.current().display().to_string();
                return self.trouble(Look::StackDown { current }, moving);
            }
            Err(fault) => return self.bad("containers", &fault),
        }
        let troubles = match standing::troubles(installation, tools, &version).await {
            Ok(troubles) => troubles,
            Err(fault) => return self.bad("containers", &fault),
        };
        if troubles.is_empty() {
            self.good("containers", Look::ContainersWell { version: version.to_string() });
        }
        for Trouble { service, kind } in troubles {
            let version = version.to_string();
            let project = installation.settings.project.clone();
            let look = match kind {
                Kind::Missing => Look::ContainerMissing { service },
                Kind::Stopped(name, state) => Look::ContainerStopped { name, state, project, service },
                Kind::Foreign(name) => Look::ContainerForeign { name, version },
                Kind::Unhealthy(name) => Look::ContainerUnhealthy { name },
            };
            self.trouble(look, moving);
        }
    }

    fn trouble(&mut self, look: Look, moving: bool) {
        match moving {
            true => {
                let help = Look::OfChange.help(self.lang);
                self.add("containers", "failed", look.text(self.lang), help);
            }
            false => self.broken("containers", look),
        }
    }
}
