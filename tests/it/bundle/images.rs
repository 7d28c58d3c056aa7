//! Real images: saved by this machine's engine, packed, and loaded back.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use compose_upgrade::Code;
use compose_upgrade::release::bundle::{ImageArchive, Limits, fault_of, pack};
use compose_upgrade::release::dockersave::SavedImages;
use compose_upgrade::release::oci::ImageName;
use compose_upgrade::release::{Bundle, Digest, ReleaseInfo};

/// Tiny images of the engine, gone with the value.
pub struct EngineImages {
    /// Their names.
    pub names: Vec<String>,
}

impl EngineImages {
    /// Builds `count` images that share their first layer.
    pub fn build(count: usize) -> Self {
        let dir = tempfile::tempdir().unwrap();
        fs::copy("/bin/busybox", dir.path().join("busybox")).unwrap();
        let unique = dir.path().file_name().unwrap().to_string_lossy().to_lowercase().replace('.', "");
        let mut images = Self { names: Vec::new() };
        for number in 0..count {
            fs::write(dir.path().join("own"), format!("{unique} {number}")).unwrap();
            let dockerfile =
                "FROM scratch\nCOPY busybox /bin/busybox\nCOPY own /own\nCMD [\"/bin/busybox\",\"true\"]\n";
            fs::write(dir.path().join("Dockerfile"), dockerfile).unwrap();
            let name = format!("cutest-{unique}-{number}:1");
            images.names.push(name.clone());
            docker(&["build", "-q", "-t", &name, dir.path().to_str().unwrap()]);
        }
        images
    }

    /// `docker save` of all of them.
    pub fn save(&self, to: &Path) {
        let mut args = vec!["save", "-o", to.to_str().unwrap()];
        args.extend(self.names.iter().map(String::as_str));
        docker(&args);
    }

    /// Removes them from the engine.
    pub fn remove(&self) {
        for name in &self.names {
            let _ = Command::new("docker").args(["image", "rm", "-f", name]).output();
        }
    }
}

impl Drop for EngineImages {
    fn drop(&mut self) {
        self.remove();
    }
}

pub fn docker(args: &[&str]) -> String {
    let output = Command::new("docker").args(args).output().unwrap();
    assert!(output.status.success(), "docker {args:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

fn image_id(name: &str) -> String {
    docker(&["image", "inspect", "-f", "{{.Id}}", name])
}

/// Streams an archive into the engine.
fn load(mut archive: ImageArchive) {
    let length = archive.length();
    let mut load = Command::new("docker").args(["load", "-q"]).stdin(Stdio::piped()).spawn().unwrap();
    let mut stdin = load.stdin.take().unwrap();
    assert_eq!(std::io::copy(&mut archive, &mut stdin).unwrap(), length);
    drop(stdin);
    assert!(load.wait().unwrap().success());
}

fn saved(path: &Path) -> SavedImages {
    let mut images = SavedImages::none();
    images.add_archive(path, &Limits::default()).unwrap();
    images
}

fn info(images: &SavedImages, names: &[String]) -> ReleaseInfo {
    let find = |name: &String| images.named(&ImageName::parse(name).unwrap()).unwrap().info(name);
    let list: Vec<_> = names.iter().map(find).collect();
    let json = serde_json::json!({"schema": 1, "name": "x", "version": "1.0.0", "arch": "amd64",
        "compose": ["c.yaml"], "persist": [], "images": list, "files": []});
    ReleaseInfo::from_json(json.to_string().as_bytes(), "test").unwrap()
}

fn packed(dir: &Path, images: &SavedImages, names: &[String]) -> (PathBuf, ReleaseInfo) {
    let info = info(images, names);
    let path = dir.join("x.bundle");
    pack(&path, &info, dir, |_| true, images).unwrap();
    (path, info)
}

#[test]
fn images_survive_save_pack_and_load_with_their_identity() {
    let engine = EngineImages::build(2);
    let ids: Vec<_> = engine.names.iter().map(|name| image_id(name)).collect();
    let dir = tempfile::tempdir().unwrap();
    let tar = dir.path().join("saved.tar");
    engine.save(&tar);
    let images = saved(&tar);
    let (path, info) = packed(dir.path(), &images, &engine.names);
    assert_eq!(info.images[0].id.to_string(), ids[0]);
    assert_eq!(info.images[0].layers[0], info.images[1].layers[0], "the base is shared");
    assert!(fs::metadata(&path).unwrap().len() < 1_700_000, "the base is in once, and compressed");

    engine.remove();
    let bundle = Bundle::open(&path).unwrap();
    let wanted: Vec<_> =
        info.images.iter().map(|image| (image.clone(), vec![image.reference.clone()])).collect();
    load(bundle.image_archive(&wanted).unwrap());
    for (name, id) in engine.names.iter().zip(&ids) {
        assert_eq!(image_id(name), *id);
        assert_eq!(docker(&["run", "--rm", "--network", "none", name, "/bin/busybox", "echo", "ran"]), "ran");
    }

    // A layer that the engine has in another image need not travel again.
    docker(&["image", "rm", &engine.names[1]]);
    let base = std::collections::BTreeSet::from([info.images[0].layers[0].digest]);
    load(bundle.image_archive_without(&wanted[1..], &base).unwrap());
    assert_eq!(image_id(&engine.names[1]), ids[1]);

    // A second build from what was loaded gives the same bundle: nothing depends on how it was stored.
    let again = dir.path().join("again");
    fs::create_dir(&again).unwrap();
    engine.save(&again.join("saved.tar"));
    let (second, _) = packed(&again, &saved(&again.join("saved.tar")), &engine.names);
    assert!(fs::read(&path).unwrap() == fs::read(second).unwrap(), "two builds differ");
}

#[test]
fn every_way_of_saving_gives_the_same_identity() {
    let engine = EngineImages::build(1);
    let dir = tempfile::tempdir().unwrap();
    let tar = dir.path().join("saved.tar");
    engine.save(&tar);
    let oci = saved(&tar);
    let oci_image = oci.iter().next().unwrap().clone();
    let config = oci.documents(&oci_image.id).unwrap().0.to_vec();
    let layer = |number: usize| {
        let mut bytes = Vec::new();
        oci.open_layer(&oci_image.layers[number].digest).unwrap().read_to_end(&mut bytes).unwrap();
        bytes
    };
    let (base, own) = (layer(0), layer(1));
    let manifest = |config: &str, layers: [&str; 2]| {
        serde_json::json!([{"Config": config, "RepoTags": [&engine.names[0]], "Layers": layers}]).to_string()
    };

    // Engine 20.10: one folder per layer, a layer that is there already as a link.
    let legacy = dir.path().join("legacy.tar");
    let mut out = tar::Builder::new(File::create(&legacy).unwrap());
    let mut add = |path: &str, bytes: &[u8]| {
        let mut header = tar::Header::new_ustar();
        header.set_size(bytes.len() as u64);
        header.set_mode(0o644);
        out.append_data(&mut header, path, bytes).unwrap();
    };
    add("real/layer.tar", &base);
    add("bbb/layer.tar", &own);
    add("config.json", &config);
    add("manifest.json", manifest("config.json", ["aaa/layer.tar", "bbb/layer.tar"]).as_bytes());
    let mut header = tar::Header::new_ustar();
    header.set_entry_type(tar::EntryType::Symlink);
    header.set_mode(0o777);
    header.set_size(0);
    out.append_link(&mut header, "aaa/layer.tar", "../real/layer.tar").unwrap();
    out.finish().unwrap();

    // The containerd store: compressed layers.
    let compressed = dir.path().join("compressed.tar");
    let mut out = tar::Builder::new(File::create(&compressed).unwrap());
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(&base).unwrap();
    let zst = zstd::encode_all(&own[..], 1).unwrap();
    for (path, bytes) in [
        ("blobs/sha256/a", gzip.finish().unwrap()),
        ("blobs/sha256/b", zst),
        ("blobs/sha256/c", config.clone()),
        ("manifest.json", manifest("blobs/sha256/c", ["blobs/sha256/a", "blobs/sha256/b"]).into_bytes()),
    ] {
        let mut header = tar::Header::new_ustar();
        header.set_size(bytes.len() as u64);
        header.set_mode(0o644);
        out.append_data(&mut header, path, &bytes[..]).unwrap();
    }
    out.finish().unwrap();

    for path in [legacy, compressed] {
        let images = saved(&path);
        let image = images.named(&ImageName::parse(&engine.names[0]).unwrap()).unwrap();
        assert_eq!(image.info("x"), oci_image.info("x"), "{}", path.display());
        assert_eq!(images.documents(&image.id).unwrap(), oci.documents(&image.id).unwrap());
    }
}

#[test]
fn a_layer_that_is_not_the_promised_one_ends_the_stream() {
    let engine = EngineImages::build(1);
    let dir = tempfile::tempdir().unwrap();
    let tar = dir.path().join("saved.tar");
    engine.save(&tar);
    let (path, info) = packed(dir.path(), &saved(&tar), &engine.names);
    let wanted = [(info.images[0].clone(), vec![])];

    // Another valid zstd frame of the right size under the layer's name.
    let own = info.images[0].layers[1].digest;
    let mut bytes = fs::read(&path).unwrap();
    let whole = Bundle::open(&path).unwrap();
    let member = whole.entry(&format!("images/blobs/sha256/{}", own.hex())).unwrap().clone();
    let compose_upgrade::release::bundle::EntryKind::File { offset, length, .. } = member.kind else {
        panic!()
    };
    bytes[(offset + length / 2) as usize] ^= 1;
    let bad = dir.path().join("bad.bundle");
    fs::write(&bad, bytes).unwrap();
    let mut archive = Bundle::open(&bad).unwrap().image_archive(&wanted).unwrap();
    let length = archive.length();
    let mut out = Vec::new();
    let fault = fault_of(archive.read_to_end(&mut out).unwrap_err(), "archive");
    assert!(matches!(fault.code(), Code::HashMismatch | Code::BundleInvalid | Code::SizeMismatch), "{fault}");
    assert!((out.len() as u64) < length);

    // release.json and the image manifest disagree.
    let mut lying = info.images[0].clone();
    lying.layers.pop();
    let refused = whole.image_archive(&[(lying, vec![])]).err().unwrap();
    assert_eq!(refused.code(), Code::BundleInvalid);
    let mut missing = info.images[0].clone();
    missing.digest = Digest::of("nothing");
    assert_eq!(whole.image_archive(&[(missing, vec![])]).err().unwrap().code(), Code::BundleInvalid);

    // A layer the engine has is left out.
    let skip = std::collections::BTreeSet::from([info.images[0].layers[0].digest]);
    assert!(whole.image_archive_without(&wanted, &skip).unwrap().length() < 100_000);
}
