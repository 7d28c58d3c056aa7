//! A source that wants to know who asks, and who else may not know.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Output;

use crate::support::http::{HttpServer, Response};
use crate::support::stack::{Device, IDLE, Stack};

const SECRET: &str = "hunter2-of-device-7";

fn write(device: &Device, text: &str, mode: u32) {
    let path = device.path("client.toml");
    fs::write(&path, text).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

fn assert_untold(what: &str, output: &Output) {
    for text in [&output.stdout, &output.stderr] {
        let text = String::from_utf8_lossy(text);
        assert!(!text.contains(SECRET), "{what}: {text}");
    }
}

#[test]
fn a_token_opens_the_source_and_is_told_to_nobody() {
    let mut stack = Stack::new();
    stack.release("1.0.0", |r| {
        r.service("app", IDLE);
    });
    let server = HttpServer::serve_dir(stack.source());
    let device = Device::with_source(&stack, &server.url());
    let guard = |path: &str| {
        server.always(path, |request, honest| match request.header("authorization") {
            Some(shown) if shown == format!("Bearer {SECRET}") => honest(&request),
            _ => Response::new(401, "who?"),
        });
    };
    guard("/manifest.json");
    guard(&format!("/{}", stack.bundle("1.0.0").file_name().unwrap().to_str().unwrap()));
    let refused = device.try_init(&[]);
    assert_eq!(
        (refused.code, &refused.outcome["error"]["code"]),
        (1, &"SOURCE_REFUSED".into()),
        "{refused:#?}"
    );

    // Written before the installation, by hand.
    let own = format!(
        "project = '{}'\n[[network.credentials]]\nhost = '{}'\ntoken = '{SECRET}'\n",
        stack.project(),
        server.url()
    );
    write(&device, &own, 0o644);
    let exposed = device.try_init(&[]);
    assert_eq!(
        (exposed.code, &exposed.outcome["error"]["code"]),
        (2, &"SECRET_EXPOSED".into()),
        "{exposed:#?}"
    );
    assert!(exposed.outcome["error"]["help"].as_str().unwrap().contains("chmod 600"), "{exposed:#?}");
    write(&device, &own, 0o600);
    let installed = device.try_init(&[]);
    assert_eq!(installed.code, 0, "{installed:#?}");
    assert!(device.read("client.toml").contains(SECRET), "what was written by hand stays");

    stack.release("1.1.0", |r| {
        r.rebuild("app");
    });
    guard(&format!("/{}", stack.bundle("1.1.0").file_name().unwrap().to_str().unwrap()));
    for args in
        [["-vvv", "upgrade", "--download-only"], ["-vvv", "upgrade", "--yes"], ["-vvv", "doctor", "--json"]]
    {
        let output = device.command(&args).env("RUST_LOG", "trace").output().unwrap();
        assert_untold(&format!("{args:?}"), &output);
        assert!(args[1] == "doctor" || output.status.success(), "{args:?}: {output:?}");
    }
    assert_eq!(device.sh("app", "cat /own"), "build 2");
    for name in ["state.db", "state.db-wal"] {
        let found = fs::read(device.path(name)).unwrap_or_default();
        assert!(!found.windows(SECRET.len()).any(|bytes| bytes == SECRET.as_bytes()), "{name}");
    }

    // A mistake beside it shows nothing either.
    write(&device, &own.replace("token = ", "tokn = "), 0o600);
    let output = device.client(&["status"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("tokn"), "{output:?}");
    assert_untold("a mistake", &output);
    write(&device, &own, 0o640);
    assert_eq!(device.client(&["check"]).status.code(), Some(2));
}
