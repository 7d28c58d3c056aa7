//! A foreign hand: containers stopped, removed and renamed, pointers and files changed, the source gone.

use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use super::{UPGRADE, outcome, then_upgrade};
use crate::case::{Case, Ground, Outcome, Place};
use crate::hold;
use crate::http::{Body, Response};
use crate::shop::{NEW, OLD};
use crate::tiny::{Done, names_in};
use crate::whole;

const SECTION: &str = "a foreign hand";

/// The service that the hand goes for: with one before it and one after it.
const SERVICE: &str = "api";

#[derive(Debug, Clone, Copy)]
enum Which {
    /// The container that is there before the swap.
    Old,
    /// The one that is made for the new version.
    New,
}

#[derive(Debug, Clone, Copy)]
enum Act {
    Stop,
    Remove,
    Rename,
}

pub fn cases() -> Vec<Case> {
    let mut all = Vec::new();
    // Until its swap the old one runs and the new one does not; afterwards it is the other way round.
    let before = ["started:create_containers", "started:protect", "started:swap:db", "started:swap:api"];
    let after = ["applied:swap:api", "started:verify", "started:commit", "started:finalize"];
    for act in [Act::Stop, Act::Remove, Act::Rename] {
        for point in before {
            all.push(container(Which::Old, act, point, true));
        }
        for point in after {
            all.push(container(Which::New, act, point, true));
        }
    }
    for point in ["started:protect", "started:swap:db", "started:swap:api"] {
        all.push(container(Which::New, Act::Remove, point, false));
    }
    for act in [Act::Remove, Act::Rename] {
        for point in ["started:swap:web", "started:verify"] {
            all.push(container(Which::Old, act, point, false));
        }
    }
    for point in [
        "started:create_containers",
        "applied:flip_current",
        "started:swap:web",
        "started:verify",
        "started:finalize",
    ] {
        all.push(one("'current' repointed", point, OLD, move |ground| pointer_moved(ground, point)));
    }
    all.push(one("'current' repointed", "between two upgrades", NEW, pointer_moved_between));
    for point in ["started:fetch", "started:create_containers", "started:swap:web"] {
        all.push(one("Compose file edited in current/", point, OLD, move |ground| edited(ground, point)));
    }
    all.push(one("Compose file edited in current/", "between two upgrades", OLD, edited_between));
    all.push(one("source gone", "in the middle of the download", OLD, source_gone));
    all
}

fn one(
    row: &str,
    column: &str,
    begin: &'static str,
    act: impl Fn(&mut Ground<'_, '_>) -> Outcome + 'static,
) -> Case {
    Case {
        section: SECTION,
        row: format!("{row}, {column}"),
        column: String::new(),
        place: Place::Disk,
        begin: Some(begin),
        act: Box::new(act),
    }
}

fn container(which: Which, act: Act, point: &'static str, running: bool) -> Case {
    let (who, what) = (
        match which {
            Which::Old => "old",
            Which::New => "new",
        },
        match act {
            Act::Stop => "stopped",
            Act::Remove => "removed",
            Act::Rename => "renamed",
        },
    );
    one(&format!("{who} container {what}"), point, OLD, move |ground| {
        let began = Instant::now();
        let site = ground.site;
        let done = hold::at(site.shop.scratch.path(), site.command(&UPGRADE), point, || {
            let id = site.container(SERVICE, running);
            let elsewhere = format!("{}-elsewhere", site.shop.project());
            let words = match act {
                Act::Stop => vec!["stop", &id],
                Act::Remove => vec!["rm", "-f", &id],
                Act::Rename => vec!["rename", &id, &elsewhere],
            };
            Done::of(Command::new("docker").args(words)).expect(0);
        });
        then_upgrade(ground, &done, began)
    })
}

fn point_to(root: &Path, version: &str) {
    let next = root.join("current.by-hand");
    std::os::unix::fs::symlink(format!("releases/{version}"), &next).unwrap();
    std::fs::rename(next, root.join("current")).unwrap();
}

/// The other way than it points just then.
fn pointer_moved(ground: &mut Ground<'_, '_>, point: &str) -> Outcome {
    let began = Instant::now();
    let site = ground.site;
    let done = hold::at(site.shop.scratch.path(), site.command(&UPGRADE), point, || {
        point_to(&site.root, if site.current() == OLD { NEW } else { OLD });
    });
    let first = done.code;
    // What the hand did may be undone or taken over by this run; the next one leaves nothing of it.
    assert!(matches!(first, Some(0 | 1 | 20)), "it ended badly: {done:#?}");
    let next = site.upgrade_to(NEW);
    assert_eq!(
        next.code,
        Some(0),
        "after {first:?}, the next upgrade does not work: {next:#?}\nfirst: {done:#?}"
    );
    whole::stack_is(site, NEW);
    outcome(&format!("{}, then new", first.unwrap_or_default()), began.elapsed())
}

fn pointer_moved_between(ground: &mut Ground<'_, '_>) -> Outcome {
    let site = ground.site;
    point_to(&site.root, OLD);
    let began = Instant::now();
    let done = site.client(&["upgrade", "--yes", "--target", OLD]);
    assert_eq!(done.code, Some(0), "{done:#?}");
    let recovery = began.elapsed();
    whole::stack_is(site, OLD);
    site.upgrade_to(NEW).expect(0);
    outcome("the stack follows", recovery)
}

const EDIT: &str = "\n# by hand\n";

fn edit(root: &Path) {
    let path = root.join("current/compose.yaml");
    let text = std::fs::read_to_string(&path).unwrap();
    std::fs::write(path, text + EDIT).unwrap();
}

/// The edited file of `version` is kept, and the result says so.
fn is_kept(ground: &Ground<'_, '_>, version: &str, done: &Done) {
    let edits = ground.site.root.join("shared/edits");
    let kept = edits.join(version).join("compose.yaml");
    let text = std::fs::read_to_string(&kept).unwrap_or_default();
    assert!(
        text.contains(EDIT),
        "the edit is lost; in {}: {:?}; {done:#?}",
        edits.display(),
        names_in(&edits)
    );
    assert!(done.json()["warnings"].to_string().contains("compose.yaml"), "nothing warns: {done:#?}");
}

fn edited_between(ground: &mut Ground<'_, '_>) -> Outcome {
    edit(&ground.site.root);
    let began = Instant::now();
    let done = ground.site.upgrade_to(NEW).expect(0);
    is_kept(ground, OLD, &done);
    put_right(ground);
    outcome("new, the edit kept aside", began.elapsed())
}

/// An edit of the version that is left, or of the one that just came: either stays, or is kept aside by the next
/// upgrade that leaves it.
fn edited(ground: &mut Ground<'_, '_>, point: &str) -> Outcome {
    let began = Instant::now();
    let site = ground.site;
    let mut version = String::new();
    let done = hold::at(site.shop.scratch.path(), site.command(&UPGRADE), point, || {
        version = site.current();
        edit(&site.root);
    });
    let result = then_upgrade(ground, &done, began);
    let file = site.root.join("releases").join(&version).join("compose.yaml");
    let there = std::fs::read_to_string(file).is_ok_and(|text| text.contains(EDIT));
    let kept = site.root.join("shared/edits").join(&version).join("compose.yaml");
    let aside = std::fs::read_to_string(kept).is_ok_and(|text| text.contains(EDIT));
    assert!(there || aside, "the edit of {version} is lost: {done:#?}");
    put_right(ground);
    result
}

/// The edits of a case are none of the next one's business.
fn put_right(ground: &Ground<'_, '_>) {
    let root = &ground.site.root;
    std::fs::remove_dir_all(root.join("shared/edits")).ok();
    for version in names_in(&root.join("releases")) {
        let path = root.join("releases").join(version).join("compose.yaml");
        let text = std::fs::read_to_string(&path).unwrap();
        if text.contains(EDIT) {
            std::fs::write(path, text.replace(EDIT, "")).unwrap();
        }
    }
}

fn source_gone(ground: &mut Ground<'_, '_>) -> Outcome {
    let site = ground.site;
    site.forget_package(NEW);
    let gone = Gone::now();
    let path = format!("/{}", site.shop.bundle(NEW));
    let away = gone.0.clone();
    site.shop.server.always(&path, move |request, honest| {
        let response = honest(&request);
        let length = match &response.body {
            Body::Bytes(bytes) => bytes.len() as u64,
            Body::File { count, .. } => *count,
        };
        match away.load(Ordering::SeqCst) {
            true if request.header("range").is_some() => Response::new(503, "gone"),
            true => response.cut_after(length / 2),
            false => response,
        }
    });
    let began = Instant::now();
    let done = site.upgrade_to(NEW);
    assert_eq!(done.code, Some(1), "{done:#?}");
    whole::stack_is(site, OLD);
    drop(gone);
    then_upgrade(ground, &done, began)
}

/// The source is gone until this is dropped, also by a case that is bad.
struct Gone(Arc<AtomicBool>);

impl Gone {
    fn now() -> Self {
        Self(Arc::new(AtomicBool::new(true)))
    }
}

impl Drop for Gone {
    fn drop(&mut self) {
        self.0.store(false, Ordering::SeqCst);
    }
}
