//! What of a package this machine lacks, found out before anything of it is fetched but its index and `release.json`.

use std::collections::BTreeSet;
use std::ops::Range;

use super::images::blocking;
use super::{Keeper, donors};
use crate::fault::{Code, Fault, Result};
use crate::release::bundle::{Index, RELEASE_JSON, Selection, blob, sparse};
use crate::release::{Digest, ReleaseInfo};
use crate::transfer::{Fetcher, Location, Seed};
use crate::upgrade::step::Package;

/// The largest `release.json` that is read before the rest of its bundle.
const MOST_INFO_BYTES: u64 = 16 << 20;

/// So many bytes more are fetched rather than to depend on what the engine has.
const MORE_FOR_WHOLE: u64 = 1 << 20;

/// What would be fetched of a package.
pub(super) struct Survey {
    /// The hash of the package's index.
    pub(super) index: Digest,
    /// The layers that the engine lacks.
    pub(super) wanted: BTreeSet<Digest>,
    /// What is fetched where layers are also made and copied here.
    pub(super) selection: Selection,
    /// What is fetched where that cannot be done.
    pub(super) plain: Selection,
    /// What other bundles here have of it.
    pub(super) here: Seed,
    /// What is worth copying of that where the whole bundle is fetched.
    pub(super) seed: Seed,
}

impl Survey {
    /// Bytes to fetch for the whole package, where other bundles are used; none where fetching only what the engine lacks
    /// is that much better that the package need not become whole.
    pub(super) fn bytes_for_whole(&self, size: u64) -> Option<u64> {
        let rest = size.saturating_sub(self.seed.bytes());
        let worth =
            rest.saturating_add(MORE_FOR_WHOLE) < size && rest <= self.selection.bytes() + MORE_FOR_WHOLE;
        worth.then_some(rest)
    }

    /// About what it takes in `bundles/` where it does not become whole.
    pub(super) fn bytes_kept(&self) -> u64 {
        let made: u64 = self.selection.deltas.iter().map(|delta| delta.layer.length).sum();
        self.selection.bytes() + made + self.here.bytes()
    }
}

impl Keeper<'_> {
    /// Finds out what is lacking; none where fetching only that is not possible or not worth it. `spent` counts the bytes
    /// that this takes.
    pub(super) async fn look_at(
        &self,
        fetcher: &Fetcher,
        package: &Package,
        locations: &[Location],
        spent: &mut u64,
    ) -> Result<Option<Survey>> {
        let (Some(_), Some(size), Some(reference)) = (package.hash, package.size, &package.index) else {
            return Ok(None);
        };
        if !Selection::may_pay(size) {
            return Ok(None);
        }
        let places: Vec<&Location> = locations.iter().filter(|at| at.path().is_none()).collect();
        if places.is_empty() {
            return Ok(None);
        }
        let at = Location::parse(&reference.location)?;
        let name = at.to_string();
        let document = fetcher.document(&at, sparse::MOST_INDEX_BYTES).await?;
        *spent += document.len() as u64;
        if Digest::of(&document) != reference.hash {
            let cause = format!("expected {}, found {}", reference.hash, Digest::of(&document));
            return Err(Fault::new(Code::HashMismatch, name, cause));
        }
        let index = blocking(move || Index::from_json(&document, size, &name)).await?;
        let Some(member) = index.member(RELEASE_JSON).filter(|member| member.length <= MOST_INFO_BYTES)
        else {
            return Ok(None);
        };
        let Some((place, bytes)) = piece(fetcher, &places, member.span(), size).await? else {
            return Ok(None);
        };
        *spent += bytes.len() as u64;
        let info = sparse::info_of_member(member, &bytes, &place.to_string())?;
        let wanted = self.wanted_layers(&info).await?;
        let (folder, members) = (self.bundles(), index.clone());
        let here = blocking(move || donors::find(&folder, &members)).await?;
        let is_here = |layer: &Digest| {
            let member = index.member(&blob(layer));
            member.is_some_and(|member| here.pieces.iter().any(|piece| piece.range == member.span()))
        };
        let lacking: BTreeSet<Digest> = wanted.iter().filter(|layer| !is_here(layer)).copied().collect();
        let deltas = self.usable_deltas(&index, &lacking).await?;
        let selection = Selection::new(&index, &info, &lacking, deltas);
        let plain = Selection::new(&index, &info, &wanted, Vec::new());
        let seed = donors::large(here.clone());
        Ok(Some(Survey { index: reference.hash, wanted, selection, plain, here, seed }))
    }

    /// The layers that must be loaded for the images of `info`.
    async fn wanted_layers(&self, info: &ReleaseInfo) -> Result<BTreeSet<Digest>> {
        let missing = self.missing(&info.images).await?;
        let present = self.present_layers(&missing).await?;
        let layers = missing.iter().flat_map(|image| &image.layers).map(|layer| layer.digest);
        Ok(layers.filter(|layer| !present.contains(layer)).collect())
    }
}

/// A small range of the file of `size` bytes at `places`, from the first of them that gives it; none where none serves
/// ranges.
async fn piece<'l>(
    fetcher: &Fetcher,
    places: &[&'l Location],
    range: Range<u64>,
    size: u64,
) -> Result<Option<(&'l Location, Vec<u8>)>> {
    let mut failed = None;
    for place in places {
        match fetcher.piece(place, range.clone(), size).await {
            Ok(Some(bytes)) => return Ok(Some((place, bytes))),
            Ok(None) => return Ok(None),
            Err(fault) => failed = Some(fault),
        }
    }
    failed.map_or(Ok(None), Err)
}
