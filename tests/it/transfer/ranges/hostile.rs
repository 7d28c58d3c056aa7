//! Servers that change their minds, and disks that are too small.

use std::sync::atomic::{AtomicUsize, Ordering};

use super::*;
use crate::support::http::Body;

#[tokio::test]
async fn a_server_without_ranges_sends_one_stream() {
    let scene = wide(10 * MIB);
    scene.server.always(FILE, |mut request, honest| {
        request.headers.remove("range");
        honest(&request)
    });
    let fetched = fetch_with(&scene, 8).await;
    scene.assert_complete(&fetched);
    assert_eq!(fetched.transferred, 10 * MIB as u64);
    assert_eq!(scene.statuses(), [200], "its answer to the first request is used");
}

#[tokio::test]
async fn a_server_without_proof_sends_one_stream() {
    let weak: [fn(Response) -> Response; 4] = [
        |answer| answer.without("etag").without("last-modified"),
        |answer| answer.set("ETag", "W/\"weak\"").without("last-modified"),
        |answer| if answer.status == 206 { Response::new(400, "what?") } else { answer },
        |answer| if answer.status == 206 { answer.without("content-range") } else { answer },
    ];
    for twist in weak {
        let scene = wide(9 * MIB);
        scene.server.always(FILE, move |request, honest| twist(honest(&request)));
        scene.assert_complete(&fetch_with(&scene, 8).await);
        assert_eq!(scene.statuses().last(), Some(&200), "{:?}", scene.statuses());
        assert_eq!(scene.statuses().len(), 2, "{:?}", scene.statuses());
    }
}

#[tokio::test]
async fn a_server_that_ignores_ranges_half_way_sends_one_stream_then() {
    let scene = wide(16 * MIB);
    let answers = AtomicUsize::new(0);
    scene.server.always(FILE, move |mut request, honest| {
        if answers.fetch_add(1, Ordering::SeqCst) >= 4 {
            request.headers.remove("range");
        }
        honest(&request)
    });
    let fetched = fetch_with(&scene, 4).await;
    scene.assert_complete(&fetched);
    assert_eq!(fetched.resumed_from, None);
    assert!(scene.warnings()[0].contains("did not continue the same file"), "{:?}", scene.warnings());
}

/// The head and the body of an answer are of one version, whatever becomes of the file meanwhile.
fn of_one_version(mut answer: Response) -> Response {
    if let Body::File { path, first, count } = &answer.body {
        let content = std::fs::read(path).unwrap();
        let first = usize::try_from(*first).unwrap();
        answer.body = Body::Bytes(content[first..first + usize::try_from(*count).unwrap()].to_vec());
    }
    answer
}

#[tokio::test]
async fn two_versions_of_a_file_are_never_spliced() {
    for changes_at in 1..6 {
        let mut scene = wide(12 * MIB);
        let next = noise(12 * MIB);
        let (path, version, answers) = (scene.source.join("stack.bundle"), next.clone(), Mutex::new(0));
        scene.server.always(FILE, move |request, honest| {
            let mut answers = answers.lock().unwrap();
            if *answers == changes_at {
                std::fs::write(&path, &version).unwrap();
            }
            *answers += 1;
            of_one_version(honest(&request))
        });
        scene.content = next;
        // Nothing but the server's own proof can tell the versions apart.
        let request = FileRequest { expect: None, ..scene.request() };
        let fetched = fetcher_of(&scene, policy(3)).file(&request).await.unwrap();
        scene.assert_complete(&fetched);
        assert_eq!(scene.warnings().len(), 1, "{:?}", scene.warnings());
    }
}

#[tokio::test]
async fn an_answer_that_is_about_another_file_or_range_is_not_used() {
    let lies: [fn(Response) -> Response; 4] = [
        |answer| answer.set("ETag", "\"another\""),
        |answer| answer.set("Content-Range", "bytes 0-99/12582912"),
        |answer| answer.set("Content-Range", "bytes 4194304-6291455/12582913"),
        |_| Response::new(416, "").set("Content-Range", "bytes */100"),
    ];
    for lie in lies {
        let scene = wide(12 * MIB);
        scene.server.once(FILE, |request, honest| honest(&request));
        scene.server.once(FILE, move |request, honest| lie(honest(&request)));
        let request = FileRequest { expect: None, ..scene.request() };
        let fetched = fetcher_of(&scene, policy(3)).file(&request).await.unwrap();
        scene.assert_complete(&fetched);
        assert_eq!(scene.warnings().len(), 1, "{:?}", scene.warnings());
        assert_eq!(scene.statuses().last(), Some(&200));
    }
}

#[tokio::test]
async fn more_or_less_than_was_asked_for_is_sorted_out() {
    let odd: [fn(&mut Request); 2] = [
        // A server that knows only open ranges.
        |request| {
            let range = request.headers["range"].clone();
            let open = format!("{}-", range.split_once('-').unwrap().0);
            request.headers.insert("range".into(), open);
        },
        // One that gives at most a million bytes at a time.
        |request| {
            let range = request.headers["range"].clone();
            let first: u64 = range["bytes=".len()..].split_once('-').unwrap().0.parse().unwrap();
            request.headers.insert("range".into(), format!("bytes={first}-{}", first + 999_999));
        },
    ];
    for twist in odd {
        let scene = wide(12 * MIB);
        scene.server.always(FILE, move |mut request, honest| {
            twist(&mut request);
            honest(&request)
        });
        scene.assert_complete(&fetch_with(&scene, 4).await);
        assert_eq!(scene.warnings(), [""; 0]);
        assert!(scene.statuses().iter().all(|status| *status == 206));
    }
}

#[tokio::test]
async fn a_server_that_allows_two_connections_gets_two() {
    let scene = wide(48 * MIB);
    scene.server.at_most(2);
    slowly(&scene, 4); // 16 MiB/s each
    let fetched = fetch_with(&scene, 8).await;
    scene.assert_complete(&fetched);
    assert_transferred(&fetched, 48 * MIB as u64);
    let refused = scene.statuses().iter().filter(|status| **status == 503).count();
    assert!((1..=4).contains(&refused), "one more was tried, and not over and over: {:?}", scene.statuses());
    assert_eq!(scene.warnings(), [""; 0], "the download as a whole went on");
}

#[tokio::test]
async fn a_server_that_is_busy_for_all_is_waited_for() {
    let scene = wide(9 * MIB);
    scene.server.once(FILE, |_, _| Response::new(503, "busy").set("Retry-After", 1));
    let begun = std::time::Instant::now();
    scene.assert_complete(&fetch_with(&scene, 4).await);
    assert!(begun.elapsed() >= Duration::from_secs(1));
    assert_eq!(scene.warnings().len(), 1);
}

/// A login that ended in the middle: from then on every answer is a page.
#[tokio::test]
async fn a_portal_in_the_middle_takes_away_nothing_of_what_is_there() {
    let scene = wide(16 * MIB);
    let answers = Arc::new(AtomicUsize::new(0));
    let count = answers.clone();
    scene.server.always(FILE, move |request, honest| match count.fetch_add(1, Ordering::SeqCst) {
        0..6 => honest(&request),
        _ => Response::new(200, "<html>Your time is over</html>").set("Content-Type", "text/html"),
    });
    let fault = fetcher_of(&scene, policy(4)).file(&scene.request()).await.unwrap_err();
    assert_eq!(fault.code(), Code::WebPage, "{fault}");
    // Nor does the next run, while nobody has logged in.
    let fault = fetcher_of(&scene, policy(4)).file(&scene.request()).await.unwrap_err();
    assert_eq!(fault.code(), Code::WebPage, "{fault}");
    scene.server.always(FILE, |request, honest| honest(&request));
    let fetched = fetch_with(&scene, 4).await;
    scene.assert_complete(&fetched);
    assert!(fetched.resumed_from.unwrap() >= 2 * MIB as u64, "{fetched:?}");
    assert!(fetched.transferred < 15 * MIB as u64, "{fetched:?}");
}

#[tokio::test]
async fn wrong_bytes_of_the_right_length_are_never_kept() {
    let scene = wide(9 * MIB);
    std::fs::write(scene.source.join("stack.bundle"), noise(9 * MIB)).unwrap();
    let fault = fetcher_of(&scene, policy(4)).file(&scene.request()).await.unwrap_err();
    assert_eq!(fault.code(), Code::HashMismatch, "{fault}");
    scene.assert_nothing();
    let request = FileRequest { size: Some(10 * MIB as u64), ..scene.request() };
    let fault = fetcher_of(&scene, policy(4)).file(&request).await.unwrap_err();
    assert_eq!(fault.code(), Code::SizeMismatch, "{fault}");
    scene.assert_nothing();
}

#[tokio::test]
async fn a_refusal_is_final_and_leaves_nothing() {
    let scene = wide(9 * MIB);
    scene.server.always(FILE, |_, _| Response::new(403, "no"));
    let fault = fetcher_of(&scene, policy(4)).file(&scene.request()).await.unwrap_err();
    assert_eq!(fault.code(), Code::SourceRefused, "{fault}");
    assert_eq!(scene.statuses(), [403]);
    scene.assert_nothing();
}

#[tokio::test]
async fn a_disk_that_is_too_small_shows_at_once() {
    let scene = wide(9 * MIB);
    let folder = scene.destination.parent().unwrap().to_owned();
    std::fs::create_dir(&folder).unwrap();
    let mount = |program: &str, args: &[&str]| {
        std::process::Command::new(program).args(args).arg(&folder).output().unwrap().status.success()
    };
    if !mount("mount", &["-t", "tmpfs", "-o", "size=8m", "tmpfs"]) {
        eprintln!("not root: no disk of its own to fill");
        return;
    }
    let outcome = fetcher_of(&scene, policy(4)).file(&scene.request()).await;
    let left = names_in(&folder);
    assert!(mount("umount", &["-l"]));
    let fault = outcome.unwrap_err();
    assert_eq!(fault.code(), Code::DiskFull, "{fault}");
    assert_eq!(left, [""; 0]);
    assert_eq!(scene.statuses(), [0; 0], "the server was not even asked");
}
