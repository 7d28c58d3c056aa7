//! Downloads ahead of the upgrade, what stays in the cache, and signed addresses.

use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use compose_upgrade::state::StateLock;

use crate::support::http::{HttpServer, Response};
use crate::support::stack::{Device, IDLE, Stack};

/// A stack of one service, served, and a device on which its first release is installed.
fn installed() -> (Stack, HttpServer, Device) {
    let mut stack = Stack::new();
    stack.release("1.0.0", |r| {
        r.service("app", IDLE);
    });
    let (server, device) = Device::served(&stack);
    (stack, server, device)
}

fn next(stack: &mut Stack, version: &'static str) {
    stack.release(version, |r| {
        r.rebuild("app");
    });
}

/// Where the server has the bundle of a version.
fn path_of(stack: &Stack, version: &str) -> String {
    format!("/{}", stack.bundle(version).file_name().unwrap().to_str().unwrap())
}

fn bundles(device: &Device) -> usize {
    let names = fs::read_dir(device.path("bundles")).unwrap().map(|entry| entry.unwrap().file_name());
    names.filter(|name| name.to_string_lossy().ends_with(".bundle")).count()
}

fn set_download(device: &Device, key: &str, value: &str) {
    let mut settings: toml::Table = device.read("client.toml").parse().unwrap();
    settings["download"].as_table_mut().unwrap().insert(key.into(), value.into());
    fs::write(device.path("client.toml"), settings.to_string()).unwrap();
}

#[test]
fn what_was_fetched_ahead_is_not_fetched_again() {
    let (mut stack, server, device) = installed();
    next(&mut stack, "1.1.0");
    let before = device.containers();
    let holder = StateLock::acquire_with_folder(&device.path("state.lock"), "test").unwrap();
    let busy = device.upgrade(&["--download-only"]);
    assert_eq!((busy.code, &busy.outcome["error"]["code"]), (30, &"LOCKED".into()), "{busy:#?}");
    drop(holder);

    let ended = device.upgrade(&["--download-only", "--limit-rate", "100M"]);
    assert_eq!(ended.code, 0, "{ended:#?}");
    let size = fs::metadata(stack.bundle("1.1.0")).unwrap().len();
    let outcome = &ended.outcome;
    assert_eq!((&outcome["ok"], &outcome["fetched_ahead"]), (&true.into(), &true.into()), "{outcome:#}");
    assert_eq!((&outcome["from"], &outcome["to"]), (&"1.0.0".into(), &"1.1.0".into()));
    assert_eq!(outcome["bytes_downloaded"].as_u64(), Some(size));
    assert_eq!(device.containers(), before);
    let status = device.status();
    assert_eq!((&status["state"], &status["current"]), (&"idle".into(), &"1.0.0".into()));
    assert!(!device.path("releases/1.1.0").exists());

    // Another change tidies up, and lets it be.
    let again = device.upgrade(&["--target", "1.0.0", "--force-full"]);
    assert_eq!(again.code, 0, "{again:#?}");
    assert_eq!(bundles(&device), 2);
    let asked = server.statuses(&path_of(&stack, "1.1.0")).len();
    let ended = device.upgrade(&["--download-only"]);
    assert_eq!((ended.code, &ended.outcome["bytes_downloaded"]), (0, &0.into()), "{ended:#?}");
    let ended = device.upgrade(&[]);
    assert_eq!((ended.code, &ended.outcome["bytes_downloaded"]), (0, &0.into()), "{ended:#?}");
    assert!(ended.outcome.get("fetched_ahead").is_none());
    assert_eq!(server.statuses(&path_of(&stack, "1.1.0")).len(), asked);
    assert_eq!(device.sh("app", "cat /own"), "build 2");
    let ended = device.upgrade(&["--download-only"]);
    assert_eq!((ended.code, &ended.outcome["strategy"]), (0, &"none".into()), "{ended:#?}");
}

#[test]
fn of_what_was_fetched_ahead_only_the_newest_stays() {
    let (mut stack, _server, device) = installed();
    next(&mut stack, "1.1.0");
    assert_eq!(device.upgrade(&["--download-only"]).code, 0);
    next(&mut stack, "1.2.0");
    assert_eq!(device.upgrade(&["--download-only"]).code, 0);
    assert_eq!(bundles(&device), 3, "nothing but the new bundle is changed");
    assert_eq!(device.upgrade(&["--target", "1.0.0", "--force-full"]).code, 0);
    assert_eq!(bundles(&device), 2);
    let ended = device.upgrade(&[]);
    assert_eq!((ended.code, &ended.outcome["bytes_downloaded"]), (0, &0.into()), "{ended:#?}");
    assert_eq!(device.status()["current"], "1.2.0");
}

#[test]
fn bundles_that_nothing_needs_stay_within_the_cache() {
    let (mut stack, _server, device) = installed();
    set_download(&device, "cache_max", "1G");
    for version in ["1.1.0", "1.2.0", "1.3.0"] {
        next(&mut stack, version);
        let ended = device.upgrade(&[]);
        assert_eq!(ended.code, 0, "{ended:#?}");
    }
    assert_eq!(bundles(&device), 4, "1.1.0 is neither factory, previous nor current");
    set_download(&device, "cache_max", "0");
    assert_eq!(device.upgrade(&["--target", "1.3.0", "--force-full"]).code, 0);
    assert_eq!(bundles(&device), 3);
    // All ways back are whole.
    for to in ["previous", "factory"] {
        let ended = device.rollback(&["--to", to]);
        assert_eq!(ended.code, 0, "{ended:#?}");
    }
}

/// Serves manifests whose addresses carry a new signature each time; the bundle of `version` is given to the holder of
/// signature number `good` and later ones.
fn signed(stack: &Stack, server: &HttpServer, version: &str, good: u32) {
    let count = Arc::new(AtomicU32::new(0));
    for path in ["/manifest.json".to_owned(), format!("/manifest/{version}.json")] {
        let (count, file) = (count.clone(), stack.source().join(&path[1..]));
        server.always(&path, move |_, _| {
            let number = count.fetch_add(1, Ordering::SeqCst) + 1;
            let text = fs::read_to_string(&file).unwrap();
            Response::new(200, text.replace(".bundle\"", &format!(".bundle?X-Amz-Signature={number}\"")))
        });
    }
    server.always(&path_of(stack, version), move |request, honest| {
        let number = request.query.as_deref().and_then(|query| query.strip_prefix("X-Amz-Signature="));
        match number.map(|number| number.parse::<u32>().unwrap()) {
            Some(number) if number >= good => honest(&request),
            _ => Response::new(403, "Request has expired"),
        }
    });
}

#[test]
fn for_an_address_that_had_its_time_a_new_one_is_asked_for_once() {
    let (mut stack, server, device) = installed();
    next(&mut stack, "1.1.0");
    signed(&stack, &server, "1.1.0", 1000);
    let before = device.containers();
    let ended = device.upgrade(&[]);
    assert_eq!((ended.code, &ended.outcome["error"]["code"]), (1, &"LINK_EXPIRED".into()), "{ended:#?}");
    assert_eq!(server.statuses(&path_of(&stack, "1.1.0")), [403, 403]);
    assert_eq!(device.containers(), before);
    assert!(!format!("{ended:?}").contains("Signature"), "{ended:#?}");

    signed(&stack, &server, "1.1.0", 2);
    let ended = device.upgrade(&[]);
    assert_eq!(ended.code, 0, "{ended:#?}");
    assert_eq!(server.statuses(&path_of(&stack, "1.1.0")), [403, 403, 403, 200]);
    assert_eq!(device.sh("app", "cat /own"), "build 2");
}
