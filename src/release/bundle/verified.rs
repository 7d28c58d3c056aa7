//! A reader that is cut off at the declared size and compared with the declared digest.

use std::io::{self, Read};

use super::super::Digest;
use super::super::digest::Hasher;
use crate::fault::{Code, Fault};

/// Hands out exactly `size` bytes whose digest is `digest`, or fails.
///
/// The last bytes are handed out only after the digest was compared, so nobody downstream ever holds a
/// whole member with wrong content. A reader that would give more than `size` bytes fails too: that is how
/// a compression bomb is stopped.
pub struct Verified<R> {
    inner: R,
    name: String,
    size: u64,
    digest: Digest,
    hasher: Option<Hasher>,
    failed: bool,
}

impl<R: Read> Verified<R> {
    /// Around `inner`; `name` is the object of errors.
    pub fn new(inner: R, name: impl Into<String>, size: u64, digest: Digest) -> Self {
        Self { inner, name: name.into(), size, digest, hasher: Some(Hasher::new()), failed: false }
    }

    fn advance(&mut self, mut hasher: Hasher, buffer: &mut [u8]) -> Result<usize, Fault> {
        let room = usize::try_from(self.size - hasher.length()).unwrap_or(usize::MAX);
        let wanted = buffer.len().min(room);
        let mut count = 0;
        if wanted > 0 {
            count = read_some(&mut self.inner, &mut buffer[..wanted])
                .map_err(|error| fault_of(error, &self.name))?;
            if count == 0 {
                let cause = format!("{} of {} bytes", hasher.length(), self.size);
                return Err(Fault::new(Code::SizeMismatch, &self.name, cause));
            }
            hasher.update(&buffer[..count]);
        }
        if hasher.length() == self.size {
            self.check_end(hasher)?;
        } else {
            self.hasher = Some(hasher);
        }
        Ok(count)
    }

    fn check_end(&mut self, hasher: Hasher) -> Result<(), Fault> {
        let mut one = [0];
        let more = read_some(&mut self.inner, &mut one).map_err(|error| fault_of(error, &self.name))?;
        if more > 0 {
            let cause = format!("more than the declared {} bytes", self.size);
            return Err(Fault::new(Code::BundleTooLarge, &self.name, cause));
        }
        let (found, _) = hasher.finish();
        if found != self.digest {
            let cause = format!("expected {}, found {found}", self.digest);
            return Err(Fault::new(Code::HashMismatch, &self.name, cause));
        }
        Ok(())
    }
}

impl<R: Read> Read for Verified<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.failed {
            return Err(io::Error::other(Fault::new(Code::HashMismatch, &self.name, "it already failed")));
        }
        let Some(hasher) = self.hasher.take() else { return Ok(0) };
        let done = self.advance(hasher, buffer);
        self.failed = done.is_err();
        done.map_err(io::Error::other)
    }
}

fn read_some(reader: &mut impl Read, buffer: &mut [u8]) -> io::Result<usize> {
    loop {
        match reader.read(buffer) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            done => return done,
        }
    }
}

/// The fault behind an I/O error that came out of a reader of this module: the fault itself where it is one,
/// a disk error where the system reported one, otherwise content of `name` that cannot be decoded.
pub fn fault_of(error: io::Error, name: &str) -> Fault {
    match error.downcast::<Fault>() {
        Ok(fault) => fault,
        Err(error) if error.raw_os_error().is_some() => Fault::io(name, error),
        Err(error) => Fault::from_error(Code::BundleInvalid, name, error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(given: &[u8], size: u64, digest: Digest) -> (Vec<u8>, Option<Code>) {
        let mut out = Vec::new();
        let error = Verified::new(given, "x", size, digest).read_to_end(&mut out).err();
        (out, error.map(|error| fault_of(error, "x").code()))
    }

    #[test]
    fn only_the_promised_bytes_come_out() {
        let data = vec![3; 100_000];
        let right = Digest::of(&data);
        assert_eq!(read(&data, 100_000, right), (data.clone(), None));
        assert_eq!(read(b"", 0, Digest::of(b"")), (vec![], None));
        assert_eq!(read(b"x", 0, Digest::of(b"")).1, Some(Code::BundleTooLarge));
        assert_eq!(read(&data[1..], 100_000, right).1, Some(Code::SizeMismatch));
        assert_eq!(read(&data, 99_999, right).1, Some(Code::BundleTooLarge));
        let (out, code) = read(&data, 100_000, Digest::of(b"other"));
        assert_eq!(code, Some(Code::HashMismatch));
        assert!(out.len() < data.len(), "the end of wrong content was handed out");
    }
}
