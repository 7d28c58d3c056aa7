//! Which release ran when the state was lost, perhaps in the middle of a change.

use time::OffsetDateTime;

use super::{Candidate, instant};
use crate::docker::{Container, State};
use crate::release::Version;

/// The release that ran: `current`, as long as the containers have its images. Where what a service had first is of
/// another release, a change to `current` was under way, and that other release is where it came from.
///
/// A change never removes what ran before its commit, so of two containers of a service the older one is what ran; and
/// with the commit `previous` comes to be where it came from.
pub fn runs(
    containers: &[Container],
    candidates: &[Candidate],
    current: Option<&Version>,
    previous: Option<&Version>,
) -> Option<Version> {
    let known = |one: &&Container| candidates.iter().any(|candidate| candidate.fits(one));
    let seen: Vec<&Container> =
        containers.iter().filter(|one| !one.one_off && one.state != State::Created).filter(known).collect();
    let is_of_current = |one: &Container| {
        candidates.iter().any(|candidate| Some(&candidate.version) == current && candidate.fits(one))
    };
    let first: Vec<&Container> = seen.iter().copied().filter(|one| is_first(one, &seen)).collect();
    let others: Vec<&Container> = first.iter().copied().filter(|one| !is_of_current(one)).collect();
    let best = candidates
        .iter()
        .filter(|candidate| {
            Some(&candidate.version) != current && others.iter().any(|one| candidate.fits(one))
        })
        .max_by_key(|candidate| {
            let fitting = first.iter().filter(|one| candidate.fits(one)).count();
            (fitting, Some(&candidate.version) == previous, &candidate.version)
        })
        .map(|candidate| &candidate.version);
    let mut running = seen.iter().filter(|one| one.is_running()).peekable();
    let committed = best == previous && running.peek().is_some() && running.all(|one| is_of_current(one));
    best.filter(|_| !committed).or(current).cloned()
}

/// Whether no container of its service was made before this one.
fn is_first(one: &Container, all: &[&Container]) -> bool {
    let mut own = all.iter().filter(|other| other.service == one.service);
    own.all(|other| (created(one), &one.id) <= (created(other), &other.id))
}

fn created(container: &Container) -> Option<OffsetDateTime> {
    instant(&container.created_at)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::upgrade::rebuild::engine::tests::candidate;

    const UNPACKED: &str = "2026-01-01T00:00:00Z";

    fn container(service: &str, image: char, hour: u32, state: State) -> Container {
        Container {
            id: format!("{service}-{image}-{hour}"),
            service: service.into(),
            image_id: format!("sha256:{}", image.to_string().repeat(64)),
            created_at: format!("2026-01-02T{hour:02}:00:00Z"),
            state,
            ..Container::default()
        }
    }

    #[test]
    fn what_ran_is_told_from_what_was_coming() {
        // 1.1.0 replaces image a by b.
        let candidates = [candidate("1.1.0", 'b', UNPACKED), candidate("1.0.0", 'a', UNPACKED)];
        let (old, new): (Version, Version) = ("1.0.0".parse().unwrap(), "1.1.0".parse().unwrap());
        let web = |image, hour, state| container("web", image, hour, state);
        let db = |image, hour, state| container("db", image, hour, state);
        use State::{Created, Exited, Running};
        type Case<'a> = (&'a str, Vec<Container>, &'a Version, Option<&'a Version>, &'a Version);
        let cases: [Case<'_>; 7] = [
            ("at rest", vec![web('b', 1, Running)], &new, Some(&old), &new),
            ("all new ones made", vec![web('a', 1, Running), web('b', 2, Created)], &old, None, &old),
            ("pointer switched", vec![web('a', 1, Running), web('b', 2, Created)], &new, None, &old),
            (
                "one swapped",
                vec![web('a', 1, Exited), web('b', 2, Running), db('a', 1, Running), db('b', 2, Created)],
                &new,
                None,
                &old,
            ),
            ("all swapped", vec![web('a', 1, Exited), web('b', 2, Running)], &new, None, &old),
            ("committed", vec![web('a', 1, Exited), web('b', 2, Running)], &new, Some(&old), &new),
            ("pointer switched back", vec![web('a', 1, Exited), web('b', 2, Exited)], &old, None, &old),
        ];
        for (name, containers, current, previous, expected) in cases {
            let found = runs(&containers, &candidates, Some(current), previous);
            assert_eq!(found.as_ref(), Some(expected), "{name}");
        }
        assert_eq!(runs(&[web('b', 1, Running)], &candidates, None, None), Some(new.clone()), "no pointer");
        assert_eq!(runs(&[web('x', 1, Running)], &candidates, Some(&new), None), Some(new), "a stranger");
        assert_eq!(runs(&[], &candidates, None, None), None);
    }
}
