//! Writes tar headers: ustar, preceded by a PAX header for whatever ustar has no room for.

use std::os::unix::ffi::OsStrExt;

use tar::{EntryType, Header};

use super::entry::{Entry, EntryKind, Mtime};

/// The unit of a tar file.
pub const BLOCK: usize = 512;
/// The largest number an eight-byte octal field holds.
const MAX_OCTAL_8: u64 = 0o7_777_777;
/// The largest number a twelve-byte octal field holds: 8 GiB - 1.
const MAX_OCTAL_12: u64 = 0o77_777_777_777;

/// The key prefix under which GNU tar, bsdtar and the engine look for extended attributes.
pub const XATTR_KEY: &[u8] = b"SCHILY.xattr.";

/// Bytes that fill `size` up to a whole block.
pub fn padding(size: u64) -> u64 {
    size.wrapping_neg() % BLOCK as u64
}

/// All header blocks of `entry`.
pub fn header(entry: &Entry) -> Vec<u8> {
    let mut path = entry.path.as_os_str().as_bytes().to_vec();
    if entry.kind == EntryKind::Folder {
        path.push(b'/');
    }
    let link = entry.link.as_os_str().as_bytes();
    let mut blocks = Vec::new();
    let pax = pax_records(entry, &path, link);
    if !pax.is_empty() {
        let mut name = b"PaxHeaders/".to_vec();
        name.extend_from_slice(&path);
        let mut extended = ustar(&name, b"", EntryType::XHeader);
        extended.set_mode(0o600);
        extended.set_size(pax.len() as u64);
        extended.set_cksum();
        blocks.extend_from_slice(extended.as_bytes());
        blocks.extend_from_slice(&pax);
        blocks.resize(blocks.len() + padding(pax.len() as u64) as usize, 0);
    }
    let mut main = ustar(&path, link, entry_type(entry.kind));
    main.set_mode(entry.mode);
    main.set_uid(u64::from(entry.uid));
    main.set_gid(u64::from(entry.gid));
    main.set_size(entry.size);
    main.set_mtime(u64::try_from(entry.mtime.seconds).unwrap_or(0).min(MAX_OCTAL_12));
    main.set_cksum();
    blocks.extend_from_slice(main.as_bytes());
    blocks
}

fn entry_type(kind: EntryKind) -> EntryType {
    match kind {
        EntryKind::File => EntryType::Regular,
        EntryKind::Folder => EntryType::Directory,
        EntryKind::Symlink => EntryType::Symlink,
        EntryKind::HardLink => EntryType::Link,
        EntryKind::Fifo => EntryType::Fifo,
        EntryKind::Device => EntryType::Char,
    }
}

/// A ustar header with as much of the names as fits; a longer one is in the PAX header too.
///
/// The fields are filled by hand because the crate's setters refuse names such as a link to `../x`.
fn ustar(path: &[u8], link: &[u8], kind: EntryType) -> Header {
    let mut header = Header::new_ustar();
    if let Some(fields) = header.as_ustar_mut() {
        let length = path.len().min(fields.name.len());
        fields.name[..length].copy_from_slice(&path[..length]);
        let length = link.len().min(fields.linkname.len());
        fields.linkname[..length].copy_from_slice(&link[..length]);
    }
    header.set_entry_type(kind);
    header.set_mtime(0);
    header.set_uid(0);
    header.set_gid(0);
    header
}

fn pax_records(entry: &Entry, path: &[u8], link: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    if path.len() > 100 {
        record(&mut out, b"path", path);
    }
    if link.len() > 100 {
        record(&mut out, b"linkpath", link);
    }
    if entry.size > MAX_OCTAL_12 {
        record(&mut out, b"size", entry.size.to_string().as_bytes());
    }
    for (key, id) in [(&b"uid"[..], entry.uid), (&b"gid"[..], entry.gid)] {
        if u64::from(id) > MAX_OCTAL_8 {
            record(&mut out, key, id.to_string().as_bytes());
        }
    }
    let whole = u64::try_from(entry.mtime.seconds).is_ok_and(|s| s <= MAX_OCTAL_12);
    if !whole || entry.mtime.nanos != 0 {
        record(&mut out, b"mtime", time_text(entry.mtime).as_bytes());
    }
    for (name, value) in &entry.xattrs {
        let mut key = XATTR_KEY.to_vec();
        // A '=' would end the key; GNU tar writes it this way since 1.30.
        for byte in name {
            match byte {
                b'%' => key.extend_from_slice(b"%25"),
                b'=' => key.extend_from_slice(b"%3D"),
                other => key.push(*other),
            }
        }
        record(&mut out, &key, value);
    }
    out
}

/// `<length> <key>=<value>\n`, the length counting its own digits.
fn record(out: &mut Vec<u8>, key: &[u8], value: &[u8]) {
    let rest = key.len() + value.len() + 3;
    let mut length = rest + 1;
    while rest + length.to_string().len() != length {
        length = rest + length.to_string().len();
    }
    out.extend_from_slice(length.to_string().as_bytes());
    out.push(b' ');
    out.extend_from_slice(key);
    out.push(b'=');
    out.extend_from_slice(value);
    out.push(b'\n');
}

/// Decimal seconds. PAX counts the fraction away from zero, the file system always forwards.
fn time_text(time: Mtime) -> String {
    let total = i128::from(time.seconds) * 1_000_000_000 + i128::from(time.nanos);
    let sign = if total < 0 { "-" } else { "" };
    let size = total.unsigned_abs();
    format!("{sign}{}.{:09}", size / 1_000_000_000, size % 1_000_000_000)
}

/// Reads what [`time_text`] and other writers of PAX write.
pub fn parse_time(text: &[u8]) -> Option<Mtime> {
    let text = std::str::from_utf8(text).ok()?;
    let (negative, digits) = text.strip_prefix('-').map_or((false, text), |rest| (true, rest));
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let all_digits = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
    if !all_digits(fraction) || !all_digits(whole) {
        return None;
    }
    let fraction = format!("{fraction:0<9}");
    let size = whole.parse::<u64>().ok()? as i128 * 1_000_000_000 + fraction[..9].parse::<i128>().ok()?;
    let total = if negative { -size } else { size };
    let seconds = i64::try_from(total.div_euclid(1_000_000_000)).ok()?;
    Some(Mtime { seconds, nanos: total.rem_euclid(1_000_000_000) as u32 })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_come_back_also_before_1970() {
        for (seconds, nanos) in [(0, 0), (0, 1), (-1, 999_999_999), (-13, 500_000_000), (1 << 40, 7), (-5, 0)]
        {
            let time = Mtime { seconds, nanos };
            assert_eq!(parse_time(time_text(time).as_bytes()), Some(time), "{}", time_text(time));
        }
        assert_eq!(parse_time(b"12.5"), Some(Mtime { seconds: 12, nanos: 500_000_000 }));
        assert_eq!(parse_time(b"1x"), None);
    }

    #[test]
    fn a_record_counts_its_own_length() {
        for size in 0..2000 {
            let mut out = Vec::new();
            record(&mut out, b"k", &vec![b'v'; size]);
            let text = String::from_utf8(out.clone()).unwrap();
            let length: usize = text.split(' ').next().unwrap().parse().unwrap();
            assert_eq!(length, out.len());
        }
    }
}
