//! What a name in `[backup.data]` and `backup.exclude` means.

use std::collections::BTreeMap;

use super::{DataPolicy, Way};

/// One piece of a stack's data. Its own name may be that of another piece, too: a volume and a persist path can both be
/// called `data`. The name of its part, `volumes/data` or `persist/data`, always says which.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Piece<'n> {
    /// A named volume, by its Compose key.
    Volume(&'n str),
    /// A persist path.
    Path(&'n str),
    /// A folder or file of the host that a service mounts, by its absolute path.
    Host(&'n str),
}

impl Piece<'_> {
    /// Its own name.
    fn own(&self) -> &str {
        match self {
            Self::Volume(name) | Self::Path(name) | Self::Host(name) => name,
        }
    }

    /// The name of its part in an archive.
    pub fn part(&self) -> String {
        match self {
            Self::Volume(key) => format!("volumes/{key}"),
            Self::Path(path) => format!("persist/{path}"),
            Self::Host(path) => format!("host/{}", path.trim_start_matches('/')),
        }
    }

    /// Whether `name` means it, perhaps among others.
    pub fn is_named(&self, name: &str) -> bool {
        name == self.own() || name == self.part()
    }

    /// What is said of it, with the name it is said by: what earlier `sayings` say goes before what later ones do, and in
    /// one of them the name of the part before its own.
    ///
    /// A command gives the data of one piece. Where the name is `shared` with a volume it is that one's, and a path takes
    /// none from it: its files would be in no backup.
    pub fn policy<'s>(
        &self,
        sayings: [&'s BTreeMap<String, DataPolicy>; 2],
        shared: bool,
    ) -> Option<(String, &'s DataPolicy)> {
        let own = self.own();
        let fits = |name: &str, policy: &DataPolicy| {
            let is_another_s = matches!(self, Self::Path(_)) && shared && name == own;
            !(is_another_s && policy.way == Way::Hook)
        };
        let names = [self.part(), own.to_owned()];
        let found = |saying: &'s BTreeMap<String, DataPolicy>| {
            names.iter().find_map(|name| {
                let policy = saying.get(name).filter(|policy| fits(name, policy))?;
                Some((name.clone(), policy))
            })
        };
        sayings.into_iter().find_map(found)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const VOLUME: Piece<'_> = Piece::Volume("data");
    const PATH: Piece<'_> = Piece::Path("data");

    fn saying(all: &[(&str, Way)]) -> BTreeMap<String, DataPolicy> {
        let policy = |way| DataPolicy { way, ..DataPolicy::default() };
        all.iter().map(|(name, way)| ((*name).to_owned(), policy(*way))).collect()
    }

    fn way(piece: Piece<'_>, ours: &[(&str, Way)], theirs: &[(&str, Way)], shared: bool) -> Way {
        let (ours, theirs) = (saying(ours), saying(theirs));
        piece.policy([&ours, &theirs], shared).map(|(_, policy)| policy.way).unwrap_or_default()
    }

    #[test]
    fn a_name_that_two_have_means_both_and_that_of_a_part_one() {
        assert!(VOLUME.is_named("data") && PATH.is_named("data"));
        assert!(VOLUME.is_named("volumes/data") && !PATH.is_named("volumes/data"));
        assert!(PATH.is_named("persist/data") && !VOLUME.is_named("persist/data"));
        let stop = [("data", Way::Stop)];
        assert_eq!((way(VOLUME, &stop, &[], true), way(PATH, &stop, &[], true)), (Way::Stop, Way::Stop));
        let one = [("persist/data", Way::Stop)];
        assert_eq!((way(VOLUME, &one, &[], true), way(PATH, &one, &[], true)), (Way::Warm, Way::Stop));
    }

    #[test]
    fn a_command_by_a_name_that_two_have_is_the_volume_s() {
        let hook = [("data", Way::Hook)];
        assert_eq!((way(VOLUME, &hook, &[], true), way(PATH, &hook, &[], true)), (Way::Hook, Way::Warm));
        // What the release says of the path still holds.
        assert_eq!(way(PATH, &hook, &[("data", Way::Stop)], true), Way::Stop);
        assert_eq!(way(PATH, &hook, &[], false), Way::Hook, "where only the path is called so");
        assert_eq!(way(PATH, &[("persist/data", Way::Hook)], &[], true), Way::Hook);
    }

    #[test]
    fn the_operator_goes_before_the_release_and_the_part_s_name_before_the_bare_one() {
        let (stop, sqlite) = ([("data", Way::Stop)], [("volumes/data", Way::Sqlite)]);
        assert_eq!(way(VOLUME, &stop, &sqlite, true), Way::Stop);
        assert_eq!(way(VOLUME, &[stop[0], sqlite[0]], &[], true), Way::Sqlite);
        assert_eq!(way(PATH, &[stop[0], sqlite[0]], &[], true), Way::Stop);
    }
}
