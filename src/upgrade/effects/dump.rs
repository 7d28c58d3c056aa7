//! Data that a service gives away and takes back by commands of its own.

use std::io::Read;

use tokio::io::AsyncWriteExt;

use super::data::{Data, is_wanted};
use super::quiet::as_before;
use crate::backup::{Origin, Part, PartKind, Record};
use crate::docker::{Container, Engine};
use crate::fault::{Code, Fault, IoContext, Result};
use crate::messages::Say;
use crate::progress::Step;
use crate::release::ReleaseInfo;
use crate::upgrade::world::World;

/// Runs the command that gives the data, in the service's running container, and keeps what it says as a part.
pub async fn take(world: &World<'_>, data: &Data, number: usize) -> Result<Part> {
    let policy = &data.policy;
    let service = policy.service.clone().unwrap_or_default();
    let container = world.engine.running_container(world.project(), &service).await?;
    let container = container.ok_or_else(|| {
        Fault::new(Code::HookFailed, policy.dump.join(" "), format!("service {service} does not run"))
    })?;
    world.progress.note(Step::CreatingBackup, Say::DumpStarted { service: service.clone() });
    let path = world.work_file(&format!("dump-{number}"))?;
    let mut file = tokio::fs::File::create(&path).await.at(&path)?;
    world.engine.exec_to(&container, &policy.dump, &mut file).await?;
    // The last write may still be under way, and only this tells how it ended.
    file.flush().await.at(&path)?;
    file.sync_all().await.at(&path)?;
    // Of a database that is empty, too, a dump says something.
    if file.metadata().await.at(&path)?.len() == 0 {
        let cause = "the dump command wrote nothing";
        return Err(Fault::new(Code::BackupFailed, policy.dump.join(" "), cause));
    }
    let kind = PartKind::Dump { of: data.name.clone(), service, restore: policy.restore.clone() };
    Ok(Part::new(name_of(&data.name), kind, Origin::Disk(path)))
}

/// The name of the part that holds what a command gave in place of the part `of`.
fn name_of(of: &str) -> String {
    format!("dumps/{of}")
}

/// Starts the container of a service that is down, has `argv` in it take what was kept, and stops it again.
pub async fn put_back(
    engine: &Engine,
    info: &ReleaseInfo,
    container: &Container,
    argv: &[String],
    content: impl Read + Send + 'static,
) -> Result<()> {
    engine.start(&container.id).await?;
    let taken = async {
        engine.wait_ready(&as_before(info, container)).await?;
        engine.exec_from(&container.id, argv, content).await
    };
    let taken = taken.await;
    engine.stop(&container.id, None).await?;
    taken
}

/// The container that takes back a part of backup `record`, for each that a command has to take; an error where there is
/// none.
pub fn takers<'c>(
    world: &World<'_>,
    record: &Record,
    containers: &'c [Container],
) -> Result<Vec<(PartKind, &'c Container)>> {
    let mut found = Vec::new();
    for part in record.parts.iter().filter(|part| is_wanted(world, &part.name)) {
        let PartKind::Dump { service, .. } = &part.kind else { continue };
        let container = containers.iter().find(|one| one.service == *service && !one.one_off);
        let container = container.ok_or_else(|| {
            let cause = format!("service {service}, which would have to take it, has no container");
            Fault::new(Code::RestoreFailed, &part.name, cause)
        })?;
        found.push((part.kind.clone(), container));
    }
    Ok(found)
}
