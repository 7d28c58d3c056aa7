//! Parts of which only some paths are kept, and restores of which only some paths are wanted.

use std::fs;
use std::path::Path;
use std::sync::atomic::AtomicBool;

use compose_upgrade::Code;
use compose_upgrade::backup::{
    Part, PartKind, Record, RestoreTarget, Scope, Selection, exchange_inside, send_inside,
};
use compose_upgrade::progress::{Progress, Step};

use super::tree::{build, describe, file, folder, is_root};
use super::{Bench, disk, request};

fn texts(all: &[&str]) -> Vec<String> {
    all.iter().map(|text| (*text).to_owned()).collect()
}

fn without(globs: &[&str]) -> Selection {
    Selection { include: Vec::new(), exclude: texts(globs) }
}

/// What is present, and what was when the backup was made: every file of it says which.
fn fill(root: &Path, when: &[u8]) {
    let cache = || folder(vec![(b"hit", file(when)), (b"deep", folder(vec![(b"miss", file(when))]))]);
    let tree = folder(vec![
        (b"rows", file(when)),
        (b"cache", cache()),
        (
            b"tenants",
            folder(vec![
                (b"one", folder(vec![(b"rows", file(when)), (b"cache", cache())])),
                (b"x.tmp", file(when)),
            ]),
        ),
    ]);
    if root.exists() {
        fs::remove_dir_all(root).unwrap();
    }
    build(root, &tree);
}

fn part(bench: &Bench, selection: Selection) -> Part {
    Part { selection, ..disk("data", bench.path("data")) }
}

fn read(root: &Path, path: &str) -> String {
    fs::read_to_string(root.join(path)).unwrap_or_else(|error| error.kind().to_string())
}

fn names(bench: &Bench, record: &Record) -> Vec<String> {
    let entries = bench.manager.contents(&record.id).unwrap();
    entries.into_iter().map(|entry| entry.path.display().to_string()).collect()
}

/// Kept as they are by a restore of what was made without caches and temporary files.
fn assert_spared(root: &Path) {
    for replaced in ["rows", "tenants/one/rows"] {
        assert_eq!(read(root, replaced), "then", "{replaced}");
    }
    for spared in ["cache/hit", "cache/deep/miss", "tenants/one/cache/deep/miss", "tenants/x.tmp"] {
        assert_eq!(read(root, spared), "now", "{spared}");
    }
    let left = fs::read_dir(root).unwrap().count();
    assert_eq!(left, 3, "nothing of the restore is left");
}

#[test]
fn what_is_left_out_is_not_in_it_and_stays_as_it_is() {
    let bench = Bench::new();
    let root = bench.path("data");
    fill(&root, b"then");
    let selection = without(&["cache", "*.tmp"]);
    let record = bench.create(vec![part(&bench, selection.clone())]).unwrap();
    let expected = [
        "persist/data",
        "persist/data/rows",
        "persist/data/tenants",
        "persist/data/tenants/one",
        "persist/data/tenants/one/rows",
    ];
    let mut kept = names(&bench, &record);
    kept.sort();
    assert_eq!(kept, expected);

    fill(&root, b"now");
    let cache = describe(&root.join("cache"));
    bench.restore(&record.id, bench.folder.path()).unwrap();
    assert_spared(&root);
    assert_eq!(describe(&root.join("cache")), cache, "also its owners and times");

    // From a copy whose archive is not written yet.
    if !is_root() {
        return;
    }
    fill(&root, b"then");
    let (never, silent) = (AtomicBool::new(false), Progress::silent());
    let mut stage = bench.manager.stage(request(vec![part(&bench, selection)])).unwrap();
    stage.copy(&silent, &never).unwrap();
    stage.cut(&never).unwrap();
    let staged = stage.seal().unwrap();
    fill(&root, b"now");
    bench.restore(&staged.id, bench.folder.path()).unwrap();
    assert_spared(&root);
}

#[test]
fn only_what_is_included_is_in_it() {
    let bench = Bench::new();
    let root = bench.path("data");
    fill(&root, b"then");
    let selection = Selection { include: texts(&["tenants/*/rows"]), exclude: Vec::new() };
    let record = bench.create(vec![part(&bench, selection)]).unwrap();
    let files: Vec<String> = names(&bench, &record)
        .into_iter()
        .filter(|name| bench.path(&name["persist/".len()..]).is_file())
        .collect();
    assert_eq!(files, ["persist/data/tenants/one/rows"]);
    fill(&root, b"now");
    fs::write(root.join("tenants/new"), "now").unwrap();
    bench.restore(&record.id, bench.folder.path()).unwrap();
    assert_eq!(read(&root, "tenants/one/rows"), "then");
    for spared in ["rows", "cache/hit", "tenants/new", "tenants/x.tmp", "tenants/one/cache/hit"] {
        assert_eq!(read(&root, spared), "now", "{spared}");
    }
}

#[test]
fn a_single_path_comes_back_and_everything_else_stays() {
    let bench = Bench::new();
    let root = bench.path("data");
    fill(&root, b"then");
    let record = bench.create(vec![disk("data", &root)]).unwrap();
    fill(&root, b"now");
    fs::write(root.join("tenants/one/rows.new"), "now").unwrap();
    fs::write(root.join("tenants/one/cache/new"), "now").unwrap();
    let outside = describe(&root.join("cache"));
    let targets = |kind: &PartKind| match kind {
        PartKind::Path { .. } => {
            Some(RestoreTarget::Within { folder: root.clone(), only: texts(&["tenants/one/cache"]) })
        }
        _ => None,
    };
    let never = AtomicBool::new(false);
    let restore =
        || bench.manager.restore(&record.id, &targets, Step::RollingBack, &Progress::silent(), &never);
    restore().unwrap();
    assert_eq!(read(&root, "tenants/one/cache/deep/miss"), "then");
    assert!(!root.join("tenants/one/cache/new").exists(), "the path is as it was backed up");
    for spared in ["rows", "tenants/one/rows", "tenants/one/rows.new", "tenants/x.tmp"] {
        assert_eq!(read(&root, spared), "now", "{spared}");
    }
    assert_eq!(describe(&root.join("cache")), outside);
    let again = describe(&root);
    restore().unwrap();
    assert_eq!(describe(&root), again);
}

#[test]
fn a_process_that_has_only_the_folder_does_the_same() {
    let bench = Bench::new();
    let root = bench.path("data");
    fill(&root, b"then");
    let scope = Scope { selection: without(&["cache", "*.tmp"]), only: Vec::new() };
    let mut tar = Vec::new();
    send_inside(&root, &scope, &mut tar).unwrap();
    fill(&root, b"now");
    exchange_inside(&root, "attempt", &scope, &mut &tar[..]).unwrap();
    assert_spared(&root);
}

#[test]
fn a_glob_that_is_none_is_told_before_anything_is_written() {
    let bench = Bench::new();
    fill(&bench.path("data"), b"then");
    let fault = bench.create(vec![part(&bench, without(&["a["]))]).unwrap_err();
    assert_eq!(fault.code(), Code::ConfigInvalid);
    assert!(fault.to_string().contains("persist/data") && bench.files().is_empty(), "{fault}");
}
