use reqwest::header::HeaderValue;

use super::*;

const MONDAY: &str = "Mon, 02 Nov 2026 08:00:00 GMT";
const SECOND_LATER: &str = "Mon, 02 Nov 2026 08:00:01 GMT";

fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
    let entry = |(name, value): &(&'static str, &str)| {
        (HeaderName::from_static(name), HeaderValue::from_str(value).unwrap())
    };
    pairs.iter().map(entry).collect()
}

fn asked() -> Asked {
    Asked { offset: 5, length: Some(10), validator: Some(Validator::ETag("\"a\"".into())) }
}

fn answer(status: u16, pairs: &[(&'static str, &str)], asked: Option<&Asked>) -> Answer {
    let now = httpdate::parse_http_date(MONDAY).unwrap();
    read(StatusCode::from_u16(status).unwrap(), &headers(pairs), asked, now)
}

#[test]
fn only_strong_validators_count() {
    let tag = |text: &str| Some(Validator::ETag(text.into()));
    let date = Some(Validator::LastModified(MONDAY.into()));
    for (pairs, expected) in [
        (vec![("etag", "\"a\"")], tag("\"a\"")),
        (vec![("etag", "\"\"")], tag("\"\"")),
        (vec![("etag", "W/\"a\"")], None),
        (vec![("etag", "a")], None),
        (vec![("etag", "\"")], None),
        (vec![("etag", "\"a\""), ("last-modified", MONDAY), ("date", SECOND_LATER)], tag("\"a\"")),
        (vec![("etag", "W/\"a\""), ("last-modified", MONDAY), ("date", SECOND_LATER)], date.clone()),
        (vec![("last-modified", MONDAY), ("date", SECOND_LATER)], date),
        (vec![("last-modified", MONDAY), ("date", MONDAY)], None),
        (vec![("last-modified", SECOND_LATER), ("date", MONDAY)], None),
        (vec![("last-modified", MONDAY)], None),
        (vec![("last-modified", "yesterday"), ("date", MONDAY)], None),
        (vec![], None),
    ] {
        assert_eq!(Validator::of(&headers(&pairs)), expected, "{pairs:?}");
    }
}

#[test]
fn a_whole_answer_is_whole_whatever_was_asked() {
    let expected = Answer::Whole { length: Some(10), validator: Some(Validator::ETag("\"b\"".into())) };
    let pairs = [("content-length", "10"), ("etag", "\"b\"")];
    assert_eq!(answer(200, &pairs, None), expected);
    assert_eq!(answer(200, &pairs, Some(&asked())), expected);
    assert_eq!(answer(200, &[], None), Answer::Whole { length: None, validator: None });
    assert!(matches!(answer(200, &[("content-encoding", "gzip")], None), Answer::Refused { .. }));
}

#[test]
fn the_rest_is_taken_only_from_the_same_file() {
    let start_over: &[&[(&'static str, &str)]] = &[
        &[],
        &[("content-range", "bytes 5-9/11")],
        &[("content-range", "bytes 4-9/10")],
        &[("content-range", "bytes 6-9/10")],
        &[("content-range", "bytes 5-10/10")],
        &[("content-range", "bytes 5-4/10")],
        &[("content-range", "bytes 5-9/*")],
        &[("content-range", "bytes */10")],
        &[("content-range", "lines 5-9/10")],
        &[("content-range", "bytes +5-9/10")],
        &[("content-range", "bytes 5-9/10"), ("etag", "\"b\"")],
        &[("content-range", "bytes 5-9/10"), ("content-encoding", "gzip")],
        &[("content-range", "bytes 5-9/10"), ("etag", "W/\"a\"")],
        &[("content-range", "bytes 5-9/10"), ("content-length", "6")],
        &[("content-type", "multipart/byteranges; boundary=x")],
    ];
    for pairs in start_over {
        assert_eq!(answer(206, pairs, Some(&asked())), Answer::StartOver, "{pairs:?}");
    }
    let rest: &[(u64, &[(&'static str, &str)])] = &[
        (10, &[("content-range", "bytes 5-9/10")]),
        (10, &[("content-range", "bytes 5-9/10"), ("etag", "\"a\""), ("content-length", "5")]),
        (8, &[("content-range", "bytes 5-7/10")]), // less than asked is still the same file
    ];
    for (end, pairs) in rest {
        let expected = Answer::Rest { end: *end, length: 10 };
        assert_eq!(answer(206, pairs, Some(&asked())), expected, "{pairs:?}");
    }
    // The first request knows neither length nor validator: whatever file it is, it is the one.
    let first = Asked { offset: 5, length: None, validator: None };
    let pairs = [("content-range", "bytes 5-9/11"), ("etag", "\"b\"")];
    assert_eq!(answer(206, &pairs, Some(&first)), Answer::Rest { end: 10, length: 11 });
    assert!(matches!(answer(206, &[("content-range", "bytes 0-9/10")], None), Answer::Refused { .. }));
}

#[test]
fn a_range_past_the_end_is_complete_or_nonsense() {
    assert_eq!(answer(416, &[("content-range", "bytes */5")], Some(&asked())), Answer::Complete);
    assert_eq!(answer(416, &[("content-range", "bytes */4")], Some(&asked())), Answer::StartOver);
    assert_eq!(answer(416, &[], Some(&asked())), Answer::StartOver);
    assert_eq!(answer(412, &[], Some(&asked())), Answer::StartOver);
    assert!(matches!(answer(416, &[], None), Answer::Refused { .. }));
}

#[test]
fn failures_are_passing_or_final() {
    for status in [408, 425, 429, 500, 502, 503, 504, 520] {
        assert!(matches!(answer(status, &[], None), Answer::Later { wait: None, .. }), "{status}");
    }
    for status in [204, 302, 304, 400, 401, 403, 404, 405, 410, 451, 501, 505] {
        let absent = matches!(status, 404 | 410);
        let refused = answer(status, &[], Some(&asked()));
        assert!(matches!(refused, Answer::Refused { absent: a, .. } if a == absent), "{status}: {refused:?}");
    }
}

#[test]
fn retry_after_is_read_in_both_forms() {
    for (status, value, expected) in [
        (503, "7", Some(7)),
        (429, "0", Some(0)),
        (503, SECOND_LATER, Some(1)),
        (503, "Mon, 02 Nov 2026 07:00:00 GMT", Some(0)),
        (503, "soon", None),
        (503, "-1", None),
        (500, "7", None),
    ] {
        let Answer::Later { wait, .. } = answer(status, &[("retry-after", value)], None) else { panic!() };
        assert_eq!(wait.map(|wait| wait.as_secs()), expected, "{status} {value}");
    }
}
