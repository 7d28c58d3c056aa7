//! The same on an engine with the containerd image store, which keeps blobs and knows images by other digests.

use std::path::Path;
use std::process::Command;

use crate::support::own::own_engine;

/// Which of the tests here run there. Those with an image of a stranger do not: its layers are there compressed, so nothing
/// of it is used.
const TESTS: [&str; 4] = [
    "upgrade::sparse::only_the_layer_that_changed_comes",
    "upgrade::sparse::deltas::only_what_changed_in_it_comes_and_the_whole_release_is_here_then",
    "upgrade::sparse::deltas::the_old_layer_comes_out_of_the_engine_where_no_bundle_has_it",
    "upgrade::sparse::deltas::a_delta_that_makes_something_else_is_never_loaded",
];

struct OwnEngine(tempfile::TempDir);

impl OwnEngine {
    fn start() -> Self {
        let engine = Self(tempfile::Builder::new().prefix("own-").tempdir().unwrap());
        own_engine(engine.0.path(), &["start", "--containerd-store"]);
        engine
    }
}

impl Drop for OwnEngine {
    fn drop(&mut self) {
        own_engine(self.0.path(), &["stop"]);
    }
}

/// The bridge that every container of the machine's engine is on by default, if it has one.
fn bridge_is_there() -> bool {
    Path::new("/sys/class/net/docker0").exists()
}

#[test]
fn layers_and_deltas_are_used_on_the_containerd_store() {
    let bridge = bridge_is_there();
    let engine = OwnEngine::start();
    assert_eq!(bridge_is_there(), bridge, "the machine's engine is left alone");
    let mut inner = Command::new(std::env::current_exe().unwrap());
    inner.args(["--exact", "--test-threads=1"]).args(TESTS);
    inner.env("DOCKER_HOST", format!("unix://{}/docker.sock", engine.0.path().display()));
    let output = inner.output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
    assert!(said.contains(&format!("{} passed", TESTS.len())), "{said}");
}
