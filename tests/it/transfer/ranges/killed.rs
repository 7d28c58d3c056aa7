//! Processes that are killed.

use rand::Rng;

use super::*;
use compose_upgrade::settings::DownloadSettings;

/// What the process in the next test does until it is killed.
#[tokio::test]
#[ignore = "run as a process of its own by the next test"]
async fn the_process_that_is_killed() {
    let (Ok(url), Ok(device)) = (std::env::var("CUTEST_URL"), std::env::var("CUTEST_DEVICE")) else { return };
    let device = PathBuf::from(device);
    let store = Arc::new(Store::open(&device.join("state.db")).unwrap());
    let fetcher = Fetcher::new(store, &DownloadSettings::default(), Progress::silent()).unwrap();
    let request = FileRequest {
        locations: vec![Location::parse(&url).unwrap()],
        name: "stack.bundle".into(),
        destination: device.join("bundles/stack.bundle"),
        expect: Some(std::env::var("CUTEST_HASH").unwrap().parse().unwrap()),
        size: Some(std::env::var("CUTEST_SIZE").unwrap().parse().unwrap()),
    };
    fetcher.file(&request).await.unwrap();
}

#[tokio::test]
async fn killed_ten_times_it_fetches_hardly_more_than_the_file() {
    let size = 96 * MIB;
    let scene = wide(size);
    slowly(&scene, 6); // 10 MiB/s each
    for _ in 0..10 {
        let mut process = tokio::process::Command::new(std::env::current_exe().unwrap())
            .args(["--ignored", "--exact", "transfer::ranges::killed::the_process_that_is_killed"])
            .env("CUTEST_URL", scene.server.url_of(FILE))
            .env("CUTEST_DEVICE", &scene.device)
            .env("CUTEST_HASH", Digest::of(&scene.content).to_string())
            .env("CUTEST_SIZE", size.to_string())
            .stdout(std::process::Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let until = scene.server.bytes_sent() + rand::rng().random_range(1..5 * MIB as u64);
        while scene.server.bytes_sent() < until {
            assert_eq!(process.try_wait().unwrap(), None, "it ended by itself");
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        process.kill().await.unwrap();
        assert!(!scene.destination.exists());
    }
    let fetched = fetch_with(&scene, 8).await;
    scene.assert_complete(&fetched);
    assert!(fetched.resumed_from.unwrap() > 0);
    assert_eq!(scene.warnings(), [""; 0]);
    let sent = scene.server.bytes_sent();
    assert!(sent < size as u64 + size as u64 / 10, "{sent} bytes were sent of {size}");
}
