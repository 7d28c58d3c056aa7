//! Volumes through the real engine's archive API, as the layer above does it.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::atomic::AtomicBool;

use compose_upgrade::backup::{Origin, Part, PartKind, RestoreTarget};
use compose_upgrade::progress::{Progress, Step};

use super::Bench;
use super::tree::{build, describe};

/// Names of this run's things in the engine; they are removed at the end.
struct Engine(String);

impl Engine {
    fn docker(&self, args: &[&str]) -> Output {
        let out = Command::new("docker").args(args).output().unwrap();
        assert!(out.status.success(), "docker {args:?}: {}", String::from_utf8_lossy(&out.stderr));
        out
    }

    /// A container that was never started, with a fresh volume at `/data`; where the volume is on the disk.
    fn container(&self, name: &str) -> PathBuf {
        let name = format!("{}-{name}", self.0);
        let volume = format!("{name}:/data");
        self.docker(&["create", "--name", &name, "-v", &volume, &self.0, "/nothing"]);
        let format = "{{.Mountpoint}}";
        let place = self.docker(&["volume", "inspect", "--format", format, &name]).stdout;
        PathBuf::from(String::from_utf8(place).unwrap().trim())
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        for name in ["one", "two"] {
            let name = format!("{}-{name}", self.0);
            for args in [&["rm", "-f", &name][..], &["volume", "rm", "-f", &name]] {
                let _output = Command::new("docker").args(args).output();
            }
        }
        let _output = Command::new("docker").args(["rmi", "-f", &self.0]).output();
    }
}

/// The engine's archives have whole seconds.
fn without_nanos(root: &Path) -> BTreeMap<Vec<u8>, String> {
    let strip = |text: String| {
        let (head, tail) = text.split_once("mtime ").unwrap();
        let (seconds, rest) = tail.split_once('.').unwrap();
        format!("{head}mtime {seconds}{}", &rest[9..])
    };
    describe(root).into_iter().map(|(name, text)| (name, strip(text))).collect()
}

#[test]
fn a_volume_goes_through_the_engine() {
    let bench = Bench::new();
    let engine = Engine(format!("cutest-{:08x}", rand::random::<u32>()));
    let mut import = Command::new("docker");
    import.args(["import", "-", &engine.0]).stdin(Stdio::piped()).stdout(Stdio::null());
    let mut import = import.spawn().unwrap();
    let empty = tar::Builder::new(Vec::new()).into_inner().unwrap();
    import.stdin.take().unwrap().write_all(&empty).unwrap();
    assert!(import.wait().unwrap().success());

    let (one, two) = (engine.container("one"), engine.container("two"));
    std::fs::remove_dir(&one).unwrap();
    build(&one, &super::round_trip::sample());
    let mut read = Command::new("docker");
    read.args(["cp", &format!("{}-one:/data", engine.0), "-"]).stdout(Stdio::piped());
    let mut read = read.spawn().unwrap();
    let part = Part::new(
        "volumes/one".into(),
        PartKind::Volume { volume: "one".into() },
        Origin::Tar(Box::new(read.stdout.take().unwrap())),
    );
    let record = bench.create(vec![part]).unwrap();
    assert!(read.wait().unwrap().success());

    let place = format!("{}-two:/", engine.0);
    let targets = |_: &PartKind| {
        Some(RestoreTarget::Tar {
            top: "/data".into(),
            only: Vec::new(),
            take: Box::new(|mut stream, _| {
                let mut write = Command::new("docker");
                write.args(["cp", "--archive", "-", &place]).stdin(Stdio::piped());
                let mut write = write.spawn().unwrap();
                std::io::copy(&mut stream, &mut write.stdin.take().unwrap()).unwrap();
                assert!(write.wait().unwrap().success());
                Ok(())
            }),
        })
    };
    let never = AtomicBool::new(false);
    bench.manager.restore(&record.id, &targets, Step::RollingBack, &Progress::silent(), &never).unwrap();
    assert_eq!(without_nanos(&two), without_nanos(&one));
    // A volume on this machine's disk is restored in place, too.
    let targets = |_: &PartKind| Some(RestoreTarget::Disk(two.clone()));
    bench.manager.restore(&record.id, &targets, Step::RollingBack, &Progress::silent(), &never).unwrap();
    assert_eq!(without_nanos(&two), without_nanos(&one));
}
