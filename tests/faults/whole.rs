//! What must hold after every case: the stack is wholly on one version, and nothing is left over.

use std::collections::BTreeSet;
use std::process::Command;
use std::time::{Duration, Instant};

use crate::shop::SERVICES;
use crate::site::Site;
use crate::tiny::{Done, docker, names_in};

/// How long the engine may take to ask a healthcheck for the first time.
const FIRST_WORD: Duration = Duration::from_secs(40);
/// How long its word may be out of date: what was disturbed by its neighbours is well again before it is asked again.
const NEXT_WORD: Duration = Duration::from_secs(12);

/// A container as it must be found again.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Seen {
    service: String,
    name: String,
    id: String,
    image: String,
    state: String,
    health: String,
    restart: String,
    started_at: String,
}

fn seen(site: &Site<'_>) -> Vec<Seen> {
    let label = format!("label=com.docker.compose.project={}", site.shop.project());
    let ids = docker(&["ps", "-aq", "--no-trunc", "--filter", &label]);
    let ids: Vec<&str> = ids.split_whitespace().collect();
    if ids.is_empty() {
        return Vec::new();
    }
    let format = r#"{{index .Config.Labels "com.docker.compose.service"}} {{.Name}} {{.Id}} {{.Image}} {{.State.Status}} {{if .State.Health}}{{.State.Health.Status}}{{else}}none{{end}} {{.HostConfig.RestartPolicy.Name}} {{.State.StartedAt}}"#;
    let told = docker(&[&["inspect", "--format", format][..], &ids].concat());
    let mut all: Vec<Seen> = told
        .lines()
        .map(|line| {
            let words: Vec<String> = line.split(' ').map(str::to_owned).collect();
            let [service, name, id, image, state, health, restart, started_at] =
                words.try_into().unwrap_or_else(|words| panic!("{words:?}"));
            let name = name.trim_start_matches('/').to_owned();
            Seen { service, name, id, image, state, health, restart, started_at }
        })
        .collect();
    all.sort_by(|one, other| one.service.cmp(&other.service));
    all
}

/// Every service of `version` has one container, with the image of that version, that is meant to run.
pub fn images_are(site: &Site<'_>, version: &str) {
    let all = seen(site);
    let expected = &site.shop.images[version];
    assert_eq!(all.len(), SERVICES.len(), "containers too many or too few: {all:#?}");
    for one in &all {
        let runs = ["running", "restarting"].contains(&one.state.as_str());
        assert!(
            runs && one.image == expected[one.service.as_str()],
            "{} is not of {version}: {all:#?}",
            one.service
        );
    }
}

/// Every service of `version` runs with the image of that version, is healthy, and there is no other container.
///
/// The client runs a healthcheck itself instead of waiting for the engine to; the engine's own word may come later.
pub fn stack_is(site: &Site<'_>, version: &str) {
    let began = Instant::now();
    let mut all = seen(site);
    let waits = |one: &Seen| match one.health.as_str() {
        "starting" => began.elapsed() < FIRST_WORD,
        "unhealthy" => began.elapsed() < NEXT_WORD,
        _ => false,
    };
    while all.iter().any(waits) {
        std::thread::sleep(Duration::from_millis(100));
        all = seen(site);
    }
    let expected = &site.shop.images[version];
    let mut names: Vec<&str> = all.iter().map(|one| one.service.as_str()).collect();
    names.dedup();
    let mut wanted = SERVICES.to_vec();
    wanted.sort();
    assert!(names == wanted && all.len() == wanted.len(), "containers too many or too few: {all:#?}");
    for one in &all {
        let name = format!("{}-{}-1", site.shop.project(), one.service);
        let fine = one.image == expected[one.service.as_str()]
            && one.state == "running"
            && one.health == "healthy"
            && one.restart == "unless-stopped"
            && one.name == name;
        assert!(fine, "{} is not as {version} wants it ({:?}): {all:#?}", one.service, expected);
    }
    assert_eq!(site.current(), version, "'current' points elsewhere than the stack is");
}

/// The whole of it.
pub fn check(site: &Site<'_>, version: &str) {
    stack_is(site, version);
    let status = site.client(&["status"]).expect(0).json();
    let state = status["state"].as_str().unwrap_or_default();
    assert!(["idle", "soaking"].contains(&state), "the state is {state}: {status:#}");
    assert_eq!(status["current"], version, "{status:#}");
    for service in status["services"].as_array().unwrap() {
        assert_eq!(service["image_id"], service["image_expected"], "{status:#}");
    }
    nothing_left(site);
    // As an administrator's shell does it.
    let before = seen(site);
    let current = site.root.join("current");
    let mut up = Command::new("docker");
    up.args(["compose", "up", "-d"]).env("PWD", &current).current_dir(&current);
    Done::of(&mut up).expect(0);
    assert_eq!(before, seen(site), "Compose's own 'up' changes something");
    let done = site.client(&["upgrade", "--yes", "--target", version]);
    assert_eq!(done.code, Some(0), "the next upgrade does not work: {done:#?}");
    assert_eq!(before, seen(site), "an upgrade to what is installed changes something");
    let history = site.client(&["history"]).expect(0).json();
    let last = &history["changes"].as_array().unwrap().last().unwrap()["state"];
    // What changes that failed have left there, the next one that succeeds removes.
    if last == "completed" {
        assert_eq!(names_in(&site.root.join("work")), [""; 0], "files are left in work/");
    }
}

/// No stray network, volume, pin or file.
fn nothing_left(site: &Site<'_>) {
    let project = site.shop.project();
    let label = format!("label=com.docker.compose.project={project}");
    for (kind, wanted) in [("network", format!("{project}_default")), ("volume", format!("{project}_pgdata"))]
    {
        let found = docker(&[kind, "ls", "--format", "{{.Name}}", "--filter", &label]);
        assert_eq!(found.trim(), wanted, "a {kind} too many or too few");
    }
    let proofs =
        docker(&["ps", "-aq", "--filter", "name=compose-upgrade-proof", "--filter", "status=exited"]);
    assert_eq!(proofs.trim(), "", "a container that proved an image is left");

    let releases = names_in(&site.root.join("releases"));
    for name in &releases {
        assert!(site.shop.images.contains_key(name.as_str()), "a stray folder in releases/: {releases:?}");
    }
    let pointers = ["current", "previous", "factory"].map(|name| std::fs::read_link(site.root.join(name)));
    for target in pointers.iter().flatten() {
        assert!(site.root.join(target).is_dir(), "a pointer leads nowhere: {}", target.display());
    }
    let of = |versions: &[String]| -> BTreeSet<String> {
        versions.iter().flat_map(|version| site.shop.images[version.as_str()].values().cloned()).collect()
    };
    let kept: Vec<String> = pointers
        .iter()
        .flatten()
        .map(|target| target.file_name().unwrap().to_string_lossy().into_owned())
        .collect();
    let pins = docker(&["image", "ls", "-q", "--no-trunc", &format!("compose-upgrade.pin/{project}")]);
    let pins: BTreeSet<String> = pins.lines().map(str::to_owned).collect();
    for version in &kept {
        let unpinned = site.shop.images[version.as_str()].iter().filter(|(_, id)| !pins.contains(*id));
        let unpinned: Vec<_> = unpinned.collect();
        assert!(unpinned.is_empty(), "these images of {version} are not pinned: {unpinned:?}");
    }
    let known: Vec<String> = site.shop.images.keys().map(|version| (*version).to_owned()).collect();
    assert!(pins.is_subset(&of(&known)), "a stray pin: {pins:?}");

    const ROOT: [&str; 14] = [
        "backups",
        "bundles",
        "client.toml",
        "current",
        "factory",
        "previous",
        "releases",
        "state.reserve",
        "shared",
        "state.db",
        "state.db-shm",
        "state.db-wal",
        "state.lock",
        "work",
    ];
    for name in names_in(&site.root) {
        assert!(ROOT.contains(&name.as_str()), "a stray file in the root: {name}");
    }
    let bundles = names_in(&site.root.join("bundles"));
    assert!(bundles.len() <= known.len(), "stray files in bundles/: {bundles:?}");
    let records = site.client(&["backup", "list"]).expect(0).json();
    let records = records["backups"].as_array().map_or(0, Vec::len);
    let mut files = names_in(&site.root.join("backups"));
    files.retain(|name| name != ".lock");
    assert!(files.len() <= records, "{records} backups are known, but these files are there: {files:?}");
}
