//! Compose compiles; what is made of it is what an administrator's `docker compose up` would have made.

use std::collections::BTreeMap;

use compose_upgrade::Code;
use compose_upgrade::docker::State;

use crate::support::engine::{Stack, docker, watched};

/// A stack that uses what makes config hashes differ: env files with quotes and dollars, configs, defaults.
fn write_tricky(stack: &Stack, version: &str, image: &str) {
    let compose = format!(
        r#"
services:
  web:
    image: {image}
    init: true
    env_file: [app.env]
    environment:
      GREETING: "${{GREETING:-hello $$world}}"
      SECRET: "${{SECRET}}"
    command: ["/bin/sh", "-c", "echo $$GREETING; sleep 1000"]
    configs: [settings]
    secrets: [key]
    volumes:
      - ./data:/data
      - state:/state
      - .:/all:ro
    depends_on: [api]
  api:
    image: {image}
    init: true
configs:
  settings:
    file: ./settings.conf
secrets:
  key:
    file: key.txt
volumes:
  state: {{}}
"#
    );
    stack.file(version, "compose.yaml", &compose);
    stack.file(version, ".env", "SECRET='pa$$word'\n");
    stack.file(
        version,
        "app.env",
        "A=\"double ${SECRET} quoted\"\nB='single $untouched'\nC=plain # comment\nD=\"\\\"escaped\\\" \\n\"\n",
    );
    stack.file(version, "settings.conf", "x = 1\n");
    stack.file(version, "key.txt", "k\n");
    stack.file(version, "data/keep", "");
}

#[tokio::test]
async fn hashes_are_those_an_administrator_gets() {
    let stack = Stack::new().await;
    let image = stack.image("web", "1");
    write_tricky(&stack, "1.0.0", &image);
    write_tricky(&stack, "1.1.0", &image);
    stack.switch_to("1.0.0");
    let (model, path) = stack.compile("1.0.0").await;
    let hashes = stack.hashes(&path).await;

    stack.administrator(&["up", "--detach"]);
    let labels: BTreeMap<String, String> =
        stack.containers().await.into_iter().map(|one| (one.service, one.config_hash)).collect();
    assert_eq!(hashes, labels);

    // Another release with the same content is no change.
    let (again, path) = stack.compile("1.1.0").await;
    assert_eq!(again, model);
    assert_eq!(stack.hashes(&path).await, hashes);
    let order: Vec<String> = model.services().into_iter().map(|service| service.name).collect();
    assert_eq!(order, ["api", "web"]);
}

#[tokio::test]
async fn a_swap_leaves_nothing_to_do_for_an_administrator() {
    let stack = Stack::new().await;
    for version in ["1.0.0", "1.1.0", "1.2.0"] {
        let image = stack.image("web", version);
        write_tricky(&stack, version, &image);
    }
    stack.switch_to("1.0.0");
    stack.administrator(&["up", "--detach"]);

    // Twice, because the container numbers are no longer the first ones then.
    for version in ["1.1.0", "1.2.0"] {
        let before = stack.containers().await;
        let (model, path) = stack.compile(version).await;
        let services: Vec<String> = model.services().into_iter().map(|service| service.name).collect();
        let scales = services.iter().map(|service| (service.clone(), 2)).collect();
        let (project, current) = (&stack.project, stack.current());
        stack.compose.create_beside(project, &current, &path, &scales, &services).await.unwrap();

        for service in &services {
            let both = stack.of(service).await;
            let old = both.iter().find(|one| before.iter().any(|was| was.id == one.id)).unwrap();
            let new = both.iter().find(|one| one.id != old.id).unwrap();
            assert_eq!((both.len(), old.state, new.state), (2, State::Running, State::Created), "{service}");
        }
        stack.switch_to(version);
        for old in &before {
            let new = stack.of(&old.service).await.into_iter().find(|one| one.id != old.id).unwrap();
            stack.engine.stop(&old.id, None).await.unwrap();
            stack.engine.start(&new.id).await.unwrap();
            stack.engine.wait_ready(&watched(&new, 5_000, 0)).await.unwrap();
            stack.engine.remove(&old.id, false).await.unwrap();
            stack.engine.rename(&new.id, &old.name).await.unwrap();
        }

        let after = stack.identities().await;
        let names: Vec<&str> = after.iter().map(|(_, name)| name.as_str()).collect();
        assert_eq!(names, [format!("{}-api-1", stack.project), format!("{}-web-1", stack.project)]);
        stack.administrator(&["up", "--detach"]);
        assert_eq!(stack.identities().await, after, "{version}");
    }
}

#[tokio::test]
async fn a_service_that_cannot_exist_twice_is_recreated_alone() {
    let stack = Stack::new().await;
    for version in ["1.0.0", "1.1.0"] {
        let image = stack.image("x", version);
        let compose = format!(
            r#"
services:
  db:
    image: {image}
    init: true
  web:
    image: {image}
    init: true
    container_name: {}-fixed
    depends_on: [db]
    volumes: ["/cache"]
    networks: [default, other]
  side:
    image: {image}
    init: true
    network_mode: service:db
networks:
  other: {{}}
"#,
            stack.project
        );
        stack.file(version, "compose.yaml", &compose);
    }
    stack.switch_to("1.0.0");
    stack.administrator(&["up", "--detach"]);
    let fixed = format!("{}-fixed", stack.project);
    docker(&["exec", &fixed, "/bin/touch", "/cache/kept"]);
    let old_db = stack.of("db").await.remove(0);

    let (_, path) = stack.compile("1.1.0").await;
    let (project, current) = (&stack.project, stack.current());
    let scales = BTreeMap::from([("db".to_owned(), 2)]);
    stack.compose.create_beside(project, &current, &path, &scales, &["db".into()]).await.unwrap();
    stack.switch_to("1.1.0");
    let new_db = stack.of("db").await.into_iter().find(|one| one.id != old_db.id).unwrap();
    stack.engine.stop(&old_db.id, None).await.unwrap();
    stack.engine.start(&new_db.id).await.unwrap();

    for service in ["web", "side"] {
        stack.compose.recreate(project, &current, &path, &[service.to_owned()]).await.unwrap();
        // Twice: an interrupted upgrade repeats its last act.
        for _ in 0..2 {
            stack.engine.settle_recreated(&stack.compose, project, &current, &path, service).await.unwrap();
        }
        let only = stack.of(service).await;
        assert_eq!(only.len(), 1, "{service}");
        stack.engine.start(&only[0].id).await.unwrap();
        stack.engine.wait_ready(&watched(&only[0], 5_000, 0)).await.unwrap();
    }
    assert_eq!(stack.of("db").await.len(), 2, "the old container is kept for the way back");
    docker(&["exec", &fixed, "/bin/ls", "/cache/kept"]);
    let side = stack.of("side").await.remove(0);
    let mode = docker(&["inspect", "--format", "{{.HostConfig.NetworkMode}}", &side.id]);
    assert_eq!(mode, format!("container:{}", new_db.id));
    let networks = docker(&["inspect", "--format", "{{len .NetworkSettings.Networks}}", &fixed]);
    assert_eq!(networks, "2");

    stack.engine.remove(&old_db.id, false).await.unwrap();
    stack.engine.rename(&new_db.id, &old_db.name).await.unwrap();
    let after = stack.identities().await;
    stack.administrator(&["up", "--detach"]);
    assert_eq!(stack.identities().await, after);
}

#[tokio::test]
async fn what_does_not_resolve_is_told_in_the_words_of_compose() {
    let stack = Stack::new().await;
    for (version, compose, code, words) in [
        ("1.0.0", "services: {web: {image: 'x:${TAG:?set the tag}'}}", Code::VariableUnset, "set the tag"),
        ("1.1.0", "services:\n  web: [", Code::ComposeInvalid, "yaml"),
        ("1.2.0", "services: {web: {image: x, volumes: ['nothing:/x']}}", Code::ComposeInvalid, "nothing"),
        ("1.3.0", "services: {web: {imagge: x}}", Code::ComposeInvalid, "imagge"),
    ] {
        stack.file(version, "compose.yaml", compose);
        let release = stack.release(version);
        let current = stack.current();
        let fault = stack.compose.compile(&stack.project, &release, &[], &current).await.unwrap_err();
        assert_eq!(fault.code(), code, "{fault}");
        assert!(fault.detail().contains(words), "{fault}");
    }
}

#[tokio::test]
async fn an_unset_variable_is_a_warning() {
    let stack = Stack::new().await;
    stack.file("1.0.0", "a.yaml", "services: {web: {image: 'x:1', environment: {A: '${UNSET_HERE}'}}}");
    stack.file("1.0.0", "b.yaml", "services: {web: {image: 'x:2'}}");
    let files = ["a.yaml".to_owned(), "b.yaml".to_owned()];
    let release = stack.release("1.0.0");
    let compiled = stack.compose.compile(&stack.project, &release, &files, &stack.current()).await.unwrap();
    assert_eq!(compiled.model.service("web").unwrap().image.as_deref(), Some("x:2"));
    assert!(
        compiled.warnings.iter().any(|warning| warning.contains("UNSET_HERE")),
        "{:?}",
        compiled.warnings
    );
}
