//! Images that are not what they should be: spoilt on the way, or removed by an administrator.

use std::process::Command;
use std::time::Instant;

use super::{UPGRADE, outcome, then_upgrade};
use crate::case::{Case, Ground, Outcome, Place};
use crate::shop::{NEW, OLD};
use crate::tiny::Done;
use crate::whole;

const SECTION: &str = "images and packages";

pub fn cases() -> Vec<Case> {
    let case = |row: &str, begin, act: fn(&mut Ground<'_, '_>) -> Outcome| Case {
        section: SECTION,
        row: row.to_owned(),
        column: String::new(),
        place: Place::Disk,
        begin: Some(begin),
        act: Box::new(act),
    };
    vec![
        case("a blob of the bundle is corrupt, the package's hash is right", OLD, corrupt_blob),
        case("images of 'previous' and 'factory' removed before a rollback", NEW, pruned_before_rollback),
        case("images of 'previous' and 'factory' removed before an upgrade", NEW, pruned_before_upgrade),
        case("images of the new version removed before its return", OLD, pruned_before_return),
        case("images removed while an upgrade fails", OLD, pruned_before_undo),
    ]
}

/// Removes by ID what `gone` needs and `kept` does not.
fn prune(ground: &Ground<'_, '_>, gone: &str, kept: &str) {
    let images = &ground.site.shop.images;
    for id in images[gone].values().filter(|id| !images[kept].values().any(|other| other == *id)) {
        // One that is not there any more is as good as removed.
        Done::of(Command::new("docker").args(["rmi", "-f", id]));
    }
}

fn corrupt_blob(ground: &mut Ground<'_, '_>) -> Outcome {
    let site = ground.site;
    // Where an earlier case came back from the new version, its good package would stand in for the bad one.
    site.forget_package(NEW);
    prune(ground, NEW, OLD);
    let bundle = site.shop.source.join(site.shop.bundle(NEW));
    let sidecar = std::fs::read_to_string(format!("{}.index.json", bundle.display())).unwrap();
    let index: serde_json::Value = serde_json::from_str(&sidecar).unwrap();
    // The layer that only this version has: the smallest blob that is a layer of it would do, any damaged will.
    let members = index["members"].as_array().unwrap();
    let blobs: Vec<(usize, usize)> = members
        .iter()
        .filter(|member| member["path"].as_str().is_some_and(|path| path.contains("blobs/")))
        .map(|member| {
            (member["offset"].as_u64().unwrap() as usize, member["length"].as_u64().unwrap() as usize)
        })
        .collect();
    assert!(!blobs.is_empty(), "{index:#}");
    let spoilt = site.shop.spoil(NEW, |content| {
        for (offset, length) in blobs {
            content[offset + length / 2] ^= 0xff;
        }
    });
    let began = Instant::now();
    let done = site.upgrade_to(NEW);
    assert_ne!(done.code, Some(0), "a corrupt image was believed: {done:#?}");
    whole::stack_is(site, OLD);
    drop(spoilt);
    then_upgrade(ground, &done, began)
}

fn pruned_before_rollback(ground: &mut Ground<'_, '_>) -> Outcome {
    prune(ground, OLD, NEW);
    let began = Instant::now();
    ground.site.client(&["rollback", "--yes"]).expect(0);
    let recovery = began.elapsed();
    whole::stack_is(ground.site, OLD);
    outcome("old (0)", recovery)
}

/// An upgrade that has nothing else to do brings back what the ways back need.
fn pruned_before_upgrade(ground: &mut Ground<'_, '_>) -> Outcome {
    prune(ground, OLD, NEW);
    let began = Instant::now();
    ground.site.client(&["upgrade", "--yes", "--target", NEW]).expect(0);
    let recovery = began.elapsed();
    for (service, id) in &ground.site.shop.images[OLD] {
        let found = Done::of(Command::new("docker").args(["image", "inspect", id]));
        assert_eq!(found.code, Some(0), "the image of {service} was not brought back");
    }
    ground.site.client(&["rollback", "--yes"]).expect(0);
    whole::stack_is(ground.site, OLD);
    outcome("reloaded (0), then old", recovery)
}

fn pruned_before_return(ground: &mut Ground<'_, '_>) -> Outcome {
    prune(ground, NEW, OLD);
    let began = Instant::now();
    ground.site.upgrade_to(NEW).expect(0);
    whole::stack_is(ground.site, NEW);
    outcome("new (0)", began.elapsed())
}

/// The old containers hold their images' content, but not the names.
fn pruned_before_undo(ground: &mut Ground<'_, '_>) -> Outcome {
    let site = ground.site;
    site.shop.tell("probe", NEW, true);
    let began = Instant::now();
    let done = crate::hold::at(site.shop.scratch.path(), site.command(&UPGRADE), "started:verify", || {
        prune(ground, OLD, NEW);
    });
    assert_eq!(done.code, Some(20), "{done:#?}");
    whole::stack_is(site, OLD);
    site.shop.all_well();
    then_upgrade(ground, &done, began)
}
