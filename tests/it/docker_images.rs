//! A load is believed only when the image is there.

use std::io::{Cursor, Read};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use compose_upgrade::Code;
use compose_upgrade::docker::Engine;

use crate::support::engine::{Stack, docker, image_info};

async fn saved(stack: &Stack, reference: &str) -> Vec<u8> {
    let mut reader = stack.engine.save_images(&[reference.to_owned()]).await.unwrap();
    let read = tokio::task::spawn_blocking(move || {
        let mut archive = Vec::new();
        reader.read_to_end(&mut archive).map(|_| archive)
    });
    read.await.unwrap().unwrap()
}

#[tokio::test]
async fn an_image_survives_save_and_load() {
    let stack = Stack::new().await;
    let reference = stack.image_with("x", "1", "VOLUME /var/lib/x");
    let info = image_info(&stack.engine, &reference).await;
    let facts = stack.engine.image_facts(&reference).await.unwrap();
    assert_eq!((facts.os.as_str(), facts.arch.as_str()), ("linux", stack.engine.arch()));
    assert_eq!(facts.volumes, ["/var/lib/x"]);
    let chains = stack.engine.layer_chains().await.unwrap();
    assert!(chains.contains(&(facts.id.clone(), facts.layers.clone())), "{chains:?}");

    let archive = saved(&stack, &reference).await;
    assert!(stack.engine.remove_image(&facts.id).await.unwrap());
    assert_eq!(stack.engine.find_image(&info).await.unwrap(), None);

    let moved = Arc::new(AtomicU64::new(0));
    let counter = moved.clone();
    let size = archive.len() as u64;
    let count = move |bytes| {
        counter.fetch_add(bytes, Ordering::SeqCst);
    };
    stack.engine.load_images(Cursor::new(archive), std::slice::from_ref(&info), count).await.unwrap();
    let found = stack.engine.find_image(&info).await.unwrap().unwrap();
    assert!(Engine::is_image(&info, &found));
    assert!(moved.load(Ordering::SeqCst) <= size && moved.load(Ordering::SeqCst) > size / 2);
    assert_eq!(docker(&["ps", "--all", "--quiet", "--filter", "label=compose-upgrade.proof"]), "");
}

#[tokio::test]
async fn a_load_that_did_not_bring_the_image_is_not_believed() {
    struct Breaks(Cursor<Vec<u8>>);
    impl Read for Breaks {
        fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
            match self.0.read(buffer)? {
                0 => Err(std::io::Error::other("the bundle broke off")),
                count => Ok(count),
            }
        }
    }
    let stack = Stack::new().await;
    let wanted = stack.image("wanted", "1");
    let info = image_info(&stack.engine, &wanted).await;
    let archive = saved(&stack, &wanted).await;
    let other = stack.image("other", "2");
    let foreign = saved(&stack, &other).await;
    assert!(stack.engine.remove_image(&info.id.to_string()).await.unwrap());

    let half = archive[..archive.len() / 2].to_vec();
    let mut damaged = archive.clone();
    for byte in &mut damaged[4096..archive.len() / 2] {
        *byte ^= 0x55;
    }
    let expected = std::slice::from_ref(&info);
    for (what, bytes) in [("cut", half.clone()), ("damaged", damaged), ("garbage", vec![7; 100_000])] {
        let fault = stack.engine.load_images(Cursor::new(bytes), expected, |_| ()).await.unwrap_err();
        assert!(matches!(fault.code(), Code::ImageLoadFailed | Code::ImageWrong), "{what}: {fault}");
        assert_eq!(stack.engine.find_image(&info).await.unwrap(), None, "{what}");
    }
    let fault = stack.engine.load_images(Cursor::new(foreign), expected, |_| ()).await.unwrap_err();
    assert_eq!((fault.code(), fault.object()), (Code::ImageWrong, wanted.as_str()), "{fault}");
    let broken = Breaks(Cursor::new(half));
    let fault = stack.engine.load_images(broken, expected, |_| ()).await.unwrap_err();
    assert_eq!((fault.code(), fault.detail()), (Code::ImageLoadFailed, "the bundle broke off"));
}

#[tokio::test]
async fn tags_move_and_images_in_use_stay() {
    let stack = Stack::new().await;
    let (one, two) = (stack.image("x", "1"), stack.image("x", "2"));
    let engine = &stack.engine;
    let (first, second) =
        (engine.image_id(&one).await.unwrap().unwrap(), engine.image_id(&two).await.unwrap().unwrap());
    engine.tag_image(&second, &one).await.unwrap();
    assert_eq!(engine.image_id(&one).await.unwrap(), Some(second.clone()));
    engine.tag_image(&first, &one).await.unwrap();
    assert_eq!(engine.image_id(&one).await.unwrap(), Some(first.clone()));

    stack.file("1.0.0", "compose.yaml", &format!("services: {{web: {{image: '{one}', init: true}}}}"));
    stack.switch_to("1.0.0");
    stack.administrator(&["up", "--detach"]);
    let more = format!("{one}-more");
    engine.tag_image(&first, &more).await.unwrap();
    assert!(!engine.remove_image(&first).await.unwrap(), "a container uses it");
    assert_eq!(engine.image_id(&more).await.unwrap(), Some(first.clone()), "it keeps all its names");
    engine.untag_image(&more).await.unwrap();
    assert_eq!(engine.image_id(&more).await.unwrap(), None);
    assert!(engine.remove_image(&second).await.unwrap());
    assert!(engine.remove_image(&second).await.unwrap(), "already gone");
    engine.untag_image(&two).await.unwrap();
    let missing = engine.save_images(std::slice::from_ref(&two)).await.err().unwrap();
    assert_eq!((missing.code(), missing.object()), (Code::ImageMissing, two.as_str()));
    assert_eq!(engine.tag_image(&second, &two).await.unwrap_err().code(), Code::ImageMissing);
}
