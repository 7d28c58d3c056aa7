//! A disk that fills at each step.

use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::time::{Duration, Instant};

use super::{UPGRADE, outcome};
use crate::case::{Case, Ground, Outcome, Place};
use crate::hold;
use crate::shop::{NEW, OLD};
use crate::whole;

/// A service that fell over for want of room is started again by the engine, which takes longer each time.
const WELL_AGAIN: Duration = Duration::from_secs(120);

const SECTION: &str = "the disk fills";
const STEPS: [&str; 18] = [
    "secure_ways",
    "fetch",
    "unpack",
    "carry_edits",
    "load_images",
    "tag_images",
    "create_containers",
    "backup",
    "protect",
    "flip_current",
    "swap:db",
    "swap:api",
    "swap:web",
    "swap:worker",
    "verify",
    "commit",
    "finalize",
    "clean_up",
];

pub fn cases() -> Vec<Case> {
    let mut all = Vec::new();
    for step in STEPS {
        for (moment, column) in [("before", "before its mark"), ("started", "before its effect")] {
            let point = format!("{moment}:{step}");
            all.push(Case {
                section: SECTION,
                row: step.to_owned(),
                column: column.to_owned(),
                place: Place::Small,
                begin: Some(OLD),
                act: Box::new(move |ground| filled(ground, &point)),
            });
        }
    }
    all
}

/// Takes all the room there is, to the last byte.
fn fill(path: &Path) {
    let mut file = File::create(path).unwrap();
    let mut piece = vec![0; 1 << 20];
    while !piece.is_empty() {
        if file.write_all(&piece).is_err() {
            piece.truncate(piece.len() / 2);
        }
    }
}

fn filled(ground: &mut Ground<'_, '_>, point: &str) -> Outcome {
    let site = ground.site;
    let filler = site.root.join("filler");
    let done = hold::at(site.shop.scratch.path(), site.command(&UPGRADE), point, || fill(&filler));
    let version = match done.code {
        Some(0) => NEW,
        Some(1 | 20) => OLD,
        _ => panic!("it ended badly: {done:#?}"),
    };
    // The worker writes to that disk, too, and may fall over: whether it is well is asked when there is room again.
    let ended = crate::case::attempt(|| whole::images_are(site, version));
    std::fs::remove_file(&filler).unwrap();
    if let Err(text) = ended {
        panic!("on the full disk, after {:?}: {text}\n{done:#?}", done.code);
    }
    let deadline = Instant::now() + WELL_AGAIN;
    while let Err(text) = crate::case::attempt(|| whole::stack_is(site, version)) {
        assert!(Instant::now() < deadline, "there is room again, but: {text}");
        std::thread::sleep(Duration::from_millis(200));
    }
    let began = Instant::now();
    let next = site.upgrade_to(NEW);
    assert_eq!(next.code, Some(0), "there is room again, but: {next:#?}\nfirst: {done:#?}");
    let recovery = began.elapsed();
    whole::stack_is(site, NEW);
    let name = if version == NEW { "new" } else { "old" };
    outcome(&format!("{name} ({}), then new", done.code.unwrap_or_default()), recovery)
}
