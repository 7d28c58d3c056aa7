//! A proxy in front of the engine's socket that counts requests and, at a chosen one, does harm.
//!
//! It understands as much of HTTP/1.1 as is needed to find where requests begin: heads, lengths, chunks, and that
//! after an upgrade of the protocol there are no requests any more.

use std::path::Path;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use rustix::process::{Pid, Signal, kill_process};
use tokio::io::{AsyncBufRead, AsyncBufReadExt, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::runtime::Runtime;

/// What is done at the chosen request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Harm {
    /// The client is killed before the engine hears of it.
    KillBefore,
    /// The client is killed when the engine answers, before the answer arrives.
    KillAfter,
    /// The connection is cut before the engine hears of it.
    Reset,
    /// The connection is cut when the engine answers, before the answer arrives.
    ResetAfter,
    /// The engine seems to fail.
    Error,
}

impl Harm {
    /// All, kills twice as often as the rest.
    pub const DICE: [Harm; 8] = [
        Self::KillBefore,
        Self::KillAfter,
        Self::KillBefore,
        Self::KillAfter,
        Self::KillAfter,
        Self::Reset,
        Self::ResetAfter,
        Self::Error,
    ];

    /// Whether it ends the client.
    pub fn kills(self) -> bool {
        matches!(self, Self::KillBefore | Self::KillAfter)
    }
}

#[derive(Default)]
struct Trap {
    /// Requests so far.
    seen: AtomicUsize,
    /// The one that is harmed, counted from 1; 0 for none.
    at: AtomicUsize,
    harm: Mutex<Option<Harm>>,
    /// The client.
    pid: AtomicU32,
    /// Whom the harm met: method and path.
    met: Mutex<Option<String>>,
}

/// The proxy; ends with the process.
pub struct Proxy {
    trap: Arc<Trap>,
    pub endpoint: String,
    _runtime: Runtime,
}

impl Proxy {
    /// Listens at `path` and passes everything on to `engine`.
    pub fn start(path: &Path, engine: &Path) -> Self {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let trap = Arc::new(Trap::default());
        let listener = runtime.block_on(async { UnixListener::bind(path).unwrap() });
        let (own, engine) = (trap.clone(), engine.to_owned());
        runtime.spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let (trap, engine) = (own.clone(), engine.clone());
                tokio::spawn(async move {
                    let server = UnixStream::connect(&engine).await.unwrap();
                    // Either side may hang up at any time.
                    connection(trap, client, server).await.ok();
                });
            }
        });
        Self { trap, endpoint: format!("unix://{}", path.display()), _runtime: runtime }
    }

    /// Harms the request number `at` from now; `at` 0 only counts.
    pub fn set(&self, at: usize, harm: Harm) {
        self.trap.seen.store(0, Ordering::SeqCst);
        self.trap.at.store(at, Ordering::SeqCst);
        self.trap.pid.store(0, Ordering::SeqCst);
        *self.trap.harm.lock().unwrap() = Some(harm);
        *self.trap.met.lock().unwrap() = None;
    }

    /// The client that a kill is for.
    pub fn aim(&self, pid: u32) {
        self.trap.pid.store(pid, Ordering::SeqCst);
    }

    /// Requests since [`Proxy::set`].
    pub fn seen(&self) -> usize {
        self.trap.seen.load(Ordering::SeqCst)
    }

    /// Whom the harm met, when it did.
    pub fn met(&self) -> Option<String> {
        self.trap.met.lock().unwrap().clone()
    }
}

impl Trap {
    /// Counts a request; the harm that is due.
    fn due(&self, head: &[u8]) -> Option<Harm> {
        let number = self.seen.fetch_add(1, Ordering::SeqCst) + 1;
        if number != self.at.load(Ordering::SeqCst) {
            return None;
        }
        let first = String::from_utf8_lossy(head);
        let first = first.lines().next().unwrap_or_default().to_owned();
        *self.met.lock().unwrap() = Some(first);
        *self.harm.lock().unwrap()
    }

    fn kill(&self) {
        let pid = self.pid.load(Ordering::SeqCst);
        if let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) {
            kill_process(pid, Signal::KILL).ok();
        }
    }
}

async fn connection(trap: Arc<Trap>, client: UnixStream, server: UnixStream) -> std::io::Result<()> {
    let (from_client, mut to_client) = client.into_split();
    let (mut from_server, mut to_server) = server.into_split();
    let mut from_client = BufReader::new(from_client);
    let (held, mut holding) = tokio::sync::watch::channel(None::<Harm>);
    let back_trap = trap.clone();
    let (say, mut said) = tokio::sync::mpsc::channel::<()>(1);
    let back = tokio::spawn(async move {
        let mut piece = vec![0; 64 << 10];
        loop {
            let count = tokio::select! {
                count = from_server.read(&mut piece) => count.unwrap_or(0),
                _ = said.recv() => {
                    let body = r#"{"message":"injected failure"}"#;
                    let answer = format!(
                        "HTTP/1.1 500 Internal Server Error\r\nContent-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
                        body.len()
                    );
                    to_client.write_all(answer.as_bytes()).await.ok();
                    to_client.shutdown().await.ok();
                    return;
                }
            };
            // The engine has done what it was asked.
            let harm = *holding.borrow_and_update();
            if let Some(harm) = harm {
                if harm == Harm::KillAfter {
                    back_trap.kill();
                }
                return;
            }
            if count == 0 || to_client.write_all(&piece[..count]).await.is_err() {
                return;
            }
        }
    });
    loop {
        let head = read_head(&mut from_client).await?;
        if head.is_empty() {
            break;
        }
        match trap.due(&head) {
            None => {}
            Some(Harm::KillBefore) => {
                trap.kill();
                break;
            }
            Some(Harm::Reset) => break,
            Some(Harm::Error) => {
                say.send(()).await.ok();
                back.await.ok();
                return Ok(());
            }
            Some(harm) => drop(held.send(Some(harm))),
        }
        to_server.write_all(&head).await?;
        let head = String::from_utf8_lossy(&head).to_ascii_lowercase();
        let value = |name: &str| head.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
        if value("upgrade:").is_some() {
            tokio::io::copy(&mut from_client, &mut to_server).await?;
            break;
        } else if value("transfer-encoding:").is_some_and(|coding| coding.contains("chunked")) {
            pass_chunks(&mut from_client, &mut to_server).await?;
        } else if let Some(length) = value("content-length:").and_then(|length| length.parse().ok()) {
            tokio::io::copy(&mut (&mut from_client).take(length), &mut to_server).await?;
        }
    }
    let cut = trap.met.lock().unwrap().is_some();
    to_server.shutdown().await.ok();
    match cut && trap.at.load(Ordering::SeqCst) == trap.seen.load(Ordering::SeqCst) {
        true => back.abort(),
        false => drop(back.await),
    }
    Ok(())
}

/// A request's head with the empty line; nothing at the end of the stream.
async fn read_head(from: &mut (impl AsyncBufRead + Unpin)) -> std::io::Result<Vec<u8>> {
    let mut head = Vec::new();
    loop {
        let before = head.len();
        if from.read_until(b'\n', &mut head).await? == 0 {
            return Ok(Vec::new());
        }
        if before > 0 && head[before..] == *b"\r\n" {
            return Ok(head);
        }
    }
}

async fn pass_chunks(
    from: &mut (impl AsyncBufRead + Unpin),
    to: &mut (impl AsyncWrite + Unpin),
) -> std::io::Result<()> {
    loop {
        let mut line = Vec::new();
        from.read_until(b'\n', &mut line).await?;
        to.write_all(&line).await?;
        let size = String::from_utf8_lossy(&line);
        let size = u64::from_str_radix(size.trim().split(';').next().unwrap_or_default(), 16).unwrap_or(0);
        // The data and the line end after it; after the last chunk there is only that.
        tokio::io::copy(&mut (&mut *from).take(size + 2), to).await?;
        if size == 0 {
            return Ok(());
        }
    }
}
