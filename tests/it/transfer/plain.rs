//! Downloads where all goes well, from the network and from folders.

use super::*;
use crate::support::http::Response;

#[tokio::test]
async fn a_file_is_fetched_verified_and_named() {
    let scene = Scene::new(3_000_000);
    let fetched = scene.fetch().await.unwrap();
    scene.assert_complete(&fetched);
    assert_eq!((fetched.transferred, fetched.resumed_from, fetched.cached), (3_000_000, None, false));
    let messages = scene.messages();
    assert_eq!(messages.first().unwrap(), "downloading stack.bundle");
    assert_eq!(messages.last().unwrap(), "downloaded and verified stack.bundle");
    let events = scene.recorder.0.lock().unwrap();
    let last = events.iter().filter_map(|event| event.amount.as_ref()).next_back().unwrap();
    assert_eq!((last.done, last.total), (3_000_000, Some(3_000_000)));
}

#[tokio::test]
async fn what_is_there_and_right_is_not_fetched_again() {
    let scene = Scene::new(1000);
    scene.fetch().await.unwrap();
    let again = scene.fetch().await.unwrap();
    scene.assert_complete(&again);
    assert!(again.cached);
    assert_eq!(again.transferred, 0);
    assert_eq!(scene.statuses(), [200]);
}

#[tokio::test]
async fn what_is_there_and_wrong_is_fetched_anew() {
    let scene = Scene::new(1000);
    std::fs::create_dir_all(scene.destination.parent().unwrap()).unwrap();
    for wrong in [vec![0; 1000], vec![0; 7]] {
        std::fs::write(&scene.destination, wrong).unwrap();
        let fetched = scene.fetch().await.unwrap();
        scene.assert_complete(&fetched);
        assert!(!fetched.cached);
    }
}

#[tokio::test]
async fn a_file_without_promises_is_fetched_and_its_hash_told() {
    let scene = Scene::new(1000);
    let request = FileRequest { expect: None, size: None, ..scene.request() };
    for _ in 0..2 {
        let fetched = scene.fetcher().file(&request).await.unwrap();
        scene.assert_complete(&fetched);
        assert!(!fetched.cached, "nothing vouches for what is there");
    }
}

#[tokio::test]
async fn an_empty_file_is_a_file() {
    let scene = Scene::new(0);
    scene.assert_complete(&scene.fetch().await.unwrap());
}

#[tokio::test]
async fn an_answer_of_unknown_length_ends_where_the_file_ends() {
    let scene = Scene::new(500_000);
    scene.server.always(FILE, |request, honest| honest(&request).without("content-length"));
    let request = FileRequest { size: None, ..scene.request() };
    scene.assert_complete(&scene.fetcher().file(&request).await.unwrap());
}

#[tokio::test]
async fn folders_serve_like_servers() {
    let scene = Scene::new(700_000);
    let path = scene.source.join("stack.bundle");
    for text in [path.display().to_string(), format!("file://{}", path.display())] {
        let request = FileRequest { locations: vec![Location::parse(&text).unwrap()], ..scene.request() };
        let fetched = scene.fetcher().file(&request).await.unwrap();
        scene.assert_complete(&fetched);
        assert_eq!(fetched.transferred, 700_000);
        std::fs::remove_file(&scene.destination).unwrap();
    }
    // The source's own file is not what was promised.
    std::fs::write(&path, vec![1; 700_000]).unwrap();
    let request = FileRequest { locations: vec![Location::local(&path)], ..scene.request() };
    let fault = scene.fetcher().file(&request).await.unwrap_err();
    assert_eq!(fault.code(), Code::HashMismatch);
    scene.assert_nothing();
    // Nor is a shorter one, a folder, or none at all.
    std::fs::write(&path, b"short").unwrap();
    assert_eq!(scene.fetcher().file(&request).await.unwrap_err().code(), Code::SizeMismatch);
    for wrong in [scene.source.clone(), scene.source.join("absent")] {
        let request = FileRequest { locations: vec![Location::local(wrong)], ..scene.request() };
        assert_eq!(scene.fetcher().file(&request).await.unwrap_err().code(), Code::SourceRefused);
    }
    scene.assert_nothing();
}

#[tokio::test]
async fn redirects_are_followed_and_credentials_stay_at_home() {
    let scene = Scene::new(1000);
    let other = HttpServer::serve_dir(&scene.source);
    let target = other.url_of(FILE);
    scene.server.always("/moved", move |_, _| Response::new(302, "").set("Location", &target));
    let address = scene.server.url_of("/moved").replace("http://", "http://user:secret@");
    let request = FileRequest { locations: vec![Location::parse(&address).unwrap()], ..scene.request() };
    scene.assert_complete(&scene.fetcher().file(&request).await.unwrap());
    assert!(scene.server.log()[0].request.header("authorization").is_some());
    let elsewhere = &other.log()[0].request;
    assert_eq!((elsewhere.header("authorization"), elsewhere.header("referer")), (None, None));
}

#[tokio::test]
async fn redirects_without_end_are_refused_at_once() {
    let scene = Scene::new(10);
    scene.server.always(FILE, |_, _| Response::new(302, "").set("Location", FILE));
    let fault = scene.fetch().await.unwrap_err();
    assert_eq!(fault.code(), Code::SourceRefused);
    assert!(fault.to_string().contains("redirect"), "{fault}");
    assert_eq!(scene.statuses().len(), 11);
    scene.assert_nothing();
}

#[tokio::test]
async fn two_at_once_fetch_once() {
    let scene = Scene::new(300_000);
    let (one, other) = (scene.fetcher(), scene.fetcher());
    let request = scene.request();
    let (one, other) = tokio::join!(one.file(&request), other.file(&request));
    let (one, other) = (one.unwrap(), other.unwrap());
    scene.assert_complete(&one);
    scene.assert_complete(&other);
    assert!(one.cached != other.cached);
    assert_eq!(scene.statuses(), [200]);
}

#[tokio::test]
async fn a_slow_server_is_not_a_stalled_one() {
    let scene = Scene::new(5 * 64 * 1024);
    let pace = Duration::from_millis(100); // in all longer than the 300 ms that count as a stall
    scene.server.always(FILE, move |request, honest| honest(&request).pace(pace));
    scene.assert_complete(&scene.fetch().await.unwrap());
    assert_eq!(scene.statuses(), [200]);
}
