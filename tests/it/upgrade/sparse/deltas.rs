//! A layer of which a part changed comes as what changed.

use compose_upgrade::release::Digest;

use super::*;

/// So many bytes of the ballast are others in 1.1.0.
const EDITED: usize = 60_000;

/// A base of which a little changed, and on it a layer that is as it was: to the engine, that is another one, too.
fn edited() -> (Site, Digest) {
    let mut stack = Stack::new();
    let mut ballast = noise(BALLAST);
    stack.context("bin/ballast", &ballast);
    stack.context("blob", &noise(BLOB));
    stack.release("1.0.0", |r| {
        r.service("app", IDLE).dockerfile("app", "COPY blob /blob");
    });
    let (server, device) = Device::served(&stack);
    ballast[3_000_000..3_000_000 + EDITED].copy_from_slice(&noise(EDITED));
    stack.context("bin/ballast", &ballast);
    stack.release("1.1.0", |r| {
        r.rebuild("app").delta_from("1.0.0");
    });
    (Site { device, server, stack }, Digest::of(&ballast))
}

fn ballast(site: &Site) -> Digest {
    site.device.sh("app", "sha256sum /bin/ballast").split_whitespace().next().unwrap().parse().unwrap()
}

/// Where the delta is in the bundle as it is served, of which the index is read.
fn delta_in(index: &serde_json::Value) -> &serde_json::Value {
    let members = index["members"].as_array().unwrap();
    members.iter().find(|member| member["path"].as_str().unwrap().starts_with("deltas/")).expect("a delta")
}

#[test]
fn only_what_changed_in_it_comes_and_the_whole_release_is_here_then() {
    let (site, changed) = edited();
    let (code, plan) = site.device.ask(&["plan"]);
    assert_eq!(code, 0, "{plan:#}");
    let planned = plan["bytes_to_fetch"].as_u64().unwrap();
    assert!(planned < EDITED as u64 + SMALL, "{plan:#}");
    let ended = site.upgrade();
    assert_eq!((downloaded(&ended), warnings(&ended)), (planned, vec![]), "{ended:#?}");
    assert_eq!(ballast(&site), changed);
    assert_eq!(site.kept("1.1.0"), Kept::Sparse);
    assert!(saved(&site.stack.image("app")) > BALLAST + BLOB, "the image is whole");
    let (code, doctor) = site.device.ask(&["doctor"]);
    assert_eq!(code, 0, "{doctor:#}");

    // There and back without a server, and without the images of what is left behind.
    let Site { device, server, stack } = site;
    drop(server);
    for (version, own) in [("1.0.0", "build 1"), ("1.1.0", "build 2")] {
        let left = device.container("app").image;
        let pattern = format!("reference={}*", stack.project());
        let ids = docker(&["image", "ls", "-q", "--no-trunc", "--filter", &pattern]);
        for id in ids.split_whitespace().filter(|id| *id != left) {
            docker(&["rmi", "-f", id]);
        }
        let ended = device.rollback(&["--to", version]);
        assert_eq!((ended.code, downloaded(&ended)), (0, 0), "{ended:#?}");
        assert_eq!(device.sh("app", "cat /own"), own);
    }
    assert!(saved(&stack.image("app")) > BALLAST + BLOB);
    drop((device, stack));
}

#[test]
fn the_old_layer_comes_out_of_the_engine_where_no_bundle_has_it() {
    let (site, changed) = edited();
    let bundles = std::fs::read_dir(site.device.path("bundles")).unwrap().map(|entry| entry.unwrap().path());
    let bundles: Vec<_> =
        bundles.filter(|path| path.extension().is_some_and(|end| end == "bundle")).collect();
    let [bundle] = &bundles[..] else { panic!("{bundles:?}") };
    std::fs::remove_file(bundle).unwrap();
    site.server.always(&site.path("1.0.0"), |_, _| Response::new(404, ""));
    let ended = site.upgrade();
    // The layer above the base is in no bundle here any more, either.
    assert!(downloaded(&ended) < (BLOB + EDITED) as u64 + SMALL, "{ended:#?}");
    assert_eq!(ballast(&site), changed);
    assert_eq!(site.kept("1.1.0"), Kept::Sparse);
    assert!(saved(&site.stack.image("app")) > BALLAST + BLOB);
}

#[test]
fn a_bundle_that_is_damaged_where_the_old_layer_is_does_not_matter() {
    let (site, changed) = edited();
    let bytes = std::fs::read(site.stack.bundle("1.0.0")).unwrap();
    let here = site.device.path(&format!("bundles/{}.bundle", Digest::of(&bytes).hex()));
    let file = std::fs::File::options().write(true).open(here).unwrap();
    std::os::unix::fs::FileExt::write_all_at(&file, &[0; 100], 2_000_000).unwrap();
    site.upgrade();
    assert_eq!(ballast(&site), changed);
    assert!(saved(&site.stack.image("app")) > BALLAST + BLOB);
}

#[test]
fn a_delta_that_makes_something_else_is_never_loaded() {
    let (site, changed) = edited();
    let folder = site.stack.source();
    let path = folder.join(site.path("1.1.0").trim_start_matches('/'));
    let index_path = format!("{}.index.json", path.display());
    let (mut bundle, index) = (std::fs::read(&path).unwrap(), std::fs::read_to_string(&index_path).unwrap());
    let document: serde_json::Value = serde_json::from_str(&index).unwrap();
    let delta = delta_in(&document);
    let at = delta["offset"].as_u64().unwrap() as usize;
    let length = delta["length"].as_u64().unwrap() as usize;
    // The end of its last frame: everything before is as it should be.
    let before = Digest::of(&bundle);
    bundle[at + length - 100..at + length].fill(0);
    let spoilt = Digest::of(&bundle[at..at + length]).to_string();
    let new_index = index.replace(delta["encoded_hash"].as_str().unwrap(), &spoilt);
    let manifest = std::fs::read_to_string(folder.join("manifest.json")).unwrap();
    let new_manifest = manifest
        .replace(&before.to_string(), &Digest::of(&bundle).to_string())
        .replace(&Digest::of(&index).to_string(), &Digest::of(&new_index).to_string());
    std::fs::write(&path, &bundle).unwrap();
    std::fs::write(&index_path, new_index).unwrap();
    std::fs::write(folder.join("manifest.json"), new_manifest).unwrap();

    let ended = site.upgrade();
    assert!(warnings(&ended).iter().any(|text| text.contains("were to be made here")), "{ended:#?}");
    assert!(
        downloaded(&ended) > BALLAST as u64 && downloaded(&ended) < (BALLAST + BLOB) as u64,
        "{ended:#?}"
    );
    assert_eq!(ballast(&site), changed);
    assert!(saved(&site.stack.image("app")) > BALLAST + BLOB);
}

#[test]
fn killed_at_every_step_it_is_finished() {
    let (site, changed) = edited();
    for point in
        ["started:fetch", "applied:fetch", "applied:unpack", "started:load_images", "applied:load_images"]
    {
        site.device.killed(point, &["upgrade", "--yes"]);
    }
    let before = site.server.bytes_sent();
    site.upgrade();
    assert!(site.server.bytes_sent() - before < SMALL);
    assert_eq!((site.kept("1.1.0"), ballast(&site)), (Kept::Sparse, changed));
}

#[test]
fn a_chain_of_deltas_needs_no_older_bundle() {
    let (mut site, _) = edited();
    site.upgrade();
    let mut ballast_now = vec![0; BALLAST];
    rand::RngCore::fill_bytes(&mut rand::rng(), &mut ballast_now);
    site.stack.context("bin/ballast", &ballast_now);
    site.stack.release("1.2.0", |r| {
        r.rebuild("app").delta_from("1.1.0").delta_from("1.0.0");
    });
    // Nothing of the old base is left: no delta is worth it, and the layer comes.
    let ended = site.device.upgrade(&[]);
    assert_eq!(ended.code, 0, "{ended:#?}");
    assert!(downloaded(&ended) > BALLAST as u64, "{ended:#?}");
    ballast_now[..100].fill(7);
    site.stack.context("bin/ballast", &ballast_now);
    site.stack.release("1.3.0", |r| {
        r.rebuild("app").delta_from("1.2.0").delta_from("1.1.0");
    });
    let ended = site.device.upgrade(&[]);
    assert_eq!((ended.code, warnings(&ended)), (0, vec![]), "{ended:#?}");
    assert!(downloaded(&ended) < SMALL, "{ended:#?}");
    assert_eq!(ballast(&site), Digest::of(&ballast_now));
    assert_eq!(site.kept("1.3.0"), Kept::Sparse);
}
