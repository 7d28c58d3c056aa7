//! A proxy as networks have them: HTTP (forwarded requests and `CONNECT`) and SOCKS 5, on one port.

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::AbortHandle;

type Client = BufReader<TcpStream>;

/// Serves in the runtime of the test until it is dropped.
pub struct Proxy {
    address: SocketAddr,
    shared: Arc<Shared>,
    serving: AbortHandle,
}

#[derive(Default)]
struct Shared {
    /// Every name, whatever its port, leads there.
    leads_to: Option<SocketAddr>,
    /// Who may use it, as `user:password`.
    login: Option<String>,
    asked: Mutex<Vec<String>>,
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

impl Proxy {
    /// It connects to `target`, whatever it is asked for, for anyone or for who knows the `login` (`user:password`).
    pub fn to(target: SocketAddr, login: Option<&str>) -> Self {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let listener = TcpListener::from_std(listener).unwrap();
        let address = listener.local_addr().unwrap();
        let shared =
            Arc::new(Shared { leads_to: Some(target), login: login.map(str::to_owned), ..Shared::default() });
        let own = shared.clone();
        let serving = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let shared = own.clone();
                // A client that goes away is not the proxy's concern.
                tokio::spawn(async move { drop(serve(&shared, BufReader::new(stream)).await) });
            }
        });
        Self { address, shared, serving: serving.abort_handle() }
    }

    /// `127.0.0.1:PORT`.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What it was asked for: `CONNECT host:port`, `GET http://…`, `SOCKS host:port`.
    pub fn asked(&self) -> Vec<String> {
        self.shared.asked.lock().unwrap().clone()
    }
}

async fn serve(shared: &Shared, mut client: Client) -> io::Result<()> {
    match client.fill_buf().await?.first() {
        Some(5) => socks(shared, client).await,
        Some(_) => http(shared, client).await,
        None => Ok(()),
    }
}

async fn http(shared: &Shared, mut client: Client) -> io::Result<()> {
    let mut head = Vec::new();
    loop {
        let mut line = String::new();
        client.read_line(&mut line).await?;
        if line.trim_end().is_empty() {
            break;
        }
        head.push(line.trim_end().to_owned());
    }
    let words: Vec<&str> = head[0].split(' ').collect();
    shared.asked.lock().unwrap().push(format!("{} {}", words[0], words[1]));
    let login = shared.login.as_ref().map(|login| format!("Basic {}", base64(login.as_bytes())));
    let name = "proxy-authorization: ";
    let shown = head.iter().find(|line| line.to_ascii_lowercase().starts_with(name));
    if login.as_deref().is_some_and(|login| shown.map(|line| &line[name.len()..]) != Some(login)) {
        let answer = "HTTP/1.1 407 who?\r\nProxy-Authenticate: Basic\r\nContent-Length: 0\r\n\r\n";
        return client.write_all(answer.as_bytes()).await;
    }
    let mut server = TcpStream::connect(shared.leads_to.unwrap()).await?;
    if words[0] == "CONNECT" {
        client.write_all(b"HTTP/1.1 200 connected\r\n\r\n").await?;
    } else {
        let path = words[1].splitn(4, '/').nth(3).unwrap_or_default();
        let mut request = format!("{} /{path} HTTP/1.1\r\n", words[0]);
        for line in head[1..].iter().filter(|line| !line.to_ascii_lowercase().starts_with(name)) {
            request.push_str(&format!("{line}\r\n"));
        }
        server.write_all(format!("{request}\r\n").as_bytes()).await?;
    }
    copy_bidirectional(&mut client, &mut server).await.map(drop)
}

async fn socks(shared: &Shared, mut client: Client) -> io::Result<()> {
    client.read_u8().await?;
    let count = client.read_u8().await?;
    let methods = read(&mut client, count).await?;
    let wanted = if shared.login.is_some() { 2 } else { 0 };
    if !methods.contains(&wanted) {
        return client.write_all(&[5, 0xff]).await;
    }
    client.write_all(&[5, wanted]).await?;
    if let Some(login) = &shared.login {
        client.read_u8().await?;
        let length = client.read_u8().await?;
        let user = read(&mut client, length).await?;
        let length = client.read_u8().await?;
        let password = read(&mut client, length).await?;
        let known = [user, password].join(&b':') == login.as_bytes();
        client.write_all(&[1, u8::from(!known)]).await?;
        if !known {
            return Ok(());
        }
    }
    let head = read(&mut client, 4).await?;
    let host = match head[3] {
        1 => std::net::Ipv4Addr::from(<[u8; 4]>::try_from(read(&mut client, 4).await?).unwrap()).to_string(),
        3 => {
            let length = client.read_u8().await?;
            String::from_utf8(read(&mut client, length).await?).unwrap()
        }
        _ => {
            std::net::Ipv6Addr::from(<[u8; 16]>::try_from(read(&mut client, 16).await?).unwrap()).to_string()
        }
    };
    let port = client.read_u16().await?;
    shared.asked.lock().unwrap().push(format!("SOCKS {host}:{port}"));
    let mut server = TcpStream::connect(shared.leads_to.unwrap()).await?;
    client.write_all(&[5, 0, 0, 1, 0, 0, 0, 0, 0, 0]).await?;
    copy_bidirectional(&mut client, &mut server).await.map(drop)
}

async fn read(client: &mut Client, count: u8) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; usize::from(count)];
    client.read_exact(&mut bytes).await?;
    Ok(bytes)
}

pub fn base64(bytes: &[u8]) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for chunk in bytes.chunks(3) {
        let bits =
            chunk.iter().fold(0u32, |bits, byte| bits << 8 | u32::from(*byte)) << (8 * (3 - chunk.len()));
        for place in 0..4 {
            let letter = LETTERS[(bits >> (18 - 6 * place) & 63) as usize];
            text.push(if place <= chunk.len() { char::from(letter) } else { '=' });
        }
    }
    text
}
