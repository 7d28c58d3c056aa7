//! What is done to containers may be repeated, and what cannot be done says why.

use std::io::{Cursor, Read};
use std::net::TcpListener;

use compose_upgrade::Code;
use compose_upgrade::docker::{Health, MountKind, State};
use compose_upgrade::release::info::Probe;

use crate::support::engine::Stack;

#[tokio::test]
async fn every_act_may_be_repeated() {
    let stack = Stack::new().await;
    let image = stack.image("x", "1");
    let compose = format!(
        "services: {{web: {{image: '{image}', init: true, volumes: ['files:/v']}}}}\nvolumes: {{files: }}"
    );
    stack.file("1.0.0", "compose.yaml", &compose);
    stack.switch_to("1.0.0");
    stack.administrator(&["create"]);
    let web = stack.of("web").await.remove(0);
    let engine = &stack.engine;
    assert_eq!((web.state, web.health, web.number, web.one_off), (State::Created, Health::None, 1, false));
    assert_eq!(web.working_dir, Some(stack.current()));
    assert_eq!(Some(web.image_id.clone()), engine.image_id(&image).await.unwrap());
    assert_eq!((web.mounts[0].kind, web.mounts[0].destination.as_str()), (MountKind::Volume, "/v"));

    let state = async || engine.container(&web.id).await.unwrap().map(|one| one.state);
    for _ in 0..2 {
        engine.start(&web.id).await.unwrap();
        assert_eq!(state().await, Some(State::Running));
    }
    for _ in 0..2 {
        engine.pause(&web.id).await.unwrap();
        assert_eq!(state().await, Some(State::Paused));
    }
    for _ in 0..2 {
        engine.unpause(&web.id).await.unwrap();
        assert_eq!(state().await, Some(State::Running));
    }
    for _ in 0..2 {
        engine.stop(&web.id, Some(std::time::Duration::from_secs(5))).await.unwrap();
        assert_eq!(state().await, Some(State::Exited));
    }
    let name = format!("{}-renamed", stack.project);
    for _ in 0..2 {
        engine.rename(&web.id, &name).await.unwrap();
    }
    assert_eq!(engine.container(&name).await.unwrap().unwrap().id, web.id);
    for _ in 0..2 {
        engine.remove(&web.id, true).await.unwrap();
        assert_eq!(state().await, None);
    }
    engine.stop(&web.id, None).await.unwrap();
    assert_eq!(engine.start(&web.id).await.unwrap_err().code(), Code::ContainerFailed);
    let volume = format!("{}_files", stack.project);
    assert!(engine.volume(&volume).await.unwrap().unwrap().local_plain, "a named volume stays");
    for _ in 0..2 {
        engine.remove_volume(&volume).await.unwrap();
        assert_eq!(engine.volume(&volume).await.unwrap(), None);
    }
}

#[tokio::test]
async fn a_restart_policy_is_set_in_whatever_moment_of_a_crash_loop() {
    let stack = Stack::new().await;
    let image = stack.image("x", "1");
    let service =
        format!("{{image: '{image}', network_mode: none, command: [sh, -c, 'exit 1'], restart: always}}");
    stack.file("1.0.0", "compose.yaml", &format!("services: {{web: {service}}}"));
    stack.switch_to("1.0.0");
    stack.administrator(&["create"]);
    let web = stack.of("web").await.remove(0);
    for _ in 0..30 {
        stack.engine.set_restart_policy(&web.id, "always").await.unwrap();
        stack.engine.start(&web.id).await.unwrap();
        stack.engine.set_restart_policy(&web.id, "no").await.unwrap();
        stack.engine.stop(&web.id, None).await.unwrap();
    }
}

#[tokio::test]
async fn a_taken_port_is_named() {
    let stack = Stack::new().await;
    let image = stack.image("x", "1");
    let listener = TcpListener::bind("0.0.0.0:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let compose = format!("services: {{web: {{image: '{image}', ports: ['{port}:80']}}}}");
    stack.file("1.0.0", "compose.yaml", &compose);
    stack.switch_to("1.0.0");
    stack.administrator(&["create"]);
    let web = stack.of("web").await.remove(0);
    let fault = stack.engine.start(&web.id).await.unwrap_err();
    assert_eq!((fault.code(), fault.object()), (Code::PortTaken, "web"), "{fault}");
    assert!(fault.detail().contains(&port.to_string()), "{fault}");
    // It is free again: the same container starts.
    drop(listener);
    stack.engine.start(&web.id).await.unwrap();
}

#[tokio::test]
async fn a_command_that_is_not_there_is_told() {
    let stack = Stack::new().await;
    let image = stack.image("x", "1");
    stack.file(
        "1.0.0",
        "compose.yaml",
        &format!("services: {{web: {{image: '{image}', command: [/nothing]}}}}"),
    );
    stack.switch_to("1.0.0");
    stack.administrator(&["create"]);
    let fault = stack.engine.start(&stack.of("web").await[0].id).await.unwrap_err();
    assert_eq!(fault.code(), Code::ContainerFailed);
    assert!(fault.detail().contains("/nothing"), "{fault}");
}

#[tokio::test]
async fn files_go_in_and_out_of_a_container_that_does_not_run() {
    let stack = Stack::new().await;
    let image = stack.image("x", "1");
    let compose =
        format!("services: {{web: {{image: '{image}', volumes: ['files:/v']}}}}\nvolumes: {{files: }}");
    stack.file("1.0.0", "compose.yaml", &compose);
    stack.switch_to("1.0.0");
    stack.administrator(&["create"]);
    let web = stack.of("web").await.remove(0);

    let content = vec![b'x'; 3_000_000];
    let mut tar = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_gnu();
    header.set_size(content.len() as u64);
    header.set_mode(0o640);
    header.set_uid(1234);
    header.set_gid(4321);
    tar.append_data(&mut header, "big", &content[..]).unwrap();
    let tar = tar.into_inner().unwrap();
    stack.engine.put_archive(&web.id, "/v", Cursor::new(tar)).await.unwrap();

    let mut reader = stack.engine.archive(&web.id, "/v").await.unwrap();
    let found = tokio::task::spawn_blocking(move || {
        let mut archive = tar::Archive::new(&mut reader);
        let mut found = Vec::new();
        for entry in archive.entries().unwrap() {
            let mut entry = entry.unwrap();
            let mut content = Vec::new();
            entry.read_to_end(&mut content).unwrap();
            let header = entry.header();
            let owner = (header.uid().unwrap(), header.gid().unwrap(), header.mode().unwrap() & 0o777);
            found.push((entry.path().unwrap().display().to_string(), content.len(), owner));
        }
        found
    });
    let found = found.await.unwrap();
    assert!(found.contains(&("v/big".into(), content.len(), (1234, 4321, 0o640))), "{found:?}");

    let fault = stack.engine.archive(&web.id, "/absent").await.err().unwrap();
    assert_eq!(fault.code(), Code::EngineFailed);
    assert!(fault.object().contains("/absent"), "{fault}");
    let fault = stack.engine.put_archive(&web.id, "/absent", Cursor::new(vec![0; 10])).await.unwrap_err();
    assert!(fault.object().contains("/absent"), "{fault}");
}

#[tokio::test]
async fn probes_pass_or_say_why() {
    let stack = Stack::new().await;
    let image = stack.image("x", "1");
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    // A web server in a container: busybox answers 200 for / and 404 for the rest.
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let compose = format!(
        "services: {{web: {{image: '{image}', init: true, ports: ['127.0.0.1:{port}:80'],
           command: [/bin/sh, -c, 'mkdir /www; echo hello > /www/index.html; exec httpd -f -p 80 -h /www']}}}}"
    );
    stack.file("1.0.0", "compose.yaml", &compose);
    stack.switch_to("1.0.0");
    stack.administrator(&["up", "--detach"]);
    let open = listener.local_addr().unwrap();
    for (probe, cause) in [
        (format!(r#""http":"http://127.0.0.1:{port}/""#), None),
        (format!(r#""http":"http://127.0.0.1:{port}/no","expect_status":404"#), None),
        (format!(r#""http":"http://127.0.0.1:{port}/no","timeout_ms":800"#), Some("404")),
        (format!(r#""http":"http://{closed}/","timeout_ms":800"#), Some("refused")),
        (format!(r#""tcp":"{open}""#), None),
        (format!(r#""tcp":"{closed}","timeout_ms":800"#), Some("refused")),
        (r#""command":["/bin/ls","/www/index.html"],"service":"web""#.into(), None),
        (
            r#""command":["/bin/ls","/none"],"service":"web","timeout_ms":1500"#.into(),
            Some("/none: No such file"),
        ),
        (r#""command":["/bin/true"],"service":"db","timeout_ms":800"#.into(), Some("db does not run")),
        (r#""command":["/bin/sleep","60"],"service":"web","timeout_ms":800"#.into(), Some("did not answer")),
    ] {
        let probe: Probe = serde_json::from_str(&format!(r#"{{"name":"front",{probe}}}"#)).unwrap();
        match (stack.engine.probe(&stack.project, &probe).await, cause) {
            (Ok(()), None) => {}
            (Err(fault), Some(words)) => {
                assert_eq!((fault.code(), fault.object()), (Code::ProbeFailed, "front"));
                assert!(fault.detail().contains(words), "{fault}");
            }
            (result, _) => panic!("{probe:?}: {result:?}"),
        }
    }
}
