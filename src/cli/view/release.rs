//! What the publisher's commands tell.

use std::path::PathBuf;

use serde::Serialize;

use crate::messages::cli::Words;
use crate::publisher::DeltaReport;
use crate::release::{ReleaseInfo, Version};

use super::{Align, Facts, Look, Paint, Table, bytes};

/// A release that was packed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct BuildView {
    /// Always 1.
    pub schema: u32,
    /// Its version.
    pub version: Version,
    /// The architecture of its images.
    pub arch: String,
    /// The bundle.
    pub bundle: PathBuf,
    /// Bytes of the bundle.
    pub size: u64,
    /// Of the bundle.
    pub hash: String,
    /// The patch package, where one was asked for.
    pub patch: Option<PathBuf>,
    /// The deltas between layers that are in the packages.
    pub deltas: Vec<DeltaReport>,
    /// Every file that was written.
    pub written: Vec<PathBuf>,
}

/// A release that was added to a source folder.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PublishView {
    /// Always 1.
    pub schema: u32,
    /// Its version.
    pub version: Version,
    /// The source folder.
    pub source: PathBuf,
    /// The version `manifest.json` names now.
    pub newest: Version,
    /// Every file that was written.
    pub written: Vec<PathBuf>,
    /// Packages of releases that were built before and are not in the source.
    pub left: Vec<PathBuf>,
}

/// What is in a bundle.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct InspectView {
    /// Always 1.
    pub schema: u32,
    /// The file.
    pub file: PathBuf,
    /// Its size in bytes.
    pub size: u64,
    /// Its hash.
    pub hash: String,
    /// What is wrong with it.
    pub problems: Vec<String>,
    /// Its `release.json`.
    pub release: ReleaseInfo,
}

/// What was packed.
pub fn built(built: &BuildView, look: Look) -> String {
    let version = built.version.to_string();
    let mut facts = Facts::new(look);
    facts
        .add(Words::Architecture, &built.arch)
        .add(Words::Bundle, built.bundle.display().to_string())
        .add(Words::Size, bytes(built.size))
        .add(Words::Hash, &built.hash)
        .add_some(Words::Patch, built.patch.as_ref().map(|path| path.display().to_string()))
        .add_some(Words::Deltas, (!built.deltas.is_empty()).then(|| deltas(&built.deltas)))
        .add(Words::Written, paths(&built.written));
    format!(
        "{}\n{}",
        look.line(Paint::Good, &look.say(Words::ReleaseBuilt { version: &version })),
        facts.render(2)
    )
}

/// A line for each: the new layer, the release it is made of, and what that saves.
fn deltas(deltas: &[DeltaReport]) -> String {
    let line = |delta: &DeltaReport| {
        let (layer, from) = (delta.layer.short(), &delta.from);
        format!("{layer} ← {from}: {} → {}", bytes(delta.stored), bytes(delta.size))
    };
    deltas.iter().map(line).collect::<Vec<_>>().join("\n")
}

/// What was published.
pub fn published(published: &PublishView, look: Look) -> String {
    let version = published.version.to_string();
    let source = published.source.display().to_string();
    let mut facts = Facts::new(look);
    facts.add(Words::Newest, published.newest.to_string()).add(Words::Written, paths(&published.written));
    let words = Words::ReleasePublished { version: &version, source: &source };
    let mut text = format!("{}\n{}", look.line(Paint::Good, &look.say(words)), facts.render(2));
    if !published.left.is_empty() {
        let files = paths(&published.left).replace('\n', ", ");
        let words = Words::NotPublished { files: &files };
        text.push_str(&format!("  {} {}\n", look.paint(Paint::Warn, "!"), look.say(words)));
    }
    text
}

/// What is in a bundle.
pub fn inspected(view: &InspectView, look: Look) -> String {
    let release = &view.release;
    let mut facts = Facts::new(look);
    facts
        .add(Words::Name, &release.name)
        .add(Words::Version, release.version.to_string())
        .add(Words::Architecture, &release.arch)
        .add(Words::ComposeFiles, release.compose.join(", "))
        .add(Words::Persists, release.persist.join(", "))
        .add(Words::Files, release.files.len().to_string())
        .add(Words::Size, bytes(view.size))
        .add(Words::Hash, &view.hash);
    let mut text = facts.render(0);
    for problem in &view.problems {
        text.push_str(&look.line(Paint::Bad, &super::clean(problem)));
        text.push('\n');
    }
    if !release.images.is_empty() {
        text.push_str(&format!("\n{}\n", look.paint(Paint::Strong, &look.say(Words::Images))));
        let headings = [
            (look.say(Words::Image), Align::Left),
            (look.say(Words::Layers), Align::Right),
            (look.say(Words::SizeHeading), Align::Right),
            (look.say(Words::Id), Align::Left),
        ];
        let mut table = Table::new(look, &headings);
        for image in &release.images {
            let size = image.layers.iter().map(|layer| layer.size).sum();
            table.row([
                (image.reference.clone(), None),
                (image.layers.len().to_string(), None),
                (bytes(size), None),
                (image.id.short(), Some(Paint::Dim)),
            ]);
        }
        text.push_str(&table.render(2));
    }
    text
}

fn paths(paths: &[PathBuf]) -> String {
    paths.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::messages::Lang;

    const EN: Look = Look { lang: Lang::En, colour: false };

    #[test]
    fn a_packed_and_a_published_release() {
        let view = BuildView {
            schema: 1,
            version: "1.0.0".parse().unwrap(),
            arch: "amd64".into(),
            bundle: "out/x-1.0.0.bundle".into(),
            size: 1024,
            hash: "sha256:aa".into(),
            patch: None,
            deltas: Vec::new(),
            written: vec!["out/x-1.0.0.bundle".into(), "out/manifest.json".into()],
        };
        assert_eq!(
            built(&view, EN),
            "\
✓ release 1.0.0 is packed
  architecture  amd64
  bundle        out/x-1.0.0.bundle
  size          1.0 KiB
  hash          sha256:aa
  written       out/x-1.0.0.bundle
                out/manifest.json
"
        );
        let view = PublishView {
            schema: 1,
            version: "1.0.0".parse().unwrap(),
            source: "/srv/x".into(),
            newest: "1.1.0".parse().unwrap(),
            written: vec!["/srv/x/manifest.json".into()],
            left: Vec::new(),
        };
        assert_eq!(
            published(&view, Look { lang: Lang::Zh, ..EN }),
            "✓ 版本 1.0.0 已发布到 /srv/x\n  最新版本  1.1.0\n  已写入    /srv/x/manifest.json\n"
        );
        let left = PublishView { left: vec!["out/x-0.9.0.bundle".into()], ..view };
        assert!(published(&left, EN).contains("  ! not published"), "{}", published(&left, EN));
    }

    #[test]
    fn the_content_of_a_bundle() {
        let id = format!("sha256:{}", "a".repeat(64));
        let release: ReleaseInfo = serde_json::from_value(serde_json::json!({
            "schema": 1, "name": "x", "version": "1.0.0", "arch": "amd64", "compose": ["compose.yaml"],
            "persist": ["data"], "files": [],
            "images": [{"ref": "x-web:1", "id": id, "digest": id,
                        "layers": [{"diff_id": id, "digest": id, "size": 2048}]}]}))
        .unwrap();
        let view = InspectView {
            schema: 1,
            file: "f".into(),
            size: 4096,
            hash: "sha256:bb".into(),
            problems: vec!["bad".into()],
            release,
        };
        let short = view.release.images[0].id.short();
        assert_eq!(
            inspected(&view, EN),
            format!(
                "\
name           x
version        1.0.0
architecture   amd64
Compose files  compose.yaml
persists       data
files          0
size           4.0 KiB
hash           sha256:bb
✗ bad

images
  IMAGE    LAYERS     SIZE  ID
  x-web:1       1  2.0 KiB  {short}
"
            )
        );
    }
}
