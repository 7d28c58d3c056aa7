//! An engine of a test's own: `scripts/own-engine`.

use std::path::Path;
use std::process::Command;

/// Runs the script on the engine in `place`; `words` are the action and its options.
pub fn own_engine(place: &Path, words: &[&str]) {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/own-engine");
    let mut command = Command::new(script);
    command.arg(words[0]).arg(place).args(&words[1..]).env_remove("DOCKER_HOST");
    // To a file: what it starts keeps its standard error open.
    let log = std::fs::File::create(place.join("script.log")).unwrap();
    let status = command.stdout(log.try_clone().unwrap()).stderr(log).status().unwrap();
    let said = || std::fs::read_to_string(place.join("script.log")).unwrap_or_default();
    assert!(status.success(), "own-engine {words:?}: {}", said());
}
