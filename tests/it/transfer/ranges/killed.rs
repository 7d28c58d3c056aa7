//! Processes that are killed.

use rand::Rng;

use super::*;

#[tokio::test]
async fn killed_ten_times_it_fetches_hardly_more_than_the_file() {
    let size = 96 * MIB;
    let scene = wide(size);
    slowly(&scene, 6); // 10 MiB/s each
    for _ in 0..10 {
        let mut process = scene.process().env("CUTEST_SIZE", size.to_string()).spawn().unwrap();
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
