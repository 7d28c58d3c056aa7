//! Writes to the guestbook without pause and remembers what was acknowledged.

use std::collections::HashSet;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use serde_json::Value;

/// Between two entries.
const PAUSE: Duration = Duration::from_millis(40);

/// One request on a connection of its own: the status and the body.
fn request(port: u16, method: &str, path: &str, body: &str) -> std::io::Result<(u16, String)> {
    let mut stream = TcpStream::connect(("127.0.0.1", port))?;
    stream.set_read_timeout(Some(Duration::from_secs(10)))?;
    let length = body.len();
    write!(
        stream,
        "{method} {path} HTTP/1.0\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n{body}"
    )?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let invalid = || std::io::Error::from(std::io::ErrorKind::InvalidData);
    let (head, body) = answer.split_once("\r\n\r\n").ok_or_else(invalid)?;
    let status = head.split(' ').nth(1).and_then(|word| word.parse().ok()).ok_or_else(invalid)?;
    Ok((status, body.to_owned()))
}

/// The client that writes.
pub struct Writer {
    port: u16,
    acknowledged: Arc<Mutex<Vec<String>>>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Writer {
    /// Begins to write.
    pub fn start(port: u16) -> Self {
        let acknowledged = Arc::new(Mutex::new(Vec::new()));
        let stop = Arc::new(AtomicBool::new(false));
        let (rows, ended) = (acknowledged.clone(), stop.clone());
        let thread = std::thread::spawn(move || {
            for number in 0_u64.. {
                if ended.load(Ordering::Relaxed) {
                    break;
                }
                let text = format!("entry {number}");
                let body = format!(r#"{{"author":"faults","text":"{text}"}}"#);
                if request(port, "POST", "/api/entries", &body).is_ok_and(|(status, _)| status == 201) {
                    rows.lock().unwrap().push(text);
                }
                std::thread::sleep(PAUSE);
            }
        });
        Self { port, acknowledged, stop, thread: Some(thread) }
    }

    /// How many entries were acknowledged so far.
    pub fn count(&self) -> usize {
        self.acknowledged.lock().unwrap().len()
    }

    /// The positions of acknowledged entries that the guestbook does not have.
    pub fn missing(&self) -> Vec<usize> {
        let acknowledged = self.acknowledged.lock().unwrap().clone();
        let (status, body) = request(self.port, "GET", "/api/entries?limit=100000000", "").unwrap();
        assert_eq!(status, 200, "the guestbook does not answer: {body}");
        let told: Value = serde_json::from_str(&body).unwrap();
        let present: HashSet<&str> =
            told["entries"].as_array().unwrap().iter().map(|entry| entry["text"].as_str().unwrap()).collect();
        (0..acknowledged.len()).filter(|index| !present.contains(acknowledged[*index].as_str())).collect()
    }

    /// No acknowledged entry is lost.
    #[track_caller]
    pub fn nothing_lost(&self) {
        let missing = self.missing();
        assert!(missing.is_empty(), "{} acknowledged entries are lost: {missing:?}", missing.len());
    }

    /// Data went back to a backup that was begun after `before` entries: what is missing must be one run of entries
    /// after it and before `after`. From now on these are nobody's.
    #[track_caller]
    pub fn went_back(&self, before: usize, after: usize) {
        let missing = self.missing();
        let run = missing.windows(2).all(|pair| pair[1] == pair[0] + 1);
        let inside = missing.iter().all(|index| (before..after).contains(index));
        assert!(run && inside, "between {before} and {after}, these entries are lost: {missing:?}");
        let mut acknowledged = self.acknowledged.lock().unwrap();
        for index in missing.iter().rev() {
            acknowledged.remove(*index);
        }
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            thread.join().ok();
        }
    }
}
