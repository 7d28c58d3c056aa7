//! Interrupted downloads and what becomes of them.

use super::*;
use crate::support::http::Response;
use compose_upgrade::settings::DownloadSettings;

const SIZE: usize = 400_000;
const HALF: u64 = 200_000;

/// Interrupts at half, twists the answer to the continuation, and fetches again as a new process would.
async fn continued(twist: impl Fn(Response) -> Response + Send + Sync + 'static) -> (Scene, Fetched) {
    let scene = Scene::new(SIZE);
    scene.interrupted_after(HALF).await;
    scene.server.once(FILE, move |request, honest| twist(honest(&request)));
    let fetched = scene.fetch().await.unwrap();
    scene.assert_complete(&fetched);
    (scene, fetched)
}

#[tokio::test]
async fn the_next_run_continues_where_this_one_stopped() {
    let (scene, fetched) = continued(|answer| answer).await;
    assert_eq!((fetched.transferred, fetched.resumed_from), (HALF, Some(HALF)));
    let asked = &scene.server.log()[1].request;
    assert_eq!(asked.header("range"), Some("bytes=200000-"));
    assert!(asked.header("if-range").unwrap().starts_with('"'));
    assert!(scene.messages().contains(&"continuing the download of stack.bundle at byte 200000".into()));
}

#[tokio::test]
async fn a_cut_connection_is_continued_in_the_same_run() {
    let scene = Scene::new(SIZE);
    scene.server.once(FILE, |request, honest| honest(&request).cut_after(100_000));
    scene.server.once(FILE, |request, honest| honest(&request).cut_after(100_000));
    let fetched = scene.fetch().await.unwrap();
    scene.assert_complete(&fetched);
    assert_eq!(fetched.transferred, SIZE as u64);
    assert_eq!(scene.statuses(), [200, 206, 206]);
    assert_eq!(scene.warnings().len(), 2);
}

#[tokio::test]
async fn a_cut_anywhere_is_survived() {
    for cut in [0, 1, HALF, SIZE as u64 - 1, SIZE as u64] {
        let scene = Scene::new(SIZE);
        scene.server.once(FILE, move |request, honest| honest(&request).cut_after(cut));
        let fetched = scene.fetch().await.unwrap();
        scene.assert_complete(&fetched);
        assert_eq!(fetched.transferred, SIZE as u64, "cut after {cut}");
    }
}

#[tokio::test]
async fn a_stalled_connection_is_given_up_and_continued() {
    let scene = Scene::new(SIZE);
    scene.server.once(FILE, |request, honest| honest(&request).stall_after(HALF));
    let fetched = scene.fetch().await.unwrap();
    scene.assert_complete(&fetched);
    assert_eq!(scene.statuses(), [200, 206]);
    assert!(scene.warnings()[0].contains("sent nothing for too long"), "{:?}", scene.warnings());
}

#[tokio::test]
async fn headway_starts_the_counting_of_attempts_anew() {
    let scene = Scene::new(6 * 1024 * 1024);
    scene.server.always(FILE, |request, honest| honest(&request).cut_after(1024 * 1024 + 1));
    let fetched = scene.fetcher_with(2).file(&scene.request()).await.unwrap();
    scene.assert_complete(&fetched);
    assert_eq!(scene.statuses(), [200, 206, 206, 206, 206, 206]);
}

#[tokio::test]
async fn a_dropped_download_can_be_continued() {
    let scene = Scene::new(SIZE);
    scene.server.once(FILE, |request, honest| honest(&request).stall_after(HALF));
    let (fetcher, request) = (scene.fetcher(), scene.request());
    let here = async {
        while scene.part_length() < HALF {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    tokio::select! {
        _ = fetcher.file(&request) => panic!("it cannot have ended"),
        () = here => {}
    }
    let fetched = scene.fetcher().file(&request).await.unwrap();
    scene.assert_complete(&fetched);
    assert_eq!((fetched.transferred, fetched.resumed_from), (HALF, Some(HALF)));
}

#[tokio::test]
async fn a_file_that_changed_is_fetched_from_its_first_byte() {
    let mut scene = Scene::new(SIZE);
    scene.interrupted_after(HALF).await;
    scene.content.iter_mut().for_each(|byte| *byte ^= 1);
    std::fs::write(scene.source.join("stack.bundle"), &scene.content).unwrap();
    // The promise has not changed with it when nobody promised a hash.
    let request = FileRequest { expect: None, ..scene.request() };
    scene.server.once(FILE, |request, honest| honest(&request).cut_after(HALF));
    scene.fetcher_with(1).file(&request).await.unwrap_err();
    scene.content.iter_mut().for_each(|byte| *byte ^= 2);
    std::fs::write(scene.source.join("stack.bundle"), &scene.content).unwrap();
    let fetched = scene.fetcher().file(&request).await.unwrap();
    scene.assert_complete(&fetched);
    assert_eq!((fetched.transferred, fetched.resumed_from), (SIZE as u64, None));
    assert_eq!(scene.statuses(), [200, 200, 200]);
}

#[tokio::test]
async fn without_proof_nothing_is_continued() {
    let weak: [fn(Response) -> Response; 4] = [
        |answer| answer.without("etag").without("last-modified"),
        |answer| answer.set("ETag", "W/\"weak\"").without("last-modified"),
        |answer| answer.without("etag").without("date"),
        |answer| {
            let date = answer.headers.iter().find(|(name, _)| name == "Date").unwrap().1.clone();
            answer.without("etag").set("Last-Modified", date)
        },
    ];
    for twist in weak {
        let scene = Scene::new(SIZE);
        scene.server.once(FILE, move |request, honest| twist(honest(&request)).cut_after(HALF));
        scene.fetcher_with(1).file(&scene.request()).await.unwrap_err();
        let fetched = scene.fetch().await.unwrap();
        scene.assert_complete(&fetched);
        assert_eq!(scene.server.log()[1].request.header("range"), None);
        assert_eq!(fetched.transferred, SIZE as u64);
    }
}

#[tokio::test]
async fn an_old_modification_date_is_proof() {
    let scene = Scene::new(SIZE);
    let path = scene.source.join("stack.bundle");
    let hour_ago = std::time::SystemTime::now() - Duration::from_secs(3600);
    std::fs::File::options().write(true).open(path).unwrap().set_modified(hour_ago).unwrap();
    scene.server.always(FILE, |request, honest| honest(&request).without("etag"));
    scene.server.once(FILE, |request, honest| honest(&request).without("etag").cut_after(HALF));
    scene.fetcher_with(1).file(&scene.request()).await.unwrap_err();
    let fetched = scene.fetch().await.unwrap();
    scene.assert_complete(&fetched);
    assert_eq!(fetched.resumed_from, Some(HALF));
}

#[tokio::test]
async fn a_server_without_ranges_sends_everything_again() {
    let scene = Scene::new(SIZE);
    scene.interrupted_after(HALF).await;
    scene.server.always(FILE, |mut request, honest| {
        request.headers.remove("range");
        honest(&request)
    });
    let fetched = scene.fetch().await.unwrap();
    scene.assert_complete(&fetched);
    assert_eq!((fetched.transferred, fetched.resumed_from), (SIZE as u64, None));
    assert_eq!(scene.statuses(), [200, 200]);
}

#[tokio::test]
async fn an_answer_that_does_not_continue_the_file_is_not_appended() {
    let lies: [fn(Response) -> Response; 6] = [
        |answer| answer.set("ETag", "\"another\""),
        |answer| answer.set("Content-Range", "bytes 199999-399998/400000"),
        |answer| answer.set("Content-Range", "bytes 200000-399999/400001"),
        |answer| answer.set("Content-Type", "multipart/byteranges; boundary=b").without("content-range"),
        |_| Response::new(416, "").set("Content-Range", "bytes */100"),
        |_| Response::new(412, ""),
    ];
    for lie in lies {
        let (scene, fetched) = continued(lie).await;
        assert_eq!(fetched.transferred, SIZE as u64, "{:?}", scene.statuses());
        assert_eq!(scene.statuses().last(), Some(&200));
    }
}

#[tokio::test]
async fn a_part_that_was_damaged_is_fetched_once_more_from_scratch() {
    let scene = Scene::new(SIZE);
    scene.interrupted_after(HALF).await;
    std::fs::write(scene.part(), vec![0; HALF as usize]).unwrap();
    let fetched = scene.fetcher_with(1).file(&scene.request()).await.unwrap();
    scene.assert_complete(&fetched);
    assert_eq!(scene.statuses(), [200, 206, 200]);
    assert_eq!(fetched.transferred, HALF + SIZE as u64);
}

/// The server continues whatever it has now and does not say what that is.
#[tokio::test]
async fn a_server_that_ignores_if_range_and_tells_nothing_does_not_splice_two_files() {
    let mut scene = Scene::new(SIZE);
    scene.interrupted_after(HALF).await;
    scene.content.iter_mut().for_each(|byte| *byte ^= 1);
    std::fs::write(scene.source.join("stack.bundle"), &scene.content).unwrap();
    scene.server.always(FILE, |mut request, honest| {
        request.headers.remove("if-range");
        honest(&request).without("etag").without("last-modified")
    });
    // The row is found by what was promised before, and the promise is about the new file.
    let old = scene.request();
    let store = Store::open(&scene.device.join("state.db")).unwrap();
    let key = Digest::of(&scene.content).to_string();
    store.with(|db| db.execute("UPDATE downloads SET key = ?1", [&key])).unwrap();
    let fetched = scene.fetcher().file(&old).await.unwrap();
    scene.assert_complete(&fetched);
    assert_eq!(scene.statuses(), [200, 206, 200]);
    assert_eq!(fetched.transferred, HALF + SIZE as u64);
}

#[tokio::test]
async fn a_part_that_is_whole_needs_no_server() {
    let scene = Scene::new(SIZE);
    scene.interrupted_after(HALF).await;
    std::fs::write(scene.part(), &scene.content).unwrap();
    let fetched = scene.fetch().await.unwrap();
    scene.assert_complete(&fetched);
    assert_eq!(fetched.transferred, 0);
    assert_eq!(scene.statuses(), [200]);
}

#[tokio::test]
async fn a_part_that_is_too_long_is_dropped() {
    let scene = Scene::new(SIZE);
    scene.interrupted_after(HALF).await;
    std::fs::write(scene.part(), vec![7; SIZE + 1]).unwrap();
    let fetched = scene.fetch().await.unwrap();
    scene.assert_complete(&fetched);
    assert_eq!(fetched.transferred, SIZE as u64);
}

#[tokio::test]
async fn a_mirror_does_not_continue_another_s_part() {
    let scene = Scene::new(SIZE);
    scene.interrupted_after(HALF).await;
    let mirror = HttpServer::serve_dir(&scene.source);
    let request =
        FileRequest { locations: vec![Location::parse(&mirror.url_of(FILE)).unwrap()], ..scene.request() };
    let fetched = scene.fetcher().file(&request).await.unwrap();
    scene.assert_complete(&fetched);
    assert_eq!(mirror.log()[0].request.header("range"), None);
}

/// What the process of [`Scene::process`] does until it is killed.
#[tokio::test]
#[ignore = "run as a process of its own by other tests"]
async fn the_process_that_is_killed() {
    let (Ok(url), Ok(device)) = (std::env::var("CUTEST_URL"), std::env::var("CUTEST_DEVICE")) else { return };
    let device = PathBuf::from(device);
    let store = Arc::new(Store::open(&device.join("state.db")).unwrap());
    let fetcher =
        Fetcher::with_policy(store, Policy::from(&DownloadSettings::default()), Progress::silent()).unwrap();
    let request = FileRequest {
        locations: vec![Location::parse(&url).unwrap()],
        name: "stack.bundle".into(),
        destination: device.join("bundles/stack.bundle"),
        expect: Some(std::env::var("CUTEST_HASH").unwrap().parse().unwrap()),
        size: std::env::var("CUTEST_SIZE").ok().map(|size| size.parse().unwrap()),
    };
    fetcher.file(&request).await.unwrap();
}

#[tokio::test]
async fn a_killed_process_loses_nothing_but_itself() {
    let scene = Scene::new(SIZE);
    scene.server.once(FILE, |request, honest| honest(&request).stall_after(HALF));
    let mut process = scene.process().spawn().unwrap();
    while scene.part_length() < HALF {
        assert_eq!(process.try_wait().unwrap(), None, "it ended by itself");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    process.kill().await.unwrap();
    assert!(!scene.destination.exists());
    let fetched = scene.fetch().await.unwrap();
    scene.assert_complete(&fetched);
    assert_eq!((fetched.transferred, fetched.resumed_from), (HALF, Some(HALF)));
}
