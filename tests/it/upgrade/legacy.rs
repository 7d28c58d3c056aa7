//! Packages and manifests of the older kinds.

use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::support::stack::{Device, IDLE, Stack, docker};

/// A package folder with the stack's Compose file and its image, which the engine no longer has then.
fn package(stack: &Stack, folder: &Path, page: &str) {
    let images = folder.join("docker/images");
    fs::create_dir_all(&images).unwrap();
    fs::write(folder.join("docker/docker-compose.yml"), stack.compose()).unwrap();
    fs::write(folder.join("docker/.env"), "PORT=80\n").unwrap();
    fs::write(folder.join("docker/page.html"), page).unwrap();
    let image = stack.image("app");
    docker(&["save", "-o", images.join("app-amd64.tar").to_str().unwrap(), &image]);
    docker(&["rmi", &image]);
}

fn zip(folder: &Path, to: &Path) {
    let mut writer = zip::ZipWriter::new(fs::File::create(to).unwrap());
    for entry in walkdir::WalkDir::new(folder) {
        let entry = entry.unwrap();
        if entry.file_type().is_file() {
            let name = entry.path().strip_prefix(folder).unwrap().to_str().unwrap();
            writer.start_file(name, zip::write::SimpleFileOptions::default()).unwrap();
            writer.write_all(&fs::read(entry.path()).unwrap()).unwrap();
        }
    }
    writer.finish().unwrap();
}

fn manifest(stack: &Stack, value: &Value) {
    fs::write(stack.source().join("manifest.json"), value.to_string()).unwrap();
}

#[test]
fn a_zip_by_the_simple_manifest_and_a_tar_by_the_enhanced_one() {
    let mut stack = Stack::new();
    fs::create_dir(stack.source()).unwrap();
    let work = tempfile::tempdir().unwrap();
    let yaml = format!("{IDLE}\nvolumes: ['./page.html:/page:ro', './data:/data']");
    stack.unpublished(|r| {
        r.service("app", &yaml);
    });
    package(&stack, &work.path().join("1"), "one");
    let zipped = stack.source().join("app-1.0.0.zip");
    zip(&work.path().join("1"), &zipped);
    let hash = hex::encode(Sha256::digest(fs::read(&zipped).unwrap()));
    let full = json!({"url": "app-1.0.0.zip", "hash": hash, "signature": "", "size": 0});
    manifest(
        &stack,
        &json!({"version": "v1.0.0", "release_date": "2025-01-12T13:49:59Z", "release_notes": "first",
            "packages": {"full": full, "patch": null}}),
    );
    let device = Device::empty(&stack);
    let installed = device.try_init(&["--insecure"]);
    assert_eq!(installed.code, 0, "{installed:#?}");
    assert_eq!(device.version("current"), "1.0.0");
    assert_eq!(device.sh("app", "cat /own /page"), "build 1one");
    device.sh("app", "echo row > /data/row");

    stack.unpublished(|r| {
        r.rebuild("app");
    });
    package(&stack, &work.path().join("2"), "two");
    let tar = stack.source().join("app-1.1.0.tar.gz");
    let two = work.path().join("2");
    let packed =
        Command::new("tar").arg("-czf").arg(&tar).arg("-C").arg(&two).arg("docker").status().unwrap();
    assert!(packed.success());
    let full = json!({"url": "missing.zip", "hash": "external", "signature": "", "size": 0});
    manifest(
        &stack,
        &json!({"version": "1.1.0", "release_date": "2025-02-01T08:00:00Z", "release_notes": "second",
            "packages": {"full": full}, "platforms": {"x86_64": {"url": "app-1.1.0.tar.gz", "signature": ""}}}),
    );
    let ended = device.upgrade(&[]);
    assert_eq!(ended.code, 0, "{ended:#?}");
    assert_eq!(device.sh("app", "cat /own /page /data/row"), "build 2tworow");
    let ended = device.rollback(&[]);
    assert_eq!(ended.code, 0, "{ended:#?}");
    assert_eq!(device.sh("app", "cat /own /page /data/row"), "build 1onerow");
}
