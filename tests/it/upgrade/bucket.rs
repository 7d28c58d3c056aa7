//! Copies in storage that speaks S3.

use std::fs;

use age::secrecy::ExposeSecret;
use serde_json::json;

use super::data::{fill, installed, spoil, state};
use crate::support::s3::{KEY, Mishap, S3Server, SECRET};
use crate::support::stack::Device;

const BUCKET: &str = "cutest-shop";

/// Has whole backups copied to the bucket, for `recipients`.
fn copies_to(device: &Device, server: &S3Server, recipients: &[String]) {
    let secret = format!("access_key_id = '{KEY}'\nsecret_access_key = '{SECRET}'\n");
    device.write("s3.toml", &secret);
    let mut settings: toml::Table = device.read("client.toml").parse().unwrap();
    let backup = settings.entry("backup").or_insert(toml::Table::new().into()).as_table_mut().unwrap();
    let copy = toml::toml! {
        to = "s3://cutest-shop/site 7/daily"
        credentials_file = "s3.toml"
    };
    backup.insert("copy".into(), copy.into());
    let copy = backup["copy"].as_table_mut().unwrap();
    copy.insert("endpoint".into(), server.endpoint.clone().into());
    copy.insert("recipients".into(), recipients.to_vec().into());
    device.write("client.toml", &settings.to_string());
}

#[test]
fn a_copy_in_a_bucket_brings_the_data_back_on_a_new_machine() {
    let (_stack, device) = installed();
    fill(&device);
    // More than one part.
    device.sh("db", "head -c 9000000 /dev/urandom | base64 > /rows/noise");
    let before = state(&device);
    let server = S3Server::with_bucket(BUCKET);
    let identity = age::x25519::Identity::generate();
    copies_to(&device, &server, &[identity.to_public().to_string()]);
    server.suffer(Mishap::PartUnavailable);

    let (code, made) = device.ask(&["backup", "create"]);
    assert_eq!(code, 0, "{made}");
    assert!(server.suffered_all(), "a part was refused once");
    let name = format!("{}.age", made["file"].as_str().unwrap());
    assert_eq!(server.objects(BUCKET), [format!("site 7/daily/{name}")]);
    let (code, again) = device.ask(&["backup", "copy"]);
    assert_eq!((code, &again["copies"]), (0, &json!([])), "there is a copy of each");

    // The machine is lost, but for client.toml and the keys of its owner.
    let id = made["id"].as_str().unwrap();
    assert_eq!(device.ask(&["backup", "delete", id, "--yes"]).0, 0);
    spoil(&device);
    let keys = device.path("keys.txt");
    fs::write(&keys, identity.to_string().expose_secret()).unwrap();
    let address = format!("s3://{BUCKET}/site 7/daily/{name}");
    let (code, told) = device.ask(&[
        "backup",
        "import",
        &address.replace(".tar", "0.tar"),
        "--identity",
        keys.to_str().unwrap(),
    ]);
    assert_ne!(code, 0, "no such object: {told}");
    let (code, taken) = device.ask(&["backup", "import", &address, "--identity", keys.to_str().unwrap()]);
    assert_eq!((code, &taken["id"], &taken["hash"]), (0, &made["id"], &made["hash"]), "{taken}");
    assert_eq!(device.run(&["backup", "restore", id, "--yes"]).code, 0);
    assert!(state(&device) == before, "the data came back");
}

#[test]
fn a_copy_that_went_bad_there_is_told_and_removed() {
    let (_stack, device) = installed();
    let server = S3Server::with_bucket(BUCKET);
    copies_to(&device, &server, &[]);
    server.suffer(Mishap::Rot);
    let (code, told) = device.ask(&["backup", "create"]);
    assert_eq!((code, &told["error"]["code"]), (1, &"BACKUP_COPY_FAILED".into()), "{told}");
    assert!(told["error"]["message"].as_str().unwrap().contains("read back"), "{told}");
    assert_eq!((server.objects(BUCKET), server.leftovers()), (vec![], vec![]));
    let (code, told) = device.ask(&["backup", "copy"]);
    assert_eq!((code, told["copies"].as_array().map(Vec::len)), (0, Some(1)), "{told}");
    assert_eq!(server.objects(BUCKET).len(), 1);
}

#[test]
fn storage_that_lets_nobody_in_is_told_without_the_key() {
    let (_stack, device) = installed();
    let server = S3Server::with_bucket(BUCKET);
    copies_to(&device, &server, &[]);
    device.write("s3.toml", "access_key_id = 'AKSHOP'\nsecret_access_key = 'wrong-key'\n");
    let (code, told) = device.ask(&["backup", "create"]);
    assert_eq!((code, &told["error"]["code"]), (1, &"BACKUP_COPY_FAILED".into()), "{told}");
    let message = told["error"]["message"].as_str().unwrap();
    assert!(message.contains("s3://cutest-shop/site 7/daily/") && message.contains("403"), "{told}");
    assert!(!told.to_string().contains("wrong-key"), "{told}");
    let id = device.ask(&["backup", "list"]).1["backups"][0]["id"].as_str().unwrap().to_owned();
    assert!(message.contains(&format!("backup {id} itself is whole")), "{told}");
    let (_, list) = device.ask(&["backup", "list"]);
    assert_eq!(list["backups"][0]["status"], "complete", "{list}");
    assert_eq!((server.objects(BUCKET), server.leftovers()), (vec![], vec![]));

    fs::remove_file(device.path("s3.toml")).unwrap();
    let (code, told) = device.ask(&["backup", "copy"]);
    assert_ne!(code, 0);
    assert!(told["error"]["message"].as_str().unwrap().contains("s3.toml"), "{told}");
}
