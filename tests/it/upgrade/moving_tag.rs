//! A tag that stands for another image in every release, like `:latest`.

use crate::support::stack::{Device, IDLE, Stack, image_id};

#[test]
fn a_tag_that_moved_moves_back_with_the_stack() {
    let mut stack = Stack::new();
    stack.release("1.0.0", |r| {
        r.service("app", IDLE);
    });
    let device = Device::init(&stack);
    let (image, old) = (stack.image("app"), device.container("app"));
    stack.release("1.1.0", |r| {
        r.rebuild_same_tag("app").service("app", "command: [sh, -c, exit 1]");
    });
    let ended = device.upgrade(&[]);
    assert_eq!(ended.code, 20, "{ended:#?}");
    assert_eq!(device.container("app").image, old.image);
    assert_eq!(image_id(&image).as_ref(), Some(&old.image), "the tag stands for the old image again");
    assert_eq!(device.sh("app", "cat /own"), "build 1");

    stack.release("1.2.0", |r| {
        r.rebuild_same_tag("app").service("app", IDLE);
    });
    let ended = device.upgrade(&[]);
    assert_eq!(ended.code, 0, "{ended:#?}");
    assert_eq!(device.sh("app", "cat /own"), "build 3");
    let new = image_id(&image).unwrap();
    assert_ne!(new, old.image);
    let ended = device.rollback(&["--to", "previous"]);
    assert_eq!(ended.code, 0, "{ended:#?}");
    assert_eq!(device.sh("app", "cat /own"), "build 1");
    assert_eq!(image_id(&image), Some(old.image));
}
