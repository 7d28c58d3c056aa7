//! The machine the client runs on: its engine, its disk, its files.

use std::fs;
use std::io::{Read, Write};
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::process::Command;

use super::Bad;
use crate::support::tiny::Done;

fn with_host(bad: &Bad, host: &str) -> Done {
    let mut command = bad.tiny.command(&["upgrade", "--yes", "--json"]);
    Done::of(command.env("DOCKER_HOST", host))
}

#[test]
fn an_engine_that_is_not_there_or_too_old_is_named() {
    let bad = Bad::new();
    let socket = bad.tiny.scratch.path().join("engine.sock");
    let host = format!("unix://{}", socket.display());
    let done = with_host(&bad, &host).expect_error(1, "ENGINE_UNREACHABLE");
    assert!(done.message().contains(&host), "{done:?}");
    with_host(&bad, "tcp://127.0.0.1:9").expect_error(1, "ENGINE_UNREACHABLE");

    let listener = UnixListener::bind(&socket).unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut request = [0; 4096];
            let _length = stream.read(&mut request).unwrap();
            let body = r#"{"Version":"19.03.15","ApiVersion":"1.40","MinAPIVersion":"1.12","Os":"linux","Arch":"amd64"}"#;
            let head = format!(
                "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nApi-Version: 1.40\r\nConnection: close\r\nContent-Length: {}\r\n\r\n",
                body.len()
            );
            stream.write_all((head + body).as_bytes()).unwrap();
        }
    });
    let done = with_host(&bad, &host).expect_error(1, "ENGINE_TOO_OLD");
    assert!(done.message().contains("1.40") && done.message().contains("1.41"), "{done:?}");
    bad.untouched();
}

#[test]
fn damaged_settings_are_named() {
    let bad = Bad::new();
    let root = &bad.tiny.root;
    let settings = root.join("client.toml");
    let good = fs::read(&settings).unwrap();
    for text in ["project = ", "projekt = 'x'\n", "project = 7\n"] {
        fs::write(&settings, text).unwrap();
        let done = bad.refused(&["upgrade", "--yes"], 2, "CONFIG_INVALID");
        assert!(done.message().contains("client.toml"), "{done:?}");
    }
    fs::write(&settings, good).unwrap();
    bad.tiny.client(&["upgrade", "--yes"]).expect(0);
}

/// A disk of its own below an installation's folder; only root can have one.
struct Disk<'a>(&'a Path);

impl<'a> Disk<'a> {
    fn mount(at: &'a Path, kind: &[&str]) -> Option<Self> {
        let mounted = Command::new("mount").args(kind).arg(at).output().unwrap();
        mounted.status.success().then_some(Self(at))
    }
}

impl Drop for Disk<'_> {
    fn drop(&mut self) {
        let _output = Command::new("umount").arg("-l").arg(self.0).output();
    }
}

#[test]
fn a_full_disk_is_named() {
    let bad = Bad::new();
    let bundles = bad.tiny.root.join("bundles");
    let Some(disk) = Disk::mount(&bundles, &["-t", "tmpfs", "-o", "size=512k", "tmpfs"]) else {
        eprintln!("not root: no disk of its own to fill");
        return;
    };
    let done = bad.refused(&["upgrade", "--yes"], 1, "DISK_FULL");
    assert!(done.message().contains("bundle"), "{done:?}");
    drop(disk);
    let releases = bad.tiny.root.join("backups");
    let Some(_disk) = Disk::mount(&releases, &["-t", "tmpfs", "-o", "size=64k", "tmpfs"]) else { return };
    fs::create_dir_all(bad.tiny.root.join("shared/data")).unwrap();
    let noise: Vec<u8> = (0..1 << 20).map(|_| rand::random()).collect();
    fs::write(bad.tiny.root.join("shared/data/noise"), noise).unwrap();
    bad.refused(&["upgrade", "--yes"], 1, "DISK_FULL");
}

#[test]
fn a_disk_that_cannot_be_written_is_named() {
    let bad = Bad::new();
    let root = bad.tiny.root.clone();
    let bound = Command::new("mount").arg("--bind").args([&root, &root]).output().unwrap();
    if !bound.status.success() {
        eprintln!("not root: no disk of its own to protect");
        return;
    }
    let disk = Disk::mount(&root, &["-o", "remount,bind,ro"]);
    bad.refused(&["upgrade", "--yes"], 1, "DISK_READ_ONLY");
    drop(disk);
    bad.tiny.client(&["upgrade", "--yes"]).expect(0);
}
