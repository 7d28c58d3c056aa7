//! The cases that stop, restart or rebuild an engine: each in a process of its own whose DOCKER_HOST is an engine of its own.

use crate::case::Outcome;
pub fn run(_name: &str) -> bool {
    todo!()
}
pub fn spawn(_name: &str, _seed: u64) -> Result<Outcome, String> {
    todo!()
}
