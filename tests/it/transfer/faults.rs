//! Servers that fail, lie or refuse, and disks that are full.

use super::*;
use crate::support::http::Response;

#[tokio::test]
async fn wrong_bytes_are_never_kept() {
    let scene = Scene::new(1000);
    scene.server.always(FILE, |_, _| Response::new(200, vec![9; 1000]));
    let fault = scene.fetch().await.unwrap_err();
    assert_eq!(fault.code(), Code::HashMismatch);
    assert!(fault.to_string().contains("stack.bundle") && fault.to_string().contains("127.0.0.1"), "{fault}");
    assert_eq!(scene.statuses(), [200], "asking the same server again would not help");
    scene.assert_nothing();
}

/// What a network says that wants a login first.
fn portal() -> Response {
    Response::new(200, "\u{feff}\n<!doctype html><html>Please log in</html>")
        .set("Content-Type", "text/html; charset=utf-8")
}

#[tokio::test]
async fn the_page_of_a_captive_portal_is_not_the_file() {
    let scene = Scene::new(1000);
    scene.server.always(FILE, |_, _| portal());
    for request in [
        scene.request(),
        FileRequest { size: None, ..scene.request() },
        FileRequest { size: None, expect: None, ..scene.request() },
    ] {
        let fault = scene.fetcher().file(&request).await.unwrap_err();
        assert_eq!(fault.code(), Code::WebPage, "{fault}");
        assert!(fault.help(Lang::En).contains("captive portal"), "{}", fault.help(Lang::En));
        scene.assert_nothing();
    }
    let fault = scene.fetcher().document(&scene.at(FILE), 100_000).await.unwrap_err();
    assert_eq!(fault.code(), Code::WebPage, "{fault}");
}

#[tokio::test]
async fn a_portal_that_was_led_to_is_named() {
    let scene = Scene::new(1000);
    let gate = HttpServer::serve_dir(&scene.source);
    gate.always("/login", |_, _| portal());
    let target = gate.url_of("/login?from=s3cret");
    scene.server.always(FILE, move |_, _| Response::new(302, "").set("Location", &target));
    let fault = scene.fetch().await.unwrap_err();
    assert_eq!(fault.code(), Code::WebPage);
    assert!(
        fault.to_string().contains(&gate.url_of("/login")) && !fault.to_string().contains("s3cret"),
        "{fault}"
    );
}

#[tokio::test]
async fn a_file_that_is_only_called_a_page_is_the_file() {
    let scene = Scene::new(700_000);
    scene.server.always(FILE, |request, honest| honest(&request).set("Content-Type", "text/html"));
    scene.assert_complete(&scene.fetch().await.unwrap());
    assert!(scene.fetcher().document(&scene.at(FILE), 700_000).await.unwrap() == scene.content);
}

#[tokio::test]
async fn a_portal_takes_away_nothing_of_what_is_there() {
    let scene = Scene::new(400_000);
    scene.interrupted_after(300_000).await;
    scene.server.once(FILE, |_, _| portal());
    assert_eq!(scene.fetch().await.unwrap_err().code(), Code::WebPage);
    assert_eq!(scene.part_length(), 300_000);
    let fetched = scene.fetch().await.unwrap();
    scene.assert_complete(&fetched);
    assert_eq!((fetched.transferred, fetched.resumed_from), (100_000, Some(300_000)));
}

#[tokio::test]
async fn a_length_that_is_not_the_promised_one_is_refused() {
    let scene = Scene::new(1000);
    let too_long =
        |_, _: &dyn Fn(&_) -> Response| Response::new(200, vec![1; 5000]).without("content-length");
    scene.server.once(FILE, too_long);
    assert_eq!(scene.fetch().await.unwrap_err().code(), Code::SizeMismatch);
    scene.assert_nothing();
    // A server that promises less than it has, and one that promises more.
    scene.server.once(FILE, |request, honest| honest(&request).set("Content-Length", 999));
    assert_eq!(scene.fetch().await.unwrap_err().code(), Code::SizeMismatch);
    scene.server.once(FILE, |request, honest| honest(&request).set("Content-Length", 1001));
    let request = FileRequest { size: None, ..scene.request() };
    scene.assert_complete(&scene.fetcher().file(&request).await.unwrap());
}

#[tokio::test]
async fn a_busy_server_is_waited_for() {
    let scene = Scene::new(1000);
    scene.server.once(FILE, |_, _| Response::new(503, "busy").set("Retry-After", 1));
    scene.server.once(FILE, |_, _| Response::new(429, "slowly"));
    let begun = std::time::Instant::now();
    scene.assert_complete(&scene.fetch().await.unwrap());
    assert!(begun.elapsed() >= Duration::from_secs(1));
    assert_eq!(scene.statuses(), [503, 429, 200]);
    assert!(scene.warnings()[0].contains("503"), "{:?}", scene.warnings());
    assert!(scene.warnings()[0].contains("1000 ms"), "{:?}", scene.warnings());
}

#[tokio::test]
async fn a_date_to_come_again_is_understood() {
    let scene = Scene::new(1000);
    let begun = std::time::Instant::now();
    scene.server.once(FILE, |_, _| {
        let at = std::time::SystemTime::now() + Duration::from_secs(2);
        Response::new(429, "slowly").set("Retry-After", httpdate::fmt_http_date(at))
    });
    scene.assert_complete(&scene.fetch().await.unwrap());
    // The date has whole seconds.
    let waited = begun.elapsed();
    assert!(waited >= Duration::from_millis(900) && waited < Duration::from_secs(10), "{waited:?}");
    assert_eq!(scene.statuses(), [429, 200]);
    scene.server.once("/manifest.json", |_, _| Response::new(503, "busy").set("Retry-After", 1));
    std::fs::write(scene.source.join("manifest.json"), b"{}").unwrap();
    let begun = std::time::Instant::now();
    assert_eq!(scene.fetcher().document(&scene.at("/manifest.json"), 10).await.unwrap(), b"{}");
    assert!(begun.elapsed() >= Duration::from_secs(1));
}

#[tokio::test]
async fn a_server_with_an_address_of_the_sixth_version() {
    let Ok(listener) = std::net::TcpListener::bind("[::1]:0") else {
        eprintln!("this machine has no IPv6");
        return;
    };
    let scene = Scene::new(400_000);
    let server = HttpServer::serve_on(listener, &scene.source);
    let at = server.url_of(FILE);
    assert!(at.starts_with("http://[::1]:"), "{at}");
    server.once(FILE, |request, honest| honest(&request).cut_after(100_000));
    let request = FileRequest { locations: vec![Location::parse(&at).unwrap()], ..scene.request() };
    let fetched = scene.fetcher().file(&request).await.unwrap();
    scene.assert_complete(&fetched);
    assert_eq!(server.statuses(FILE), [200, 206]);
    assert!(scene.warnings()[0].contains("[::1]"), "{:?}", scene.warnings());
}

#[tokio::test]
async fn a_server_that_stays_broken_is_given_up() {
    let scene = Scene::new(1000);
    scene.server.always(FILE, |_, _| Response::new(502, "bad gateway"));
    let fault = scene.fetch().await.unwrap_err();
    assert_eq!(fault.code(), Code::SourceUnreachable);
    assert!(fault.to_string().contains("502"), "{fault}");
    assert_eq!(scene.statuses(), [502, 502, 502]);
    scene.assert_nothing();
}

#[tokio::test]
async fn a_refusal_is_final() {
    let scene = Scene::new(1000);
    for status in [401, 403, 404, 410] {
        scene.server.once(FILE, move |_, _| Response::new(status, "no"));
        let fault = scene.fetch().await.unwrap_err();
        assert_eq!(fault.code(), Code::SourceRefused);
        assert!(fault.to_string().contains(&status.to_string()), "{fault}");
    }
    assert_eq!(scene.statuses(), [401, 403, 404, 410]);
    scene.assert_nothing();
}

#[tokio::test]
async fn mirrors_are_tried_in_order() {
    let scene = Scene::new(1000);
    scene.server.always("/gone", |_, _| Response::new(404, ""));
    scene.server.always("/wrong", |_, _| Response::new(200, vec![0; 1000]));
    scene.server.always("/cut", |mut request, honest| {
        request.path = FILE.into();
        honest(&request).cut_after(10)
    });
    let paths = ["/gone", "/wrong", "/cut", FILE];
    let locations = paths.iter().map(|path| scene.at(path)).collect();
    let request = FileRequest { locations, ..scene.request() };
    let fetched = scene.fetcher().file(&request).await.unwrap();
    scene.assert_complete(&fetched);
    assert_eq!(scene.server.statuses("/gone").len(), 1);
    assert_eq!(scene.server.statuses("/wrong").len(), 1);
    assert_eq!(scene.server.statuses("/cut").len(), 3);
    let said = scene.warnings().join("\n");
    assert!(said.contains("404") && said.contains("does not have the promised content"), "{said}");
}

#[tokio::test]
async fn without_an_address_nothing_can_be_fetched() {
    let scene = Scene::new(10);
    let request = FileRequest { locations: Vec::new(), ..scene.request() };
    let fault = scene.fetcher().file(&request).await.unwrap_err();
    assert_eq!(fault.code(), Code::DownloadFailed);
}

#[tokio::test]
async fn a_file_that_does_not_fit_is_not_begun() {
    let scene = Scene::new(10);
    let request = FileRequest { size: Some(1 << 60), ..scene.request() };
    let fault = scene.fetcher().file(&request).await.unwrap_err();
    assert_eq!(fault.code(), Code::DiskFull);
    assert!(fault.to_string().contains("1152921504606846976 bytes are needed"), "{fault}");
    assert!(fault.to_string().contains("are free"), "{fault}");
    assert_eq!(scene.statuses(), [0; 0], "the server was not even asked");
    scene.assert_nothing();
}

#[tokio::test]
async fn a_folder_that_cannot_be_written_is_named() {
    let mut scene = Scene::new(10);
    let blocker = scene.device.join("file");
    std::fs::write(&blocker, b"").unwrap();
    scene.destination = blocker.join("stack.bundle");
    let fault = scene.fetch().await.unwrap_err();
    assert!(fault.to_string().contains(&blocker.display().to_string()), "{fault}");
}
