//! Downloads from a real server over a real socket onto a real disk.

mod documents;
mod faults;
mod manners;
mod mirrors;
mod network;
mod plain;
mod ranges;
mod resume;

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use compose_upgrade::messages::Lang;
use compose_upgrade::progress::{Event, Kind, Progress, Reporter};
use compose_upgrade::release::Digest;
use compose_upgrade::settings::Settings;
use compose_upgrade::state::Store;
use compose_upgrade::transfer::{Backoff, Fetched, Fetcher, FileRequest, Link, Location, Policy};
use compose_upgrade::{Code, Result};

use crate::support::http::HttpServer;

/// Keeps every event.
#[derive(Default)]
struct Recorder(Mutex<Vec<Event>>);

impl Reporter for Recorder {
    fn report(&self, event: &Event) {
        self.0.lock().unwrap().push(event.clone());
    }
}

/// A source folder with one file, served, and a device that fetches it.
struct Scene {
    _folder: tempfile::TempDir,
    source: PathBuf,
    destination: PathBuf,
    content: Vec<u8>,
    server: HttpServer,
    recorder: Arc<Recorder>,
    device: PathBuf,
}

const FILE: &str = "/stack.bundle";

impl Scene {
    fn new(size: usize) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (source, device) = (folder.path().join("source"), folder.path().join("device"));
        std::fs::create_dir(&source).unwrap();
        std::fs::create_dir(&device).unwrap();
        let content: Vec<u8> = (0..size).map(|index| (index * 31 % 251) as u8).collect();
        std::fs::write(source.join("stack.bundle"), &content).unwrap();
        let server = HttpServer::serve_dir(&source);
        let destination = device.join("bundles/stack.bundle");
        let recorder = Arc::new(Recorder::default());
        Self { _folder: folder, source, destination, content, server, recorder, device }
    }

    /// A process of its own that fetches the file, to be killed.
    fn process(&self) -> tokio::process::Command {
        let mut command = tokio::process::Command::new(std::env::current_exe().unwrap());
        command
            .args(["--ignored", "--exact", "transfer::resume::the_process_that_is_killed"])
            .env("CUTEST_URL", self.server.url_of(FILE))
            .env("CUTEST_DEVICE", &self.device)
            .env("CUTEST_HASH", Digest::of(&self.content).to_string())
            .stdout(std::process::Stdio::null())
            .kill_on_drop(true);
        command
    }

    /// A fetcher as a new process would make it: only the disk carries over.
    fn fetcher(&self) -> Fetcher {
        self.fetcher_with(3)
    }

    fn fetcher_with(&self, attempts: u32) -> Fetcher {
        self.fetcher_of(attempts, Duration::from_millis(300), &Link::plain())
    }

    /// As `client.toml` says; files in it lie in the device's folder.
    fn fetcher_by_settings(&self, text: &str) -> Fetcher {
        self.fetcher_by(3, &self.link(text).unwrap())
    }

    fn link(&self, text: &str) -> Result<Link> {
        let path = self.device.join("client.toml");
        write_private(&path, text);
        Link::new(&Settings::load(&path)?, &self.device)
    }

    /// By a way of its own, and patient with silence: this machine may be busy.
    fn fetcher_by(&self, attempts: u32, link: &Link) -> Fetcher {
        self.fetcher_of(attempts, Duration::from_secs(10), link)
    }

    fn fetcher_of(&self, attempts: u32, stall_timeout: Duration, link: &Link) -> Fetcher {
        let store = Arc::new(Store::open(&self.device.join("state.db")).unwrap());
        let backoff = Backoff { base: Duration::from_millis(1), ..Backoff::default() };
        let policy = Policy {
            attempts,
            connections: 8,
            connect_timeout: Duration::from_secs(5),
            stall_timeout,
            backoff,
        };
        Fetcher::new(store, policy, link, Progress::new(self.recorder.clone(), "u", Lang::En)).unwrap()
    }

    fn request(&self) -> FileRequest {
        FileRequest {
            locations: vec![self.at(FILE)],
            name: "stack.bundle".into(),
            destination: self.destination.clone(),
            expect: Some(Digest::of(&self.content)),
            size: Some(self.content.len() as u64),
        }
    }

    fn at(&self, path: &str) -> Location {
        Location::parse(&self.server.url_of(path)).unwrap()
    }

    async fn fetch(&self) -> Result<Fetched> {
        self.fetcher().file(&self.request()).await
    }

    fn part(&self) -> PathBuf {
        self.destination.with_extension("bundle.part")
    }

    fn part_length(&self) -> u64 {
        std::fs::metadata(self.part()).map_or(0, |found| found.len())
    }

    /// Leaves behind what a run that was ended after `bytes` leaves behind.
    async fn interrupted_after(&self, bytes: u64) {
        self.server.once(FILE, move |request, honest| honest(&request).cut_after(bytes));
        let fault = self.fetcher_with(1).file(&self.request()).await.unwrap_err();
        assert_eq!(fault.code(), Code::DownloadFailed, "{fault}");
        assert_eq!(self.part_length(), bytes);
        assert!(!self.destination.exists());
    }

    fn statuses(&self) -> Vec<u16> {
        self.server.statuses(FILE)
    }

    fn warnings(&self) -> Vec<String> {
        let events = self.recorder.0.lock().unwrap();
        events.iter().filter(|e| e.kind == Kind::Warning).map(|e| e.message.clone()).collect()
    }

    fn messages(&self) -> Vec<String> {
        self.recorder.0.lock().unwrap().iter().map(|event| event.message.clone()).collect()
    }

    /// The file is there, whole, and nothing else is.
    fn assert_complete(&self, fetched: &Fetched) {
        assert_eq!(fetched.path, self.destination);
        assert_eq!(fetched.digest, Digest::of(&self.content));
        assert_eq!(fetched.size, self.content.len() as u64);
        assert!(std::fs::read(&self.destination).unwrap() == self.content);
        assert_eq!(names_in(self.destination.parent().unwrap()), ["stack.bundle"]);
    }

    /// Neither the file nor a remainder is there.
    fn assert_nothing(&self) {
        assert_eq!(names_in(self.destination.parent().unwrap()), [""; 0]);
    }
}

fn write_private(path: &Path, text: &str) {
    use std::os::unix::fs::PermissionsExt;
    std::fs::write(path, text).unwrap();
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).unwrap();
}

fn names_in(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).unwrap();
    entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}
