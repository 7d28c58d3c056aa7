//! Files from a source, each verified before anyone sees it.
//!
//! A [`Source`] says where a manifest is, a [`Location`] where a file is (HTTP, HTTPS or a local path), and a
//! [`Fetcher`] gets it: small documents into memory, files onto the disk. A file is streamed into
//! `<destination>.part` and renamed into place only after its length and hash were checked, so that whatever
//! bears the destination's name is whole. What interrupts a download (a cut, a dropped future, SIGKILL) leaves
//! a part file and a row in the state database; the next call continues there, if the server proves that the
//! file is still the same one.
//!
//! ```text
//! fetch.rs      attempts, mirrors, retries        (uses everything below)
//! fetch/pieces  only some bytes of a file        fetch/patience  what is borne of one location
//! http.rs       one stream                        local.rs   one local file
//! ranges.rs     several connections               map.rs     what was written, for a killed process
//! part.rs       the part file: lock, hash, finish ledger.rs  the row about it
//! answer.rs     what an HTTP answer means (pure)  backoff.rs how long to wait (pure)
//! extents.rs    which bytes are there (pure)
//! link.rs       proxies, certificates, and what all downloads share
//! access.rs     credentials, each for one host
//! limit.rs      the limit of all connections, and the least a server must give (pure but for the clock)
//! speeds.rs     which mirror first: what each server gave (pure but for its table)
//! ```

mod access;
mod answer;
mod backoff;
mod extents;
mod failure;
mod fetch;
mod http;
mod job;
mod ledger;
mod limit;
mod link;
mod local;
mod location;
mod map;
mod part;
mod ranges;
mod space;
mod speeds;

pub use backoff::Backoff;
pub use fetch::{Fetched, Fetcher, FileRequest, Pieces, Policy, Seed, SeedPiece};
pub use link::Link;
pub use location::{Location, Source};
