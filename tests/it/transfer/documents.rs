//! Small documents.

use super::*;
use crate::support::http::Response;

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
    let address = {
        let gone = HttpServer::serve_dir(&scene.source);
        format!("http://user:hunter2@{}/manifest.json?token=hunter2", gone.address())
    };
    let unused = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let port = address.rsplit_once(':').unwrap().1.split('/').next().unwrap();
    let address = address.replace(port, &unused.port().to_string());
    let at = Location::parse(&address).unwrap();
    let fault = scene.fetcher().document(&at, 10).await.unwrap_err();
    assert_eq!(fault.code(), Code::SourceUnreachable);
    assert!(fault.to_string().contains("127.0.0.1"), "{fault}");
    let said = format!("{fault} {fault:?} {:?}", scene.messages());
    assert!(!said.contains("hunter2"), "{said}");
}
