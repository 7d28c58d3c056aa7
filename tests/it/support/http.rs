//! A real HTTP/1.1 server over a folder: ranges, strong entity tags, `If-Range`, a log, and faults on demand.
//!
//! It runs on threads of its own, so tests may be async or not and may serve other processes. An honest answer
//! can be twisted per path: a twist gets the request and a function that answers honestly, and returns what is
//! really sent.

use std::collections::{HashMap, VecDeque};
use std::fs::File;
use std::io::{BufRead, BufReader, Read, Seek, SeekFrom, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::MetadataExt;
use std::path::{Component, Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

type Honest<'a> = &'a dyn Fn(&Request) -> Response;
type Twist = Arc<dyn Fn(Request, Honest<'_>) -> Response + Send + Sync>;

/// What a client asked.
#[derive(Debug, Clone)]
pub struct Request {
    pub method: String,
    /// Decoded, without the query.
    pub path: String,
    pub query: Option<String>,
    /// Names in lower case.
    pub headers: HashMap<String, String>,
    pub body: Vec<u8>,
}

impl Request {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(String::as_str)
    }
}

/// What it gets.
#[derive(Debug, Clone)]
pub struct Response {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Body,
    /// Close the connection after so many body bytes.
    pub cut_after: Option<u64>,
    /// Say no more after so many body bytes, but keep the connection.
    pub stall_after: Option<u64>,
    /// Wait this long before every 64 KiB.
    pub pace: Option<Duration>,
}

#[derive(Debug, Clone)]
pub enum Body {
    Bytes(Vec<u8>),
    File { path: PathBuf, first: u64, count: u64 },
}

impl Response {
    pub fn new(status: u16, body: impl Into<Vec<u8>>) -> Self {
        let body = body.into();
        let headers = vec![("Content-Length".into(), body.len().to_string())];
        Self { status, headers, body: Body::Bytes(body), cut_after: None, stall_after: None, pace: None }
    }

    /// Replaces a header.
    pub fn set(mut self, name: &str, value: impl ToString) -> Self {
        self = self.without(name);
        self.headers.push((name.to_owned(), value.to_string()));
        self
    }

    pub fn without(mut self, name: &str) -> Self {
        self.headers.retain(|(known, _)| !known.eq_ignore_ascii_case(name));
        self
    }

    pub fn cut_after(mut self, bytes: u64) -> Self {
        self.cut_after = Some(bytes);
        self
    }

    pub fn stall_after(mut self, bytes: u64) -> Self {
        self.stall_after = Some(bytes);
        self
    }

    pub fn pace(mut self, pace: Duration) -> Self {
        self.pace = Some(pace);
        self
    }
}

/// A request as it was answered.
#[derive(Debug, Clone)]
pub struct Exchange {
    pub request: Request,
    pub status: u16,
}

struct Shared {
    root: PathBuf,
    log: Mutex<Vec<Exchange>>,
    once: Mutex<HashMap<String, VecDeque<Twist>>>,
    always: Mutex<HashMap<String, Twist>>,
    closing: AtomicBool,
    /// Body bytes that were sent.
    sent: AtomicU64,
    /// Requests being answered, the most there were at once, and how many there may be before they get 503.
    busy: AtomicUsize,
    busiest: AtomicUsize,
    room: AtomicUsize,
}

/// Serves until it is dropped.
pub struct HttpServer {
    address: SocketAddr,
    shared: Arc<Shared>,
}

impl HttpServer {
    /// Serves the folder `root` on a free port of the loopback interface.
    pub fn serve_dir(root: impl Into<PathBuf>) -> Self {
        Self::serve_on(TcpListener::bind("127.0.0.1:0").unwrap(), root)
    }

    /// Serves the folder `root` there.
    pub fn serve_on(listener: TcpListener, root: impl Into<PathBuf>) -> Self {
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Shared {
            root: root.into(),
            log: Mutex::default(),
            once: Mutex::default(),
            always: Mutex::default(),
            closing: AtomicBool::new(false),
            sent: AtomicU64::new(0),
            busy: AtomicUsize::new(0),
            busiest: AtomicUsize::new(0),
            room: AtomicUsize::new(usize::MAX),
        });
        let own = shared.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                if own.closing.load(Ordering::SeqCst) {
                    return;
                }
                let (Ok(stream), shared) = (stream, own.clone()) else { continue };
                // A client that goes away in the middle is what some tests are about.
                std::thread::spawn(move || drop(serve(&shared, stream)));
            }
        });
        Self { address, shared }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The address of the folder.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The address of `path` (with its leading `/`).
    pub fn url_of(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// Twists the next answer to `path` that is not spoken for yet.
    pub fn once(&self, path: &str, twist: impl Fn(Request, Honest<'_>) -> Response + Send + Sync + 'static) {
        self.shared.once.lock().unwrap().entry(path.into()).or_default().push_back(Arc::new(twist));
    }

    /// Twists every answer to `path` that no `once` is for.
    pub fn always(
        &self,
        path: &str,
        twist: impl Fn(Request, Honest<'_>) -> Response + Send + Sync + 'static,
    ) {
        self.shared.always.lock().unwrap().insert(path.into(), Arc::new(twist));
    }

    /// What was asked and answered, in the order of the answers.
    pub fn log(&self) -> Vec<Exchange> {
        self.shared.log.lock().unwrap().clone()
    }

    /// Answers 503 with `Retry-After: 1` while so many requests are being answered.
    pub fn at_most(&self, requests: usize) {
        self.shared.room.store(requests, Ordering::SeqCst);
    }

    /// The most requests that were answered at once.
    pub fn busiest(&self) -> usize {
        self.shared.busiest.load(Ordering::SeqCst)
    }

    /// Body bytes that were sent so far.
    pub fn bytes_sent(&self) -> u64 {
        self.shared.sent.load(Ordering::SeqCst)
    }

    /// The statuses `path` was answered with.
    pub fn statuses(&self, path: &str) -> Vec<u16> {
        self.log().iter().filter(|e| e.request.path == path).map(|e| e.status).collect()
    }
}

impl Drop for HttpServer {
    fn drop(&mut self) {
        self.shared.closing.store(true, Ordering::SeqCst);
        drop(TcpStream::connect(self.address)); // wakes the listener
    }
}

fn serve(shared: &Shared, mut stream: TcpStream) -> std::io::Result<()> {
    let Some(request) = read_request(&stream)? else { return Ok(()) };
    let queued = shared.once.lock().unwrap().get_mut(&request.path).and_then(VecDeque::pop_front);
    let twist = queued.or_else(|| shared.always.lock().unwrap().get(&request.path).cloned());
    let honest = |request: &Request| answer(&shared.root, request);
    let place = Place::take(shared);
    let response = match twist {
        _ if place.number > shared.room.load(Ordering::SeqCst) => {
            Response::new(503, "full").set("Retry-After", 1)
        }
        Some(twist) => twist(request.clone(), &honest),
        None => honest(&request),
    };
    let bodiless = request.method == "HEAD";
    shared.log.lock().unwrap().push(Exchange { request, status: response.status });
    let mut head = format!("HTTP/1.1 {} .\r\nConnection: close\r\n", response.status);
    for (name, value) in &response.headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    head.push_str("\r\n");
    stream.write_all(head.as_bytes())?;
    if !bodiless {
        send_body(place, &mut stream, &response)?;
    }
    stream.shutdown(Shutdown::Write)?;
    // Until the client has gone: closing with unread data would reset what is still on its way.
    std::io::copy(&mut stream, &mut std::io::sink()).map(drop)
}

/// A request that is being answered.
struct Place<'a> {
    shared: &'a Shared,
    number: usize,
}

impl<'a> Place<'a> {
    fn take(shared: &'a Shared) -> Self {
        let number = shared.busy.fetch_add(1, Ordering::SeqCst) + 1;
        shared.busiest.fetch_max(number, Ordering::SeqCst);
        Self { shared, number }
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.shared.busy.fetch_sub(1, Ordering::SeqCst);
    }
}

/// Gives the place back with the last bytes, so that who has received all is not counted any more.
fn send_body(place: Place<'_>, stream: &mut TcpStream, response: &Response) -> std::io::Result<()> {
    let shared = place.shared;
    let mut place = Some(place);
    let mut length = match &response.body {
        Body::Bytes(bytes) => bytes.len() as u64,
        Body::File { count, .. } => *count,
    };
    let mut body: Box<dyn Read> = match &response.body {
        Body::Bytes(bytes) => Box::new(&bytes[..]),
        Body::File { path, first, count } => {
            let mut file = File::open(path)?;
            file.seek(SeekFrom::Start(*first))?;
            Box::new(file.take(*count))
        }
    };
    let end = response.cut_after.into_iter().chain(response.stall_after).min();
    let mut left = end.unwrap_or(u64::MAX);
    let mut buffer = vec![0; 64 * 1024];
    while left > 0 {
        let want = buffer.len().min(usize::try_from(left).unwrap_or(usize::MAX));
        let count = body.read(&mut buffer[..want])?;
        if count == 0 {
            return Ok(());
        }
        if let Some(pace) = response.pace {
            std::thread::sleep(pace);
        }
        length -= count as u64;
        if length == 0 {
            drop(place.take());
        }
        stream.write_all(&buffer[..count])?;
        shared.sent.fetch_add(count as u64, Ordering::SeqCst);
        left -= count as u64;
    }
    if response.stall_after.is_some() {
        std::io::copy(stream, &mut std::io::sink())?; // ends when the client gives up
    }
    Ok(())
}

fn read_request(stream: &TcpStream) -> std::io::Result<Option<Request>> {
    let mut reader = BufReader::new(stream.try_clone()?);
    let mut lines = reader.by_ref().lines();
    let Some(line) = lines.next().transpose()? else { return Ok(None) };
    let mut words = line.split(' ');
    let (Some(method), Some(target)) = (words.next(), words.next()) else { return Ok(None) };
    let (path, query) = match target.split_once('?') {
        Some((path, query)) => (path.to_owned(), Some(query.to_owned())),
        None => (target.to_owned(), None),
    };
    let method = method.to_owned();
    let mut headers = HashMap::new();
    for line in lines {
        let line = line?;
        if line.is_empty() {
            break;
        }
        if let Some((name, value)) = line.split_once(':') {
            headers.insert(name.trim().to_ascii_lowercase(), value.trim().to_owned());
        }
    }
    let length = headers.get("content-length").map_or(0, |length| length.parse().unwrap());
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    Ok(Some(Request { method, path: decode(&path), query, headers, body }))
}

fn decode(path: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = path.as_bytes();
    while let [first, tail @ ..] = rest {
        match (first, tail) {
            (b'%', [high, low, after @ ..]) => {
                let digits = String::from_utf8(vec![*high, *low]).unwrap();
                bytes.push(u8::from_str_radix(&digits, 16).unwrap());
                rest = after;
            }
            _ => {
                bytes.push(*first);
                rest = tail;
            }
        }
    }
    String::from_utf8(bytes).unwrap()
}

/// What an honest static server answers.
fn answer(root: &Path, request: &Request) -> Response {
    if !matches!(request.method.as_str(), "GET" | "HEAD") {
        return Response::new(405, "only GET and HEAD");
    }
    let relative = Path::new(request.path.trim_start_matches('/'));
    let path = root.join(relative);
    let stays = relative.components().all(|part| matches!(part, Component::Normal(_)));
    let Some(metadata) = std::fs::metadata(&path).ok().filter(|found| stays && found.is_file()) else {
        return Response::new(404, "there is no such file");
    };
    let length = metadata.len();
    let modified = metadata.modified().unwrap();
    let tag =
        format!("\"{:x}-{:x}-{:x}.{:x}\"", metadata.ino(), length, metadata.mtime(), metadata.mtime_nsec());
    let date = httpdate(modified);
    let same = request.header("if-range").is_none_or(|value| value == tag || value == date);
    let range = request.header("range").filter(|_| same).and_then(range);
    let (status, first, count) = match range {
        Some((first, _)) if first >= length => {
            return Response::new(416, "").set("Content-Range", format!("bytes */{length}"));
        }
        Some((first, last)) => (206, first, last.map_or(length, |last| length.min(last + 1)) - first),
        None => (200, 0, length),
    };
    let mut response = Response::new(status, "");
    response.body = Body::File { path, first, count };
    if status == 206 {
        response = response.set("Content-Range", format!("bytes {first}-{}/{length}", first + count - 1));
    }
    response
        .set("Content-Length", count)
        .set("Accept-Ranges", "bytes")
        .set("ETag", tag)
        .set("Last-Modified", date)
        .set("Date", httpdate(SystemTime::now()))
}

/// `bytes=N-` and `bytes=N-M`: what the client sends.
fn range(range: &str) -> Option<(u64, Option<u64>)> {
    let (first, last) = range.strip_prefix("bytes=")?.split_once('-')?;
    let last = if last.is_empty() { None } else { Some(last.parse().ok()?) };
    Some((first.parse().ok()?, last))
}

fn httpdate(at: SystemTime) -> String {
    httpdate::fmt_http_date(at)
}
