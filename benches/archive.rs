//! Backs up a folder with nothing around it, for `benches/backup`: no engine, no installation, no upgrade.
//!
//!     bench-archive FOLDER BACKUPS FORMAT LEVEL THREADS
//!
//! Prints a line of JSON: the seconds until the data was read (a stack would be running again from there on), the
//! seconds in all with the verification, and the archive's size.

use std::error::Error;
use std::path::PathBuf;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use compose_upgrade::backup::{BackupManager, BackupRequest, Kind, Origin, Packing, Part, PartKind};
use compose_upgrade::progress::Progress;
use compose_upgrade::settings::ArchiveFormat;
use compose_upgrade::state::Store;

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [folder, backups, format, level, threads] = &arguments[..] else {
        return Err(
            "usage: bench-archive FOLDER BACKUPS tar.gz|tar.zst LEVEL THREADS; see benches/backup".into()
        );
    };
    let format = ArchiveFormat::ALL
        .into_iter()
        .find(|one| one.ending()[1..] == *format)
        .ok_or_else(|| format!("{format} is no format"))?;
    let packing = Packing { format, level: level.parse()?, threads: threads.parse()? };
    let backups = PathBuf::from(backups);
    std::fs::create_dir_all(&backups)?;
    let store = Arc::new(Store::open(&backups.join("state.db"))?);
    let manager = BackupManager::new(store, backups.join("backups"));
    let read = Arc::new(OnceLock::new());
    let was_read = read.clone();
    let began = Instant::now();
    let request = BackupRequest {
        project: "bench".into(),
        version: None,
        target: None,
        kind: Kind::Manual,
        parts: vec![Part::new(
            "persist/data".into(),
            PartKind::Path { path: "data".into() },
            Origin::Disk(folder.into()),
        )],
        packing,
        read: Some(Box::new(move || {
            // It is called once.
            let _ = was_read.set(began.elapsed());
        })),
    };
    let record = manager.create(request, &Progress::silent(), &AtomicBool::new(false))?;
    let read = read.get().map_or(0.0, Duration::as_secs_f64);
    let (seconds, size) = (began.elapsed().as_secs_f64(), record.size);
    println!("{}", serde_json::json!({"read_s": read, "seconds": seconds, "size": size}));
    Ok(())
}
