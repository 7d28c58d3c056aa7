//! An engine that is not there, or too old, has its own error.

use compose_upgrade::Code;
use compose_upgrade::docker::Engine;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixListener;

use crate::support::engine::docker;

/// Answers every request with one document, as an engine of another time would.
async fn pretend(socket: &std::path::Path, document: &'static str) {
    let listener = UnixListener::bind(socket).unwrap();
    tokio::spawn(async move {
        while let Ok((mut connection, _)) = listener.accept().await {
            let mut request = [0; 4096];
            let _ = connection.read(&mut request).await;
            let length = document.len();
            let head = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nConnection: close\r\n";
            let answer = format!("{head}Content-Length: {length}\r\n\r\n{document}");
            let _ = connection.write_all(answer.as_bytes()).await;
        }
    });
}

#[tokio::test]
async fn the_engine_here_tells_what_it_is() {
    let engine = Engine::connect().await.unwrap();
    assert_eq!(engine.version(), docker(&["version", "--format", "{{.Server.Version}}"]));
    assert_eq!(engine.api_version(), docker(&["version", "--format", "{{.Server.APIVersion}}"]));
    assert_eq!(engine.root_dir().display().to_string(), docker(&["info", "--format", "{{.DockerRootDir}}"]));
    assert!(["amd64", "arm64"].contains(&engine.arch()), "{}", engine.arch());
}

#[tokio::test]
async fn an_absent_engine_is_named_by_its_place() {
    let dir = tempfile::tempdir().unwrap();
    let socket = format!("unix://{}", dir.path().join("none.sock").display());
    for endpoint in [socket.as_str(), "tcp://127.0.0.1:1", "nonsense"] {
        let fault = Engine::connect_to(endpoint).await.unwrap_err();
        assert_eq!((fault.code(), fault.object()), (Code::EngineUnreachable, endpoint), "{fault}");
    }
}

#[tokio::test]
async fn an_old_engine_is_refused_with_both_versions() {
    let dir = tempfile::tempdir().unwrap();
    for (name, document, code) in [
        ("old", r#"{"Version":"19.03.15","ApiVersion":"1.40"}"#, Code::EngineTooOld),
        ("other", r#"{"hello":"world"}"#, Code::EngineUnreachable),
        ("page", "<html></html>", Code::EngineUnreachable),
    ] {
        let socket = dir.path().join(name);
        pretend(&socket, document).await;
        let endpoint = format!("unix://{}", socket.display());
        let fault = Engine::connect_to(&endpoint).await.unwrap_err();
        assert_eq!((fault.code(), fault.object()), (code, endpoint.as_str()), "{fault}");
        if code == Code::EngineTooOld {
            assert!(fault.detail().contains("19.03.15") && fault.detail().contains("1.40"), "{fault}");
        }
    }
}
