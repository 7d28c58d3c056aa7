//! The ways back after somebody has pruned the engine, cleaned the disk or edited what was shipped.

mod edits;
mod profiles;

use std::fs;
use std::path::PathBuf;

use serde_json::Value;

use crate::support::stack::{Device, IDLE, Stack, compose_in, docker, image_id};

/// On 1.1.0, which came from 1.0.0, the factory release. `app` shows a page and is another one in each.
fn upgraded() -> (Stack, Device) {
    let mut stack = Stack::new();
    stack.release("1.0.0", |r| {
        r.service("app", &format!("{IDLE}\nvolumes: ['./page:/page:ro']"))
            .service("side", IDLE)
            .dockerfile("side", "LABEL unlike=app")
            .file("page/index.html", "one")
            .file("page/other.html", "other");
    });
    let device = Device::init(&stack);
    stack.release("1.1.0", |r| {
        r.rebuild("app").file("page/index.html", "two");
    });
    assert_eq!(device.upgrade(&[]).code, 0);
    (stack, device)
}

/// What `docker system prune -a` would do to the image of `app` in a release; its ID.
fn prune_app(device: &Device, version: &str) -> String {
    let info: Value =
        serde_json::from_str(&device.read(&format!("releases/{version}/.release.json"))).unwrap();
    let images = info["images"].as_array().unwrap();
    let app = images.iter().find(|image| image["ref"].as_str().unwrap().contains("-app:")).unwrap();
    let id = app["id"].as_str().unwrap().to_owned();
    docker(&["rmi", "-f", &id]);
    assert_eq!(image_id(&id), None);
    id
}

/// The bundle a release came from.
fn bundle(device: &Device, version: &str) -> PathBuf {
    let db = rusqlite::Connection::open(device.path("state.db")).unwrap();
    let sql = "SELECT bundle_hash FROM releases WHERE version = ?1";
    let file: String = db.query_row(sql, [version], |row| row.get(0)).unwrap();
    device.path("bundles").join(file)
}

fn flip_a_bit(path: &PathBuf) {
    let mut bytes = fs::read(path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(path, bytes).unwrap();
}

/// No blob of it can be used any more, not even where only one is needed.
fn spoil_blobs(path: &PathBuf) {
    let mut bytes = fs::read(path).unwrap();
    let mut blobs = Vec::new();
    for entry in tar::Archive::new(fs::File::open(path).unwrap()).entries().unwrap() {
        let entry = entry.unwrap();
        if entry.path().unwrap().starts_with("images/blobs") {
            blobs.push((entry.raw_file_position() + entry.size() / 2) as usize);
        }
    }
    blobs.into_iter().for_each(|at| bytes[at] ^= 1);
    fs::write(path, bytes).unwrap();
}

fn is_sound(path: &PathBuf) -> bool {
    use sha2::Digest;
    let name = path.file_stem().unwrap().to_string_lossy().into_owned();
    fs::read(path).is_ok_and(|bytes| hex::encode(sha2::Sha256::digest(bytes)) == name)
}

/// The findings of `doctor` that are not as they should be, as `check: message`.
fn troubles(device: &Device, args: &[&str]) -> Vec<String> {
    let (_, found) = device.ask(&[&["doctor"], args].concat());
    let findings = found["findings"].as_array().unwrap().iter();
    let bad = findings.filter(|finding| finding["status"] != "ok" && finding["check"] != "disk");
    bad.map(|finding| {
        let text = |key: &str| finding[key].as_str().unwrap().to_owned();
        format!("{}: {} → {}", text("check"), text("message"), text("help"))
    })
    .collect()
}

fn is_on(device: &Device, version: &str, build: &str, page: &str) {
    assert_eq!(device.version("current"), version);
    assert_eq!(device.sh("app", "cat /own"), build);
    assert_eq!(device.sh("app", "cat /page/index.html"), page);
    let before = device.containers();
    device.compose(&["up", "-d"]);
    assert_eq!(device.containers(), before, "Compose's own 'up' changes something");
}

#[test]
fn a_rollback_gets_back_what_was_pruned_before_it_touches_anything() {
    let (stack, device) = upgraded();
    prune_app(&device, "1.0.0");
    let ended = device.rollback(&["--to", "factory"]);
    assert_eq!(ended.code, 0, "{ended:#?}");
    is_on(&device, "1.0.0", "build 1", "one");

    prune_app(&device, "1.1.0");
    fs::remove_file(bundle(&device, "1.1.0")).unwrap();
    fs::remove_dir_all(device.path("releases/1.1.0")).unwrap();
    let ended = device.rollback(&["--to", "previous"]);
    assert_eq!(ended.code, 0, "it is fetched again: {ended:#?}");
    is_on(&device, "1.1.0", "build 2", "two");
    assert!(is_sound(&bundle(&device, "1.1.0")));

    prune_app(&device, "1.0.0");
    spoil_blobs(&bundle(&device, "1.0.0"));
    fs::rename(stack.source(), stack.source().with_extension("away")).unwrap();
    let before = device.containers();
    let ended = device.rollback(&["--to", "factory"]);
    assert_eq!(ended.code, 1, "{ended:#?}");
    let message = ended.outcome["error"]["message"].as_str().unwrap();
    assert!(message.contains(&format!("{}-app:1", stack.project())), "it says what is missing: {message}");
    let help = ended.outcome["error"]["help"].as_str().unwrap();
    assert!(help.contains("doctor --fix") && help.contains("--bundle"), "{help}");
    assert_eq!(device.containers(), before, "nothing was touched");
    assert_eq!(device.version("current"), "1.1.0");
}

#[test]
fn an_upgrade_mends_the_ways_back_and_tells_what_it_cannot() {
    let (mut stack, device) = upgraded();
    stack.release("1.2.0", |r| {
        r.rebuild("app");
    });
    let id = prune_app(&device, "1.0.0");
    flip_a_bit(&bundle(&device, "1.0.0"));
    fs::remove_file(device.path("releases/1.0.0/page/other.html")).unwrap();
    let ended = device.upgrade(&[]);
    assert_eq!(ended.code, 0, "{ended:#?}");
    assert!(image_id(&id).is_some(), "{ended:#?}");
    assert!(is_sound(&bundle(&device, "1.0.0")), "{ended:#?}");
    assert_eq!(device.read("releases/1.0.0/page/other.html"), "other");
    assert_eq!(ended.outcome["warnings"], serde_json::json!([]), "all of it is mended");

    stack.release("1.3.0", |r| {
        r.rebuild("app");
    });
    prune_app(&device, "1.0.0");
    fs::remove_file(bundle(&device, "1.0.0")).unwrap();
    let vendor = stack.source().join("manifest/1.0.0.json");
    fs::remove_file(vendor).unwrap();
    let ended = device.upgrade(&[]);
    assert_eq!(ended.code, 0, "what is only a precaution does not fail: {ended:#?}");
    let warnings = ended.outcome["warnings"].to_string();
    for part in ["the way back to 1.0.0: images", "the way back to 1.0.0: bundle"] {
        assert!(warnings.contains(part), "{part} is not in {warnings}");
    }
    is_on(&device, "1.3.0", "build 4", "two");
}

#[test]
fn doctor_says_what_is_lacking_and_brings_it_back_when_asked() {
    let (_stack, device) = upgraded();
    assert_eq!(troubles(&device, &[]), [""; 0]);
    let id = prune_app(&device, "1.0.0");
    flip_a_bit(&bundle(&device, "1.0.0"));
    fs::remove_file(device.path("releases/1.0.0/compose.yaml")).unwrap();
    let found = troubles(&device, &[]);
    for (check, what) in [("images", "-app:1"), ("bundles", ".bundle"), ("folders", "compose.yaml")] {
        let told = |line: &&String| line.starts_with(check) && line.contains(what) && line.contains("1.0.0");
        let line = found.iter().find(told).unwrap_or_else(|| panic!("{check} is not in {found:#?}"));
        assert!(line.contains("Run 'client doctor --fix'"), "{line}");
    }
    assert_eq!(image_id(&id), None, "looking changes nothing");
    let before = device.containers();
    assert_eq!(troubles(&device, &["--fix"]), [""; 0]);
    assert_eq!(troubles(&device, &[]), [""; 0]);
    assert!(image_id(&id).is_some() && is_sound(&bundle(&device, "1.0.0")));
    assert_eq!(device.containers(), before, "the stack is not touched");
    let ended = device.rollback(&["--to", "factory"]);
    assert_eq!(ended.code, 0, "{ended:#?}");
    is_on(&device, "1.0.0", "build 1", "one");
}

#[test]
fn a_bundle_stays_as_long_as_a_patched_release_needs_its_images() {
    let (mut stack, device) = upgraded();
    stack.release("1.1.0.1", |r| {
        r.file("page/index.html", "patched").patch_from("1.1.0");
    });
    let ended = device.upgrade(&[]);
    assert_eq!((ended.code, &ended.outcome["strategy"]), (0, &"patch".into()), "{ended:#?}");
    stack.release("1.2.0", |r| {
        r.rebuild("app").rebuild("side");
    });
    assert_eq!(device.upgrade(&[]).code, 0);
    assert!(!device.path("releases/1.1.0").exists());
    prune_app(&device, "1.1.0.1");
    fs::rename(stack.source(), stack.source().with_extension("away")).unwrap();
    let ended = device.rollback(&["--to", "previous"]);
    assert_eq!(ended.code, 0, "{ended:#?}");
    is_on(&device, "1.1.0.1", "build 2", "patched");
    assert_eq!(fs::read_dir(device.path("bundles")).unwrap().count(), 4, "1.0.0, 1.1.0, the patch, 1.2.0");
}

#[test]
fn an_adopted_release_that_no_source_has_is_packed_again() {
    let mut stack = Stack::new();
    let project = stack.project().to_owned();
    stack.unpublished(|r| {
        r.service("app", &format!("{IDLE}\nvolumes: ['./page:/page:ro']"));
    });
    let plain = tempfile::tempdir().unwrap();
    let folder = plain.path().canonicalize().unwrap();
    fs::create_dir(folder.join("page")).unwrap();
    fs::write(folder.join("page/index.html"), "one").unwrap();
    fs::write(folder.join("compose.yaml"), stack.compose()).unwrap();
    compose_in(&folder, &["-p", &project, "up", "-d"]);
    fs::create_dir(stack.source()).unwrap();
    let device = Device::empty(&stack);
    let adopted = device.try_init(&["--adopt", folder.to_str().unwrap(), "--version", "1.0.0"]);
    assert_eq!(adopted.code, 0, "{adopted:#?}");
    fs::remove_file(bundle(&device, "1.0.0")).unwrap();
    stack.release("1.1.0", |r| {
        r.rebuild("app").file("page/index.html", "two");
    });
    let ended = device.upgrade(&[]);
    assert_eq!(ended.code, 0, "{ended:#?}");
    assert!(is_sound(&bundle(&device, "1.0.0")), "{ended:#?}");
    prune_app(&device, "1.0.0");
    fs::remove_dir_all(device.path("releases/1.0.0")).unwrap();
    let ended = device.rollback(&["--to", "factory"]);
    assert_eq!(ended.code, 0, "{ended:#?}");
    is_on(&device, "1.0.0", "build 1", "one");
}
