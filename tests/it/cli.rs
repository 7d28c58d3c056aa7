//! The `client` and `fleet` binaries as a shell sees them: exit codes, streams, words.

use std::path::Path;
use std::process::{Command, Output, Stdio};

use serde_json::Value;

/// `client`, without anything of the surrounding environment that it would listen to.
pub fn client() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_client"));
    for name in ["CLIENT_ROOT", "LC_ALL", "LC_MESSAGES", "LANG", "RUST_LOG", "NO_COLOR"] {
        command.env_remove(name);
    }
    command.stdin(Stdio::null());
    command
}

/// An install root with settings and nothing else.
pub fn bare_installation() -> tempfile::TempDir {
    let root = tempfile::tempdir().unwrap();
    std::fs::write(root.path().join("client.toml"), "project = 'guestbook'\nsource = '/nowhere'\n").unwrap();
    root
}

fn run(arguments: &[&str]) -> Output {
    client().args(arguments).output().unwrap()
}

fn run_in(root: &Path, arguments: &[&str]) -> Output {
    client().arg("--root").arg(root).args(arguments).output().unwrap()
}

fn code(output: &Output) -> i32 {
    output.status.code().unwrap()
}

fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

#[test]
fn a_wrong_command_line_is_a_usage_error() {
    for arguments in [&["frobnicate"][..], &["upgrade", "--target", "newest"], &["daemon"], &[]] {
        let output = run(arguments);
        assert_eq!(code(&output), 2, "{arguments:?}");
        assert_eq!(stdout(&output), "", "{arguments:?}");
        assert!(stderr(&output).contains("Usage:") || stderr(&output).contains("--help"), "{arguments:?}");
    }
}

#[test]
fn help_lists_every_command() {
    let output = run(&["--help"]);
    assert_eq!(code(&output), 0);
    let text = stdout(&output);
    let commands = [
        "init",
        "check",
        "plan",
        "upgrade",
        "rollback",
        "status",
        "history",
        "backup",
        "doctor",
        "release",
        "completions",
        "man",
    ];
    for command in commands {
        assert!(text.lines().any(|line| line.trim_start().starts_with(command)), "{command} in {text}");
    }
    assert!(text.contains("Exit codes:"), "{text}");
}

#[test]
fn without_an_installation_the_error_says_so_in_the_person_s_language() {
    let root = tempfile::tempdir().unwrap();
    for command in ["status", "check", "plan", "history", "upgrade"] {
        let output = run_in(root.path(), &[command]);
        assert_eq!(code(&output), 1, "{command}");
        assert_eq!(stdout(&output), "", "{command}");
        let text = stderr(&output);
        assert!(text.contains("NOT_INITIALISED"), "{text}");
        assert!(text.contains("there is no installation in"), "{text}");
        assert!(text.contains("help: Run 'client init'"), "{text}");
        let chinese = stderr(&run_in(root.path(), &["--lang", "zh-CN", command]));
        assert!(chinese.contains("中没有安装"), "{chinese}");
        assert!(chinese.contains("帮助: 请先在该目录运行"), "{chinese}");
    }
    let by_locale =
        client().env("LANG", "zh_CN.UTF-8").arg("status").current_dir(root.path()).output().unwrap();
    assert!(stderr(&by_locale).contains("中没有安装"));
}

#[test]
fn a_root_that_is_not_there_is_named() {
    let output = run(&["--root", "/nonexistent/stack", "status"]);
    assert_eq!(code(&output), 1);
    assert!(stderr(&output).contains("/nonexistent/stack"));
    let by_environment = client().env("CLIENT_ROOT", "/nonexistent/other").arg("status").output().unwrap();
    assert!(stderr(&by_environment).contains("/nonexistent/other"));
}

#[test]
fn with_json_an_error_is_a_document_on_stdout_too() {
    let root = tempfile::tempdir().unwrap();
    let output = run_in(root.path(), &["status", "--json"]);
    assert_eq!(code(&output), 1);
    let document: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(document["schema"], 1);
    assert_eq!(document["error"]["code"], "NOT_INITIALISED");
    assert!(document["error"]["message"].as_str().unwrap().contains("there is no installation"));
    assert!(document["error"]["help"].as_str().unwrap().contains("client init"));
    assert!(stderr(&output).contains("NOT_INITIALISED"));

    let line = stdout(&run_in(root.path(), &["status", "--progress", "json"]));
    assert_eq!(line.lines().count(), 1);
    assert_eq!(serde_json::from_str::<Value>(&line).unwrap(), document);

    let usage: Value = serde_json::from_slice(&run(&["frobnicate", "--json"]).stdout).unwrap();
    assert_eq!(usage["error"]["code"], "USAGE");
    assert!(usage["error"]["message"].as_str().unwrap().contains("frobnicate"));
}

#[test]
fn a_change_that_is_refused_ends_with_its_result() {
    let root = tempfile::tempdir().unwrap();
    let output = run_in(root.path(), &["upgrade", "--progress", "json"]);
    assert_eq!(code(&output), 1);
    let text = stdout(&output);
    let last: Value = serde_json::from_str(text.lines().last().unwrap()).unwrap();
    assert_eq!(last["kind"], "result");
    assert_eq!(last["ok"], false);
    assert_eq!(last["exit_code"], 1);
    assert_eq!(last["error"]["code"], "NOT_INITIALISED");

    let pretty: Value = serde_json::from_slice(&run_in(root.path(), &["upgrade", "--json"]).stdout).unwrap();
    assert_eq!(pretty["kind"], "result");
    assert_eq!(pretty["error"]["code"], "NOT_INITIALISED");
}

#[test]
fn what_loses_data_needs_yes_in_a_script() {
    let root = bare_installation();
    for arguments in [&["rollback"][..], &["backup", "restore", "x"], &["backup", "delete", "x"]] {
        let output = run_in(root.path(), arguments);
        assert_eq!(code(&output), 11, "{arguments:?}");
        assert!(stderr(&output).contains("CONSENT_MISSING"), "{arguments:?}");
        assert!(stderr(&output).contains("--yes"), "{arguments:?}");
    }
    let chinese = stderr(&run_in(root.path(), &["--lang", "zh-CN", "rollback"]));
    assert!(chinese.contains("需要您的确认"), "{chinese}");
}

#[test]
fn a_root_of_trust_is_refused_rather_than_ignored() {
    let root = tempfile::tempdir().unwrap();
    let arguments = ["init", "--project", "x", "--source", "/nowhere", "--trust", "root.json"];
    let output = run_in(root.path(), &arguments);
    assert_eq!(code(&output), 2);
    assert!(stderr(&output).contains("TRUST_UNSUPPORTED"));
    assert_eq!(std::fs::read_dir(root.path()).unwrap().count(), 0);
}

#[test]
fn a_reader_that_went_away_is_no_crash() {
    let root = tempfile::tempdir().unwrap();
    for arguments in [&["upgrade", "--progress", "json"][..], &["status", "--json"], &["--help"], &["man"]] {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let output = client().arg("--root").arg(root.path()).args(arguments).stdout(writer).output().unwrap();
        assert!(matches!(output.status.code(), Some(0 | 1)), "{arguments:?}: {:?}", output.status);
        assert!(!stderr(&output).contains("panicked"), "{arguments:?}");
    }
}

#[test]
fn completions_and_manual_pages_are_produced() {
    for shell in ["bash", "zsh", "fish"] {
        let output = run(&["completions", shell]);
        assert_eq!(code(&output), 0);
        assert!(stdout(&output).contains("rollback"), "{shell}");
    }
    let pages = stdout(&run(&["man"]));
    for title in
        [".TH client 1", ".TH client-upgrade 1", ".TH client-backup-restore 1", ".TH client-release-build 1"]
    {
        assert!(pages.contains(title), "{title}");
    }
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("man1");
    assert_eq!(code(&run(&["man", "--out", out.to_str().unwrap()])), 0);
    for page in ["client.1", "client-upgrade.1", "client-backup-restore.1"] {
        assert!(out.join(page).is_file(), "{page}");
    }
}

#[test]
fn both_binaries_tell_their_version() {
    let version = env!("CARGO_PKG_VERSION");
    assert_eq!(stdout(&run(&["--version"])), format!("client {version}\n"));
    let fleet = || Command::new(env!("CARGO_BIN_EXE_fleet"));
    assert_eq!(stdout(&fleet().arg("--version").output().unwrap()), format!("fleet {version}\n"));
    assert_eq!(code(&fleet().arg("--help").output().unwrap()), 0);
    assert_eq!(code(&fleet().output().unwrap()), 2);
}

#[test]
fn an_installation_that_failed_leaves_nothing_behind() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("new/root");
    let source = folder.path().join("source");
    std::fs::create_dir(&source).unwrap();
    for source in [&source, &folder.path().join("missing")] {
        let arguments = ["init", "--project", "cutest-none", "--source", source.to_str().unwrap()];
        let output = run_in(&root, &arguments);
        assert_ne!(code(&output), 0, "{output:?}");
        assert!(!folder.path().join("new").exists(), "{output:?}");
    }
    let own = folder.path().join("own");
    std::fs::create_dir(&own).unwrap();
    std::fs::write(own.join("notes"), "mine").unwrap();
    let output = run_in(&own, &["init", "--project", "cutest-none", "--source", source.to_str().unwrap()]);
    assert_ne!(code(&output), 0, "{output:?}");
    let left: Vec<_> = std::fs::read_dir(&own).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left, ["notes"]);
}
