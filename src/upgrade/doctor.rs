//! `client doctor`: looks at everything an upgrade depends on and says how to mend it.

use std::path::Path;

use super::api::Finding;
use super::change::Tools;
use super::installation::Installation;
use super::journal::Journal;
use super::rollback::bundle_of;
use super::{pointers, rebuild, releases};
use crate::backup::{BackupManager, Problem};
use crate::fault::{Fault, Result};
use crate::layout::Pointer;
use crate::messages::Lang;
use crate::messages::doctor::Look;
use crate::progress::Progress;
use crate::release::manifest::{MAX_BYTES, Manifest};
use crate::release::tree::verify_release;
use crate::state::reserve;
use crate::transfer::{Fetcher, Source};

/// Below this, an upgrade is likely to fail for want of room.
const LITTLE_ROOM: u64 = 1 << 30;

/// All findings, in the order a person would look.
pub async fn doctor(root: &Path, progress: &Progress) -> Vec<Finding> {
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
    report.disk(&installation);
    report.state(&installation);
    report.clock();
    report.source(&installation, progress).await;
    report.pointers(&installation);
    report.unfinished(&installation);
    report.backups(&installation);
    if let Ok(tools) = &tools {
        report.images(&installation, tools).await;
    }
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

    fn state(&mut self, installation: &Installation) {
        match rebuild::is_rebuilt(installation) {
            Ok(true) => self.worry("state", Look::StateRebuilt),
            Ok(false) => {}
            Err(fault) => self.bad("state", &fault),
        }
        let reserve = reserve::beside(&installation.layout.state_db());
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
        for pointer in Pointer::ALL {
            match release_at(installation, pointer) {
                Ok(None) if pointer == Pointer::Previous => {}
                Ok(None) => self.worry("pointers", Look::NoPointer { name: pointer.name() }),
                Ok(Some((version, changed))) if changed.is_empty() => {
                    self.good("pointers", Look::Pointer { name: pointer.name(), version });
                }
                Ok(Some((version, changed))) => {
                    let paths = changed.join(", ");
                    self.worry("pointers", Look::Edited { name: pointer.name(), version, paths });
                }
                Err(fault) => self.bad("pointers", &fault),
            }
        }
    }

    fn unfinished(&mut self, installation: &Installation) {
        match Journal::new(installation.store.clone()).unfinished() {
            Ok(None) => self.good("journal", Look::NothingUnfinished),
            Ok(Some(change)) => {
                self.worry("journal", Look::Unfinished { id: change.id, state: change.state.name() })
            }
            Err(fault) => self.bad("journal", &fault),
        }
    }

    fn backups(&mut self, installation: &Installation) {
        let manager = BackupManager::new(installation.store.clone(), installation.layout.backups());
        match manager.reconcile() {
            Err(fault) => self.bad("backups", &fault),
            Ok(problems) if problems.is_empty() => self.good("backups", Look::BackupsAgree),
            Ok(problems) => {
                for problem in problems {
                    let what = match problem {
                        Problem::Abandoned(record) => record.id,
                        Problem::FileMissing(record) => record.file,
                        Problem::UnknownFile(path) => path.display().to_string(),
                        Problem::RestoreUnfinished(id) => id,
                    };
                    self.worry("backups", Look::BackupProblem { what });
                }
            }
        }
    }

    /// Every image that a pointer may need is in the engine, or in a bundle here.
    async fn images(&mut self, installation: &Installation, tools: &Tools) {
        for pointer in Pointer::ALL {
            let found = missing_images(installation, tools, pointer).await;
            match found {
                Ok(None) => {}
                Ok(Some(missing)) if missing.is_empty() => {
                    self.good("images", Look::ImagesThere { name: pointer.name() });
                }
                Ok(Some(missing)) => {
                    self.worry(
                        "images",
                        Look::ImagesMissing { name: pointer.name(), images: missing.join(", ") },
                    );
                }
                Err(fault) => self.bad("images", &fault),
            }
        }
    }
}

async fn newest(installation: &Installation, progress: &Progress) -> Result<Manifest> {
    let settings = &installation.settings;
    let at = Source::parse(&settings.source)?.manifest();
    let fetcher = Fetcher::new(installation.store.clone(), &settings.download, progress.clone())?;
    Manifest::from_json(&fetcher.document(&at, MAX_BYTES).await?, &at.to_string())
}

/// The version a pointer names and the files of its release that are not as they were shipped.
fn release_at(installation: &Installation, pointer: Pointer) -> Result<Option<(String, Vec<String>)>> {
    let layout = &installation.layout;
    let Some(version) = pointers::read(layout, pointer)? else {
        return Ok(None);
    };
    let info = releases::require(layout, &version)?;
    let folder = layout.release(&version.to_string());
    let deviations = verify_release(&folder, &info, &releases::editable(&info, &installation.settings))?;
    Ok(Some((version.to_string(), deviations.into_iter().map(|deviation| deviation.path).collect())))
}

/// The images of a pointer's release that are neither in the engine nor in its bundle.
async fn missing_images(
    installation: &Installation,
    tools: &Tools,
    pointer: Pointer,
) -> Result<Option<Vec<String>>> {
    let Some(version) = pointers::read(&installation.layout, pointer)? else {
        return Ok(None);
    };
    let info = releases::require(&installation.layout, &version)?;
    let bundle = bundle_of(installation, &version)?;
    let mut missing = Vec::new();
    for image in &info.images {
        if tools.engine.find_image(image).await?.is_none() && bundle.is_none() {
            missing.push(image.reference.clone());
        }
    }
    Ok(Some(missing))
}
