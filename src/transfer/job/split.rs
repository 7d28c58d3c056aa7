//! What a job is to a download by ranges.

use std::ops::Range;

use super::Job;
use crate::fault::Result;
use crate::messages::Say;
use crate::progress::{Meter, Step, Unit};
use crate::release::digest::Hasher;
use crate::transfer::answer::Validator;
use crate::transfer::extents::Extents;
use crate::transfer::fetch::Seed;
use crate::transfer::ledger::{self, Row};
use crate::transfer::location::Location;
use crate::transfer::map::{self, Map};
use crate::transfer::part;
use crate::transfer::ranges::{Begun, WORTHWHILE, Way};

impl Job<'_> {
    /// How what the part lacks can be fetched from `at` over at most `connections` connections.
    pub(in crate::transfer) fn way(&self, at: &Location, connections: usize) -> Way {
        if self.one_stream {
            return Way::OneStream;
        }
        let several = connections > 1;
        let pieces = self.only.is_some();
        let large = |length: u64| several && length >= WORTHWHILE;
        let known = self.row.as_ref().and_then(|row| Some((row, row.length.or(self.request.size)?)));
        if let Some((row, length)) = known {
            let elsewhere = row.address != at.to_string();
            let go_on = Way::Continue { validator: row.validator.clone(), length, elsewhere };
            // With holes in it, even one connection goes by ranges. Another location has to name the same tag, and the
            // promised hash decides in the end: tags mean something only at the address they come from.
            let vouched = (self.has_hash() || pieces) && matches!(row.validator, Validator::ETag(_));
            if self.in_ranges && self.length > 0 && (!elsewhere || vouched) {
                return go_on;
            }
            if !self.in_ranges && self.length > 0 && !elsewhere && !pieces {
                let rest = length.checked_sub(self.length);
                return if rest.is_some_and(large) { go_on } else { Way::OneStream };
            }
        }
        if pieces || self.seeded || self.request.size.is_some_and(large) {
            Way::Probe
        } else {
            Way::OneStream
        }
    }

    /// Only `wanted` is fetched, and of what is there `distrusted` counts for nothing.
    pub(in crate::transfer) async fn only(&mut self, wanted: Extents, distrusted: Extents) -> Result<()> {
        self.only = Some(wanted);
        if distrusted.is_empty() {
            return Ok(());
        }
        let (store, key) = (self.store.clone(), self.key.clone());
        self.on_part(move |part| {
            let Some(extents) = part.extents().map(|extents| extents.without(&distrusted)) else {
                return Ok(());
            };
            // First on the disk, so that a killed process does not believe it again.
            map::remove(part.path())?;
            ledger::save_extents(&store, &key, &extents)?;
            part.believe(extents)
        })
        .await
    }

    /// Puts what `seed` has of the file into the part, unless that is under way already.
    pub(in crate::transfer) async fn seed(&mut self, seed: &Seed) -> Result<()> {
        let Some(length) = self.request.size.filter(|_| self.row.is_none() && self.has_hash()) else {
            return Ok(());
        };
        self.check_room(length).await?;
        let seed = seed.clone();
        self.on_part(move |part| {
            part.clear()?;
            part.stretch(length)?;
            // What was copied before it failed proves nothing, and takes room.
            part.take_from(&seed).or_else(|fault| part.clear().and(Err(fault)))
        })
        .await?;
        self.seeded = self.length > 0;
        Ok(())
    }

    /// What of a file of `length` bytes is wanted.
    pub(in crate::transfer) fn wanted(&self, length: u64) -> Extents {
        self.only.clone().unwrap_or_else(|| Extents::prefix(length))
    }

    /// Whether the part is what is asked for first, as if nothing were there yet.
    pub(in crate::transfer) fn is_seeded(&self) -> bool {
        self.seeded && self.length > 0
    }

    /// The first bytes of a file of `length` that the part lacks, `most` at most.
    pub(in crate::transfer) async fn first_lacking(
        &mut self,
        length: u64,
        most: u64,
    ) -> Result<Option<Range<u64>>> {
        let wanted = self.wanted(length);
        self.on_part(move |part| {
            let has = part.extents().cloned().unwrap_or_else(|| Extents::prefix(part.length()));
            Ok(wanted.without(&has).take_first(most))
        })
        .await
    }

    /// Ranges are of no use at this location.
    pub(in crate::transfer) fn only_one_stream(&mut self) {
        self.one_stream = true;
    }

    /// Another location is tried.
    pub(in crate::transfer) fn moved_on(&mut self) {
        self.one_stream = false;
    }

    /// Makes the part ready for ranges of the file at `at`, which `validator` proves the same: what is in it stays, or
    /// goes where this is a new beginning.
    pub(in crate::transfer) async fn begin(
        &mut self,
        at: &Location,
        validator: &Validator,
        length: u64,
        anew: bool,
    ) -> Result<Begun> {
        self.continuing = !anew && self.length > 0;
        if self.continuing {
            self.continued(self.length);
        } else {
            self.resumed_from = None;
        }
        let mut row = Row {
            path: part::path_for(&self.request.destination).display().to_string(),
            address: at.to_string(),
            validator: validator.clone(),
            length: Some(length),
            extents: Some(Extents::default()),
        };
        let moved = self.row.as_ref().is_none_or(|former| former.address != row.address);
        self.row = Some(row.clone());
        let (store, key) = (self.store.clone(), self.key.clone());
        let whole = self.only.is_none();
        self.on_part(move |part| {
            // A row must never vouch for bytes that came before it, nor for such that are not on the disk.
            if anew {
                part.clear()?;
                ledger::save(&store, &key, &row)?;
            } else if moved || part.extents().is_none() {
                part.sync()?;
                row.extents = part.extents().cloned().or(Some(Extents::prefix(part.length())));
                ledger::save(&store, &key, &row)?;
            }
            match whole {
                true => part.spread(length)?,
                false => part.stretch(length)?,
            }
            let extents = part.extents().cloned().unwrap_or_default();
            let map = Map::create(part.path(), &row.validator, length, &extents)?;
            let (file, path) = (part.file(), part.path().to_owned());
            Ok(Begun { file, path, extents, hasher: part.lend_hash(), map, store, key })
        })
        .await
    }

    /// Takes note of what is in the part now, and of its hash.
    pub(in crate::transfer) async fn fetched(&mut self, extents: Extents, hasher: Hasher) -> Result<()> {
        self.on_part(move |part| {
            part.fetched(extents, hasher);
            Ok(())
        })
        .await
    }

    /// `count` bytes came over the network.
    pub(in crate::transfer) fn came(&mut self, count: u64) {
        self.transferred += count;
    }

    /// The meter of all that is wanted of a file of `length` bytes.
    pub(in crate::transfer) fn meter(&self, length: u64) -> Meter {
        let say = Say::DownloadStarted { name: self.request.name.clone() };
        let total = self.wanted(length).total();
        self.progress.meter(Step::DownloadingUpdate, say, Unit::Bytes, Some(total))
    }

    /// Refuses when the disk has no room for what a file of `length` bytes still has to take of it.
    pub(in crate::transfer) async fn check_room(&mut self, length: u64) -> Result<()> {
        if let Some(wanted) = self.only.clone() {
            let has = self.on_part(|part| Ok(part.extents().cloned().unwrap_or_default())).await?;
            return self.check_space(wanted.without(&has).total()).await;
        }
        let taken = self.on_part(|part| part.allocated()).await?;
        self.check_space(length.saturating_sub(taken)).await
    }
}
