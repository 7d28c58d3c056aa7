//! Where releases come from, and what is told on the way.

use std::fs;

use crate::support::http::HttpServer;
use crate::support::stack::{Device, IDLE, Stack};

fn published() -> Stack {
    let mut stack = Stack::new();
    stack.release("1.0.0", |r| {
        r.service("app", IDLE);
    });
    stack
}

#[test]
fn over_http_every_line_of_progress_is_json_and_the_last_is_the_result() {
    let mut stack = published();
    let server = HttpServer::serve_dir(stack.source());
    let device = Device::with_source(&stack, &server.url());
    let installed = device.try_init(&[]);
    assert_eq!(installed.code, 0, "{installed:#?}");
    assert!(installed.outcome["from"].is_null());
    assert_eq!(
        (&installed.outcome["to"], &installed.outcome["reason"]),
        (&"1.0.0".into(), &"not_installed".into())
    );
    stack.release("1.1.0", |r| {
        r.rebuild("app");
    });
    let ended = device.upgrade(&["--lang", "zh-CN"]);
    assert_eq!(ended.code, 0, "{ended:#?}");
    let size = fs::metadata(stack.bundle("1.1.0")).unwrap().len();
    assert_eq!(ended.outcome["bytes_bundle"].as_u64(), Some(size));
    let fetched = ended.outcome["bytes_downloaded"].as_u64().unwrap();
    assert!(fetched > 0 && fetched <= size, "{fetched} of {size}");

    assert_eq!(ended.outcome["kind"], "result");
    let steps = "CheckingUpdates CreatingBackup StoppingServices DownloadingUpdate ExtractingUpdate \
        LoadingImages StartingServices VerifyingServices CleaningUp Completed";
    let mut seen = Vec::new();
    for (number, event) in (1..).zip(&ended.events) {
        assert_eq!((&event["schema"], &event["seq"]), (&1.into(), &number.into()), "{event}");
        let kind = event["kind"].as_str().unwrap();
        assert!(["started", "progress", "finished", "warning", "failed"].contains(&kind), "{event}");
        assert!(event["at"].as_str().unwrap().ends_with('Z') && event["message"].is_string(), "{event}");
        seen.push(event["step"].as_str().unwrap());
    }
    for step in ["CheckingUpdates", "DownloadingUpdate", "LoadingImages", "StoppingServices", "Completed"] {
        assert!(seen.contains(&step), "{step} is not in {seen:?}");
    }
    assert!(seen.iter().all(|step| steps.contains(step)), "{seen:?}");
    let last = ended.events.last().unwrap();
    assert_eq!(last["message"], "升级完成：1.0.0 → 1.1.0");
}

#[test]
fn without_a_network_a_bundle_is_enough() {
    let mut stack = published();
    let nothing = tempfile::tempdir().unwrap();
    let device = Device::with_source(&stack, nothing.path().to_str().unwrap());
    let bundle = stack.bundle("1.0.0");
    let installed = device.try_init(&["--bundle", bundle.to_str().unwrap()]);
    assert_eq!(installed.code, 0, "{installed:#?}");
    let before = device.containers();
    let nowhere = device.upgrade(&[]);
    assert_eq!(
        (nowhere.code, &nowhere.outcome["ok"]),
        (1, &false.into()),
        "the source is empty: {nowhere:#?}"
    );
    assert_eq!(device.containers(), before);
    stack.release("1.1.0", |r| {
        r.rebuild("app");
    });
    let cut = nothing.path().join("cut.bundle");
    let whole = fs::read(stack.bundle("1.1.0")).unwrap();
    fs::write(&cut, &whole[..whole.len() / 2]).unwrap();
    let broken = device.upgrade(&["--bundle", cut.to_str().unwrap()]);
    assert!([1, 40].contains(&broken.code), "{broken:#?}");
    assert_eq!(device.containers(), before);
    let ended = device.upgrade(&["--bundle", stack.bundle("1.1.0").to_str().unwrap()]);
    assert_eq!(ended.code, 0, "{ended:#?}");
    assert_eq!(device.sh("app", "cat /own"), "build 2");
    let again = device.upgrade(&["--bundle", stack.bundle("1.1.0").to_str().unwrap()]);
    assert_eq!((again.code, &again.outcome["strategy"]), (0, &"none".into()), "{again:#?}");
}
