//! Room on the disk.

use std::path::Path;

use crate::fault::{Code, Fault, IoContext, Result};

/// Refuses when the disk of `folder` has less than `need` bytes for an ordinary writer; `object` is what the
/// room is for.
pub(super) fn check(folder: &Path, object: &str, need: u64) -> Result<()> {
    let disk = rustix::fs::statvfs(folder).map_err(std::io::Error::from).at(folder)?;
    let free = disk.f_bavail.saturating_mul(disk.f_frsize);
    if need > free {
        let detail = format!("{need} bytes are needed in {}, {free} are free", folder.display());
        return Err(Fault::new(Code::DiskFull, object, detail));
    }
    Ok(())
}
