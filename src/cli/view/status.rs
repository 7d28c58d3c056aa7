//! Where the installation stands.

use crate::messages::cli::Words;
use crate::upgrade::{Quarantined, ServiceStatus, Status};

use super::{Align, Facts, Look, Paint, Table, clean, instant, outcome};

/// Versions, state, and one line per service.
pub fn render(status: &Status, look: Look) -> String {
    let none = || look.say(Words::None);
    let state = match status.state.as_str() {
        "idle" => Paint::Good,
        "needs_attention" => Paint::Bad,
        _ => Paint::Warn,
    };
    let mut text = look.line(state, &format!("{}: {}", status.project, look.term(&status.state)));
    text.push('\n');
    let mut facts = Facts::new(look);
    facts
        .add(Words::Current, status.current.clone().unwrap_or_else(none))
        .add(Words::Previous, status.previous.clone().unwrap_or_else(none))
        .add(Words::Factory, status.factory.clone().unwrap_or_else(none));
    if !status.quarantine.is_empty() {
        facts.add(Words::Quarantined, quarantine(&status.quarantine, look));
    }
    if let Some(last) = &status.last_upgrade {
        facts.add(Words::LastChange, outcome::headline(last, look));
    }
    text.push_str(&facts.render(2));
    text.push('\n');
    if status.services.is_empty() {
        text.push_str(&format!("  {}\n", look.say(Words::NoServices)));
    } else {
        text.push_str(&services(&status.services, look));
    }
    for warning in &status.warnings {
        text.push_str(&format!("{}\n", look.line(Paint::Warn, &clean(warning))));
    }
    text
}

/// A version a line, with why and since when.
pub fn quarantine(entries: &[Quarantined], look: Look) -> String {
    let line = |entry: &Quarantined| {
        let (version, reason, at) =
            (entry.version.as_str(), entry.reason.replace('\n', " "), instant(&entry.at));
        look.say(Words::QuarantinedWhy { version, reason: &reason, at: &at })
    };
    entries.iter().map(line).collect::<Vec<_>>().join("\n")
}

fn services(services: &[ServiceStatus], look: Look) -> String {
    let columns =
        [Words::Service, Words::ServiceState, Words::Health, Words::Release, Words::Image, Words::Container];
    let mut table = Table::new(look, &columns.map(|words| (look.say(words), Align::Left)));
    for service in services {
        let state = if service.state == "running" { Paint::Good } else { Paint::Bad };
        let health = match service.health.as_str() {
            "healthy" => Paint::Good,
            "unhealthy" => Paint::Bad,
            "starting" => Paint::Warn,
            _ => Paint::Dim,
        };
        let differs = match (&service.image_id, &service.image_expected) {
            (Some(id), Some(expected)) => id != expected,
            _ => false,
        };
        let image = match differs {
            true => (format!("{} ({})", service.image, look.say(Words::ImageDiffers)), Some(Paint::Bad)),
            false => (service.image.clone(), None),
        };
        table.row([
            (service.name.clone(), None),
            (look.term(&service.state), Some(state)),
            (look.term(&service.health), Some(health)),
            (service.release.clone().unwrap_or_else(|| "-".into()), None),
            image,
            (service.container.clone().unwrap_or_else(|| "-".into()), None),
        ]);
    }
    table.render(2)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::messages::Lang;

    fn status() -> Status {
        let service = |name: &str, health: &str, image_id: &str| ServiceStatus {
            name: name.into(),
            container: Some(format!("guestbook-{name}-1")),
            image: format!("guestbook-{name}:1.1.0"),
            image_id: Some(image_id.into()),
            image_expected: Some("sha256:aa".into()),
            state: "running".into(),
            health: health.into(),
            release: Some("1.1.0".into()),
        };
        Status {
            schema: 1,
            project: "guestbook".into(),
            state: "idle".into(),
            current: Some("1.1.0".into()),
            previous: Some("1.0.0".into()),
            factory: None,
            quarantined: vec!["1.2.0".into()],
            quarantine: vec![Quarantined {
                version: "1.2.0".into(),
                reason: "api is not healthy".into(),
                at: "2026-11-20T08:00:00Z".into(),
            }],
            services: vec![service("web", "healthy", "sha256:aa"), service("api", "none", "sha256:bb")],
            last_upgrade: None,
            warnings: Vec::new(),
        }
    }

    #[test]
    fn in_english() {
        assert_eq!(
            render(&status(), Look { lang: Lang::En, colour: false }),
            "\
✓ guestbook: idle
  current      1.1.0
  previous     1.0.0
  factory      none
  quarantined  1.2.0: api is not healthy (since 2026-11-20 08:00:00Z)

  SERVICE  STATE    HEALTH   RELEASE  IMAGE                                         CONTAINER
  web      running  healthy  1.1.0    guestbook-web:1.1.0                           guestbook-web-1
  api      running  none     1.1.0    guestbook-api:1.1.0 (not the expected image)  guestbook-api-1
"
        );
    }

    #[test]
    fn in_chinese() {
        let status = Status { services: vec![], state: "needs_attention".into(), ..status() };
        assert_eq!(
            render(&status, Look { lang: Lang::Zh, colour: false }),
            "\
✗ guestbook: 需要人工处理
  当前版本  1.1.0
  上一版本  1.0.0
  出厂版本  无
  已隔离    1.2.0：api is not healthy（始于 2026-11-20 08:00:00Z）

  该版本没有服务
"
        );
    }
}
