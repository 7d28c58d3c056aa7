//! What is remembered of a download by ranges, by whom it is believed, and for how long.

use super::*;

fn map_of(scene: &Scene) -> PathBuf {
    let mut name = scene.part().into_os_string();
    name.push(".map");
    name.into()
}

/// Changes the newest record of the map; its checksum is right again afterwards.
fn tamper(scene: &Scene, change: impl Fn(&mut serde_json::Value)) {
    let content = std::fs::read(map_of(scene)).unwrap();
    let record = |slot: &[u8]| -> Option<serde_json::Value> {
        let line = slot.split(|byte| *byte == b'\n').next()?;
        serde_json::from_str(std::str::from_utf8(line).ok()?.split_once(' ')?.1).ok()
    };
    let turn = |record: &serde_json::Value| record["turn"].as_u64().unwrap();
    let mut newest = content.chunks(8192).filter_map(record).max_by_key(turn).unwrap();
    change(&mut newest);
    let text = newest.to_string();
    std::fs::write(map_of(scene), format!("{} {text}\n", Digest::of(&text).hex())).unwrap();
}

/// The bytes that the state database vouches for.
fn durable(scene: &Scene) -> Vec<(u64, u64)> {
    let store = Store::open(&scene.device.join("state.db")).unwrap();
    let text: String =
        store.with(|db| db.query_row("SELECT extents FROM downloads", [], |row| row.get(0))).unwrap();
    serde_json::from_str(&text).unwrap()
}

fn total(extents: &[(u64, u64)]) -> u64 {
    extents.iter().map(|(start, end)| end - start).sum()
}

/// Fetches until so many answers were given, then every further one is a failure.
async fn failed_after(scene: &Scene, answers: usize) {
    let given = std::sync::atomic::AtomicUsize::new(0);
    scene.server.always(FILE, move |request, honest| {
        match given.fetch_add(1, std::sync::atomic::Ordering::SeqCst) < answers {
            true => honest(&request),
            false => Response::new(500, "broken"),
        }
    });
    let policy = Policy { attempts: 1, ..policy(2) };
    let fault = fetcher_of(scene, policy).file(&scene.request()).await.unwrap_err();
    assert_eq!(fault.code(), Code::SourceUnreachable, "{fault}");
    scene.server.always(FILE, |request, honest| honest(&request));
}

#[tokio::test]
async fn what_was_written_is_not_fetched_again() {
    let scene = wide(24 * MIB);
    slowly(&scene, 2);
    dropped_after(&scene, &scene.request(), 10 * MIB as u64).await;
    let fetched = fetch_with(&scene, 4).await;
    scene.assert_complete(&fetched);
    let kept = fetched.resumed_from.unwrap();
    assert_transferred(&fetched, 24 * MIB as u64 - kept);
    assert!(kept >= 8 * MIB as u64, "{kept}");
    let events = scene.recorder.0.lock().unwrap();
    let last = events.iter().filter_map(|event| event.amount.as_ref()).next_back().unwrap();
    assert_eq!((last.done, last.total), (24 * MIB as u64, Some(24 * MIB as u64)));
}

#[tokio::test]
async fn after_a_power_cut_only_what_was_synced_counts() {
    let scene = wide(24 * MIB);
    failed_after(&scene, 12).await;
    let durable = durable(&scene);
    assert!(total(&durable) >= 4 * MIB as u64, "{durable:?}");
    // Another start of the machine, and what was not synced is lost.
    tamper(&scene, |record| {
        record["boot"] = "another".into();
        record["extents"] = serde_json::json!([[0, 24 * MIB]]);
    });
    let mut part = std::fs::read(scene.part()).unwrap();
    let mut at = 0;
    for (start, end) in durable.iter().chain([&(24 * MIB as u64, 0)]) {
        part[at..*start as usize].fill(0);
        at = *end as usize;
    }
    std::fs::write(scene.part(), part).unwrap();
    let fetched = fetch_with(&scene, 4).await;
    scene.assert_complete(&fetched);
    assert_eq!(fetched.resumed_from, Some(total(&durable)));
    assert_transferred(&fetched, 24 * MIB as u64 - total(&durable));
}

#[tokio::test]
async fn a_map_that_lies_costs_time_and_nothing_else() {
    let lies: [serde_json::Value; 4] = [
        serde_json::json!([[0, 24 * MIB]]),
        serde_json::json!([[20 * MIB, 23 * MIB]]),
        serde_json::json!([[0, u64::MAX], [5, 3]]),
        // More than one byte, which may well be the zero that is there.
        serde_json::json!([[24 * MIB - 16, 24 * MIB]]),
    ];
    for lie in lies {
        let scene = wide(24 * MIB);
        slowly(&scene, 2);
        dropped_after(&scene, &scene.request(), 5 * MIB as u64).await;
        tamper(&scene, |record| record["extents"] = lie.clone());
        let fetched = fetch_with(&scene, 4).await;
        scene.assert_complete(&fetched);
        assert_eq!(fetched.resumed_from, None, "it was fetched anew: {lie}");
        assert!(scene.warnings()[0].contains("promised content"), "{:?}", scene.warnings());
    }
}

#[tokio::test]
async fn a_part_of_another_length_becomes_the_file_and_nothing_more() {
    for length in [24 * MIB as u64 + 5, 24 * MIB as u64 - 5, 1000, 0] {
        let scene = wide(24 * MIB);
        slowly(&scene, 2);
        dropped_after(&scene, &scene.request(), 10 * MIB as u64).await;
        std::fs::File::options().write(true).open(scene.part()).unwrap().set_len(length).unwrap();
        scene.assert_complete(&fetch_with(&scene, 4).await);
        assert_eq!(scene.warnings(), [""; 0]);
    }
}

#[tokio::test]
async fn a_map_that_is_torn_or_about_something_else_is_not_read() {
    let scene = wide(12 * MIB);
    type Spoil = Box<dyn Fn(&Scene)>;
    let spoilt: [Spoil; 5] = [
        Box::new(|scene| std::fs::write(map_of(scene), [0x41; 16384]).unwrap()),
        Box::new(|scene| std::fs::write(map_of(scene), b"").unwrap()),
        Box::new(|scene| tamper(scene, |record| record["schema"] = 2.into())),
        Box::new(|scene| tamper(scene, |record| record["validator"] = Digest::of(b"x").to_string().into())),
        Box::new(|scene| tamper(scene, |record| record["length"] = 7.into())),
    ];
    for spoil in spoilt {
        slowly(&scene, 4);
        dropped_after(&scene, &scene.request(), 5 * MIB as u64).await;
        spoil(&scene);
        let known = total(&durable(&scene));
        let fetched = fetch_with(&scene, 4).await;
        scene.assert_complete(&fetched);
        assert_transferred(&fetched, 12 * MIB as u64 - known);
        std::fs::remove_file(&scene.destination).unwrap();
    }
}

#[tokio::test]
async fn a_part_of_another_file_is_not_continued() {
    let mut scene = wide(12 * MIB);
    slowly(&scene, 4);
    dropped_after(&scene, &scene.request(), 4 * MIB as u64).await;
    scene.content = noise(12 * MIB);
    std::fs::write(scene.source.join("stack.bundle"), &scene.content).unwrap();
    // The promise is another one, too, but the part has the same name.
    let fetched = fetch_with(&scene, 4).await;
    scene.assert_complete(&fetched);
    assert_transferred(&fetched, 12 * MIB as u64);
    assert_eq!(fetched.resumed_from, None);
}

#[tokio::test]
async fn a_file_that_changed_since_is_fetched_anew() {
    let mut scene = wide(12 * MIB);
    slowly(&scene, 4);
    let request = FileRequest { expect: None, ..scene.request() };
    dropped_after(&scene, &request, 4 * MIB as u64).await;
    let first = scene.server.statuses(FILE).len();
    scene.content = noise(12 * MIB);
    std::fs::write(scene.source.join("stack.bundle"), &scene.content).unwrap();
    let fetched = fetcher_of(&scene, policy(4)).file(&request).await.unwrap();
    scene.assert_complete(&fetched);
    assert_transferred(&fetched, 12 * MIB as u64);
    assert_eq!(fetched.resumed_from, None);
    assert_eq!(scene.statuses()[first], 200);
    assert!(scene.statuses()[first + 1..].iter().all(|status| *status == 206), "by ranges again");
    assert_eq!(scene.warnings(), [""; 0]);
}

#[tokio::test]
async fn one_connection_fills_what_several_left() {
    let scene = wide(24 * MIB);
    slowly(&scene, 2);
    dropped_after(&scene, &scene.request(), 10 * MIB as u64).await;
    let fetched = fetch_with(&scene, 1).await;
    scene.assert_complete(&fetched);
    assert!(fetched.resumed_from.unwrap() >= 8 * MIB as u64);
    assert_transferred(&fetched, 24 * MIB as u64 - fetched.resumed_from.unwrap());
}

/// A part and a row as versions before ranges left them: the part is a prefix, and there is no column for extents.
#[tokio::test]
async fn a_part_of_before_is_continued_by_ranges() {
    let scene = wide(20 * MIB);
    let prefix = 7_654_321;
    let url = scene.server.url_of(FILE);
    scene.server.always(FILE, |request, honest| honest(&request).set("ETag", "\"frozen\""));
    std::fs::create_dir(scene.destination.parent().unwrap()).unwrap();
    std::fs::write(scene.part(), &scene.content[..prefix]).unwrap();
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let old = rusqlite::Connection::open(scene.device.join("state.db")).unwrap();
    for name in ["0001_initial", "0002_repair_and_reports", "0003_backup_copies"] {
        let sql = std::fs::read_to_string(root.join(format!("migrations/{name}.sql"))).unwrap();
        old.execute_batch(&sql).unwrap();
    }
    let row = std::fs::read_to_string(root.join("fixtures/download/v1-row.sql")).unwrap();
    let row = row
        .replace("{hash}", &Digest::of(&scene.content).to_string())
        .replace("{part}", &scene.part().display().to_string())
        .replace("{url}", &url);
    old.execute_batch(&row).unwrap();
    old.pragma_update(None, "user_version", 3).unwrap();
    drop(old);
    // The frozen tag, and then the one the server really has.
    scene.server.always(FILE, |mut request, honest| {
        assert_eq!(request.headers.remove("if-range").as_deref(), Some("\"frozen\""));
        honest(&request).set("ETag", "\"frozen\"")
    });
    let fetched = fetch_with(&scene, 4).await;
    scene.assert_complete(&fetched);
    assert_eq!(fetched.resumed_from, Some(prefix as u64));
    assert_transferred(&fetched, (20 * MIB - prefix) as u64);
    assert_eq!(asked(&scene).iter().map(|(first, _)| *first).min(), Some(prefix as u64));
    assert!(scene.statuses().iter().all(|status| *status == 206));
}
