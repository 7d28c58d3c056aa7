//! Large files over several connections.

mod hostile;
mod journal;
mod killed;
mod pieces;

use super::*;
use crate::support::http::{Request, Response};

const MIB: usize = 1024 * 1024;

/// A scene whose content repeats nowhere, so that no byte can be in a wrong place unnoticed.
fn wide(size: usize) -> Scene {
    let mut scene = Scene::new(0);
    scene.content = noise(size);
    std::fs::write(scene.source.join("stack.bundle"), &scene.content).unwrap();
    scene
}

fn noise(size: usize) -> Vec<u8> {
    let mut content = vec![0; size];
    rand::RngCore::fill_bytes(&mut rand::rng(), &mut content);
    content
}

fn policy(connections: usize) -> Policy {
    Policy {
        attempts: 3,
        connections,
        connect_timeout: Duration::from_secs(5),
        stall_timeout: Duration::from_secs(30),
        backoff: Backoff { base: Duration::from_millis(1), ..Backoff::default() },
    }
}

fn fetcher_of(scene: &Scene, policy: Policy) -> Fetcher {
    let store = Arc::new(Store::open(&scene.device.join("state.db")).unwrap());
    Fetcher::with_policy(store, policy, Progress::new(scene.recorder.clone(), "u", Lang::En)).unwrap()
}

async fn fetch_with(scene: &Scene, connections: usize) -> Fetched {
    fetcher_of(scene, policy(connections)).file(&scene.request()).await.unwrap()
}

/// Makes every body slow: so many milliseconds for every 64 KiB.
fn slowly(scene: &Scene, ms: u64) {
    scene.server.always(FILE, move |request, honest| honest(&request).pace(Duration::from_millis(ms)));
}

/// What was asked for, as first byte and length; the answers with a body only.
fn asked(scene: &Scene) -> Vec<(u64, u64)> {
    let range = |request: &Request| {
        let (first, last) = request.header("range")?.strip_prefix("bytes=")?.split_once('-')?;
        let first: u64 = first.parse().ok()?;
        Some((first, last.parse::<u64>().ok()? + 1 - first))
    };
    let log = scene.server.log();
    log.iter().filter(|exchange| exchange.status == 206).filter_map(|e| range(&e.request)).collect()
}

/// Nothing came twice, but for what was on its way when another connection took the rest of a piece over.
fn assert_transferred(fetched: &Fetched, bytes: u64) {
    let found = fetched.transferred;
    assert!((bytes..bytes + 2 * MIB as u64).contains(&found), "{found} instead of {bytes}");
}

/// Lets a download go on until the server has sent `bytes`, and drops it.
async fn dropped_after(scene: &Scene, request: &FileRequest, bytes: u64) {
    let fetcher = fetcher_of(scene, policy(4));
    let sent = scene.server.bytes_sent();
    tokio::select! {
        done = fetcher.file(request) => panic!("it cannot have ended: {done:?}"),
        () = async {
            while scene.server.bytes_sent() < sent + bytes {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        } => {}
    }
    // Its threads write what they were given; they have ended when the part is free.
    std::fs::File::open(scene.part()).unwrap().lock().unwrap();
}

#[tokio::test]
async fn any_size_arrives_whole_and_once() {
    for size in [8 * MIB, 8 * MIB + 1, 16 * MIB - 1, 16 * MIB, 20 * MIB + 7] {
        let scene = wide(size);
        let fetched = fetch_with(&scene, 8).await;
        scene.assert_complete(&fetched);
        assert_transferred(&fetched, size as u64);
        assert_eq!(fetched.resumed_from, None);
        let mut asked = asked(&scene);
        asked.sort();
        let mut end = 0;
        for (first, count) in &asked {
            assert!(*first <= end, "{size}: nobody asked for {end}: {asked:?}");
            end = end.max(first + count);
        }
        assert_eq!(end, size as u64);
        let log = scene.server.log();
        let proved = log.iter().filter(|e| e.request.header("if-range").is_some()).count();
        assert_eq!(proved, log.len() - 1, "all but the first");
        let events = scene.recorder.0.lock().unwrap();
        let last = events.iter().filter_map(|event| event.amount.as_ref()).next_back().unwrap();
        assert_eq!((last.done, last.total), (size as u64, Some(size as u64)));
    }
}

#[tokio::test]
async fn small_files_and_one_connection_are_one_stream() {
    let scene = wide(8 * MIB - 1);
    scene.assert_complete(&fetch_with(&scene, 8).await);
    assert_eq!(scene.statuses(), [200]);
    let scene = wide(8 * MIB);
    scene.assert_complete(&fetch_with(&scene, 1).await);
    assert_eq!(scene.statuses(), [200]);
}

#[tokio::test]
async fn two_at_once_fetch_once() {
    let scene = wide(9 * MIB);
    let (one, other) = (fetcher_of(&scene, policy(4)), fetcher_of(&scene, policy(4)));
    let request = scene.request();
    let (one, other) = tokio::join!(one.file(&request), other.file(&request));
    let (one, other) = (one.unwrap(), other.unwrap());
    scene.assert_complete(&one);
    scene.assert_complete(&other);
    assert!(one.cached != other.cached);
    assert_transferred(if one.cached { &other } else { &one }, 9 * MIB as u64);
}

#[tokio::test]
async fn connections_are_added_while_that_helps_and_never_too_many() {
    let scene = wide(48 * MIB);
    slowly(&scene, 8); // 8 MiB/s each
    scene.assert_complete(&fetch_with(&scene, 4).await);
    // An answer that nobody reads any more, because another took the rest of it over, ends a moment later.
    let busiest = scene.server.busiest();
    assert!((3..=6).contains(&busiest), "{busiest}");
    assert_eq!(scene.warnings(), [""; 0]);
}

#[tokio::test]
async fn work_moves_away_from_a_connection_that_stalls() {
    let scene = wide(16 * MIB);
    scene.server.once(FILE, |request, honest| honest(&request));
    scene.server.once(FILE, |request, honest| honest(&request).stall_after(100_000));
    let begun = std::time::Instant::now();
    let fetched = fetch_with(&scene, 4).await;
    scene.assert_complete(&fetched);
    assert!(begun.elapsed() < Duration::from_secs(15), "it did not wait for the 30 s of a stall");
    assert_eq!(scene.warnings(), [""; 0], "nothing failed as a whole");
    assert_transferred(&fetched, 16 * MIB as u64);
}

#[tokio::test]
async fn work_moves_away_from_a_connection_that_is_slow() {
    let scene = wide(16 * MIB);
    scene.server.once(FILE, |request, honest| honest(&request));
    // 2 MiB at this pace are 8 s.
    scene.server.once(FILE, |request, honest| honest(&request).pace(Duration::from_millis(250)));
    let begun = std::time::Instant::now();
    scene.assert_complete(&fetch_with(&scene, 4).await);
    assert!(begun.elapsed() < Duration::from_secs(6), "{:?}", begun.elapsed());
}

#[tokio::test]
async fn a_cut_in_the_middle_of_a_piece_costs_that_connection_only() {
    let scene = wide(16 * MIB);
    scene.server.once(FILE, |request, honest| honest(&request).pace(Duration::from_millis(1)));
    scene.server.once(FILE, |request, honest| honest(&request).cut_after(300_000));
    let fetched = fetch_with(&scene, 4).await;
    scene.assert_complete(&fetched);
    assert_transferred(&fetched, 16 * MIB as u64);
    assert_eq!(scene.warnings(), [""; 0]);
    assert!(scene.statuses().iter().all(|status| *status == 206));
}

#[tokio::test]
async fn when_every_connection_is_cut_the_attempts_are_counted_by_headway() {
    let scene = wide(10 * MIB);
    scene.server.always(FILE, |request, honest| honest(&request).cut_after(450_000));
    // Three of them bring more than the 1 MiB that starts the counting anew.
    let policy = Policy { attempts: 4, ..policy(2) };
    let fetched = fetcher_of(&scene, policy).file(&scene.request()).await.unwrap();
    scene.assert_complete(&fetched);
    assert_transferred(&fetched, 10 * MIB as u64);
    assert!(!scene.warnings().is_empty());
}

#[tokio::test]
async fn a_modification_date_is_proof_enough() {
    let scene = wide(9 * MIB);
    let hour_ago = std::time::SystemTime::now() - Duration::from_secs(3600);
    let file = std::fs::File::options().write(true).open(scene.source.join("stack.bundle")).unwrap();
    file.set_modified(hour_ago).unwrap();
    scene.server.always(FILE, |request, honest| honest(&request).without("etag"));
    scene.assert_complete(&fetch_with(&scene, 4).await);
    assert!(scene.statuses().iter().all(|status| *status == 206));
    assert!(scene.server.log()[1].request.header("if-range").unwrap().ends_with("GMT"));
}

/// A server that has the file only for so many answers.
fn gone_after(scene: &Scene, answers: usize) {
    let given = std::sync::atomic::AtomicUsize::new(0);
    scene.server.always(FILE, move |request, honest| {
        match given.fetch_add(1, std::sync::atomic::Ordering::SeqCst) < answers {
            true => honest(&request),
            false => Response::new(404, "gone"),
        }
    });
}

#[tokio::test]
async fn a_mirror_with_the_same_tag_goes_on_where_the_first_stopped() {
    let scene = wide(16 * MIB);
    gone_after(&scene, 3);
    let mirror = HttpServer::serve_dir(&scene.source);
    let locations = vec![scene.at(FILE), Location::parse(&mirror.url_of(FILE)).unwrap()];
    let request = FileRequest { locations, ..scene.request() };
    let fetched = fetcher_of(&scene, policy(4)).file(&request).await.unwrap();
    scene.assert_complete(&fetched);
    assert!(scene.warnings().join("\n").contains("404"), "{:?}", scene.warnings());
    assert_transferred(&fetched, 16 * MIB as u64);
    assert!(fetched.resumed_from.unwrap() > 0);
}

#[tokio::test]
async fn a_mirror_with_another_file_or_tag_begins_anew() {
    let mut scene = wide(16 * MIB);
    gone_after(&scene, 3);
    let elsewhere = tempfile::tempdir().unwrap();
    let content = noise(16 * MIB);
    std::fs::write(elsewhere.path().join("stack.bundle"), &content).unwrap();
    let mirror = HttpServer::serve_dir(elsewhere.path());
    let locations = vec![scene.at(FILE), Location::parse(&mirror.url_of(FILE)).unwrap()];
    let mut request = FileRequest { locations, ..scene.request() };
    scene.content = content;
    request.expect = Some(Digest::of(&scene.content));
    let fetched = fetcher_of(&scene, policy(4)).file(&request).await.unwrap();
    scene.assert_complete(&fetched);
    assert_eq!(fetched.resumed_from, None);
    assert!(mirror.statuses(FILE)[1..].iter().all(|status| *status == 206), "{:?}", mirror.statuses(FILE));
}
