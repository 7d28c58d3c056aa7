//! What a backup holds besides the data: enough to know, and to make again, what the data belonged to. None of it is put
//! back by itself.

use serde::Serialize;

use crate::backup::{Origin, Part, PartKind};
use crate::durable;
use crate::fault::{IoContext, Result};
use crate::layout::Pointer;
use crate::release::ReleaseInfo;
use crate::upgrade::world::World;
use crate::upgrade::{edits, pointers, releases};

/// The name of the part that says what was installed.
const INSTALLATION: &str = "installation.json";

/// The content of [`INSTALLATION`].
#[derive(Serialize)]
struct Installed<'a> {
    schema: u32,
    project: &'a str,
    current: Option<String>,
    previous: Option<String>,
    factory: Option<String>,
    /// Those of the release whose data it is.
    images: Vec<Image<'a>>,
}

#[derive(Serialize)]
struct Image<'a> {
    #[serde(rename = "ref")]
    reference: &'a str,
    id: String,
    digest: String,
}

/// The pointers and images, and the files of the release that are not as they were shipped.
pub fn parts(world: &World<'_>, info: &ReleaseInfo) -> Result<Vec<Part>> {
    let mut parts = vec![installation(world, info)?];
    let folder = world.layout().release(&info.version.to_string());
    let by_hand = edits::by_hand(world.installation, &info.version)?;
    let mut files: Vec<String> = by_hand.into_iter().map(|edit| edit.path).collect();
    for path in &info.config {
        let shipped = folder.join(releases::PRISTINE).join(path);
        if folder.join(path).is_file() && !same(&folder.join(path), &shipped)? {
            files.push(path.clone());
        }
    }
    for file in files.into_iter().filter(|file| folder.join(file).is_file()) {
        let origin = Origin::Disk(folder.join(&file));
        parts.push(Part::new(format!("edits/{file}"), PartKind::Edit { file }, origin));
    }
    Ok(parts)
}

fn same(one: &std::path::Path, other: &std::path::Path) -> Result<bool> {
    Ok(other.is_file() && std::fs::read(one).at(one)? == std::fs::read(other).at(other)?)
}

fn installation(world: &World<'_>, info: &ReleaseInfo) -> Result<Part> {
    let pointer = |pointer| -> Result<Option<String>> {
        Ok(pointers::read(world.layout(), pointer)?.map(|version| version.to_string()))
    };
    let installed = Installed {
        schema: 1,
        project: world.project(),
        current: pointer(Pointer::Current)?,
        previous: pointer(Pointer::Previous)?,
        factory: pointer(Pointer::Factory)?,
        images: info
            .images
            .iter()
            .map(|image| Image {
                reference: &image.reference,
                id: image.id.to_string(),
                digest: image.digest.to_string(),
            })
            .collect(),
    };
    let path = world.work_file(INSTALLATION)?;
    let mut text = serde_json::to_vec_pretty(&installed).expect("texts are always valid JSON");
    text.push(b'\n');
    durable::write_atomic(&path, &text)?;
    Ok(Part::new(INSTALLATION.into(), PartKind::Installation, Origin::Disk(path)))
}
