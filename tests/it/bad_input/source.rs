//! The source and its manifest.

use serde_json::json;

use super::{Bad, packages};
use crate::support::http::{HttpServer, Response};

#[test]
fn a_manifest_that_is_wrong_changes_nothing() {
    let bad = Bad::new();
    let good = bad.manifest();
    let with = |key: &str, value: serde_json::Value| {
        let mut manifest = good.clone();
        manifest[key] = value;
        manifest.to_string()
    };
    for (what, manifest) in [
        ("not JSON", "<html>It works!</html>".to_owned()),
        ("cut short", good.to_string()[..100].to_owned()),
        ("a list", "[]".to_owned()),
        ("a version of another type", with("version", json!(1.2))),
        ("a version that does not parse", with("version", json!("one.two"))),
        ("packages of another type", with("packages", json!(["x"]))),
        ("a schema of the future", with("schema", json!(99))),
    ] {
        let done = bad.refused_for(&manifest, 1, "MANIFEST_INVALID");
        assert!(done.message().contains("manifest.json"), "{what}: {done:?}");
    }
    let done = bad.refused_for(with("release_notes", json!("x".repeat(1 << 20))), 1, "MANIFEST_TOO_LARGE");
    assert!(done.message().contains("1 MiB"), "{done:?}");

    let mut foreign = good.clone();
    foreign["packages"] = json!({});
    foreign["platforms"] = json!({});
    bad.refused_for(foreign.to_string(), 1, "NO_PACKAGE");
}

#[test]
fn a_package_without_the_promised_content_is_not_used() {
    let bad = Bad::new();
    let edited = |edit: &dyn Fn(&mut serde_json::Value)| {
        let mut manifest = bad.manifest();
        packages(&mut manifest).into_iter().for_each(edit);
        manifest.to_string()
    };
    let hash = edited(&|package| package["hash"] = format!("sha256:{}", "0".repeat(64)).into());
    let done = bad.refused_for(hash, 40, "HASH_MISMATCH");
    assert!(done.message().contains(".bundle"), "{done:?}");
    let size = edited(&|package| package["size"] = json!(package["size"].as_u64().unwrap() - 1));
    bad.refused_for(size, 40, "SIZE_MISMATCH");
    bad.refused_for(edited(&|package| package["hash"] = "external".into()), 40, "HASH_MISSING");
    bad.refused_for(edited(&|package| package["url"] = "gone.bundle".into()), 1, "SOURCE_REFUSED");
    bad.refused_for(edited(&|package| package["url"] = "../../x.bundle".into()), 1, "MANIFEST_INVALID");
    // Nothing of it stands in the way of the good one.
    bad.tiny.client(&["upgrade", "--yes"]).expect(0);
}

#[test]
fn a_source_that_does_not_serve_is_named() {
    let bad = Bad::new();
    let server = HttpServer::serve_dir(&bad.tiny.source);
    bad.tiny.set_source(&server.url());
    server.always("/manifest.json", |_, _| Response::new(404, "no"));
    let done = bad.refused(&["upgrade", "--yes"], 1, "SOURCE_REFUSED");
    assert!(done.message().contains("404") && done.message().contains(&server.url()), "{done:?}");
    drop(server);

    let path = bad.tiny.root.join("client.toml");
    let text = std::fs::read_to_string(&path).unwrap().replace("attempts = 5", "attempts = 1");
    std::fs::write(&path, text).unwrap();
    bad.tiny.set_source("http://127.0.0.1:9");
    let done = bad.refused(&["upgrade", "--yes"], 1, "SOURCE_UNREACHABLE");
    assert!(done.message().contains("127.0.0.1:9"), "{done:?}");
    bad.tiny.set_source("/nonexistent/source");
    bad.refused(&["upgrade", "--yes"], 1, "SOURCE_REFUSED");
}

#[test]
fn a_version_is_had_only_where_it_is_and_by_the_rules() {
    let bad = Bad::new();
    let done = bad.refused(&["upgrade", "--yes", "--target", "7.0.0"], 1, "RELEASE_UNKNOWN");
    assert!(done.message().contains("7.0.0"), "{done:?}");
    let mut strict = bad.manifest();
    strict["requires"] = json!({"from": ">=1.0.5"});
    let done = bad.refused_for(strict.to_string(), 11, "REQUIRES_FROM");
    assert!(done.message().contains(">=1.0.5") && done.message().contains("1.0.0"), "{done:?}");
    let mut engine = bad.manifest();
    engine["requires"] = json!({"engine_api": "9.99"});
    bad.refused_for(engine.to_string(), 1, "ENGINE_TOO_OLD");

    bad.tiny.client(&["upgrade", "--yes"]).expect(0);
    let newest = bad.tiny.source.join("manifest.json");
    std::fs::copy(bad.tiny.source.join("manifest/1.0.0.json"), &newest).unwrap();
    let above = bad.tiny.containers();
    let nothing = bad.tiny.client(&["upgrade", "--yes"]).expect(0).json();
    assert_eq!((&nothing["strategy"], &nothing["reason"]), (&json!("none"), &json!("installed_newer")));
    assert_eq!(bad.tiny.containers(), above);
    let down = bad.tiny.client(&["upgrade", "--yes", "--target", "1.0.0"]).expect(0).json();
    assert_eq!((&down["from"], &down["to"]), (&json!("1.1.0"), &json!("1.0.0")));
}
