use super::*;
use crate::release::manifest::{Package, PackageHash, Patch};
use crate::release::operations::Operations;

fn version(text: &str) -> Version {
    text.parse().unwrap()
}

fn package() -> Package {
    Package {
        url: "x.bundle".into(),
        hash: PackageHash::External,
        size: None,
        signature: None,
        mirrors: Vec::new(),
        index: None,
    }
}

fn patch(from: Option<&str>) -> Patch {
    Patch { from: from.map(version), package: package(), operations: Operations::default(), notes: None }
}

fn offer(text: &str) -> Manifest {
    let mut manifest = Manifest::new(version(text));
    manifest.full = Some(package());
    manifest
}

fn installed(text: &str) -> Installed {
    Installed {
        version: version(text),
        arch: Some(Arch::X86_64),
        compose_present: true,
        release_present: true,
        intact: true,
    }
}

fn choose(installed: Option<Installed>, offered: &Manifest, targeted: bool) -> (&'static str, &'static str) {
    let facts = Facts { installed, engine_arch: Arch::X86_64, offered, force_full: false, targeted };
    let decision = decide(&facts);
    (decision.strategy.name(), decision.reason.name())
}

#[test]
fn the_documented_examples() {
    // The requirements' own: 0.0.12 is offered 0.0.13.2, patch or no patch.
    let mut next = offer("0.0.13.2");
    assert_eq!(choose(Some(installed("0.0.12")), &next, false), ("full", "base_version_changed"));
    assert_eq!(choose(Some(installed("0.0.13.1")), &next, false), ("full", "patch_missing"));
    next.patches.insert(Arch::X86_64, patch(None));
    assert_eq!(choose(Some(installed("0.0.12")), &next, false), ("full", "base_version_changed"));
    assert_eq!(choose(Some(installed("0.0.13.1")), &next, false), ("patch", "patch_available"));
    assert_eq!(choose(Some(installed("0.0.13")), &next, false), ("full", "patches_skipped"));
    assert_eq!(choose(Some(installed("0.0.13.2")), &next, false), ("none", "up_to_date"));
    assert_eq!(choose(Some(installed("0.0.13.3")), &next, false), ("none", "installed_newer"));
    assert_eq!(choose(Some(installed("0.0.14")), &next, false), ("none", "installed_newer"));
    assert_eq!(choose(None, &next, false), ("full", "not_installed"));
}

#[test]
fn a_patch_may_name_what_it_applies_to() {
    let mut next = offer("1.0.0.3");
    next.patches.insert(Arch::X86_64, patch(Some("1.0.0.1")));
    assert_eq!(choose(Some(installed("1.0.0.1")), &next, false), ("patch", "patch_available"));
    assert_eq!(choose(Some(installed("1.0.0.2")), &next, false), ("full", "patches_skipped"));
    // Another base stays a full upgrade even when the patch names it.
    next.patches.insert(Arch::X86_64, patch(Some("0.9.0")));
    assert_eq!(choose(Some(installed("0.9.0")), &next, false), ("full", "base_version_changed"));
}

#[test]
fn the_generic_patch_serves_an_architecture_without_its_own() {
    let mut next = offer("1.0.0.1");
    next.patches.insert(Arch::Aarch64, patch(None));
    assert_eq!(choose(Some(installed("1.0.0")), &next, false), ("full", "patch_missing"));
    next.patch_generic = Some(patch(None));
    assert_eq!(choose(Some(installed("1.0.0")), &next, false), ("patch", "patch_available"));
}

#[test]
fn down_only_by_name_and_never_by_patch() {
    let older = offer("1.0.0");
    assert_eq!(choose(Some(installed("1.1.0")), &older, false), ("none", "installed_newer"));
    assert_eq!(choose(Some(installed("1.1.0")), &older, true), ("full", "base_version_changed"));
    assert_eq!(choose(Some(installed("1.0.0.2")), &older, true), ("full", "patch_missing"));
    let mut level = offer("1.0.0.1");
    level.patches.insert(Arch::X86_64, patch(Some("1.0.0.2")));
    assert_eq!(choose(Some(installed("1.0.0.2")), &level, true), ("full", "patches_skipped"));
    // `--force-full` alone is no permission to go down.
    let facts = |targeted| Facts {
        installed: Some(installed("1.1.0")),
        engine_arch: Arch::X86_64,
        offered: &older,
        force_full: true,
        targeted,
    };
    assert_eq!(decide(&facts(false)).reason, Reason::InstalledNewer);
    assert_eq!(decide(&facts(true)).reason, Reason::Forced);
}

/// Every combination of facts, against the table written a second time as a list of rules.
#[test]
fn every_combination_follows_the_table() {
    const BITS: u32 = 8;
    let mut seen = std::collections::HashSet::new();
    for offered_text in ["1.0.0", "1.0.0.1", "1.0.0.2", "1.1.0"] {
        for bits in 0..1u32 << BITS {
            let bit = |index: u32| bits & (1 << index) != 0;
            let mut offered = offer(offered_text);
            if bit(0) {
                offered.patches.insert(Arch::X86_64, patch(None));
            }
            let here = Installed {
                arch: if bit(1) { Some(Arch::X86_64) } else { Some(Arch::Aarch64) },
                compose_present: bit(2),
                release_present: bit(3),
                intact: bit(4),
                ..installed("1.0.0.1")
            };
            let (force_full, targeted, present) = (bit(5), bit(6), bit(7));
            let level = offered.version.level();
            let rules = [
                (present && here.version > offered.version && !targeted, "none", Reason::InstalledNewer),
                (force_full, "full", Reason::Forced),
                (!present, "full", Reason::NotInstalled),
                (!here.compose_present || !here.release_present, "full", Reason::ComposeMissing),
                (here.arch != Some(Arch::X86_64), "full", Reason::ArchChanged),
                (!here.intact, "full", Reason::Corrupted),
                (offered_text == "1.0.0.1", "none", Reason::UpToDate),
                (offered_text == "1.1.0", "full", Reason::BaseVersionChanged),
                (!bit(0), "full", Reason::PatchMissing),
                (level != 2, "full", Reason::PatchesSkipped),
                (true, "patch", Reason::PatchAvailable),
            ];
            let (_, strategy, reason) = rules.into_iter().find(|(holds, ..)| *holds).unwrap();
            let facts = Facts {
                installed: present.then_some(here),
                engine_arch: Arch::X86_64,
                offered: &offered,
                force_full,
                targeted,
            };
            let decision = decide(&facts);
            assert_eq!((decision.strategy.name(), decision.reason), (strategy, reason), "{facts:?}");
            seen.insert(reason);
        }
    }
    assert_eq!(seen.len(), 11, "every reason occurs");
}

#[test]
fn a_release_without_images_fits_any_engine() {
    let here = Installed { arch: None, ..installed("1.0.0") };
    assert_eq!(choose(Some(here), &offer("1.0.0"), false), ("none", "up_to_date"));
}
