//! Several places for one file: the best first, the next where one fails.

use super::*;
use crate::support::http::Response;

/// Three servers of the same file, the scene's own first.
fn mirrored(size: usize) -> (Scene, [HttpServer; 2], FileRequest) {
    let scene = Scene::new(size);
    let mirrors = [HttpServer::serve_dir(&scene.source), HttpServer::serve_dir(&scene.source)];
    let mut locations = vec![scene.at(FILE)];
    locations.extend(mirrors.iter().map(|mirror| Location::parse(&mirror.url_of(FILE)).unwrap()));
    let request = FileRequest { locations, ..scene.request() };
    (scene, mirrors, request)
}

async fn fetch_anew(scene: &Scene, request: &FileRequest) -> Fetched {
    if scene.destination.exists() {
        std::fs::remove_file(&scene.destination).unwrap();
    }
    let fetched = scene.fetcher_by(1, &Link::plain()).file(request).await.unwrap();
    scene.assert_complete(&fetched);
    fetched
}

#[tokio::test]
async fn the_one_that_gave_most_is_asked_first_also_by_the_next_process() {
    let (scene, mirrors, request) = mirrored(600_000);
    // The publisher's first one gives less than is usual, the second less still.
    scene.server.always(FILE, |request, honest| honest(&request).pace(Duration::from_millis(130)));
    mirrors[0].always(FILE, |request, honest| honest(&request).pace(Duration::from_millis(200)));
    let asked = || [&scene.server, &mirrors[0], &mirrors[1]].map(|server| server.statuses(FILE).len());
    for expected in [[1, 0, 0], [1, 1, 0], [1, 1, 1], [1, 1, 2], [1, 1, 3]] {
        fetch_anew(&scene, &request).await;
        assert_eq!(asked(), expected);
    }
    // When it fails the next best has its turn, and the one after a failure is not asked first again.
    mirrors[1].always(FILE, |_, _| Response::new(404, "gone"));
    fetch_anew(&scene, &request).await;
    assert_eq!(asked(), [2, 1, 4]);
    assert!(scene.warnings().join(" ").contains("404"), "{:?}", scene.warnings());
}

#[tokio::test]
async fn a_network_that_is_down_says_nothing_of_the_servers() {
    let (scene, mirrors, request) = mirrored(600_000);
    mirrors[1].always(FILE, |request, honest| honest(&request).pace(Duration::from_millis(100)));
    let all = [&scene.server, &mirrors[0], &mirrors[1]];
    for server in &all[..2] {
        server.once(FILE, |_, _| Response::new(502, "down"));
    }
    mirrors[1].once(FILE, |_, _| Response::new(502, "down"));
    scene.fetcher_by(1, &Link::plain()).file(&request).await.unwrap_err();
    fetch_anew(&scene, &request).await;
    assert_eq!(all.map(|server| server.statuses(FILE).len()), [2, 1, 1], "as the publisher said");
}

#[tokio::test]
async fn among_servers_of_which_nothing_is_known_the_publisher_decides() {
    let (scene, mirrors, request) = mirrored(1000);
    for _ in 0..3 {
        fetch_anew(&scene, &request).await;
    }
    assert_eq!(scene.statuses().len(), 3);
    assert!(mirrors.iter().all(|mirror| mirror.log().is_empty()));
}

#[tokio::test]
async fn a_signed_address_that_had_its_time_is_told_from_a_refusal() {
    let (scene, mirrors, _) = mirrored(1000);
    mirrors[0].always(FILE, |_, _| Response::new(404, "gone"));
    let signed = scene.server.url_of(&format!("{FILE}?X-Amz-Signature=s3cret&X-Amz-Expires=60"));
    let other = Location::parse(&mirrors[0].url_of(FILE)).unwrap();
    for status in [400, 401, 403, 410] {
        scene.server.always(FILE, move |_, _| Response::new(status, "no"));
        let code = async |locations: Vec<Location>| {
            let request = FileRequest { locations, ..scene.request() };
            let fault = scene.fetcher_by(1, &Link::plain()).file(&request).await.unwrap_err();
            assert!(!format!("{fault:?} {:?}", scene.messages()).contains("s3cret"), "{fault}");
            fault.code()
        };
        let signed = Location::parse(&signed).unwrap();
        assert_eq!(code(vec![signed.clone()]).await, Code::LinkExpired, "{status}");
        assert_eq!(code(vec![signed, other.clone()]).await, Code::LinkExpired, "{status}");
        assert_eq!(code(vec![scene.at(FILE)]).await, Code::SourceRefused, "{status}");
    }
    scene.assert_nothing();
}

#[tokio::test]
async fn a_new_signature_continues_what_the_old_one_began() {
    for size in [400_000, 12 * 1024 * 1024] {
        let scene = Scene::new(size);
        let signed = |signature: &str| FileRequest {
            locations: vec![scene.at(&format!("{FILE}?X-Amz-Signature={signature}"))],
            ..scene.request()
        };
        // The first answers are good, then the signature has had its time.
        let answers = std::sync::atomic::AtomicUsize::new(0);
        scene.server.always(FILE, move |request, honest| {
            let old = request.query.as_deref() == Some("X-Amz-Signature=old");
            match answers.fetch_add(1, std::sync::atomic::Ordering::SeqCst) {
                0 => honest(&request).cut_after(300_000),
                1.. if old => Response::new(403, "Request has expired"),
                _ => honest(&request),
            }
        });
        let fault = scene.fetcher().file(&signed("old")).await.unwrap_err();
        assert_eq!(fault.code(), Code::LinkExpired, "{fault}");
        let fetched = scene.fetcher().file(&signed("new")).await.unwrap();
        scene.assert_complete(&fetched);
        assert!(fetched.resumed_from.is_some_and(|had| had > 0), "{fetched:?}");
        assert!(fetched.transferred < size as u64, "{fetched:?}");
    }
}
