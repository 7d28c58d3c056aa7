//! The operator's edits of a release's files, decided file by file.

mod by_hand;

use crate::release::Digest;

pub use by_hand::{Edit, LONG, SHORT, by_hand, is_known, keep, set_aside, shortened};

/// What becomes of an edited file in the next release.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Carried {
    /// The next release ships what the former one shipped: the edited file is used as it is.
    Kept(Vec<u8>),
    /// Both changed, in different places: the merge is used.
    Merged(Vec<u8>),
    /// Both changed the same place, or it is no text, or the next release drops it: the release's file is
    /// used and the edited one is set aside.
    SetAside,
}

/// Decides for one file: `base` is what the former release shipped, `own` what stands there now, `next` what
/// the next release ships.
pub fn carry(base: &[u8], own: &[u8], next: Option<&[u8]>) -> Carried {
    let Some(next) = next else {
        return Carried::SetAside;
    };
    if Digest::of(base) == Digest::of(next) {
        return Carried::Kept(own.to_vec());
    }
    if own == next {
        return Carried::Merged(own.to_vec());
    }
    let texts = [base, own, next].map(std::str::from_utf8);
    match texts {
        [Ok(base), Ok(own), Ok(next)] => match diffy::merge(base, own, next) {
            Ok(merged) => Carried::Merged(merged.into_bytes()),
            Err(_conflict) => Carried::SetAside,
        },
        _ => Carried::SetAside,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_case_of_a_three_way_merge() {
        let base = b"a\nb\nc\nd\ne\n";
        let own = b"a\nB\nc\nd\ne\n";
        assert_eq!(carry(base, own, Some(base)), Carried::Kept(own.to_vec()));
        let apart = carry(base, own, Some(b"a\nb\nc\nd\nE\n"));
        assert_eq!(apart, Carried::Merged(b"a\nB\nc\nd\nE\n".to_vec()));
        assert_eq!(carry(base, own, Some(b"a\nX\nc\nd\ne\n")), Carried::SetAside);
        assert_eq!(carry(base, own, None), Carried::SetAside);
        assert_eq!(carry(b"\xff1", b"\xff2", Some(b"\xff3")), Carried::SetAside);
        assert_eq!(carry(base, own, Some(own)), Carried::Merged(own.to_vec()));
    }
}
