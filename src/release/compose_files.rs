//! Which files of a folder Compose reads when it is told none.

use std::path::Path;

/// The base files, in Compose's order of preference.
const BASES: [&str; 4] = ["compose.yaml", "compose.yml", "docker-compose.yml", "docker-compose.yaml"];
/// The overrides it adds to any of them, likewise.
const OVERRIDES: [&str; 4] = [
    "compose.override.yml",
    "compose.override.yaml",
    "docker-compose.override.yml",
    "docker-compose.override.yaml",
];

/// The Compose files of `folder`, in the order Compose merges them; empty where there are none.
pub fn default_compose_files(folder: &Path) -> Vec<String> {
    let first = |names: [&'static str; 4]| names.into_iter().find(|name| folder.join(name).is_file());
    match first(BASES) {
        Some(base) => [Some(base), first(OVERRIDES)].into_iter().flatten().map(str::to_owned).collect(),
        None => Vec::new(),
    }
}
