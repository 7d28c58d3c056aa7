//! Turns the paths of one release into the paths under which it runs.
//!
//! Compose makes every path absolute. A stack that was resolved in `releases/1.1.0` must say `current` instead:
//! then an unchanged service keeps its config hash from release to release, and a bind mount is resolved through
//! the `current` link when the container starts.

use std::path::Path;

use serde_json::Value;

/// Where paths into the project directory stand; `*` is any key or any element.
const PLACES: &[&[&str]] = &[
    &["services", "*", "volumes", "*", "source"],
    &["services", "*", "env_file"],
    &["services", "*", "env_file", "*"],
    &["services", "*", "env_file", "*", "path"],
    &["services", "*", "label_file"],
    &["services", "*", "label_file", "*"],
    &["services", "*", "credential_spec", "file"],
    &["services", "*", "extends", "file"],
    &["services", "*", "build", "context"],
    &["services", "*", "build", "dockerfile"],
    &["services", "*", "build", "additional_contexts", "*"],
    &["services", "*", "develop", "watch", "*", "path"],
    &["configs", "*", "file"],
    &["secrets", "*", "file"],
    &["volumes", "*", "driver_opts", "device"],
];

/// Makes paths into `from` paths into `to`. A named volume's key is never a path, because it has no slash.
pub(super) fn rewrite(document: &mut Value, from: &Path, to: &Path) {
    for place in PLACES {
        visit(document, place, &mut |text| {
            if let Ok(rest) = Path::new(text.as_str()).strip_prefix(from) {
                // Joining nothing would add a slash, which makes another path to the config hash.
                let moved = if rest.as_os_str().is_empty() { to.to_owned() } else { to.join(rest) };
                *text = moved.display().to_string();
            }
        });
    }
}

fn visit(value: &mut Value, place: &[&str], change: &mut impl FnMut(&mut String)) {
    match (place, value) {
        ([], Value::String(text)) => change(text),
        (["*", rest @ ..], Value::Object(map)) => {
            map.values_mut().for_each(|value| visit(value, rest, change));
        }
        (["*", rest @ ..], Value::Array(list)) => {
            list.iter_mut().for_each(|value| visit(value, rest, change));
        }
        ([key, rest @ ..], Value::Object(map)) => {
            if let Some(value) = map.get_mut(*key) {
                visit(value, rest, change);
            }
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn only_paths_into_the_release_are_moved() {
        let mut document = json!({
            "services": {"web": {
                "command": ["/r/releases/1/run"],
                "environment": {"HOME": "/r/releases/1"},
                "build": {"context": "/r/releases/1/web"},
                "volumes": [
                    {"type": "bind", "source": "/r/releases/1/data", "target": "/releases/1"},
                    {"type": "bind", "source": "/r/releases/1", "target": "/all"},
                    {"type": "bind", "source": "/r/releases/10/data", "target": "/x"},
                    {"type": "bind", "source": "/etc/localtime", "target": "/etc/localtime"},
                    {"type": "volume", "source": "data", "target": "/d"},
                ],
            }},
            "configs": {"a": {"file": "/r/releases/1/a.conf"}, "b": {"content": "/r/releases/1/x"}},
            "secrets": {"s": {"file": "/r/releases/1/s"}},
            "volumes": {"v": {"driver_opts": {"device": "/r/releases/1/v"}}},
        });
        rewrite(&mut document, Path::new("/r/releases/1"), Path::new("/r/current"));
        assert_eq!(
            document,
            json!({
                "services": {"web": {
                    "command": ["/r/releases/1/run"],
                    "environment": {"HOME": "/r/releases/1"},
                    "build": {"context": "/r/current/web"},
                    "volumes": [
                        {"type": "bind", "source": "/r/current/data", "target": "/releases/1"},
                        {"type": "bind", "source": "/r/current", "target": "/all"},
                        {"type": "bind", "source": "/r/releases/10/data", "target": "/x"},
                        {"type": "bind", "source": "/etc/localtime", "target": "/etc/localtime"},
                        {"type": "volume", "source": "data", "target": "/d"},
                    ],
                }},
                "configs": {"a": {"file": "/r/current/a.conf"}, "b": {"content": "/r/releases/1/x"}},
                "secrets": {"s": {"file": "/r/current/s"}},
                "volumes": {"v": {"driver_opts": {"device": "/r/current/v"}}},
            })
        );
    }
}
