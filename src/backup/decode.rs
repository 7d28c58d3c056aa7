//! Reads tar entry by entry.
//!
//! The `tar` crate's own iterator splits PAX records at line ends, so an attribute (an ACL is binary) or a
//! name with a line feed in it loses that record and all after it, the size included. This reader goes by
//! the records' lengths. It also insists on the end mark, so that a stream cut at a block border is noticed.

use std::ffi::OsString;
use std::io::{self, Read};
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;

use tar::Header;

use super::encode::{XATTR_KEY, padding, parse_time};
use super::entry::{Entry, EntryKind, Mtime};

/// More than the attributes of one file can take (64 KiB each), little enough to hold in memory.
const MAX_EXTENSION: u64 = 16 * 1024 * 1024;

/// A tar stream. After [`advance`](Self::advance) gave a file, reading from this gives its content.
pub struct TarReader<R> {
    inner: R,
    remaining: u64,
    padding: u64,
}

/// What an extension header says about the entry after it.
#[derive(Default)]
struct Extension {
    path: Option<Vec<u8>>,
    link: Option<Vec<u8>>,
    records: Vec<(Vec<u8>, Vec<u8>)>,
}

impl<R: Read> TarReader<R> {
    /// Over the start of a tar stream.
    pub fn new(inner: R) -> Self {
        Self { inner, remaining: 0, padding: 0 }
    }

    /// The stream, after the end mark was read.
    pub fn into_inner(self) -> R {
        self.inner
    }

    /// Skips what is left of the entry before and reads the next header; `None` at the end mark.
    pub fn advance(&mut self) -> io::Result<Option<Entry>> {
        self.skip(self.remaining.saturating_add(self.padding))?;
        let mut extension = Extension::default();
        loop {
            let Some(header) = self.header()? else { return Ok(None) };
            let declared = header.entry_size()?;
            match header.as_bytes()[156] {
                b'x' => extension.records = parse_records(&self.extension(declared)?)?,
                // Global headers carry comments (git) in practice, nothing about single entries.
                b'g' => drop(self.extension(declared)?),
                b'L' => extension.path = Some(trim_nul(self.extension(declared)?)),
                b'K' => extension.link = Some(trim_nul(self.extension(declared)?)),
                kind => return self.entry(&header, kind, declared, extension).map(Some),
            }
        }
    }

    fn header(&mut self) -> io::Result<Option<Header>> {
        let mut header = Header::new_old();
        self.inner.read_exact(header.as_mut_bytes())?;
        if header.as_bytes().iter().all(|byte| *byte == 0) {
            return Ok(None);
        }
        let bytes = header.as_bytes();
        let sum: u32 = bytes[..148].iter().chain(&bytes[156..]).map(|byte| u32::from(*byte)).sum();
        if sum + 8 * u32::from(b' ') != header.cksum()? {
            return Err(invalid("a tar header's checksum is wrong"));
        }
        Ok(Some(header))
    }

    fn extension(&mut self, size: u64) -> io::Result<Vec<u8>> {
        if size > MAX_EXTENSION {
            return Err(invalid("a tar extension header is too large"));
        }
        let mut data = Vec::new();
        if (&mut self.inner).take(size).read_to_end(&mut data)? as u64 != size {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.skip(padding(size))?;
        Ok(data)
    }

    fn entry(&mut self, header: &Header, kind: u8, declared: u64, extension: Extension) -> io::Result<Entry> {
        let kind = match kind {
            b'0' | 0 | b'7' => EntryKind::File,
            b'1' => EntryKind::HardLink,
            b'2' => EntryKind::Symlink,
            b'3' | b'4' => EntryKind::Device,
            b'5' => EntryKind::Folder,
            b'6' => EntryKind::Fifo,
            other => return Err(invalid(format!("a tar entry has the unknown type {:?}", other as char))),
        };
        let mut path = extension.path.unwrap_or_else(|| header.path_bytes().into_owned());
        let mut link = extension
            .link
            .unwrap_or_else(|| header.link_name_bytes().map(|name| name.into_owned()).unwrap_or_default());
        let (mut size, mut uid, mut gid) = (declared, header.uid()?, header.gid()?);
        let mut mtime = Mtime { seconds: header.mtime()? as i64, nanos: 0 };
        let mut xattrs = std::collections::BTreeMap::new();
        for (key, value) in extension.records {
            match &key[..] {
                b"path" => path = value,
                b"linkpath" => link = value,
                b"size" => size = number(&value)?,
                b"uid" => uid = number(&value)?,
                b"gid" => gid = number(&value)?,
                b"mtime" => {
                    mtime = parse_time(&value).ok_or_else(|| invalid("a tar entry has no valid time"))?
                }
                key if key.starts_with(b"GNU.sparse.") => {
                    return Err(invalid("the tar stream holds GNU sparse files, which are not supported"));
                }
                key => {
                    if let Some(name) = key.strip_prefix(XATTR_KEY) {
                        xattrs.insert(decode_name(name), value);
                    }
                }
            }
        }
        while path.len() > 1 && path.ends_with(b"/") {
            path.pop();
        }
        if !matches!(kind, EntryKind::Symlink | EntryKind::HardLink) {
            link.clear();
        }
        if kind != EntryKind::File {
            size = 0;
        }
        self.remaining = size;
        self.padding = padding(size);
        let id = |value: u64| u32::try_from(value).map_err(|_| invalid("an owner's number is too large"));
        Ok(Entry {
            path: PathBuf::from(OsString::from_vec(path)),
            kind,
            mode: header.mode()? & 0o7777,
            uid: id(uid)?,
            gid: id(gid)?,
            mtime,
            size,
            link: PathBuf::from(OsString::from_vec(link)),
            xattrs,
        })
    }

    fn skip(&mut self, mut count: u64) -> io::Result<()> {
        let mut buffer = [0; 16 * 1024];
        while count > 0 {
            let part = count.min(buffer.len() as u64) as usize;
            self.inner.read_exact(&mut buffer[..part])?;
            count -= part as u64;
        }
        self.remaining = 0;
        self.padding = 0;
        Ok(())
    }
}

impl<R: Read> Read for TarReader<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let wanted = self.remaining.min(buffer.len() as u64) as usize;
        if wanted == 0 {
            return Ok(0);
        }
        let count = self.inner.read(&mut buffer[..wanted])?;
        if count == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.remaining -= count as u64;
        Ok(count)
    }
}

pub(super) fn invalid(text: impl Into<String>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, text.into())
}

fn trim_nul(mut data: Vec<u8>) -> Vec<u8> {
    while data.last() == Some(&0) {
        data.pop();
    }
    data
}

fn number(text: &[u8]) -> io::Result<u64> {
    let text = std::str::from_utf8(text).ok().and_then(|text| text.parse().ok());
    text.ok_or_else(|| invalid("a PAX record is not a number"))
}

fn decode_name(name: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(name.len());
    let mut rest = name;
    while let Some((first, tail)) = rest.split_first() {
        let (byte, after) = match rest {
            [b'%', b'2', b'5', after @ ..] => (b'%', after),
            [b'%', b'3', b'D', after @ ..] => (b'=', after),
            _ => (*first, tail),
        };
        out.push(byte);
        rest = after;
    }
    out
}

fn parse_records(mut data: &[u8]) -> io::Result<Vec<(Vec<u8>, Vec<u8>)>> {
    let malformed = || invalid("a PAX header is malformed");
    let mut records = Vec::new();
    while !data.is_empty() {
        let space = data.iter().position(|byte| *byte == b' ').ok_or_else(malformed)?;
        let length = number(&data[..space])? as usize;
        if length <= space + 1 || length > data.len() || data[length - 1] != b'\n' {
            return Err(malformed());
        }
        let body = &data[space + 1..length - 1];
        let equals = body.iter().position(|byte| *byte == b'=').ok_or_else(malformed)?;
        records.push((body[..equals].to_vec(), body[equals + 1..].to_vec()));
        data = &data[length..];
    }
    Ok(records)
}

#[cfg(test)]
mod tests {
    use super::super::encode;
    use super::*;
    use proptest::prelude::*;
    use std::os::unix::ffi::OsStrExt;

    fn bytes(max: usize) -> impl Strategy<Value = Vec<u8>> {
        prop::collection::vec(1u8..=255, 1..max)
    }

    prop_compose! {
        fn entries()(
            path in bytes(400).prop_map(|mut path| { path.retain(|b| *b != b'/'); path.push(b'x'); path }),
            link in bytes(300),
            kind in 0..5usize,
            mode in 0u32..0o10000,
            (uid, gid) in any::<(u32, u32)>(),
            (seconds, nanos) in (any::<i32>(), 0u32..1_000_000_000),
            size in prop_oneof![0u64..10_000, any::<u64>().prop_map(|s| s >> 2)],
            xattrs in prop::collection::btree_map(bytes(20), prop::collection::vec(any::<u8>(), 0..300), 0..4),
        ) -> Entry {
            let kind = [EntryKind::File, EntryKind::Folder, EntryKind::Symlink, EntryKind::HardLink,
                EntryKind::Fifo][kind];
            let is_link = matches!(kind, EntryKind::Symlink | EntryKind::HardLink);
            Entry {
                path: PathBuf::from(OsString::from_vec(path)),
                kind, mode, uid, gid,
                mtime: Mtime { seconds: i64::from(seconds) * 40, nanos },
                size: if kind == EntryKind::File { size } else { 0 },
                link: PathBuf::from(OsString::from_vec(if is_link { link } else { Vec::new() })),
                xattrs,
            }
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(entry in entries()) {
            let stream = encode::header(&entry);
            let read = TarReader::new(&stream[..]).advance().unwrap().unwrap();
            prop_assert_eq!(read, entry);
        }

        #[test]
        fn any_bytes_are_read_or_refused(data in prop::collection::vec(any::<u8>(), 0..3000), entry in entries(),
            at in 0usize..2000, with in any::<u8>()) {
            let mut stream = encode::header(&entry);
            let at = at % stream.len();
            stream[at] ^= with;
            stream.extend(data);
            let mut reader = TarReader::new(&stream[..]);
            while let Ok(Some(_)) = reader.advance() {}
        }
    }

    #[test]
    fn a_stream_without_an_end_mark_is_refused() {
        let error = TarReader::new(&[][..]).advance().unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
    }

    #[test]
    fn names_of_other_writers_are_read() {
        let mut builder = tar::Builder::new(Vec::new());
        let long = format!("{}/end", "a".repeat(200));
        let mut header = Header::new_gnu();
        header.set_size(3);
        header.set_mode(0o644);
        header.set_uid(1);
        header.set_gid(1);
        header.set_mtime(1);
        builder.append_data(&mut header, &long, &b"abc"[..]).unwrap();
        let stream = builder.into_inner().unwrap();
        let mut reader = TarReader::new(&stream[..]);
        let entry = reader.advance().unwrap().unwrap();
        assert_eq!(entry.path.as_os_str().as_bytes(), long.as_bytes());
        let mut content = String::new();
        reader.read_to_string(&mut content).unwrap();
        assert_eq!(content, "abc");
        assert!(reader.advance().unwrap().is_none());
    }
}
