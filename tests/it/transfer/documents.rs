//! Small documents.

use super::*;
use crate::support::http::Response;
use compose_upgrade::transfer::Source;

#[tokio::test]
async fn documents_are_read_up_to_their_limit() {
    let scene = Scene::new(1000);
    let local = Location::local(scene.source.join("stack.bundle"));
    scene.server.always("/endless", |mut request, honest| {
        request.path = FILE.into();
        honest(&request).without("content-length")
    });
    for at in [scene.at(FILE), local, scene.at("/endless")] {
        assert!(scene.fetcher().document(&at, 1000).await.unwrap() == scene.content);
        let fault = scene.fetcher().document(&at, 999).await.unwrap_err();
        assert_eq!(fault.code(), Code::DocumentTooLarge, "{fault}");
    }
}

#[tokio::test]
async fn a_document_that_is_absent_is_told_from_one_that_is_refused() {
    let scene = Scene::new(10);
    scene.server.always("/secret", |_, _| Response::new(403, "no"));
    for absent in [scene.at("/absent"), Location::local(scene.source.join("absent"))] {
        let fetcher = scene.fetcher();
        assert_eq!(fetcher.document_if_present(&absent, 10).await.unwrap(), None);
        assert_eq!(fetcher.document(&absent, 10).await.unwrap_err().code(), Code::SourceRefused);
    }
    let fault = scene.fetcher().document_if_present(&scene.at("/secret"), 10).await.unwrap_err();
    assert_eq!(fault.code(), Code::SourceRefused);
    assert!(fault.to_string().contains("403"), "{fault}");
    assert_eq!(scene.server.statuses("/secret"), [403], "a refusal is not repeated");
}

#[tokio::test]
async fn a_document_is_tried_again_while_it_may_come() {
    let scene = Scene::new(10);
    scene.server.once(FILE, |_, _| Response::new(503, "later"));
    scene.server.once(FILE, |request, honest| honest(&request).cut_after(3));
    assert!(scene.fetcher().document(&scene.at(FILE), 10).await.unwrap() == scene.content);
    assert_eq!(scene.warnings().len(), 2);

    scene.server.always(FILE, |_, _| Response::new(500, "broken"));
    let fault = scene.fetcher().document(&scene.at(FILE), 10).await.unwrap_err();
    assert_eq!(fault.code(), Code::SourceUnreachable);
    assert!(fault.to_string().contains("500"), "{fault}");
}

#[tokio::test]
async fn a_server_that_is_not_there_is_named_without_secrets() {
    let scene = Scene::new(10);
    let unused = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let address = format!("http://user:hunter2@{unused}/manifest.json?token=hunter2");
    let at = Location::parse(&address).unwrap();
    let fault = scene.fetcher().document(&at, 10).await.unwrap_err();
    assert_eq!(fault.code(), Code::SourceUnreachable);
    assert!(fault.to_string().contains("127.0.0.1"), "{fault}");
    let said = format!("{fault} {fault:?} {:?}", scene.messages());
    assert!(!said.contains("hunter2"), "{said}");
}

#[tokio::test]
async fn a_source_with_a_token_is_reached_with_it() {
    let scene = Scene::new(10);
    std::fs::create_dir(scene.source.join("manifest")).unwrap();
    std::fs::write(scene.source.join("manifest.json"), b"newest").unwrap();
    std::fs::write(scene.source.join("manifest/1.0.0+b1.json"), b"that one").unwrap();
    let web = format!("{}?token=t", scene.server.url());
    for text in [web, scene.source.display().to_string()] {
        let source = Source::parse(&text).unwrap();
        let one = source.manifest_of(&"1.0.0+b1".parse().unwrap()).unwrap();
        let bundle = source.manifest().join("stack.bundle").unwrap();
        let fetcher = scene.fetcher();
        assert_eq!(fetcher.document(&source.manifest(), 100).await.unwrap(), b"newest");
        assert_eq!(fetcher.document(&one, 100).await.unwrap(), b"that one");
        assert!(fetcher.document(&bundle, 100).await.unwrap() == scene.content);
    }
    let log = scene.server.log();
    assert_eq!(log.len(), 3);
    assert!(log.iter().all(|exchange| exchange.request.query.as_deref() == Some("token=t")));
}
