//! Of a package on a server only what the engine lacks is fetched.

mod broken;
mod containerd;
mod deltas;

use std::process::Command;

use crate::support::http::{HttpServer, Response};
use crate::support::stack::{Device, Ended, IDLE, Release, Stack, docker, image_id};

/// What the base of every image here has besides its tools; nothing makes it smaller.
const BALLAST: usize = 6 << 20;
/// A file that a release may have besides.
const BLOB: usize = 4 << 20;
/// More than all small members, the index and `release.json` take.
const SMALL: u64 = 100_000;

fn noise(size: usize) -> Vec<u8> {
    let mut content = vec![0; size];
    rand::RngCore::fill_bytes(&mut rand::rng(), &mut content);
    content
}

/// A stack whose first release is installed from a server.
struct Site {
    // In the order in which they go.
    device: Device,
    server: HttpServer,
    stack: Stack,
}

impl Site {
    fn new() -> Self {
        let mut stack = Stack::new();
        stack.context("bin/ballast", &noise(BALLAST));
        stack.release("1.0.0", |r| {
            r.service("app", IDLE);
        });
        let (server, device) = Device::served(&stack);
        Self { device, server, stack }
    }

    /// 1.1.0, in which one small layer changed.
    fn small_change() -> Self {
        let mut site = Self::new();
        site.stack.release("1.1.0", |r| {
            r.rebuild("app");
        });
        site
    }

    /// A machine on which an image that no container uses has the base of the next release, which is in no bundle.
    fn with_donor() -> Self {
        let site = Self::with_donor_of(|_| {});
        let (_, plan) = site.device.ask(&["plan"]);
        assert!(plan["bytes_to_fetch"].as_u64().unwrap() < SMALL, "{plan:#}");
        site
    }

    /// The same where the next release has something more.
    fn with_donor_of(more: impl FnOnce(&mut Release<'_>)) -> Self {
        let mut stack = Stack::new();
        stack.release("1.0.0", |r| {
            r.service("app", IDLE);
        });
        let (server, device) = Device::served(&stack);
        stack.context("bin/ballast", &noise(BALLAST));
        stack.context("blob", &noise(BLOB));
        stack.release("1.1.0", |r| {
            r.rebuild("app");
            more(r);
        });
        stack.unpublished(|r| {
            r.service("donor", IDLE);
        });
        Self { device, server, stack }
    }

    fn upgrade(&self) -> Ended {
        let ended = self.device.upgrade(&[]);
        assert_eq!(ended.code, 0, "{ended:#?}");
        assert_eq!(self.device.sh("app", "cat /own"), "build 2");
        ended
    }

    /// The path of the bundle on the server.
    fn path(&self, version: &str) -> String {
        let bundle = self.stack.bundle(version);
        format!("/{}", bundle.file_name().unwrap().to_str().unwrap())
    }

    fn size(&self, version: &str) -> u64 {
        std::fs::metadata(self.stack.bundle(version)).unwrap().len()
    }

    /// The bundle here: `whole`, or only some of it.
    fn kept(&self, version: &str) -> Kept {
        let bytes = std::fs::read(self.stack.bundle(version)).unwrap();
        let hex = compose_upgrade::release::Digest::of(&bytes).hex();
        let there = |end: &str| self.device.path(&format!("bundles/{hex}.{end}")).is_file();
        let found =
            ["bundle", "sparse", "sparse.json", "sparse.part", "sparse.part.map", "bundle.part"].map(there);
        match found {
            [true, false, false, false, false, false] => Kept::Whole,
            [false, true, true, false, false, false] => Kept::Sparse,
            [false, false, false, false, false, false] => Kept::Not,
            other => panic!("{other:?}"),
        }
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Kept {
    Whole,
    Sparse,
    Not,
}

fn downloaded(ended: &Ended) -> u64 {
    ended.outcome["bytes_downloaded"].as_u64().unwrap()
}

/// Bytes of the image as the engine saves it.
fn saved(image: &str) -> usize {
    let saved = Command::new("docker").args(["save", image]).output().unwrap();
    assert!(saved.status.success(), "{}", String::from_utf8_lossy(&saved.stderr));
    saved.stdout.len()
}

fn warnings(ended: &Ended) -> Vec<String> {
    let warnings = ended.events.iter().filter(|event| event["kind"] == "warning");
    warnings.map(|event| event["message"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn only_the_layer_that_changed_comes() {
    let site = Site::small_change();
    let (code, plan) = site.device.ask(&["plan"]);
    assert_eq!(code, 0, "{plan:#}");
    assert_eq!(site.kept("1.1.0"), Kept::Not, "a plan changes nothing");
    let planned = plan["bytes_to_fetch"].as_u64().unwrap();
    assert!(planned > 0 && planned < SMALL, "{plan:#}");
    let room = site.size("1.1.0")..site.size("1.1.0") + SMALL;
    assert!(room.contains(&plan["disk_needed"].as_u64().unwrap()), "{plan:#}");

    let documents = |site: &Site| {
        let log = site.server.log();
        log.iter().filter(|e| e.request.path.contains("manifest")).count() as u64 * SMALL
    };
    let (sent, read) = (site.server.bytes_sent(), documents(&site));
    let ended = site.upgrade();
    assert_eq!(downloaded(&ended), planned, "{ended:#?}");
    assert_eq!(ended.outcome["bytes_bundle"].as_u64(), Some(site.size("1.1.0")));
    let sent = site.server.bytes_sent() - sent;
    assert!(sent < planned + documents(&site) - read, "{sent} bytes were sent");
    assert!(saved(&site.stack.image("app")) > BALLAST, "the image is whole");
    assert_eq!(warnings(&ended), [""; 0]);
    assert_eq!(
        (site.kept("1.0.0"), site.kept("1.1.0")),
        (Kept::Whole, Kept::Whole),
        "the other bundle has the rest"
    );

    let (code, doctor) = site.device.ask(&["doctor"]);
    assert_eq!(code, 0, "nothing is lacking: {doctor:#}");
    // All of that is here: there and back without a server, and without what somebody prunes.
    let Site { device, server, stack } = site;
    drop(server);
    for (version, own) in [("1.0.0", "build 1"), ("1.1.0", "build 2"), ("1.0.0", "build 1")] {
        let left = device.container("app").image;
        let ids = docker(&[
            "image",
            "ls",
            "-q",
            "--no-trunc",
            "--filter",
            &format!("reference={}*", stack.project()),
        ]);
        for id in ids.split_whitespace().filter(|id| *id != left) {
            docker(&["rmi", "-f", id]);
        }
        let ended = device.rollback(&["--to", version]);
        assert_eq!(ended.code, 0, "{ended:#?}");
        assert_eq!(downloaded(&ended), 0);
        assert_eq!(device.sh("app", "cat /own"), own);
    }
    drop((device, stack));
}

#[test]
fn a_killed_download_of_the_rest_goes_on() {
    let site = Site::small_change();
    site.device.killed("started:fetch", &["upgrade", "--yes"]);
    site.device.killed("applied:fetch", &["upgrade", "--yes"]);
    let before = site.server.bytes_sent();
    site.upgrade();
    assert!(site.server.bytes_sent() - before < SMALL);
    assert_eq!(site.kept("1.1.0"), Kept::Whole);
}

#[test]
fn the_next_upgrade_leaves_a_sparse_one_as_it_is() {
    let mut site = Site::with_donor();
    site.upgrade();
    site.stack.release("1.2.0", |r| {
        r.rebuild("app");
    });
    let before = site.server.bytes_sent();
    let ended = site.device.upgrade(&[]);
    assert_eq!(ended.code, 0, "{ended:#?}");
    assert_eq!(site.device.sh("app", "cat /own"), "build 3");
    assert!(site.server.bytes_sent() - before < 2 * SMALL);
    let kept = ["1.0.0", "1.1.0", "1.2.0"].map(|version| site.kept(version));
    assert_eq!(kept, [Kept::Whole, Kept::Sparse, Kept::Sparse]);
    assert_eq!(warnings(&ended), [""; 0]);
    // The same version again, and everything of it.
    let ended = site.device.upgrade(&["--force-full"]);
    assert_eq!(ended.code, 0, "{ended:#?}");
    assert_eq!(site.kept("1.2.0"), Kept::Whole);
}

/// Goes back, and removes the images of the newer release.
fn back_and_removed(site: &Site) {
    let new = image_id(&site.stack.image("app")).unwrap();
    let ended = site.device.rollback(&[]);
    assert_eq!(ended.code, 0, "{ended:#?}");
    docker(&["rmi", "-f", &new]);
    assert_eq!(site.kept("1.1.0"), Kept::Sparse);
}

fn forward_again(site: &Site) -> u64 {
    let (_, plan) = site.device.ask(&["rollback", "--to", "1.1.0", "--dry-run"]);
    let lacking = plan["images_missing"].as_array().map(Vec::len);
    assert_eq!((lacking, &plan["bundle_present"]), (Some(1), &false.into()), "{plan:#}");
    let before = site.server.bytes_sent();
    let ended = site.device.rollback(&["--to", "1.1.0"]);
    assert_eq!(ended.code, 0, "{ended:#?}");
    assert_eq!(site.device.sh("app", "cat /own"), "build 2");
    assert!(saved(&site.stack.image("app")) > BALLAST);
    let (planned, sent) = (plan["bytes_to_fetch"].as_u64().unwrap(), site.server.bytes_sent() - before);
    assert!((planned..planned + SMALL).contains(&sent), "{sent} instead of {planned}");
    planned
}

#[test]
fn images_that_were_removed_come_back_without_a_server_where_the_engine_has_their_base() {
    let site = Site::with_donor();
    site.upgrade();
    back_and_removed(&site);
    assert_eq!(forward_again(&site), 0);
    assert_eq!(site.kept("1.1.0"), Kept::Sparse);
}

#[test]
fn images_that_were_removed_with_their_base_come_back_from_the_whole_bundle() {
    let site = Site::with_donor();
    site.upgrade();
    back_and_removed(&site);
    docker(&["rmi", &site.stack.image("donor")]);
    assert!(forward_again(&site) > BALLAST as u64);
    assert_eq!(site.kept("1.1.0"), Kept::Whole);
}

#[test]
fn without_an_index_or_ranges_the_whole_bundle_comes_as_ever() {
    let site = Site::small_change();
    let manifest = site.stack.source().join("manifest.json");
    let text = std::fs::read_to_string(&manifest).unwrap();
    let mut document: serde_json::Value = serde_json::from_str(&text).unwrap();
    for packages in ["packages", "platforms"] {
        for package in document[packages].as_object_mut().into_iter().flat_map(|all| all.values_mut()) {
            package.as_object_mut().map(|package| package.remove("index"));
        }
    }
    let plain = document.to_string();
    assert!(!plain.contains("index") && text.contains("index"));
    std::fs::write(&manifest, plain).unwrap();
    let (_, plan) = site.device.ask(&["plan"]);
    assert_eq!(plan["bytes_to_fetch"].as_u64(), Some(site.size("1.1.0")));
    let ended = site.upgrade();
    assert_eq!((downloaded(&ended), site.kept("1.1.0")), (site.size("1.1.0"), Kept::Whole));

    let site = Site::small_change();
    site.server.always(&site.path("1.1.0"), |mut request, honest| {
        request.headers.remove("range");
        honest(&request)
    });
    let (_, plan) = site.device.ask(&["plan"]);
    assert_eq!(plan["bytes_to_fetch"].as_u64(), Some(site.size("1.1.0")));
    let ended = site.upgrade();
    assert_eq!(site.kept("1.1.0"), Kept::Whole);
    assert!(downloaded(&ended) >= site.size("1.1.0"));
    assert_eq!(warnings(&ended), [""; 0]);
}

#[test]
fn a_patch_is_no_other_and_needs_no_more_bundles_afterwards() {
    let mut site = Site::new();
    site.stack.release("1.1.0", |r| {
        r.service("other", IDLE);
        r.rebuild("app");
    });
    site.upgrade();
    site.stack.release("1.1.0.1", |r| {
        r.rebuild("other").patch_from("1.1.0");
    });
    let ended = site.device.upgrade(&[]);
    assert_eq!((ended.code, &ended.outcome["strategy"]), (0, &"patch".into()), "{ended:#?}");
    assert!(downloaded(&ended) < SMALL, "{ended:#?}");
    assert!(site.size("1.1.0.1") > BALLAST as u64);
    // The image of `app` is in no whole bundle; that is no reason to fetch one.
    site.stack.release("1.2.0", |r| {
        r.rebuild("other");
    });
    let before = site.server.bytes_sent();
    let ended = site.device.upgrade(&[]);
    assert_eq!((ended.code, warnings(&ended)), (0, vec![]), "{ended:#?}");
    assert!(site.server.bytes_sent() - before < 2 * SMALL);
    let (code, doctor) = site.device.ask(&["doctor"]);
    assert_eq!(code, 0, "{doctor:#}");
    assert_eq!(site.kept("1.0.0"), Kept::Whole);
}
