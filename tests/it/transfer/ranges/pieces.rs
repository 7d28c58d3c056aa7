//! Only some bytes of a file.

use std::ops::Range;
use std::os::unix::fs::{FileExt, MetadataExt};

use compose_upgrade::release::Digest;
use compose_upgrade::transfer::{Pieces, Seed, SeedPiece};

use super::*;

const M: u64 = MIB as u64;

/// Pieces all over a file of 12 MiB.
fn wanted() -> Vec<Range<u64>> {
    vec![0..700, 9 * M..9 * M + 5000, M..3 * M, 12 * M - 1..12 * M]
}

fn total(ranges: &[Range<u64>]) -> u64 {
    ranges.iter().map(|range| range.end - range.start).sum()
}

async fn pieces_of(scene: &Scene, distrusted: &[Range<u64>]) -> Pieces {
    let request = FileRequest { expect: None, ..scene.request() };
    fetcher_of(scene, policy(4)).pieces(&request, &wanted(), distrusted).await.unwrap()
}

#[track_caller]
fn assert_there(scene: &Scene, pieces: &Pieces) {
    let part = pieces.part.as_ref().expect("they are served");
    let file = std::fs::File::open(part).unwrap();
    assert_eq!(file.metadata().unwrap().len(), scene.content.len() as u64);
    for range in wanted() {
        let mut found = vec![0; (range.end - range.start) as usize];
        file.read_exact_at(&mut found, range.start).unwrap();
        assert!(found == scene.content[range.start as usize..range.end as usize], "{range:?}");
    }
}

#[tokio::test]
async fn they_come_alone_once_and_take_no_more_room() {
    let scene = wide(12 * MIB);
    let pieces = pieces_of(&scene, &[]).await;
    assert_there(&scene, &pieces);
    assert_eq!(pieces.transferred, total(&wanted()));
    assert_eq!(scene.server.bytes_sent(), total(&wanted()));
    let part = std::fs::metadata(scene.part()).unwrap();
    assert!(part.blocks() * 512 < 3 * M, "holes take room: {} blocks", part.blocks());
    {
        let events = scene.recorder.0.lock().unwrap();
        let last = events.iter().filter_map(|event| event.amount.as_ref()).next_back().unwrap();
        assert_eq!((last.done, last.total), (total(&wanted()), Some(total(&wanted()))));
    }
    // Another process finds them.
    let again = pieces_of(&scene, &[]).await;
    assert_eq!(again.transferred, 0);
    assert_there(&scene, &again);
    // What turned out wrong comes again, and nothing else does.
    let file = std::fs::File::options().write(true).open(scene.part()).unwrap();
    file.write_all_at(&[0; 100], M + 10).unwrap();
    let again = pieces_of(&scene, std::slice::from_ref(&(M..M + 200))).await;
    assert_eq!(again.transferred, 200);
    assert_there(&scene, &again);
}

#[tokio::test]
async fn they_go_on_where_they_were_cut_off() {
    let scene = wide(12 * MIB);
    scene.server.always(FILE, |request, honest| {
        let first = request.header("range").and_then(|range| range.strip_prefix("bytes=")?.split_once('-'));
        let first: u64 = first.unwrap().0.parse().unwrap();
        if first >= 2 * M { Response::new(503, "") } else { honest(&request) }
    });
    let request = FileRequest { expect: None, ..scene.request() };
    let fault = fetcher_of(&scene, policy(1)).pieces(&request, &wanted(), &[]).await.unwrap_err();
    assert_eq!(fault.code(), Code::SourceUnreachable, "{fault}");
    let before = scene.server.bytes_sent();
    scene.server.always(FILE, |request, honest| honest(&request));
    let pieces = pieces_of(&scene, &[]).await;
    assert_there(&scene, &pieces);
    let again = scene.server.bytes_sent() - before;
    assert_eq!(pieces.transferred, again);
    assert_eq!(again, M + 5000 + 1);
}

#[tokio::test]
async fn a_server_that_cannot_is_told_apart_from_one_that_is_down() {
    let scene = wide(12 * MIB);
    scene.server.always(FILE, |request, honest| {
        let mut request = request;
        request.headers.remove("range");
        honest(&request)
    });
    assert_eq!(pieces_of(&scene, &[]).await.part, None, "it serves no ranges");
    scene.assert_nothing();
    scene.server.always(FILE, |request, honest| honest(&request).without("ETag").without("Last-Modified"));
    assert_eq!(pieces_of(&scene, &[]).await.part, None, "nothing proves it the same");
    scene.server.always(FILE, |_, _| Response::new(503, ""));
    let request = FileRequest { expect: None, ..scene.request() };
    let fault = fetcher_of(&scene, policy(4)).pieces(&request, &wanted(), &[]).await.unwrap_err();
    assert_eq!(fault.code(), Code::SourceUnreachable, "{fault}");
    scene.assert_nothing();
}

#[tokio::test]
async fn pieces_of_two_files_are_never_mixed() {
    let scene = wide(12 * MIB);
    assert_there(&scene, &pieces_of(&scene, &[]).await);
    let mut scene = scene;
    scene.content = noise(12 * MIB);
    std::fs::write(scene.source.join("stack.bundle"), &scene.content).unwrap();
    // All of them are asked for by their validator: the file there is another one now.
    let all = 0..12 * M;
    let pieces = pieces_of(&scene, std::slice::from_ref(&all)).await;
    assert_there(&scene, &pieces);
    assert_eq!(pieces.transferred, total(&wanted()));
}

#[tokio::test]
async fn the_rest_of_a_file_is_enough_where_pieces_are_here() {
    let scene = wide(12 * MIB);
    let pieces = scene.device.join("pieces");
    let file = std::fs::File::create(&pieces).unwrap();
    for range in wanted() {
        let content = &scene.content[range.start as usize..range.end as usize];
        file.write_all_at(content, range.start).unwrap();
    }
    let piece = |range: &Range<u64>, hash| SeedPiece {
        path: pieces.clone(),
        at: range.start,
        range: range.clone(),
        hash,
    };
    let seed = Seed { pieces: wanted().iter().map(|range| piece(range, None)).collect() };
    let fetcher = fetcher_of(&scene, policy(4));
    let fetched = fetcher.file_from(&scene.request(), &seed).await.unwrap();
    scene.assert_complete(&fetched);
    assert_transferred(&fetched, 12 * M - total(&wanted()));
    // Wrong ones are found by the hash, and cost what they would have cost before.
    std::fs::remove_file(&scene.destination).unwrap();
    file.write_all_at(&[0; 100], M + 10).unwrap();
    let fetched = fetcher.file_from(&scene.request(), &seed).await.unwrap();
    scene.assert_complete(&fetched);
    // Where their own hashes are known, only the wrong one is fetched. One whose file is gone is, too.
    std::fs::remove_file(&scene.destination).unwrap();
    let hash = |range: &Range<u64>| Digest::of(&scene.content[range.start as usize..range.end as usize]);
    let mut known: Vec<SeedPiece> = wanted().iter().map(|range| piece(range, Some(hash(range)))).collect();
    known[1].path = scene.device.join("gone");
    let lost = total(&[M..3 * M, wanted()[1].clone()]);
    let fetched = fetcher.file_from(&scene.request(), &Seed { pieces: known }).await.unwrap();
    scene.assert_complete(&fetched);
    assert_transferred(&fetched, 12 * M - total(&wanted()) + lost);
}

#[tokio::test]
async fn one_piece_is_read_into_memory() {
    let scene = wide(9 * MIB);
    let fetcher = fetcher_of(&scene, policy(4));
    let length = scene.content.len() as u64;
    let piece = fetcher.piece(&scene.at(FILE), 500..900, length).await.unwrap();
    assert_eq!(piece.as_deref(), Some(&scene.content[500..900]));
    assert_eq!(scene.server.bytes_sent(), 400);
    assert_eq!(fetcher.piece(&scene.at(FILE), 500..900, length + 1).await.unwrap(), None, "another length");
    let local = Location::local(scene.source.join("stack.bundle"));
    assert_eq!(fetcher.piece(&local, 500..900, length).await.unwrap(), None);
    let fault = fetcher.piece(&scene.at("/absent"), 500..900, length).await.unwrap_err();
    assert_eq!(fault.code(), Code::SourceRefused, "{fault}");
}
