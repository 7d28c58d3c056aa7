//! `client doctor`: looks at everything an upgrade depends on and says how to mend it.

mod backups;
mod containers;
mod current;
mod held;
mod under_way;

use std::path::Path;

use super::api::Finding;
use super::change::Tools;
use super::edits::{self, Edit};
use super::installation::Installation;
use super::{pointers, rebuild, releases, ways};
use crate::fault::{Fault, Result};
use crate::layout::Pointer;
use crate::messages::Lang;
use crate::messages::doctor::Look;
use crate::messages::ways::{Condition, Part, Way};
use crate::progress::Progress;
use crate::release::manifest::{MAX_BYTES, Manifest};
use crate::state::reserve;
use crate::transfer::Source;

/// Below this, an upgrade is likely to fail for want of room.
const LITTLE_ROOM: u64 = 1 << 30;

/// All findings, in the order a person would look.
///
/// With `fix`, what can be mended is, before it is looked at: then another client must not be at work.
pub async fn doctor(root: &Path, fix: bool, progress: &Progress) -> Vec<Finding> {
    let mut report = Report { lang: progress.lang(), findings: Vec::new() };
    let tools = Tools::find().await;
    match &tools {
        Ok(tools) => {
            let store = if tools.engine.containerd_store() { "containerd" } else { "overlay2" };
            let version = format!("{} (API {}, {store})", tools.engine.version(), tools.engine.api_version());
            report.good("engine", Look::Engine { version });
            report.good("compose", Look::Compose { version: tools.compose.version().into() });
        }
        Err(fault) => report.bad("engine", fault),
    }
    let installation = match Installation::open(root) {
        Ok(installation) => installation,
        Err(fault) => {
            report.bad("installation", &fault);
            return report.findings;
        }
    };
    report.good("installation", Look::Installation { project: installation.settings.project.clone() });
    let lock = match fix.then(|| installation.lock("doctor")).transpose() {
        Ok(lock) => lock,
        Err(fault) => {
            report.bad("installation", &fault);
            return report.findings;
        }
    };
    // First, because it decides about much of the rest.
    let moving = report.under_way(&installation, lock.is_some());
    // Then, because what else is mended needs room.
    let freed = match &lock {
        Some(_) => backups::free_room(&installation, progress).await,
        None => Ok(()),
    };
    report.disk(&installation);
    report.state(&installation, lock.is_some());
    report.clock();
    report.source(&installation, progress).await;
    report.current(&installation, tools.as_ref().ok(), lock.is_some(), progress).await;
    if let Ok(tools) = &tools {
        // Before the rest looks at containers.
        report.held(&installation, tools, lock.is_some()).await;
        report.ways(&installation, tools, lock.is_some(), progress).await;
        report.containers(&installation, tools, moving).await;
    }
    report.pointers(&installation);
    report.backups(&installation, freed);
    report.findings
}

struct Report {
    lang: Lang,
    findings: Vec<Finding>,
}

impl Report {
    fn add(&mut self, check: &str, status: &str, message: String, help: String) {
        self.findings.push(Finding { check: check.into(), status: status.into(), message, help });
    }

    fn good(&mut self, check: &str, look: Look) {
        self.add(check, "ok", look.text(self.lang), String::new());
    }

    fn worry(&mut self, check: &str, look: Look) {
        self.add(check, "warning", look.text(self.lang), look.help(self.lang));
    }

    fn broken(&mut self, check: &str, look: Look) {
        self.add(check, "failed", look.text(self.lang), look.help(self.lang));
    }

    fn bad(&mut self, check: &str, fault: &Fault) {
        self.add(check, "failed", fault.message(self.lang), fault.help(self.lang));
    }

    fn disk(&mut self, installation: &Installation) {
        let root = installation.layout.root();
        match rustix::fs::statvfs(root) {
            Err(error) => self.bad("disk", &Fault::io(root, error.into())),
            Ok(stat) => {
                let bytes = stat.f_bavail.saturating_mul(stat.f_frsize);
                let look = Look::Disk { path: root.display().to_string(), mib: bytes >> 20 };
                if bytes < LITTLE_ROOM { self.worry("disk", look) } else { self.good("disk", look) }
            }
        }
    }

    fn state(&mut self, installation: &Installation, fix: bool) {
        match rebuild::is_rebuilt(installation) {
            Ok(true) => self.worry("state", Look::StateRebuilt),
            Ok(false) => {}
            Err(fault) => self.bad("state", &fault),
        }
        let reserve = reserve::beside(&installation.layout.state_db());
        if fix && let Err(fault) = reserve::ensure(&reserve) {
            self.bad("reserve", &fault);
        }
        match reserve::is_there(&reserve) {
            true => self.good("reserve", Look::Reserve),
            false => self.worry("reserve", Look::ReserveMissing { path: reserve.display().to_string() }),
        }
    }

    fn clock(&mut self) {
        // Certificates and the age of releases are judged by it.
        let year = time::OffsetDateTime::now_utc().year();
        let look = Look::Clock { now: super::journal::now() };
        if year < 2025 { self.worry("clock", look) } else { self.good("clock", look) }
    }

    async fn source(&mut self, installation: &Installation, progress: &Progress) {
        match newest(installation, progress).await {
            Ok(manifest) => self.good("source", Look::Source { newest: manifest.version.to_string() }),
            Err(fault) => self.bad("source", &fault),
        }
    }

    fn pointers(&mut self, installation: &Installation) {
        for pointer in Pointer::ALL.into_iter().filter(|one| !Self::is_told(installation, *one)) {
            match release_at(installation, pointer) {
                Ok(None) if pointer == Pointer::Previous => {}
                Ok(None) => self.worry("pointers", Look::NoPointer { name: pointer.name() }),
                Ok(Some((version, edits))) if edits.is_empty() => {
                    self.good("pointers", Look::Pointer { name: pointer.name(), version });
                }
                Ok(Some((version, edits))) => {
                    let paths: Vec<&str> = edits.iter().map(|edit| edit.path.as_str()).collect();
                    let diff: String = edits.iter().map(|edit| edit.diff.as_str()).collect();
                    let look = Look::Edited {
                        name: pointer.name(),
                        version,
                        paths: paths.join(", "),
                        diff: edits::shortened(&diff, edits::LONG),
                    };
                    self.worry("pointers", look);
                }
                Err(fault) => self.bad("pointers", &fault),
            }
        }
    }

    /// Folder, images and bundle of every version that may be gone back to.
    async fn ways(&mut self, installation: &Installation, tools: &Tools, fix: bool, progress: &Progress) {
        let found = match fix {
            true => ways::mend(installation, tools, progress).await,
            false => ways::inspect(installation, tools, progress).await,
        };
        match found {
            Err(fault) => self.bad("images", &fault),
            Ok(found) => found.into_iter().for_each(|way| self.way(way)),
        }
    }

    fn way(&mut self, way: Way) {
        let check = match way.part {
            Part::Folder => "folders",
            Part::Images => "images",
            Part::Bundle => "bundles",
        };
        let status = match way.condition {
            Condition::Whole | Condition::Mended(_) => "ok",
            Condition::Lacking(_) | Condition::Lost(..) => "failed",
        };
        self.add(check, status, way.text(self.lang), way.help(self.lang));
    }
}

async fn newest(installation: &Installation, progress: &Progress) -> Result<Manifest> {
    let at = Source::parse(&installation.settings.source)?.manifest();
    let fetcher = installation.fetcher(progress)?;
    Manifest::from_json(&fetcher.document(&at, MAX_BYTES).await?, &at.to_string())
}

/// The version a pointer names and what was edited in its release by hand.
fn release_at(installation: &Installation, pointer: Pointer) -> Result<Option<(String, Vec<Edit>)>> {
    let Some(version) = pointers::read(&installation.layout, pointer)? else {
        return Ok(None);
    };
    releases::require(&installation.layout, &version)?;
    Ok(Some((version.to_string(), edits::by_hand(installation, &version)?)))
}
