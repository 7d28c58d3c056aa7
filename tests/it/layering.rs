//! The shape of the source: imports run downwards, files stay small, modules are `foo.rs` + `foo/`.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// The layers, lowest first: a module imports from its own line (where the line allows it) and from those
/// above it in this list, which are lower.
const LAYERS: [(&[&str], Siblings); 10] = [
    (&["fault", "messages", "clock"], Siblings::Allowed),
    (&["durable"], Siblings::Allowed),
    (&["layout", "settings", "exit"], Siblings::Allowed),
    (&["progress", "release"], Siblings::Allowed),
    (&["state"], Siblings::Allowed),
    (&["docker", "transfer", "backup"], Siblings::Forbidden),
    (&["publisher"], Siblings::Allowed),
    (&["upgrade"], Siblings::Allowed),
    (&["agent"], Siblings::Allowed),
    (&["cli"], Siblings::Allowed),
];

/// The server stands beside the layers: it shares the vocabulary with the agent and nothing else.
const FLEET: [&str; 9] =
    ["release", "progress", "state", "layout", "settings", "exit", "fault", "messages", "clock"];

const RULE: &str = "imports run downwards only:
    cli -> agent -> upgrade -> publisher -> {docker, transfer, backup} -> state -> {release, progress}
        -> {layout, settings, exit} -> durable -> {clock, fault, messages}
    docker, transfer and backup do not import each other; nothing imports fleet or cli;
    fleet imports only release, progress, state, layout, settings, exit, fault, messages, clock";

const LONGEST: usize = 500;

#[derive(Clone, Copy, PartialEq)]
enum Siblings {
    Allowed,
    Forbidden,
}

#[test]
fn imports_run_downwards() {
    let mut wrong = Vec::new();
    for path in sources() {
        let Some(module) = module_of(&path) else { continue };
        for (line, import) in imports(&std::fs::read_to_string(&path).unwrap()) {
            if let Err(reason) = judge(&module, &import) {
                wrong.push(format!("{}:{line}: {reason}", path.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "{RULE}\n\n{}\n", wrong.join("\n"));
}

#[test]
fn files_stay_small() {
    let long: Vec<String> = sources()
        .into_iter()
        .map(|path| (std::fs::read_to_string(&path).unwrap().lines().count(), path))
        .filter(|(lines, _)| *lines > LONGEST)
        .map(|(lines, path)| format!("{}: {lines} lines", path.display()))
        .collect();
    assert!(long.is_empty(), "a file has at most {LONGEST} lines; split by idea:\n{}\n", long.join("\n"));
}

#[test]
fn no_module_is_called_mod() {
    let wrong: Vec<PathBuf> = sources().into_iter().filter(|path| path.ends_with("mod.rs")).collect();
    assert!(wrong.is_empty(), "a module is `foo.rs` beside `foo/`, not `foo/mod.rs`: {wrong:?}");
}

#[test]
fn the_reader_of_imports_sees_every_form() {
    let source = "
use crate::fault::Fault; // crate::comment
//! crate::doc
pub(crate) use crate::{messages::{Lang, Say}, Code,
    release};
fn f() -> crate::state::Store { let x = \"crate::text\"; $crate::progress::Step }
use std::sync::Arc; use mycrate::other;
";
    let found: Vec<(usize, String)> = imports(source).into_iter().collect();
    let expected =
        [(2, "fault"), (4, "fault"), (4, "messages"), (4, "release"), (6, "progress"), (6, "state")];
    assert_eq!(found, expected.map(|(line, module)| (line, module.to_owned())));
}

#[test]
fn the_rule_refuses_what_it_says() {
    for (module, import) in [
        ("docker", "backup"),
        ("release", "docker"),
        ("upgrade", "cli"),
        ("cli", "fleet"),
        ("fleet", "docker"),
    ] {
        assert!(judge(module, import).is_err(), "{module} -> {import}");
    }
    for (module, import) in [
        ("fault", "messages"),
        ("docker", "release"),
        ("cli", "fault"),
        ("fleet", "state"),
        ("fleet", "fleet"),
    ] {
        assert_eq!(judge(module, import), Ok(()), "{module} -> {import}");
    }
}

/// Whether `module` may import from `import`.
fn judge(module: &str, import: &str) -> Result<(), String> {
    let layer = |name: &str| LAYERS.iter().position(|(names, _)| names.contains(&name));
    if module == import {
        return Ok(());
    }
    if module == "fleet" {
        return match FLEET.contains(&import) {
            true => Ok(()),
            false => Err(format!("fleet imports {import}")),
        };
    }
    if import == "fleet" {
        return Err(format!("{module} imports fleet"));
    }
    let unknown = |name| format!("module {name} has no place in the layers yet; give it one in this test");
    let own = layer(module).ok_or_else(|| unknown(module))?;
    let other = layer(import).ok_or_else(|| unknown(import))?;
    if other < own || (other == own && LAYERS[own].1 == Siblings::Allowed) {
        Ok(())
    } else {
        Err(format!("{module} imports {import}"))
    }
}

/// Every Rust file of the library and the binaries.
fn sources() -> Vec<PathBuf> {
    fn walk(folder: &Path, found: &mut Vec<PathBuf>) {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                walk(&path, found);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                found.push(path);
            }
        }
    }
    let mut found = Vec::new();
    walk(&source_root(), &mut found);
    found.sort();
    assert!(!found.is_empty());
    found
}

fn source_root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src")
}

/// The top-level module a file belongs to; none for the crate root and the binaries.
fn module_of(path: &Path) -> Option<String> {
    let relative = path.strip_prefix(source_root()).unwrap();
    let first = relative.iter().next().unwrap().to_str().unwrap();
    match first.trim_end_matches(".rs") {
        "lib" | "bin" => None,
        module => Some(module.to_owned()),
    }
}

/// The top-level modules named after `crate::`, each with its line.
fn imports(source: &str) -> BTreeSet<(usize, String)> {
    let code: String = source.lines().map(|line| format!("{}\n", without_comment_and_text(line))).collect();
    let mut found = BTreeSet::new();
    for (at, _) in code.match_indices("crate::") {
        // `mycrate::` is another crate.
        if code[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_') {
            continue;
        }
        let line = code[..at].matches('\n').count() + 1;
        let rest = &code[at + "crate::".len()..];
        let names = match rest.strip_prefix('{') {
            Some(group) => heads(group),
            None => vec![name_at(rest)],
        };
        // The crate root re-exports the error type, and only that.
        let module =
            |name: &str| if name.starts_with(char::is_uppercase) { "fault" } else { name }.to_owned();
        found.extend(names.into_iter().filter(|name| !name.is_empty()).map(|name| (line, module(name))));
    }
    found
}

/// The first name of every member of a `{…}` group whose brace is already open.
fn heads(group: &str) -> Vec<&str> {
    let mut depth = 0;
    let mut names = vec![name_at(group.trim_start())];
    for (at, c) in group.char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth == 0 => break,
            '}' => depth -= 1,
            ',' if depth == 0 => names.push(name_at(group[at + 1..].trim_start())),
            _ => {}
        }
    }
    names
}

fn name_at(text: &str) -> &str {
    let end = text.find(|c: char| !(c.is_alphanumeric() || c == '_')).unwrap_or(text.len());
    &text[..end]
}

/// Good enough for a formatted source: cuts `//` comments and the inside of one-line string literals.
fn without_comment_and_text(line: &str) -> String {
    let mut code = String::new();
    let mut in_text = false;
    let mut rest = line.chars().peekable();
    while let Some(c) = rest.next() {
        match c {
            '\\' if in_text => drop(rest.next()),
            '"' => in_text = !in_text,
            '/' if !in_text && rest.peek() == Some(&'/') => break,
            _ if !in_text => code.push(c),
            _ => {}
        }
    }
    code
}
