//! Proxies, certificates and credentials.

use super::*;
use crate::support::http::Response;
use crate::support::proxy::{Proxy, base64};
use crate::support::tls::{Authority, Tls};

const SECRET: &str = "hunter2";

/// Answers only who knows it; everyone else gets 401.
fn guarded(server: &HttpServer, header: String) {
    server.always(FILE, move |request, honest| match request.header("authorization") {
        Some(shown) if shown == header => honest(&request),
        _ => Response::new(401, "who?"),
    });
}

fn basic() -> String {
    format!("Basic {}", base64(b"device-7:hunter2"))
}

/// Neither an error nor an event shows it.
fn assert_untold(scene: &Scene, fault: &compose_upgrade::Fault) {
    let told = format!("{fault} {fault:?} {} {:?}", fault.help(Lang::En), scene.messages());
    assert!(!told.contains(SECRET) && !told.contains(&base64(b"device-7:hunter2")), "{told}");
}

#[tokio::test]
async fn a_host_is_opened_by_a_password_or_a_token() {
    let scene = Scene::new(400_000);
    let host = scene.server.url();
    write_private(&scene.device.join("secret"), "hunter2\n");
    for (entry, header) in [
        ("username = 'device-7'\npassword = 'hunter2'", basic()),
        ("username = 'device-7'\npassword_file = 'secret'", basic()),
        ("token = 'hunter2'", "Bearer hunter2".to_owned()),
        ("token_file = 'secret'", "Bearer hunter2".to_owned()),
    ] {
        guarded(&scene.server, header);
        // A cut is continued with them, too.
        scene.server.once(FILE, |request, honest| honest(&request).cut_after(100_000));
        let fetcher =
            scene.fetcher_by_settings(&format!("[[network.credentials]]\nhost = '{host}'\n{entry}"));
        scene.assert_complete(&fetcher.file(&scene.request()).await.unwrap());
        assert!(fetcher.document(&scene.at(FILE), 400_000).await.unwrap() == scene.content);
        std::fs::remove_file(&scene.destination).unwrap();
    }
    let wrong = format!("[[network.credentials]]\nhost = '{host}'\nusername = 'x'\npassword = 'hunter2'");
    let fault = scene.fetcher_by_settings(&wrong).file(&scene.request()).await.unwrap_err();
    assert_eq!(fault.code(), Code::SourceRefused);
    assert!(fault.help(Lang::En).contains("credentials"), "{}", fault.help(Lang::En));
    assert_untold(&scene, &fault);
}

#[tokio::test]
async fn credentials_are_for_their_host_only() {
    let scene = Scene::new(12 * 1024 * 1024);
    let other = HttpServer::serve_dir(&scene.source);
    let target = other.url_of(FILE);
    scene.server.always("/moved", move |_, _| Response::new(302, "").set("Location", &target));
    let settings = format!("[[network.credentials]]\nhost = '{}'\ntoken = 'hunter2'", scene.server.url());
    // Another port is another host; so is what a redirect leads to, for every request of a download by ranges.
    for at in [scene.at("/moved"), Location::parse(&other.url_of(FILE)).unwrap()] {
        let request = FileRequest { locations: vec![at.clone()], ..scene.request() };
        let fetcher = scene.fetcher_by_settings(&settings);
        scene.assert_complete(&fetcher.file(&request).await.unwrap());
        fetcher.document(&at, 20_000_000).await.unwrap();
        std::fs::remove_file(&scene.destination).unwrap();
    }
    let opened = |server: &HttpServer| -> Vec<bool> {
        server.log().iter().map(|e| e.request.header("authorization").is_some()).collect()
    };
    assert!(opened(&scene.server).len() > 2 && opened(&scene.server).iter().all(|sent| *sent));
    assert!(opened(&other).iter().all(|sent| !sent));
    assert!(other.log().iter().all(|e| e.request.header("referer").is_none()));
}

#[tokio::test]
async fn every_kind_of_proxy_leads_there() {
    let scene = Scene::new(12 * 1024 * 1024);
    let request = FileRequest {
        locations: vec![Location::parse("http://releases.invalid/stack.bundle").unwrap()],
        ..scene.request()
    };
    for (scheme, login, asked) in [
        ("http", "", "GET http://releases.invalid/stack.bundle"),
        ("http", "device-7:hunter2@", "GET http://releases.invalid/stack.bundle"),
        ("socks5h", "", "SOCKS releases.invalid:80"),
        ("socks5h", "device-7:hunter2@", "SOCKS releases.invalid:80"),
    ] {
        let proxy = Proxy::to(scene.server.address(), login.strip_suffix('@'));
        let settings = format!("[network]\nproxy = '{scheme}://{login}{}'", proxy.address());
        let fetched = scene.fetcher_by_settings(&settings).file(&request).await.unwrap();
        scene.assert_complete(&fetched);
        assert!(
            !proxy.asked().is_empty() && proxy.asked().iter().all(|was| was == asked),
            "{:?}",
            proxy.asked()
        );
        std::fs::remove_file(&scene.destination).unwrap();
    }
    // Where names are resolved here, a name that is none leads nowhere.
    let proxy = Proxy::to(scene.server.address(), None);
    let settings = format!("[network]\nproxy = 'socks5://{}'", proxy.address());
    let fault = scene.fetcher_by_settings(&settings).file(&request).await.unwrap_err();
    assert_eq!(fault.code(), Code::SourceUnreachable);
    scene.assert_complete(&scene.fetcher_by_settings(&settings).file(&scene.request()).await.unwrap());
    assert!(proxy.asked().iter().all(|was| was.starts_with("SOCKS 127.0.0.1:")), "{:?}", proxy.asked());
}

#[tokio::test]
async fn a_proxy_that_refuses_is_not_told_to_anyone_who_reads_the_error() {
    let scene = Scene::new(1000);
    for scheme in ["http", "socks5h"] {
        let proxy = Proxy::to(scene.server.address(), Some("somebody:else"));
        let settings = format!("[network]\nproxy = '{scheme}://device-7:hunter2@{}'", proxy.address());
        let fault = scene.fetcher_by_settings(&settings).file(&scene.request()).await.unwrap_err();
        assert!([Code::SourceRefused, Code::SourceUnreachable].contains(&fault.code()), "{fault}");
        assert_untold(&scene, &fault);
    }
    assert_eq!(scene.statuses(), [0; 0]);
    // Nobody is there.
    let unused = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let settings = format!("[network]\nproxy = 'http://device-7:hunter2@{unused}'");
    let fault = scene.fetcher_by_settings(&settings).file(&scene.request()).await.unwrap_err();
    assert_untold(&scene, &fault);
}

#[tokio::test]
async fn what_needs_no_proxy_goes_without() {
    let scene = Scene::new(1000);
    let proxy = Proxy::to(scene.server.address(), None);
    let by = |more: &str| format!("[network]\nproxy = 'http://{}'\n{more}", proxy.address());
    for settings in [by("no_proxy = ['127.0.0.0/8']"), "[network]\nproxy = 'direct'".into()] {
        scene.assert_complete(&scene.fetcher_by_settings(&settings).file(&scene.request()).await.unwrap());
        std::fs::remove_file(&scene.destination).unwrap();
    }
    assert_eq!(proxy.asked(), [""; 0]);
    let request = FileRequest {
        locations: vec![Location::parse("http://releases.invalid/stack.bundle").unwrap()],
        ..scene.request()
    };
    let settings = by("no_proxy = ['localhost', 'invalid.example']");
    scene.assert_complete(&scene.fetcher_by_settings(&settings).file(&request).await.unwrap());
    assert_eq!(proxy.asked().len(), 1);
}

#[tokio::test]
async fn an_authority_of_one_s_own_is_trusted_where_it_is_named() {
    let scene = Scene::new(12 * 1024 * 1024);
    let authority = Authority::new();
    let tls = Tls::before(scene.server.address(), &authority, None);
    let request =
        FileRequest { locations: vec![Location::parse(&tls.url_of(FILE)).unwrap()], ..scene.request() };
    let fault = scene.fetcher_by_settings("").file(&request).await.unwrap_err();
    assert_eq!(fault.code(), Code::SourceUnreachable, "{fault}");
    assert!(fault.to_string().to_lowercase().contains("certificate"), "{fault}");
    std::fs::write(scene.device.join("ca.pem"), Authority::new().pem()).unwrap();
    let named = "[network]\nca_file = 'ca.pem'";
    scene.fetcher_by_settings(named).file(&request).await.unwrap_err();
    // One of several in the file is enough.
    std::fs::write(scene.device.join("ca.pem"), Authority::new().pem() + &authority.pem()).unwrap();
    scene.assert_complete(&scene.fetcher_by_settings(named).file(&request).await.unwrap());
    for wrong in ["", "no PEM at all"] {
        std::fs::write(scene.device.join("ca.pem"), wrong).unwrap();
        let fault = scene.link(named).err().unwrap();
        assert_eq!(fault.code(), Code::ConfigInvalid, "{fault}");
        assert!(fault.to_string().contains("ca.pem"), "{fault}");
    }
}

#[tokio::test]
async fn a_server_that_asks_who_this_is_is_shown_a_certificate() {
    let scene = Scene::new(400_000);
    let (authority, fleet) = (Authority::new(), Authority::new());
    let tls = Tls::before(scene.server.address(), &authority, Some(&fleet));
    let request =
        FileRequest { locations: vec![Location::parse(&tls.url_of(FILE)).unwrap()], ..scene.request() };
    std::fs::write(scene.device.join("ca.pem"), authority.pem()).unwrap();
    let ca = "[network]\nca_file = 'ca.pem'\n";
    scene.fetcher_by_settings(ca).file(&request).await.unwrap_err();
    fleet.write(&scene.device, "device-7");
    Authority::new().write(&scene.device, "stranger");
    let own = |name: &str| format!("{ca}client_cert = '{name}.pem'\nclient_key = '{name}.key'");
    scene.fetcher_by_settings(&own("stranger")).file(&request).await.unwrap_err();
    scene.assert_complete(&scene.fetcher_by_settings(&own("device-7")).file(&request).await.unwrap());
    // Both in one file, through a proxy that only sees the tunnel.
    let read = |name: &str| std::fs::read_to_string(scene.device.join(name)).unwrap();
    write_private(&scene.device.join("both.pem"), &(read("device-7.pem") + &read("device-7.key")));
    std::fs::remove_file(&scene.destination).unwrap();
    let proxy = Proxy::to(tls.address(), None);
    let settings = format!("{ca}client_cert = 'both.pem'\nproxy = 'http://{}'", proxy.address());
    let locations = vec![Location::parse(&format!("https://localhost:{}{FILE}", 4443)).unwrap()];
    let request = FileRequest { locations, ..request };
    scene.assert_complete(&scene.fetcher_by_settings(&settings).file(&request).await.unwrap());
    assert_eq!(proxy.asked(), ["CONNECT localhost:4443"]);
    // A key that others can read, or none.
    use std::os::unix::fs::PermissionsExt;
    let key = scene.device.join("device-7.key");
    std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o640)).unwrap();
    assert_eq!(scene.link(&own("device-7")).err().unwrap().code(), Code::SecretExposed);
    write_private(&key, SECRET);
    let fault = scene.link(&own("device-7")).err().unwrap();
    assert_eq!(fault.code(), Code::ConfigInvalid);
    assert_untold(&scene, &fault);
}

/// What the process of the test below does.
#[tokio::test]
#[ignore = "run as a process of its own by another test"]
async fn the_process_in_its_environment() {
    let (Ok(url), Ok(device)) = (std::env::var("CUTEST_URL"), std::env::var("CUTEST_DEVICE")) else { return };
    let store = Arc::new(Store::open(&PathBuf::from(device).join("state.db")).unwrap());
    let fetcher = Fetcher::new(
        store,
        Policy { attempts: 1, ..Policy::from(&compose_upgrade::settings::DownloadSettings::default()) },
        &Link::new(&Settings::default(), Path::new("/")).unwrap(),
        Progress::silent(),
    );
    fetcher.unwrap().document(&Location::parse(&url).unwrap(), 10_000).await.unwrap();
}

#[tokio::test]
async fn without_a_setting_the_environment_counts() {
    let scene = Scene::new(1000);
    let proxy = Proxy::to(scene.server.address(), None);
    let address = format!("http://{}", proxy.address());
    let socks = format!("socks5h://{}", proxy.address());
    for (variables, reached, asked) in [
        (vec![("HTTP_PROXY", &address)], true, Some("GET")),
        (vec![("http_proxy", &address)], true, Some("GET")),
        (vec![("ALL_PROXY", &socks)], true, Some("SOCKS")),
        (vec![("HTTPS_PROXY", &address)], false, None),
    ] {
        let before = proxy.asked().len();
        let name = "transfer::network::the_process_in_its_environment";
        let mut process = tokio::process::Command::new(std::env::current_exe().unwrap());
        process.args(["--ignored", "--exact", name]).env("CUTEST_DEVICE", &scene.device);
        process.env("CUTEST_URL", "http://releases.invalid/stack.bundle");
        for name in ["HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"] {
            process.env_remove(name).env_remove(name.to_lowercase());
        }
        process.envs(variables.iter().map(|(name, value)| (*name, value.as_str())));
        let output = process.output().await.unwrap();
        assert_eq!(
            output.status.success(),
            reached,
            "{variables:?}: {}",
            String::from_utf8_lossy(&output.stdout)
        );
        let asked_now: Vec<String> = proxy.asked().split_off(before);
        assert_eq!(asked_now.first().map(|was| was.split(' ').next().unwrap()), asked, "{variables:?}");
    }
}
