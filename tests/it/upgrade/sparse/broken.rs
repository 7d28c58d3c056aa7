//! What is wrong on the way, and what goes away between two steps.

use std::os::unix::fs::MetadataExt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use super::*;
use crate::support::http::{Body, Request};
use crate::support::tiny::wait_for;

/// 1.1.0, in which a layer of 4 MiB is new.
fn large_change() -> Site {
    Site::with_donor_of(|r| {
        r.dockerfile("app", "COPY blob /blob");
    })
}

#[test]
fn a_killed_download_goes_on_where_it_was() {
    let site = large_change();
    let (_, plan) = site.device.ask(&["plan"]);
    let planned = plan["bytes_to_fetch"].as_u64().unwrap();
    assert!((4 << 20..(4 << 20) + SMALL).contains(&planned), "{plan:#}");
    let path = site.path("1.1.0");
    site.server.always(&path, |request, honest| honest(&request).pace(Duration::from_millis(20)));
    let before = site.server.bytes_sent();
    let mut child = site.device.spawn(&["upgrade", "--yes"]);
    wait_for("half of it", || {
        let entries = std::fs::read_dir(site.device.path("bundles")).unwrap().map(Result::unwrap);
        let mut parts = entries.filter(|entry| entry.file_name().to_string_lossy().ends_with(".sparse.part"));
        parts.any(|part| part.metadata().is_ok_and(|found| found.blocks() * 512 > 2 << 20))
    });
    child.kill().unwrap();
    child.wait().unwrap();
    let sent = site.server.bytes_sent() - before;
    assert!(sent < planned, "it was killed too late");
    site.server.always(&path, |request, honest| honest(&request));
    let ended = site.upgrade();
    assert_eq!(site.kept("1.1.0"), Kept::Sparse);
    assert!(downloaded(&ended) < planned - (1 << 20), "{}", downloaded(&ended));
    assert!(saved(&site.stack.image("app")) > BALLAST + (4 << 20));
}

#[test]
fn killed_at_every_step_of_the_preparation_it_is_finished() {
    let site = Site::with_donor();
    for point in
        ["applied:fetch", "started:unpack", "applied:unpack", "started:load_images", "applied:load_images"]
    {
        site.device.killed(point, &["upgrade", "--yes"]);
    }
    let before = site.server.bytes_sent();
    site.upgrade();
    assert_eq!(site.kept("1.1.0"), Kept::Sparse);
    assert!(site.server.bytes_sent() - before < SMALL);
}

/// Every byte of an answer is another one.
fn spoilt(response: Response) -> Response {
    let Body::File { path, first, count } = &response.body else { return response };
    let whole = std::fs::read(path).unwrap();
    let part = &whole[*first as usize..(*first + *count) as usize];
    let body = Body::Bytes(part.iter().map(|byte| byte ^ 1).collect());
    Response { body, ..response }
}

/// Spoils the answers to requests for single pieces of 1.1.0, from one number on up to another.
fn spoil(site: &Site, which: std::ops::Range<usize>, whole: bool) {
    let number = Arc::new(AtomicUsize::new(0));
    site.server.always(&site.path("1.1.0"), move |request: Request, honest| {
        let piece = request.header("range").is_some();
        let response = honest(&request);
        let counted = if piece { number.fetch_add(1, Ordering::SeqCst) } else { usize::MAX };
        if which.contains(&counted) || (!piece && whole) { spoilt(response) } else { response }
    });
}

#[test]
fn a_server_that_goes_away_is_no_reason_to_fetch_more() {
    let site = Site::with_donor();
    let settings = site.device.read("client.toml");
    assert!(settings.contains("attempts = 5"), "{settings}");
    site.device.write("client.toml", &settings.replace("attempts = 5", "attempts = 1"));
    let number = AtomicUsize::new(0);
    site.server.always(&site.path("1.1.0"), move |request, honest| {
        if number.fetch_add(1, Ordering::SeqCst) == 0 { honest(&request) } else { Response::new(503, "") }
    });
    let ended = site.device.upgrade(&[]);
    assert_eq!(
        (ended.code, &ended.outcome["error"]["code"]),
        (1, &"SOURCE_UNREACHABLE".into()),
        "{ended:#?}"
    );
    let asked = site.server.log();
    let whole = asked.iter().filter(|e| e.request.path.ends_with(".bundle") && e.status == 200).count();
    assert_eq!(whole, 1, "that of the install");
    site.server.always(&site.path("1.1.0"), |request, honest| honest(&request));
    site.upgrade();
    assert_eq!(site.kept("1.1.0"), Kept::Sparse);
}

#[test]
fn a_member_that_is_wrong_comes_again() {
    let site = Site::with_donor();
    // The first piece is `release.json`, the next are the others.
    spoil(&site, 1..2, false);
    let ended = site.upgrade();
    assert_eq!(site.kept("1.1.0"), Kept::Sparse);
    assert!(downloaded(&ended) < 2 * SMALL);
}

#[test]
fn members_that_stay_wrong_are_never_loaded() {
    let site = Site::with_donor();
    spoil(&site, 1..usize::MAX, false);
    // A whole bundle of this size comes by ranges only where it is large; this one comes by one stream.
    let ended = site.upgrade();
    assert_eq!(site.kept("1.1.0"), Kept::Whole);
    assert!(warnings(&ended).iter().any(|text| text.contains("the whole package is fetched")), "{ended:#?}");
    assert!(downloaded(&ended) > site.size("1.1.0"), "what came for nothing counts");

    let site = Site::with_donor();
    spoil(&site, 0..usize::MAX, true);
    let before = site.device.containers();
    let ended = site.device.upgrade(&[]);
    assert_eq!((ended.code, &ended.outcome["error"]["code"]), (40, &"HASH_MISMATCH".into()), "{ended:#?}");
    assert_eq!(site.device.containers(), before);
    assert_eq!(image_id(&site.stack.image("app")), None, "nothing was loaded");
    assert_eq!(site.kept("1.1.0"), Kept::Not);
}

#[test]
fn an_index_that_is_not_the_promised_one_is_not_used() {
    let site = Site::small_change();
    let index = format!("{}.index.json", site.path("1.1.0"));
    site.server.always(&index, |request, honest| spoilt(honest(&request)));
    let (_, plan) = site.device.ask(&["plan"]);
    assert_eq!(plan["bytes_to_fetch"].as_u64(), Some(site.size("1.1.0")));
    let ended = site.upgrade();
    assert_eq!(site.kept("1.1.0"), Kept::Whole);
    assert!(warnings(&ended).iter().any(|text| text.contains("the whole package is fetched")), "{ended:#?}");
}

#[test]
fn a_donor_that_is_removed_before_the_load_is_done_without() {
    let site = Site::with_donor();
    let output = site.device.held("started:load_images", &["upgrade", "--yes", "--json"], |_| {
        assert_eq!(site.kept("1.1.0"), Kept::Sparse);
        docker(&["rmi", &site.stack.image("donor")]);
    });
    let outcome: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(outcome["ok"], true, "{outcome:#}");
    assert_eq!(site.kept("1.1.0"), Kept::Whole);
    let (came, size) = (outcome["bytes_downloaded"].as_u64().unwrap(), site.size("1.1.0"));
    assert!((size..size + SMALL).contains(&came), "what was here is not fetched again: {came} of {size}");
    assert_eq!(site.device.sh("app", "cat /own"), "build 2");
    assert!(saved(&site.stack.image("app")) > BALLAST);
}

#[test]
fn a_donor_that_is_removed_between_two_attempts_is_done_without() {
    let site = Site::with_donor();
    site.device.killed("started:load_images", &["upgrade", "--yes"]);
    assert_eq!(site.kept("1.1.0"), Kept::Sparse);
    docker(&["rmi", &site.stack.image("donor")]);
    site.upgrade();
    assert_eq!(site.kept("1.1.0"), Kept::Whole);
    assert!(saved(&site.stack.image("app")) > BALLAST);
}
