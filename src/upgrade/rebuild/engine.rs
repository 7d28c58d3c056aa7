//! What only the engine knows: which release the containers of the project were started from.

mod evidence;

use rusqlite::params;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::releases::unpacked_at;
use super::{REBUILT, current, fact, previous, recover_backups_locked};
use crate::docker::{Container, Engine, State};
use crate::fault::{Code, Fault, Result};
use crate::layout::Layout;
use crate::release::{ReleaseInfo, Version};
use crate::state::meta;
use crate::upgrade::installation::Installation;
use crate::upgrade::journal::Journal;
use crate::upgrade::releases;
use crate::upgrade::running::RUNS;

/// The second half of rebuilding, with the lock held: containers and backups get their records, and what a backup
/// that was cut off had frozen goes on. The engine is asked once; what it showed to run is kept under [`RUNS`] until the
/// stack was made whole.
pub async fn rebuild_from_engine(installation: &Installation, engine: &Engine) -> Result<()> {
    if fact(&installation.store, REBUILT)?.is_none() {
        return Ok(());
    }
    if fact(&installation.store, RUNS)?.is_none() {
        ask(installation, engine).await?;
    }
    recover(installation).await
}

async fn ask(installation: &Installation, engine: &Engine) -> Result<()> {
    let candidates = candidates(&installation.layout)?;
    let mut containers = engine.containers(&installation.settings.project).await?;
    // What a change had made beside what ran, and not started: nobody will take it up any more, unless its journal was
    // found.
    let found = Journal::new(installation.store.clone()).unfinished()?.is_some();
    for id in never_taken_up(&containers).into_iter().filter(|_| !found) {
        engine.remove(&id, false).await?;
        containers.retain(|container| container.id != id);
    }
    for container in &containers {
        // Which of them an administrator froze is not known; frozen for ever is what nobody wants.
        if container.state == State::Paused {
            engine.unpause(&container.id).await?;
        }
        if let Some(version) = release_of(container, &candidates).filter(|_| !container.one_off) {
            installation.store.with(|db| {
                db.execute(
                    "INSERT OR IGNORE INTO containers (container_id, service, release) VALUES (?1, ?2, ?3)",
                    params![container.id, container.service, version.to_string()],
                )
                .map(drop)
            })?;
        }
    }
    let named = [current(&installation.layout), previous(&installation.layout)];
    let runs = evidence::runs(&containers, &candidates, named[0].as_ref(), named[1].as_ref());
    let text = runs.map(|version| version.to_string()).unwrap_or_default();
    installation.store.with(|db| meta::set(db, RUNS, &text))
}

fn never_taken_up(containers: &[Container]) -> Vec<String> {
    let ran =
        |service: &str| containers.iter().any(|one| one.service == service && one.state != State::Created);
    let new =
        containers.iter().filter(|one| one.state == State::Created && !one.one_off && ran(&one.service));
    new.map(|one| one.id.clone()).collect()
}

async fn recover(installation: &Installation) -> Result<()> {
    let own = installation.share();
    tokio::task::spawn_blocking(move || recover_backups_locked(&own))
        .await
        .map_err(|error| Fault::from_error(Code::Io, installation.layout.backups().display(), error))?
}

/// A release a container may have been started from.
struct Candidate {
    version: Version,
    info: ReleaseInfo,
    unpacked: OffsetDateTime,
}

impl Candidate {
    /// Whether a container has an image of it.
    fn fits(&self, container: &Container) -> bool {
        self.info.images.iter().any(|image| Engine::is_image(image, &container.image_id))
    }
}

/// The releases here, the likeliest first: `current`, then the newest.
fn candidates(layout: &Layout) -> Result<Vec<Candidate>> {
    let mut found = Vec::new();
    for version in releases::versions(layout)?.into_iter().rev() {
        // One that does not say what it is was told about already.
        if let Ok(Some(info)) = releases::info(layout, &version) {
            let unpacked = unpacked_at(layout, &version)?;
            found.push(Candidate { version, info, unpacked });
        }
    }
    let current = current(layout);
    found.sort_by_key(|candidate| Some(&candidate.version) != current.as_ref());
    Ok(found)
}

/// The release whose files a container holds: one with its image that was here already when it was started. Where all
/// of them came later (an adopted stack was running before), the oldest.
fn release_of<'c>(container: &Container, candidates: &'c [Candidate]) -> Option<&'c Version> {
    let began = began(container);
    let fitting: Vec<&Candidate> = candidates.iter().filter(|candidate| candidate.fits(container)).collect();
    let before = fitting.iter().find(|candidate| began.is_some_and(|began| candidate.unpacked <= began));
    let oldest = fitting.iter().min_by_key(|candidate| &candidate.version);
    before.or(oldest).map(|candidate| &candidate.version)
}

/// When a container's mounts were made: at its last start, or not before its creation.
fn began(container: &Container) -> Option<OffsetDateTime> {
    instant(&container.started_at).or_else(|| instant(&container.created_at))
}

/// The engine writes the year 1 for what never was.
fn instant(text: &str) -> Option<OffsetDateTime> {
    OffsetDateTime::parse(text, &Rfc3339).ok().filter(|time| time.year() > 1)
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(super) fn candidate(version: &str, image: char, unpacked: &str) -> Candidate {
        let digest = |c: char| format!("sha256:{}", c.to_string().repeat(64));
        let json = serde_json::json!({"schema": 1, "name": "x", "version": version, "arch": "any",
            "compose": ["compose.yaml"], "persist": [], "config": [], "files": [],
            "images": [{"ref": "x:1", "id": digest(image), "digest": digest(image), "layers": []}]});
        Candidate {
            version: version.parse().unwrap(),
            info: ReleaseInfo::from_json(json.to_string().as_bytes(), "test").unwrap(),
            unpacked: OffsetDateTime::parse(unpacked, &Rfc3339).unwrap(),
        }
    }

    fn container(image: char, started: &str, created: &str) -> Container {
        Container {
            image_id: format!("sha256:{}", image.to_string().repeat(64)),
            started_at: started.into(),
            created_at: created.into(),
            ..Container::default()
        }
    }

    #[test]
    fn a_container_belongs_to_the_release_that_was_there_when_it_began() {
        let (early, late) = ("2026-01-01T00:00:00Z", "2026-02-01T00:00:00Z");
        // 1.1.0 is `current`; both have image a, only the new one has b.
        let candidates = [candidate("1.1.0", 'a', late), candidate("1.0.0", 'a', early)];
        let never = "0001-01-01T00:00:00Z";
        for (started, created, expected) in [
            ("2026-01-15T00:00:00.5Z", early, "1.0.0"),
            ("2026-02-15T00:00:00Z", early, "1.1.0"),
            (never, "2026-01-15T00:00:00Z", "1.0.0"),
            (never, "2026-02-15T00:00:00Z", "1.1.0"),
            ("2025-12-15T00:00:00Z", early, "1.0.0"),
            ("", "", "1.0.0"),
        ] {
            let found = release_of(&container('a', started, created), &candidates).unwrap();
            assert_eq!(found.to_string(), expected, "{started} {created}");
        }
        assert_eq!(release_of(&container('c', early, early), &candidates), None);
    }
}
