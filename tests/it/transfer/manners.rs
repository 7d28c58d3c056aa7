//! How much of the link downloads take, and how little of it a server may give.

use std::time::Instant;

use super::*;
use crate::support::http::Response;

const KIB: usize = 1024;

#[tokio::test]
async fn the_limit_holds_for_one_stream_and_for_several_connections() {
    // 400 KiB at 200 KiB/s; 10 MiB over several connections at 4 MiB/s.
    for (size, rate, seconds) in [(400 * KIB, "200k", 2.0), (10 * 1024 * KIB, "4M", 2.5)] {
        let scene = Scene::new(size);
        let fetcher = scene.fetcher_by_settings(&format!("[download]\nlimit_rate = '{rate}'"));
        let begun = Instant::now();
        scene.assert_complete(&fetcher.file(&scene.request()).await.unwrap());
        let took = begun.elapsed().as_secs_f64();
        assert!(took > seconds * 0.9 && took < seconds * 4.0, "{size} bytes at {rate}: {took} s");
    }
}

#[tokio::test]
async fn the_limit_is_one_for_all_files_however_small() {
    let scene = Scene::new(0);
    let mut requests = Vec::new();
    for number in 0..10 {
        let name = format!("{number}.json");
        std::fs::write(scene.source.join(&name), vec![b' '; 20 * KIB]).unwrap();
        requests.push(scene.at(&format!("/{name}")));
    }
    let link = scene.link("[download]\nlimit_rate = '100k'").unwrap();
    let fetchers = [scene.fetcher_by(1, &link), scene.fetcher_by(1, &link)];
    let begun = Instant::now();
    let fetch = |fetcher: usize, from: usize| {
        let (fetchers, requests) = (&fetchers, &requests);
        async move {
            for at in requests.iter().skip(from).step_by(2) {
                fetchers[fetcher].document(at, 1 << 20).await.unwrap();
            }
        }
    };
    tokio::join!(fetch(0, 0), fetch(1, 1));
    let took = begun.elapsed().as_secs_f64();
    assert!(took > 1.8 && took < 8.0, "200 KiB at 100 KiB/s: {took} s");
}

#[tokio::test]
async fn another_limit_may_hold_at_this_hour() {
    let scene = Scene::new(200 * KIB);
    let all_day = "[[download.limits]]\nfrom = '00:00'\nto = '24:00'\nrate = ";
    for (rate, slow) in [("'100k'", true), ("0", false)] {
        let settings = format!("[download]\nlimit_rate = '100k'\n{all_day}{rate}");
        let begun = Instant::now();
        scene.assert_complete(&scene.fetcher_by_settings(&settings).file(&scene.request()).await.unwrap());
        let took = begun.elapsed().as_secs_f64();
        assert_eq!(took > 1.5, slow, "{took} s");
        std::fs::remove_file(&scene.destination).unwrap();
    }
}

/// A connection on which 64 KiB come every 150 ms never stalls.
#[tokio::test]
async fn a_trickle_is_given_up_and_continued() {
    let scene = Scene::new(1024 * KIB);
    let pace = Duration::from_millis(150);
    scene.server.once(FILE, move |request, honest| honest(&request).pace(pace));
    let settings = "[download]\nmin_rate = '2M'\nstall_timeout_s = 1";
    let fetched = scene.fetcher_by_settings(settings).file(&scene.request()).await.unwrap();
    scene.assert_complete(&fetched);
    assert_eq!(scene.statuses(), [200, 206]);
    assert!(scene.warnings()[0].contains("too little for too long"), "{:?}", scene.warnings());
    // What the server gives is enough, however little that is.
    std::fs::remove_file(&scene.destination).unwrap();
    scene.server.once(FILE, move |request, honest| honest(&request).pace(pace));
    let settings = "[download]\nmin_rate = '100k'\nstall_timeout_s = 1";
    scene.assert_complete(&scene.fetcher_by_settings(settings).file(&scene.request()).await.unwrap());
    assert_eq!(scene.statuses(), [200, 206, 200]);
}

#[tokio::test]
async fn a_trickle_over_several_connections_and_of_a_document_ends_too() {
    let scene = Scene::new(12 * 1024 * KIB);
    scene.server.always(FILE, |request, honest| honest(&request).pace(Duration::from_millis(250)));
    let settings = "[download]\nmin_rate = '50M'\nstall_timeout_s = 1";
    let fetcher = scene.fetcher_by(1, &scene.link(settings).unwrap());
    let fault = fetcher.file(&scene.request()).await.unwrap_err();
    assert_eq!(fault.code(), Code::DownloadFailed);
    assert!(fault.to_string().contains("too little for too long"), "{fault}");
    let fault = fetcher.document(&scene.at(FILE), 20_000_000).await.unwrap_err();
    assert!(fault.to_string().contains("too little for too long"), "{fault}");
    scene.server.always(FILE, |request, honest| honest(&request));
    let fetched = scene.fetcher().file(&scene.request()).await.unwrap();
    scene.assert_complete(&fetched);
    assert!(fetched.resumed_from.unwrap() > 0, "what came stays");
}

/// A limit that the operator sets is no fault of the server.
#[tokio::test]
async fn a_limit_below_the_least_rate_is_no_trickle() {
    let scene = Scene::new(100 * KIB);
    scene.server.always("/x", |_, _| Response::new(404, ""));
    let settings = "[download]\nlimit_rate = '40k'\nmin_rate = '1M'\nstall_timeout_s = 1";
    scene.assert_complete(&scene.fetcher_by_settings(settings).file(&scene.request()).await.unwrap());
    assert_eq!(scene.warnings(), [""; 0]);
}
