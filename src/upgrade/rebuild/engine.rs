//! What only the engine knows: which release the containers of the project were started from.

use rusqlite::params;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::releases::unpacked_at;
use super::{REBUILT, current, fact, recover_backups_locked};
use crate::docker::{Container, Engine, State};
use crate::fault::{Code, Fault, Result};
use crate::layout::Layout;
use crate::release::{ReleaseInfo, Version};
use crate::upgrade::installation::Installation;
use crate::upgrade::releases;

/// The second half of rebuilding, with the lock held: containers and backups get their records, and what a backup
/// that was cut off had frozen goes on. Returns whether the state was rebuilt and nothing was made of it yet; then a
/// change may have been under way whose journal is lost. May be repeated; [`REBUILT`] is the caller's to remove.
pub async fn rebuild_from_engine(installation: &Installation, engine: &Engine) -> Result<bool> {
    if fact(&installation.store, REBUILT)?.is_none() {
        return Ok(false);
    }
    let candidates = candidates(&installation.layout)?;
    for container in engine.containers(&installation.settings.project).await? {
        // Which of them an administrator froze is not known; frozen for ever is what nobody wants.
        if container.state == State::Paused {
            engine.unpause(&container.id).await?;
        }
        if let Some(version) = release_of(&container, &candidates).filter(|_| !container.one_off) {
            installation.store.with(|db| {
                db.execute(
                    "INSERT OR IGNORE INTO containers (container_id, service, release) VALUES (?1, ?2, ?3)",
                    params![container.id, container.service, version.to_string()],
                )
                .map(drop)
            })?;
        }
    }
    recover(installation).await?;
    Ok(true)
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
    let fits = |candidate: &&Candidate| {
        candidate.info.images.iter().any(|image| Engine::is_image(image, &container.image_id))
    };
    let began = began(container);
    let fitting: Vec<&Candidate> = candidates.iter().filter(fits).collect();
    let before = fitting.iter().find(|candidate| began.is_some_and(|began| candidate.unpacked <= began));
    let oldest = fitting.iter().min_by_key(|candidate| &candidate.version);
    before.or(oldest).map(|candidate| &candidate.version)
}

/// When a container's mounts were made: at its last start, or not before its creation.
fn began(container: &Container) -> Option<OffsetDateTime> {
    let read = |text: &str| OffsetDateTime::parse(text, &Rfc3339).ok().filter(|time| time.year() > 1);
    read(&container.started_at).or_else(|| read(&container.created_at))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn candidate(version: &str, image: char, unpacked: &str) -> Candidate {
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
