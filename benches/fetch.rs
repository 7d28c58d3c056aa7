//! Fetches one file with nothing around it, for `benches/download`: no engine, no installation, no upgrade.
//!
//!     bench-fetch URL SHA256 BYTES FOLDER
//!
//! The file comes into FOLDER, and so does the state that a next run goes on with. Prints a line of JSON: the seconds
//! until the file was there and verified, and the bytes that came over the network.

use std::error::Error;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use compose_upgrade::progress::Progress;
use compose_upgrade::settings::DownloadSettings;
use compose_upgrade::state::Store;
use compose_upgrade::transfer::{Fetcher, FileRequest, Location, Policy};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [url, hash, bytes, folder] = &arguments[..] else {
        return Err("usage: bench-fetch URL SHA256 BYTES FOLDER; see benches/download".into());
    };
    let folder = PathBuf::from(folder);
    let store = Arc::new(Store::open(&folder.join("state.db"))?);
    let fetcher =
        Fetcher::with_policy(store, Policy::from(&DownloadSettings::default()), Progress::silent())?;
    let request = FileRequest {
        locations: vec![Location::parse(url)?],
        name: "file".into(),
        destination: folder.join("file"),
        expect: Some(hash.parse()?),
        size: Some(bytes.parse()?),
    };
    let began = Instant::now();
    let fetched = fetcher.file(&request).await?;
    let seconds = began.elapsed().as_secs_f64();
    println!("{}", serde_json::json!({"seconds": seconds, "transferred": fetched.transferred}));
    Ok(())
}
