//! Which mirror first. What a server gave is remembered, and forgotten by and by: links change.

use std::collections::BTreeMap;
use std::time::Duration;

use rusqlite::params;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::location::Location;
use crate::fault::{Code, Fault, Result};
use crate::state::Store;

/// What a server of which nothing is known is taken for, in bytes a second. One that gave less is not asked first again
/// before the others had their turn.
const USUAL: f64 = 1024.0 * 1024.0;
/// After so long a measured rate counts for half, and [`USUAL`] for the other half.
const HALF_LIFE: f64 = 7.0 * 24.0 * 3600.0;
/// Fewer bytes say nothing about a rate.
const TELLING: u64 = 256 * 1024;
/// What a failure leaves of a rate.
const AFTER_FAILURE: f64 = 0.5;

/// A rate and its age in seconds.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Measured {
    rate: f64,
    age: f64,
}

impl Measured {
    /// What it is worth today.
    fn expected(self) -> f64 {
        let weight = 0.5f64.powf(self.age.max(0.0) / HALF_LIFE);
        weight * self.rate + (1.0 - weight) * USUAL
    }

    /// With what was seen now: old measurements count less, and a single odd one does not turn everything over.
    fn joined(known: Option<Self>, seen: f64) -> f64 {
        match known {
            Some(known) => (known.expected() + seen) / 2.0,
            None => seen,
        }
    }
}

/// Sorts places by what is expected of their servers; those that promise the same stay in the order of the publisher, and
/// what is on this machine is faster than any server.
fn sorted<T>(places: Vec<(Option<String>, T)>, known: &BTreeMap<String, Measured>) -> Vec<T> {
    let expected = |server: &Option<String>| match server {
        None => f64::INFINITY,
        Some(server) => known.get(server).map_or(USUAL, |measured| measured.expected()),
    };
    let mut places: Vec<(f64, T)> =
        places.into_iter().map(|(server, place)| (expected(&server), place)).collect();
    places.sort_by(|(one, _), (other, _)| other.total_cmp(one));
    places.into_iter().map(|(_, place)| place).collect()
}

/// The locations, the one that promises most first.
pub(super) fn order<'a>(store: &Store, locations: &'a [Location]) -> Result<Vec<&'a Location>> {
    if locations.len() < 2 {
        return Ok(locations.iter().collect());
    }
    let known = load(store)?;
    Ok(sorted(locations.iter().map(|location| (location.server(), location)).collect(), &known))
}

/// Remembers that `bytes` came in `took`.
pub(super) fn gave(store: &Store, at: &Location, bytes: u64, took: Duration) -> Result<()> {
    let Some(server) = at.server().filter(|_| bytes >= TELLING) else { return Ok(()) };
    let known = load(store)?.get(&server).copied();
    save(store, &server, Measured::joined(known, bytes as f64 / took.as_secs_f64().max(1e-3)))
}

/// Remembers that it failed.
pub(super) fn failed(store: &Store, at: &Location) -> Result<()> {
    let Some(server) = at.server() else { return Ok(()) };
    let known = load(store)?.get(&server).copied();
    save(store, &server, known.map_or(USUAL, Measured::expected).min(USUAL) * AFTER_FAILURE)
}

fn save(store: &Store, server: &str, rate: f64) -> Result<()> {
    let now = OffsetDateTime::now_utc()
        .format(&Rfc3339)
        .map_err(|error| Fault::from_error(Code::StateInvalid, store.path().display(), error))?;
    let sql = "INSERT OR REPLACE INTO servers (server, rate, at) VALUES (?1, ?2, ?3)";
    store.with(|db| db.execute(sql, params![server, rate, now])).map(drop)
}

fn load(store: &Store) -> Result<BTreeMap<String, Measured>> {
    let rows: Vec<(String, f64, String)> = store.with(|db| {
        let mut rows = db.prepare("SELECT server, rate, at FROM servers")?;
        rows.query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?.collect()
    })?;
    let now = OffsetDateTime::now_utc();
    let measured = |(server, rate, at): (String, f64, String)| {
        // A moment that cannot be read is long ago.
        let at = OffsetDateTime::parse(&at, &Rfc3339).unwrap_or(OffsetDateTime::UNIX_EPOCH);
        (server, Measured { rate, age: (now - at).as_seconds_f64() })
    };
    Ok(rows.into_iter().map(measured).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: f64 = 24.0 * 3600.0;

    #[test]
    fn the_fastest_comes_first_and_the_publisher_decides_among_equals() {
        let mb = |rate: f64, days: f64| Some(Measured { rate: rate * 1e6, age: days * DAY });
        for (known, order) in [
            ([None, None, None], "abc"),
            ([mb(5.0, 0.0), None, None], "abc"),
            ([mb(0.2, 0.0), None, None], "bca"),
            ([mb(2.0, 0.0), mb(3.0, 0.0), mb(9.0, 0.0)], "cba"),
            ([mb(2.0, 0.0), mb(2.0, 0.0), mb(0.5, 0.0)], "abc"),
            // All are slow from here: each had its turn, the best stays.
            ([mb(0.2, 0.0), mb(0.3, 0.0), mb(0.25, 0.0)], "bca"),
            // What was measured long ago says little, ...
            ([mb(0.2, 0.0), mb(0.21, 0.0), mb(0.19, 60.0)], "cba"),
            // ... and a fast one loses its lead.
            ([mb(4.0, 0.0), mb(9.0, 40.0), None], "abc"),
            ([mb(4.0, 0.0), mb(9.0, 1.0), None], "bac"),
            // A clock that was set back.
            ([mb(4.0, 0.0), mb(9.0, -400.0), None], "bac"),
        ] {
            let names = ["a", "b", "c"];
            let table = names.iter().zip(known);
            let table = table.filter_map(|(name, known)| Some(((*name).to_owned(), known?))).collect();
            let places = names.iter().map(|name| (Some((*name).to_owned()), *name)).collect();
            assert_eq!(sorted(places, &table).concat(), order, "{known:?}");
        }
        let places = vec![(Some("a".to_owned()), "a"), (None, "usb")];
        assert_eq!(sorted(places, &BTreeMap::new()), ["usb", "a"]);
    }

    #[test]
    fn what_was_seen_is_remembered() {
        let store = Store::in_memory().unwrap();
        let at = |text: &str| Location::parse(text).unwrap();
        let places = [at("http://a/x"), at("http://b/x"), at("http://b:81/x?sig=s3cret")];
        let first = |store: &Store| order(store, &places).unwrap()[0].clone();
        let second = Duration::from_secs(1);
        assert_eq!(first(&store), places[0]);
        gave(&store, &places[1], TELLING - 1, Duration::from_nanos(1)).unwrap();
        assert_eq!(first(&store), places[0], "too little to tell");
        gave(&store, &places[1], 9_000_000, second).unwrap();
        assert_eq!(first(&store), places[1]);
        gave(&store, &places[2], 20_000_000, second).unwrap();
        assert_eq!(first(&store), places[2]);
        failed(&store, &places[2]).unwrap();
        assert_eq!(first(&store), places[1], "a failure weighs more than its rate");
        failed(&store, &places[1]).unwrap();
        assert_eq!(first(&store), places[0]);
        gave(&store, &Location::local("/x"), 9_000_000, second).unwrap();
        let servers: Vec<String> = load(&store).unwrap().into_keys().collect();
        assert_eq!(servers, ["http://b", "http://b:81"], "neither paths nor secrets");
    }
}
