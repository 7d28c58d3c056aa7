//! A patch ends in the same release folder as the full bundle.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use compose_upgrade::Code;
use compose_upgrade::release::bundle::pack;
use compose_upgrade::release::dockersave::SavedImages;
use compose_upgrade::release::operations::{Operations, Paths};
use compose_upgrade::release::unpack::{apply_patch, unpack_stack};
use compose_upgrade::release::{Bundle, ReleaseInfo};

use super::{info_of, sample_stack, snapshot, write_tree};

struct Patch {
    dir: tempfile::TempDir,
    old: ReleaseInfo,
    current: PathBuf,
    bundle: Bundle,
    full: PathBuf,
    operations: Operations,
}

impl Patch {
    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn apply(&self, operations: &Operations, to: &Path) -> Result<(), Code> {
        apply_patch(&self.current, &self.old, &self.bundle, operations, to).map_err(|fault| fault.code())
    }
}

/// 1.0.0 installed; 1.0.0.1 changes a file, adds one, drops a folder and keeps the rest.
fn patch() -> Patch {
    let dir = tempfile::tempdir().unwrap();
    let (one, two) = (dir.path().join("one"), dir.path().join("two"));
    for stack in [&one, &two] {
        sample_stack(stack);
        write_tree(
            stack,
            &[("assets/large.bin", &[7; 100_000], 0o644), ("compose.big", &[8; 100_000], 0o644)],
        );
    }
    fs::remove_dir_all(two.join("web")).unwrap();
    write_tree(&two, &[("compose.yaml", b"services: {a: {}}\n", 0o644), ("new/page.html", b"new", 0o644)]);
    let old = info_of(&one, "1.0.0");
    let mut new = info_of(&two, "1.0.0.1");
    new.config = vec!["compose.big".into()];
    let none = SavedImages::none();
    let first = pack(&dir.path().join("1.bundle"), &old, &one, |_| true, &none).unwrap();
    let full = pack(&dir.path().join("2.bundle"), &new, &two, |_| true, &none).unwrap();
    let changed = ["compose.yaml", "new/page.html", ".env"];
    let bundle =
        pack(&dir.path().join("2.patch"), &new, &two, |file| changed.contains(&file.path.as_str()), &none)
            .unwrap();
    let current = dir.path().join("current");
    unpack_stack(&Bundle::open(first.path).unwrap(), &current).unwrap();
    let operations = Operations {
        replace: Paths { files: vec!["compose.yaml".into()], directories: vec!["new".into()] },
        delete: Paths { files: vec![], directories: vec!["web".into()] },
    };
    Patch { old, current, bundle: Bundle::open(bundle.path).unwrap(), full: full.path, operations, dir }
}

#[test]
fn a_patch_and_the_full_bundle_give_the_same_folder() {
    let patch = patch();
    // What the operator does to a persisted file must not reach the release.
    fs::remove_file(patch.current.join(".env")).unwrap();
    std::os::unix::fs::symlink("../../shared/.env", patch.current.join(".env")).unwrap();
    let (patched, full) = (patch.path("patched"), patch.path("full"));
    patch.apply(&patch.operations, &patched).unwrap();
    unpack_stack(&Bundle::open(&patch.full).unwrap(), &full).unwrap();
    assert_eq!(snapshot(&patched), snapshot(&full));

    let links = |name: &str| fs::metadata(patched.join(name)).unwrap().nlink();
    assert_eq!(links("compose.big"), 1, "a config file may be edited in place");
    assert_eq!(links("bin/run.sh"), 1, "a small file is copied");
    assert!(links("assets/large.bin") <= 2);
}

#[test]
fn a_patch_on_a_changed_release_is_refused() {
    for name in ["bin/run.sh", "assets/large.bin", "bin/static"] {
        let patch = patch();
        fs::remove_file(patch.current.join(name)).unwrap();
        assert_eq!(
            patch.apply(&patch.operations, &patch.path("a")),
            Err(Code::ReleaseDamaged),
            "{name} missing"
        );
        fs::write(patch.current.join(name), "edited").unwrap();
        assert_eq!(
            patch.apply(&patch.operations, &patch.path("b")),
            Err(Code::ReleaseDamaged),
            "{name} edited"
        );
    }
}

#[test]
fn operations_that_do_not_lead_to_the_release_are_refused() {
    let patch = patch();
    let mut nothing_deleted = patch.operations.clone();
    nothing_deleted.delete = Paths::default();
    let mut too_much = patch.operations.clone();
    too_much.delete.files.push("bin/run.sh".into());
    for operations in [nothing_deleted, too_much] {
        assert_eq!(patch.apply(&operations, &patch.path("x")), Err(Code::ReleaseDamaged));
    }
    let mut escape = patch.operations.clone();
    escape.delete.files.push("../x".into());
    assert_eq!(patch.apply(&escape, &patch.path("x")), Err(Code::BundleUnsafe));
}
