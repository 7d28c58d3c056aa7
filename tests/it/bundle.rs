//! Bundles: written, opened, unpacked, loaded; and refused when hostile.

mod frozen;
mod hostile;
mod images;
mod legacy;
mod patch;
mod publish;
mod sparse;

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

use compose_upgrade::release::bundle::{BundleSummary, pack};
use compose_upgrade::release::dockersave::SavedImages;
use compose_upgrade::release::{ReleaseInfo, tree};

/// Creates files (`path`, content, mode) below `root`.
pub fn write_tree(root: &Path, files: &[(&str, &[u8], u32)]) {
    for (path, content, mode) in files {
        let path = root.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, content).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(*mode)).unwrap();
    }
}

/// A stack folder with an executable, a link and a nested file.
pub fn sample_stack(root: &Path) {
    write_tree(
        root,
        &[
            ("compose.yaml", b"services: {}\n", 0o644),
            (".env", b"A=1\n", 0o600),
            ("bin/run.sh", b"#!/bin/sh\n", 0o755),
            ("web/static/deep/index.html", b"<h1>hello</h1>\n", 0o644),
            ("empty", b"", 0o640),
        ],
    );
    symlink("../web/static", root.join("bin/static")).unwrap();
}

/// The `release.json` of the stack folder `root`.
pub fn info_of(root: &Path, version: &str) -> ReleaseInfo {
    let files = tree::list(root, |_, _| false).unwrap();
    let files: Vec<_> = files.iter().map(|path| tree::describe(root, path).unwrap().unwrap()).collect();
    let json = serde_json::json!({"schema": 1, "name": "sample", "version": version, "arch": "any",
        "compose": ["compose.yaml"], "persist": ["data", ".env"], "images": [], "files": files});
    ReleaseInfo::from_json(json.to_string().as_bytes(), "test").unwrap()
}

/// A full bundle of the stack folder `root`, without images.
pub fn pack_stack(out: &Path, root: &Path, version: &str) -> BundleSummary {
    pack(out, &info_of(root, version), root, |_| true, &SavedImages::none()).unwrap()
}

/// Every path below `root` with its kind, mode and content or target.
pub fn snapshot(root: &Path) -> Vec<String> {
    let mut lines = Vec::new();
    for entry in walkdir::WalkDir::new(root).min_depth(1).sort_by_file_name() {
        let entry = entry.unwrap();
        let path = entry.path().strip_prefix(root).unwrap().display().to_string();
        let meta = entry.metadata().unwrap();
        let mode = meta.permissions().mode() & 0o7777;
        lines.push(match () {
            () if meta.is_symlink() => {
                format!("{path} -> {}", fs::read_link(entry.path()).unwrap().display())
            }
            () if meta.is_dir() => format!("{path}/ {mode:o}"),
            () => format!("{path} {mode:o} {:?}", fs::read(entry.path()).unwrap()),
        });
    }
    lines
}

mod round_trip {
    use super::*;
    use compose_upgrade::release::bundle::{Encoding, Index};
    use compose_upgrade::release::unpack::unpack_stack;
    use compose_upgrade::release::{Bundle, Digest};

    #[test]
    fn a_stack_comes_out_as_it_went_in_and_describes_itself() {
        let dir = tempfile::tempdir().unwrap();
        let stack = dir.path().join("stack");
        sample_stack(&stack);
        let summary = pack_stack(&dir.path().join("x.bundle"), &stack, "1.2.3");
        let bundle = Bundle::open(&summary.path).unwrap();
        assert_eq!(bundle.info().version.to_string(), "1.2.3");
        let out = dir.path().join("out");
        unpack_stack(&bundle, &out).unwrap();
        assert_eq!(tree::verify_release(&out, bundle.info(), &[]).unwrap(), []);
        let own = fs::read(out.join(tree::OWN_RELEASE_JSON)).unwrap();
        assert_eq!(ReleaseInfo::from_json(&own, "own").unwrap(), *bundle.info());
        fs::remove_file(out.join(tree::OWN_RELEASE_JSON)).unwrap();
        assert_eq!(snapshot(&out), snapshot(&stack));
    }

    #[test]
    fn the_same_stack_gives_the_same_bytes_and_the_index_describes_them() {
        let dir = tempfile::tempdir().unwrap();
        let (one, two) = (dir.path().join("one"), dir.path().join("two"));
        sample_stack(&one);
        sample_stack(&two);
        let first = pack_stack(&dir.path().join("1.bundle"), &one, "1.0.0");
        let second = pack_stack(&dir.path().join("2.bundle"), &two, "1.0.0");
        assert_eq!((first.hash, first.index_hash), (second.hash, second.index_hash));
        let bytes = fs::read(&first.path).unwrap();
        assert_eq!((Digest::of(&bytes), bytes.len() as u64), (first.hash, first.size));
        let index = Index::from_json(&fs::read(&first.index_path).unwrap(), first.size, "i").unwrap();
        assert_eq!(index.members.len(), 6, "release.json and five files; a link has no content");
        for member in &index.members {
            let part = &bytes[member.offset as usize..][..member.length as usize];
            assert_eq!(member.encoding, Encoding::None);
            assert_eq!(Digest::of(part), member.hash, "{}", member.path);
        }
    }

    #[test]
    fn changes_in_a_release_folder_are_named() {
        let dir = tempfile::tempdir().unwrap();
        let stack = dir.path().join("stack");
        sample_stack(&stack);
        let info = info_of(&stack, "1.0.0");
        fs::write(stack.join("bin/run.sh"), "edited").unwrap();
        fs::set_permissions(stack.join("empty"), fs::Permissions::from_mode(0o600)).unwrap();
        fs::remove_file(stack.join("compose.yaml")).unwrap();
        fs::remove_file(stack.join("bin/static")).unwrap();
        symlink("/etc", stack.join("bin/static")).unwrap();
        fs::write(stack.join(".env"), "B=2").unwrap();
        write_tree(&stack, &[("data/rows", b"1", 0o644), ("notes.txt", b"mine", 0o644)]);
        fs::write(stack.join("back\\slash"), b"odd").unwrap();
        let persist = ["data".to_owned(), ".env".to_owned()];
        let found = tree::verify_release(&stack, &info, &persist).unwrap();
        let found: Vec<_> = found.iter().map(|d| format!("{} {:?}", d.path, d.difference)).collect();
        let expected = [
            "back\\slash Extra",
            "bin/run.sh Changed",
            "bin/static Changed",
            "compose.yaml Missing",
            "empty Mode",
            "notes.txt Extra",
        ];
        assert_eq!(found, expected);
    }
}
