//! Storage that speaks S3 (the public `s3s-fs`), over a folder, with faults on demand.

use std::collections::VecDeque;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use hyper::body::Incoming;
use hyper::service::{Service, service_fn};
use hyper::{Method, Request, Response};
use hyper_util::rt::TokioIo;
use s3s::auth::SimpleAuth;
use s3s::service::{S3ServiceBuilder, SharedS3Service};
use tokio::net::TcpListener;

pub const KEY: &str = "AKSHOP";
pub const SECRET: &str = "not-told-to-anyone";

/// What goes wrong, once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mishap {
    /// A part of an upload is answered by 503.
    PartUnavailable,
    /// A part of an upload is answered by 400: it is not tried again.
    PartRefused,
    /// So is the end of an upload.
    EndRefused,
    /// The question whether an object is there is answered by 403.
    Unseen,
    /// A byte of an object turns before it is read.
    Rot,
}

/// Serves until it is dropped.
pub struct S3Server {
    folder: tempfile::TempDir,
    pub endpoint: String,
    mishaps: Arc<Mutex<VecDeque<Mishap>>>,
    _runtime: tokio::runtime::Runtime,
}

impl S3Server {
    /// With an empty bucket `name`.
    pub fn with_bucket(name: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join(name)).unwrap();
        let mut builder = S3ServiceBuilder::new(s3s_fs::FileSystem::new(folder.path()).unwrap());
        builder.set_auth(SimpleAuth::from_single(KEY, SECRET));
        let service = builder.build().into_shared();
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        let mishaps = Arc::new(Mutex::new(VecDeque::new()));
        runtime.spawn(accept(listener, service, folder.path().to_owned(), mishaps.clone()));
        Self { folder, endpoint, mishaps, _runtime: runtime }
    }

    /// The next occasion for it is used.
    pub fn suffer(&self, mishap: Mishap) {
        self.mishaps.lock().unwrap().push_back(mishap);
    }

    /// Whether every mishap came about.
    pub fn suffered_all(&self) -> bool {
        self.mishaps.lock().unwrap().is_empty()
    }

    /// The file that is the object `key`.
    pub fn file_of(&self, bucket: &str, key: &str) -> PathBuf {
        self.folder.path().join(bucket).join(key)
    }

    /// What is in the bucket; parts of unfinished uploads are hidden files of the folder itself.
    pub fn objects(&self, bucket: &str) -> Vec<String> {
        let mut found = Vec::new();
        collect(&self.folder.path().join(bucket), "", &mut found);
        found.sort();
        found
    }

    /// Parts of uploads that did not end.
    pub fn leftovers(&self) -> Vec<String> {
        let names = fs::read_dir(self.folder.path()).unwrap();
        let names = names.map(|item| item.unwrap().file_name().into_string().unwrap());
        names.filter(|name| name.contains("upload_id") && name.contains("part")).collect()
    }
}

fn collect(folder: &Path, prefix: &str, found: &mut Vec<String>) {
    for item in fs::read_dir(folder).unwrap() {
        let item = item.unwrap();
        let name = format!("{prefix}{}", item.file_name().to_str().unwrap());
        if item.file_type().unwrap().is_dir() {
            collect(&item.path(), &format!("{name}/"), found);
        } else if !item.file_name().to_str().unwrap().starts_with('.') {
            found.push(name);
        }
    }
}

async fn accept(
    listener: TcpListener,
    service: SharedS3Service,
    root: PathBuf,
    mishaps: Arc<Mutex<VecDeque<Mishap>>>,
) {
    loop {
        let (socket, _) = listener.accept().await.unwrap();
        let (service, root, mishaps) = (service.clone(), root.clone(), mishaps.clone());
        let answer = service_fn(move |request: Request<Incoming>| {
            let mishap = due(&request, &mishaps);
            if mishap == Some(Mishap::Rot) {
                // The only thing in the paths here that is encoded.
                let path = request.uri().path().replace("%20", " ");
                let file = root.join(path.trim_start_matches('/'));
                let mut bytes = fs::read(&file).unwrap();
                let middle = bytes.len() / 2;
                bytes[middle] ^= 1;
                fs::write(&file, bytes).unwrap();
            }
            let honest = service.call(request);
            async move {
                let refused = match mishap {
                    Some(Mishap::PartUnavailable) => Some(503),
                    Some(Mishap::PartRefused | Mishap::EndRefused) => Some(400),
                    Some(Mishap::Unseen) => Some(403),
                    Some(Mishap::Rot) | None => None,
                };
                if let Some(status) = refused {
                    return Ok(Response::builder().status(status).body(s3s::Body::empty()).unwrap());
                }
                honest.await
            }
        });
        let connection = hyper::server::conn::http1::Builder::new();
        // A client that goes away is its own affair.
        tokio::spawn(async move { connection.serve_connection(TokioIo::new(socket), answer).await.ok() });
    }
}

/// The next mishap, where this request is an occasion for it.
fn due(request: &Request<Incoming>, mishaps: &Mutex<VecDeque<Mishap>>) -> Option<Mishap> {
    let mut mishaps = mishaps.lock().unwrap();
    let part = request.uri().query().is_some_and(|query| query.contains("partNumber"));
    let occasion = match mishaps.front()? {
        Mishap::PartUnavailable | Mishap::PartRefused => request.method() == Method::PUT && part,
        Mishap::EndRefused => {
            let of_upload = request.uri().query().is_some_and(|query| query.contains("uploadId"));
            request.method() == Method::POST && of_upload
        }
        Mishap::Unseen => request.method() == Method::HEAD,
        Mishap::Rot => request.method() == Method::GET,
    };
    if occasion { mishaps.pop_front() } else { None }
}
