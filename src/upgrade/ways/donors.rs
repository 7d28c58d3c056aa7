//! What other bundles on this machine have of one is not fetched again. What comes of it is the whole bundle, so that no
//! way back depends on the network or on what the engine has.

use std::collections::BTreeMap;
use std::path::Path;

use super::images::candidates;
use crate::fault::Result;
use crate::release::Bundle;
use crate::release::bundle::{EntryKind, Index, Member};
use crate::transfer::{Seed, SeedPiece};

/// Smaller members are fetched with the whole bundle: a request beside them costs more.
const LEAST: u64 = 64 * 1024;

/// The members of `index` that bundles in `folder` have in the same encoding. Each is verified when it is copied.
pub fn find(folder: &Path, index: &Index) -> Result<Seed> {
    let members = index.members.iter().filter(|member| member.length > 0);
    let mut left: BTreeMap<&str, &Member> = members.map(|member| (member.path.as_str(), member)).collect();
    let mut pieces = Vec::new();
    for path in candidates(folder, None)? {
        if left.is_empty() {
            break;
        }
        // One that cannot be read has nothing to give; who needs it finds that out.
        let Ok(bundle) = Bundle::open(&path) else { continue };
        left.retain(|name, member| {
            let Some(EntryKind::File { offset, length, encoding }) =
                bundle.entry(name).map(|entry| &entry.kind)
            else {
                return true;
            };
            if (*length, *encoding) != (member.length, member.encoding) {
                return true;
            }
            pieces.push(piece(&path, *offset, member));
            false
        });
    }
    pieces.sort_by_key(|piece| piece.range.start);
    Ok(Seed { pieces })
}

/// Those that are worth it where the whole bundle is fetched around them.
pub fn large(mut seed: Seed) -> Seed {
    seed.pieces.retain(|piece| piece.range.end - piece.range.start >= LEAST);
    seed
}

/// The bytes of `member`, which begin at `at` in the file `path`.
pub fn piece(path: &Path, at: u64, member: &Member) -> SeedPiece {
    SeedPiece { path: path.to_owned(), at, range: member.span(), hash: Some(member.encoded_hash) }
}
