//! Reports of outcomes: delivered once and in order, whatever server, network and power do.

use std::fs;
use std::sync::{Arc, Mutex, mpsc};
use std::time::{Duration, Instant};

use compose_upgrade::Code;
use compose_upgrade::agent::report::{Delivered, deliver};
use compose_upgrade::layout::Layout;
use compose_upgrade::progress::Outcome;
use compose_upgrade::settings::{ReportSettings, Settings};
use compose_upgrade::state::Store;
use compose_upgrade::upgrade::journal::{ChangeState, Journal};
use compose_upgrade::upgrade::{Installation, report};
use serde_json::Value;

use crate::support::http::{HttpServer, Request, Response};
use crate::support::tiny::{Release, Tiny};

const BUDGET: Duration = Duration::from_secs(5);

/// A server that takes reports, and a device that has some.
struct Scene {
    folder: tempfile::TempDir,
    server: HttpServer,
    installation: Installation,
    journal: Journal,
}

impl Scene {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let server = HttpServer::serve_dir(folder.path());
        server.always("/r", |_, _| Response::new(202, ""));
        let report = ReportSettings { url: server.url_of("/r"), ..ReportSettings::default() };
        let settings = Settings { project: "shop".into(), report, ..Settings::default() };
        let layout = Layout::new(folder.path());
        let store = Arc::new(Store::open(&layout.state_db()).unwrap());
        let journal = Journal::new(store.clone());
        Self { folder, server, installation: Installation::of(layout, settings, store), journal }
    }

    /// A change ends.
    fn happens(&self, id: &str) {
        self.journal.open(id, "upgrade", Some("1.0.0"), "1.1.0", "{}").unwrap();
        let outcome = Outcome { ok: true, exit_code: 0, upgrade_id: id.into(), ..Outcome::blank() };
        report::conclude(&self.journal, &self.installation, id, &outcome, ChangeState::Completed).unwrap();
    }

    async fn deliver(&self) -> compose_upgrade::Result<Delivered> {
        deliver(&self.installation, BUDGET).await
    }

    fn waiting(&self) -> u64 {
        report::waiting(&self.installation).unwrap()
    }
}

fn requests(server: &HttpServer) -> Vec<Request> {
    server.log().into_iter().map(|exchange| exchange.request).collect()
}

fn body(request: &Request) -> Value {
    serde_json::from_slice(&request.body).unwrap()
}

/// The changes the server was told of, in order.
fn told(server: &HttpServer) -> Vec<String> {
    let id = |request: &Request| body(request)["outcome"]["upgrade_id"].as_str().unwrap().to_owned();
    requests(server).iter().map(id).collect()
}

/// Makes the server hold answers back until the sender is dropped; the receiver hears of each request.
fn hold(server: &HttpServer) -> (mpsc::Sender<()>, mpsc::Receiver<()>) {
    let (release, held) = mpsc::channel::<()>();
    let (came, arrived) = mpsc::channel();
    let (held, came) = (Mutex::new(held), Mutex::new(came));
    server.always("/r", move |_, _| {
        let _gone = came.lock().unwrap().send(());
        // Ends when the other side is dropped.
        let _released = held.lock().unwrap().recv();
        Response::new(202, "")
    });
    (release, arrived)
}

#[tokio::test]
async fn each_is_delivered_once_with_its_key_and_the_token() {
    let mut scene = Scene::new();
    fs::write(scene.folder.path().join("token"), "s3cret\n").unwrap();
    scene.installation.settings.report.token_file = Some("token".into());
    scene.happens("a");
    assert_eq!(scene.deliver().await.unwrap(), Delivered { delivered: 1, refused: 0 });
    assert_eq!(scene.deliver().await.unwrap(), Delivered::default());
    let [request] = &requests(&scene.server)[..] else { panic!("{:?}", scene.server.log()) };
    assert_eq!((request.method.as_str(), request.header("authorization")), ("POST", Some("Bearer s3cret")));
    assert_eq!(request.header("content-type"), Some("application/json"));
    let report = body(request);
    assert_eq!(request.header("idempotency-key"), report["id"].as_str());
    let expected = [("kind", "upgrade"), ("state", "completed"), ("project", "shop")];
    assert!(expected.iter().all(|(key, value)| report[*key] == *value), "{report:#}");
    assert_eq!((&report["schema"], &report["rollback_level"]), (&1.into(), &0.into()));
    assert_eq!(report["client_version"], env!("CARGO_PKG_VERSION"));
}

#[tokio::test]
async fn after_an_outage_all_come_in_order() {
    let scene = Scene::new();
    scene.server.always("/r", |_, _| Response::new(500, ""));
    for id in ["a", "b", "c"] {
        scene.happens(id);
        let fault = scene.deliver().await.unwrap_err();
        assert_eq!(fault.code(), Code::ReportFailed, "{fault}");
    }
    let keys = |request: &Request| request.header("idempotency-key").unwrap().to_owned();
    let tried: Vec<String> = requests(&scene.server).iter().map(keys).collect();
    assert!(tried.iter().all(|key| *key == tried[0]), "the oldest goes first, with one key: {tried:?}");
    scene.server.always("/r", |_, _| Response::new(200, "ok"));
    assert_eq!(scene.deliver().await.unwrap().delivered, 3);
    assert_eq!(told(&scene.server), ["a", "a", "a", "a", "b", "c"]);
    assert_eq!(scene.waiting(), 0);
}

#[tokio::test]
async fn one_that_is_refused_for_good_does_not_hold_the_others_up() {
    let scene = Scene::new();
    scene.happens("a");
    scene.happens("b");
    scene.server.once("/r", |_, _| Response::new(422, "no"));
    assert_eq!(scene.deliver().await.unwrap(), Delivered { delivered: 1, refused: 1 });
    // A wrong token is the operator's to mend.
    scene.happens("c");
    scene.server.once("/r", |_, _| Response::new(401, "who?"));
    scene.deliver().await.unwrap_err();
    assert_eq!(scene.deliver().await.unwrap().delivered, 1);
}

#[tokio::test]
async fn a_server_that_asks_for_time_gets_it() {
    let scene = Scene::new();
    scene.happens("a");
    scene.server.once("/r", |_, _| Response::new(503, "").set("Retry-After", 600));
    scene.deliver().await.unwrap_err();
    assert_eq!(scene.deliver().await.unwrap(), Delivered::default());
    assert_eq!((scene.server.log().len(), scene.waiting()), (1, 1));
}

#[tokio::test]
async fn a_server_that_hangs_costs_the_budget_and_no_more() {
    let scene = Scene::new();
    scene.happens("a");
    let (release, _arrived) = hold(&scene.server);
    let began = Instant::now();
    deliver(&scene.installation, Duration::from_millis(400)).await.unwrap_err();
    assert!(began.elapsed() < Duration::from_secs(3), "{:?}", began.elapsed());
    assert_eq!(scene.waiting(), 1);
    drop(release);
}

/// The real thing: an upgrade tells its result although nobody answers, and what was cut off is told again.
#[test]
fn an_upgrade_is_reported_by_the_next_command_where_it_could_not_be_by_its_own() {
    let compose = "services:\n  web:\n    image: @-web:stable\n    init: true\n    command: [sleep, '100000']\n    \
                   network_mode: none\n";
    let release_toml = "[health]\nstability_ms = 200\ntimeout_ms = 10000\nsoak_ms = 0\n";
    let tiny = Tiny::new();
    for version in ["1.0.0", "1.1.0"] {
        tiny.image("web", version);
        tiny.publish(&Release { version, compose: compose.into(), release_toml, files: &[] });
        if version == "1.0.0" {
            tiny.init();
        }
    }
    let server = HttpServer::serve_dir(tiny.scratch.path());
    let path = tiny.root.join("client.toml");
    let mut settings: toml::Table = fs::read_to_string(&path).unwrap().parse().unwrap();
    let table = settings["report"].as_table_mut().unwrap();
    table.insert("url".into(), server.url_of("/r").into());
    fs::write(&path, settings.to_string()).unwrap();

    let (release, arrived) = hold(&server);
    let began = Instant::now();
    let result = tiny.client(&["upgrade", "--yes"]).expect(0).json();
    let took = Duration::from_millis(result["duration_ms"].as_u64().unwrap());
    assert!(began.elapsed() < took + Duration::from_secs(8), "{:?} for {took:?}", began.elapsed());
    arrived.recv().unwrap();

    let mut child = tiny.spawn(&["backup", "prune"]);
    arrived.recv().unwrap();
    child.kill().unwrap();
    child.wait().unwrap();
    drop(release);
    server.always("/r", |_, _| Response::new(200, ""));
    tiny.client(&["backup", "prune"]).expect(0);
    tiny.client(&["backup", "prune"]).expect(0);

    let requests = requests(&server);
    assert!(requests.len() >= 2, "{requests:#?}");
    let first = &requests[0];
    assert!(requests.iter().all(|again| again.body == first.body), "the same, each time");
    let key = |request: &Request| request.header("idempotency-key").map(str::to_owned);
    assert!(requests.iter().all(|again| key(again).is_some() && key(again) == key(first)));
    let report = body(first);
    assert_eq!((&report["kind"], &report["state"]), (&"upgrade".into(), &"completed".into()), "{report:#}");
    assert_eq!(report["outcome"]["to"], "1.1.0");
    assert_eq!(report["outcome"]["upgrade_id"], result["upgrade_id"]);
}
