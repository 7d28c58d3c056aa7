//! What a change means for each service: a pure comparison of the containers there are with what the release
//! wants. Only services that differ are touched.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::plan::{Action, ServicePlan};
use crate::release::{Digest, ReleaseInfo};

/// A container there is.
#[derive(Debug, Clone)]
pub struct Present {
    /// The Compose service it belongs to.
    pub service: String,
    /// Its ID.
    pub id: String,
    /// Its name.
    pub name: String,
    /// It runs (or is paused).
    pub running: bool,
    /// The code it ended with, where it has.
    pub exit_code: Option<i64>,
    /// The engine's ID of its image.
    pub image_id: String,
    /// Compose's hash of the configuration it was made from.
    pub config_hash: String,
    /// What the release files it mounts contained when it was started.
    pub files: Digest,
}

/// A service the release wants.
#[derive(Debug, Clone)]
pub struct Wanted {
    /// The Compose service.
    pub name: String,
    /// How many containers.
    pub replicas: u32,
    /// Compose's hash of its configuration.
    pub config_hash: String,
    /// The engine's ID of its image.
    pub image_id: Option<String>,
    /// What the release files it mounts contain.
    pub files: Digest,
    /// Why it cannot exist twice, where it cannot.
    pub single: Option<String>,
    /// Services whose namespaces or volumes it uses by container.
    pub attached_to: Vec<String>,
    /// Services with which Compose restarts it (`depends_on: restart: true`).
    pub restarts_with: Vec<String>,
    /// It runs once and must exit 0.
    pub one_shot: bool,
    /// How long its containers may take to stop.
    pub stop_grace: Option<Duration>,
}

/// The plan of every service: first those that go, in the order given by `present`, then `wanted` in its order
/// (dependencies first).
///
/// With `anew`, what is there is not good enough whatever it is like: the last line of defence trusts nothing.
pub fn compare(info: &ReleaseInfo, wanted: &[Wanted], present: &[Present], anew: bool) -> Vec<ServicePlan> {
    let mut by_service: BTreeMap<&str, Vec<&Present>> = BTreeMap::new();
    for container in present {
        by_service.entry(&container.service).or_default().push(container);
    }
    let none = Vec::new();
    let mut plans: Vec<ServicePlan> = wanted
        .iter()
        .map(|service| one(info, service, by_service.get(service.name.as_str()).unwrap_or(&none), anew))
        .collect();
    spread(wanted, &mut plans);

    let names: BTreeSet<&str> = wanted.iter().map(|service| service.name.as_str()).collect();
    let gone = by_service.iter().filter(|(name, _)| !names.contains(*name));
    let mut all: Vec<ServicePlan> = gone.map(|(name, containers)| removal(name, containers)).collect();
    all.append(&mut plans);
    all
}

fn one(info: &ReleaseInfo, wanted: &Wanted, present: &[&Present], anew: bool) -> ServicePlan {
    let mut reasons = Vec::new();
    let mut because = |holds: bool, reason: &str| {
        if holds {
            reasons.push(reason.to_owned());
        }
    };
    if present.is_empty() {
        because(wanted.replicas > 0, "new");
    } else {
        let image = |c: &&Present| wanted.image_id.as_ref().is_some_and(|id| *id != c.image_id);
        let ended_well = |c: &&Present| wanted.one_shot && c.exit_code == Some(0);
        because(anew, "factory");
        because(present.iter().any(image), "image");
        because(present.iter().any(|c| c.config_hash != wanted.config_hash), "config");
        because(present.iter().any(|c| c.files != wanted.files), "files");
        because(present.len() != wanted.replicas as usize, "scale");
        because(present.iter().any(|c| !c.running && !ended_well(c)), "not running");
    }
    let single = wanted.single.clone().or_else(|| {
        let forced = info.services.get(&wanted.name).and_then(|policy| policy.swap);
        (forced == Some(crate::release::info::SwapMethod::Recreate)).then(|| "release.toml".to_owned())
    });
    let action = match (reasons.is_empty(), present.is_empty(), wanted.replicas, &single) {
        (true, ..) => Action::Unchanged,
        (_, false, 0, _) => Action::Remove,
        (_, true, ..) => Action::Add,
        (_, _, _, None) => Action::Swap,
        (_, _, _, Some(why)) => {
            reasons.push(format!("cannot exist twice: {why}"));
            Action::Recreate
        }
    };
    ServicePlan {
        name: wanted.name.clone(),
        action,
        reasons,
        replicas: wanted.replicas,
        old: ids(present),
        was_running: running(present),
        config_hash: wanted.config_hash.clone(),
        image_id: wanted.image_id.clone(),
        one_shot: wanted.one_shot,
        timeout_ms: info.timeout_of(&wanted.name).as_millis() as u64,
        patient: !info.chooses_timeout_of(&wanted.name),
        stability_ms: info.stability_of(&wanted.name).as_millis() as u64,
        stop_grace_ms: wanted.stop_grace.map(|grace| grace.as_millis() as u64),
    }
}

/// A service attached to another's container cannot outlive it, and a service others are attached to must be
/// unambiguous; both are recreated. A service Compose restarts with another is restarted.
fn spread(wanted: &[Wanted], plans: &mut [ServicePlan]) {
    let changes = |plan: &ServicePlan| !matches!(plan.action, Action::Unchanged | Action::Restart);
    loop {
        let changed: BTreeSet<String> =
            plans.iter().filter(|plan| changes(plan)).map(|plan| plan.name.clone()).collect();
        let mut moved = false;
        for index in 0..plans.len() {
            let service = &wanted[index];
            let host = service.attached_to.iter().find(|name| changed.contains(*name));
            if let Some(host) = host.filter(|_| plans[index].action == Action::Unchanged) {
                plans[index].action = Action::Recreate;
                plans[index].reasons.push(format!("attached to {host}"));
                moved = true;
            }
            let attached = wanted.iter().any(|other| other.attached_to.contains(&service.name));
            if attached && plans[index].action == Action::Swap {
                plans[index].action = Action::Recreate;
                plans[index].reasons.push("others are attached to it".into());
                moved = true;
            }
        }
        if !moved {
            for index in 0..plans.len() {
                let with = wanted[index].restarts_with.iter().find(|name| changed.contains(*name));
                if let Some(with) = with.filter(|_| plans[index].action == Action::Unchanged) {
                    plans[index].action = Action::Restart;
                    plans[index].reasons.push(format!("restarts with {with}"));
                }
            }
            return;
        }
    }
}

fn removal(name: &str, present: &[&Present]) -> ServicePlan {
    ServicePlan {
        name: name.to_owned(),
        action: Action::Remove,
        reasons: vec!["removed".into()],
        replicas: 0,
        old: ids(present),
        was_running: running(present),
        config_hash: String::new(),
        image_id: None,
        one_shot: false,
        timeout_ms: 0,
        patient: false,
        stability_ms: 0,
        stop_grace_ms: None,
    }
}

fn ids(present: &[&Present]) -> BTreeMap<String, String> {
    present.iter().map(|container| (container.id.clone(), container.name.clone())).collect()
}

fn running(present: &[&Present]) -> Vec<String> {
    present.iter().filter(|container| container.running).map(|container| container.id.clone()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn info() -> ReleaseInfo {
        let json = br#"{"schema":1,"name":"x","version":"1.0.0","arch":"any","compose":[],"persist":[],
            "images":[],"files":[],"services":{"forced":{"swap":"recreate","timeout_ms":5}}}"#;
        ReleaseInfo::from_json(json, "test").unwrap()
    }

    fn wanted(name: &str) -> Wanted {
        Wanted {
            name: name.into(),
            replicas: 1,
            config_hash: "h".into(),
            image_id: Some("sha256:1".into()),
            files: Digest::of("f"),
            single: None,
            attached_to: vec![],
            restarts_with: vec![],
            one_shot: false,
            stop_grace: None,
        }
    }

    fn present(service: &str) -> Present {
        Present {
            service: service.into(),
            id: format!("id-{service}"),
            name: format!("shop-{service}-1"),
            running: true,
            exit_code: None,
            image_id: "sha256:1".into(),
            config_hash: "h".into(),
            files: Digest::of("f"),
        }
    }

    fn plan(wanted: Wanted, present: Vec<Present>) -> (Action, Vec<String>) {
        let plan = compare(&info(), &[wanted], &present, false).remove(0);
        (plan.action, plan.reasons)
    }

    #[test]
    fn each_difference_by_itself_is_found_and_named() {
        let name = "web";
        let same = plan(wanted(name), vec![present(name)]);
        assert_eq!(same, (Action::Unchanged, vec![]));
        let cases: Vec<(&str, Wanted, Vec<Present>, Action)> = vec![
            ("new", wanted(name), vec![], Action::Add),
            (
                "image",
                wanted(name),
                vec![Present { image_id: "sha256:2".into(), ..present(name) }],
                Action::Swap,
            ),
            (
                "config",
                wanted(name),
                vec![Present { config_hash: "g".into(), ..present(name) }],
                Action::Swap,
            ),
            ("files", wanted(name), vec![Present { files: Digest::of("g"), ..present(name) }], Action::Swap),
            ("scale", Wanted { replicas: 2, ..wanted(name) }, vec![present(name)], Action::Swap),
            ("scale", Wanted { replicas: 0, ..wanted(name) }, vec![present(name)], Action::Remove),
            ("not running", wanted(name), vec![Present { running: false, ..present(name) }], Action::Swap),
        ];
        for (reason, wanted, present, action) in cases {
            assert_eq!(plan(wanted, present), (action, vec![reason.to_owned()]), "{reason}");
        }
    }

    #[test]
    fn a_job_that_ended_well_is_not_run_again() {
        let done = Present { running: false, exit_code: Some(0), ..present("job") };
        let failed = Present { running: false, exit_code: Some(1), ..present("job") };
        let job = || Wanted { one_shot: true, ..wanted("job") };
        assert_eq!(plan(job(), vec![done]).0, Action::Unchanged);
        assert_eq!(plan(job(), vec![failed]).0, Action::Swap);
    }

    #[test]
    fn what_cannot_exist_twice_is_recreated() {
        let changed = |name: &str| vec![Present { config_hash: "g".into(), ..present(name) }];
        let single = Wanted { single: Some("container_name".into()), ..wanted("web") };
        let (action, reasons) = plan(single, changed("web"));
        assert_eq!((action, reasons[1].as_str()), (Action::Recreate, "cannot exist twice: container_name"));
        assert_eq!(plan(wanted("forced"), changed("forced")).0, Action::Recreate);
    }

    #[test]
    fn a_removed_service_goes_first_and_dependents_follow_their_host() {
        let vpn = Present { config_hash: "g".into(), ..present("vpn") };
        let services = [
            wanted("vpn"),
            Wanted { attached_to: vec!["vpn".into()], ..wanted("app") },
            Wanted { restarts_with: vec!["vpn".into()], ..wanted("cron") },
            wanted("db"),
        ];
        let containers = [vpn, present("app"), present("cron"), present("db"), present("old")];
        let plans = compare(&info(), &services, &containers, false);
        let actions: Vec<_> = plans.iter().map(|plan| (plan.name.as_str(), plan.action)).collect();
        let expected = [
            ("old", Action::Remove),
            ("vpn", Action::Recreate),
            ("app", Action::Recreate),
            ("cron", Action::Restart),
            ("db", Action::Unchanged),
        ];
        assert_eq!(actions, expected);
    }

    #[test]
    fn time_outs_come_from_the_release() {
        let plans = compare(&info(), &[wanted("forced"), wanted("web")], &[], false);
        assert_eq!((plans[0].timeout_ms, plans[1].timeout_ms, plans[1].stability_ms), (5, 30_000, 10_000));
    }
}
