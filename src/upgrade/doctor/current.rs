//! Where `current` leads, and whether what is there can be read.

use super::Report;
use crate::docker::Compose;
use crate::fault::Result;
use crate::layout::Pointer;
use crate::messages::doctor::Look;
use crate::progress::Progress;
use crate::upgrade::change::Tools;
use crate::upgrade::installation::Installation;
use crate::upgrade::journal::Journal;
use crate::upgrade::running::{self, Place};
use crate::upgrade::shipped::{self, Reader};
use crate::upgrade::{releases, repair};

impl Report {
    /// Looks at `current`, after mending it where that is asked for.
    pub(super) async fn current(
        &mut self,
        installation: &Installation,
        tools: Option<&Tools>,
        fix: bool,
        progress: &Progress,
    ) {
        if let Err(fault) = self.pointer(installation, fix, progress) {
            self.bad("pointers", &fault);
        }
        if let Some(tools) = tools
            && let Err(fault) = self.compose(installation, &tools.compose, fix).await
        {
            self.bad("pointers", &fault);
        }
    }

    fn pointer(&mut self, installation: &Installation, fix: bool, progress: &Progress) -> Result<()> {
        // What a change under way makes of it is that change's.
        if Journal::new(installation.store.clone()).unfinished()?.is_some() {
            return Ok(());
        }
        if fix {
            for text in repair::settle(installation, progress)? {
                self.add("pointers", "ok", text, String::new());
            }
        }
        let Some(runs) = running::version(installation)? else { return Ok(()) };
        let version = runs.to_string();
        match running::place(&installation.layout)? {
            Place::Release(named) if named == runs => {}
            Place::Release(named) => {
                self.worry("pointers", Look::PointerElsewhere { named: named.to_string(), version });
            }
            Place::Missing => self.worry("pointers", Look::PointerGone { version }),
            Place::Astray(target) => self.worry("pointers", Look::PointerAstray { target, version }),
        }
        Ok(())
    }

    async fn compose(&mut self, installation: &Installation, compose: &Compose, fix: bool) -> Result<()> {
        let layout = &installation.layout;
        // That it leads nowhere was told.
        let Ok(Place::Release(version)) = running::place(layout) else { return Ok(()) };
        let Some(info) = releases::info(layout, &version)? else { return Ok(()) };
        let (folder, current) = (layout.release(&version.to_string()), layout.pointer(Pointer::Current));
        let mut reader = Reader::new(compose, &installation.settings.project, &folder, &info, &current);
        let Some(edited) = reader.compile().await?.1 else { return Ok(()) };
        if fix {
            let files = shipped::put_back(layout, &info)?.join(", ");
            let kept = layout.shared().join("edits").join(version.to_string()).display().to_string();
            self.good("pointers", Look::ShippedAgain { files, kept });
        } else {
            let help = Look::Uncompiled.help(self.lang);
            self.add("pointers", "failed", edited.text(self.lang), help);
        }
        Ok(())
    }

    /// Whether a pointer leads nowhere, which was told then.
    pub(super) fn is_told(installation: &Installation, pointer: Pointer) -> bool {
        pointer == Pointer::Current
            && running::version(installation).is_ok_and(|runs| runs.is_some())
            && matches!(running::place(&installation.layout), Ok(Place::Missing | Place::Astray(_)))
    }
}
