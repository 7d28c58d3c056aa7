//! What an upgrade would do.

use crate::messages::cli::Words;
use crate::upgrade::{DataPlan, PlanReport, PlanService, WayBack};

use super::{Align, Facts, Look, Paint, Table, bytes, clean, instant};

/// The whole plan: summary, steps, services.
pub fn render(plan: &PlanReport, look: Look) -> String {
    let mut text = summary(plan, look);
    if !plan.steps.is_empty() {
        text.push_str(&format!("\n{}\n", look.paint(Paint::Strong, &look.say(Words::Steps))));
        let width = plan.steps.len().to_string().len();
        for (index, step) in plan.steps.iter().enumerate() {
            let line = format!("  {:>width$}. {}", index + 1, clean(&step.description));
            text.push_str(&line.replace('\n', " "));
            text.push('\n');
        }
    }
    if !plan.services.is_empty() {
        text.push_str(&format!("\n{}\n", look.paint(Paint::Strong, &look.say(Words::Services))));
        text.push_str(&services(&plan.services, look));
    }
    text + &edits(plan, look)
}

/// What a person changed by hand, and will not find in the new release.
pub fn edits(plan: &PlanReport, look: Look) -> String {
    let mut text = String::new();
    if !plan.edits.is_empty() {
        text.push_str(&format!("\n{}\n", look.paint(Paint::Strong, &look.say(Words::EditsByHand))));
    }
    for edit in &plan.edits {
        text.push_str(&format!("  {}\n", clean(&edit.path)));
        for line in clean(&edit.diff).lines() {
            let paint = match line.chars().next() {
                Some('+') => Paint::Good,
                Some('-') => Paint::Bad,
                _ => Paint::Dim,
            };
            text.push_str(&format!("    {}\n", look.paint(paint, line)));
        }
    }
    text
}

/// What a person must know before consenting: from where to where, how, how much, and what it touches.
pub fn summary(plan: &PlanReport, look: Look) -> String {
    let to = plan.to.to_string();
    let from = plan.from.as_ref().map_or_else(|| look.say(Words::None), ToString::to_string);
    if plan.strategy == "none" {
        let words = match plan.reason.as_str() {
            "installed_newer" => Words::InstalledNewer { version: &from },
            _ => Words::PlanNothing { version: &from },
        };
        return look.line(Paint::Good, &look.say(words)) + "\n";
    }
    if let Some(back) = &plan.back {
        return way_back(plan, back, &from, look);
    }
    let heading = look.say(Words::PlanHeading { from: &from, to: &to });
    let (strategy, reason) = (look.term(&plan.strategy), look.term(&plan.reason));
    let mut facts = Facts::new(look);
    facts
        .add(Words::Strategy, look.say(Words::StrategyWhy { strategy: &strategy, reason: &reason }))
        .add(Words::ToFetch, bytes(plan.bytes_to_fetch))
        .add(Words::DiskNeeded, bytes(plan.disk_needed))
        .add(Words::Effect, effect(plan, look));
    format!("{}\n{}", look.paint(Paint::Strong, &heading), facts.render(2))
}

/// The same of a rollback: what becomes of the data matters most.
fn way_back(plan: &PlanReport, back: &WayBack, from: &str, look: Look) -> String {
    let heading = look.say(Words::RollbackHeading { from, to: &plan.to.to_string() });
    let mut data = match &back.data {
        DataPlan::Keep => look.say(Words::DataKeep),
        DataPlan::Restore { backup_id, at } => look.say(Words::DataFrom { id: backup_id, at: &instant(at) }),
    };
    if back.safety_backup {
        data.push('\n');
        data.push_str(&look.say(Words::SafetyBackup));
    }
    let missing = back.images_missing.join(", ");
    let images = match (back.images_missing.is_empty(), back.bundle_present) {
        (false, true) => Words::ImagesFromBundle { images: &missing },
        (false, false) => Words::ImagesFetched { images: &missing },
        (true, true) => Words::ImagesAndBundle,
        (true, false) => Words::ImagesOnly,
    };
    let mut facts = Facts::new(look);
    facts.add(Words::Data, data).add(Words::ImagesLabel, look.say(images));
    if !back.images_missing.is_empty() && plan.bytes_to_fetch > 0 {
        facts.add(Words::ToFetch, bytes(plan.bytes_to_fetch));
    }
    if plan.disk_needed > 0 {
        facts.add(Words::DiskNeeded, bytes(plan.disk_needed));
    }
    let effect = match plan.services_known {
        true => effect(plan, look),
        false => look.say(Words::ServicesAfterUnfinished),
    };
    facts.add(Words::Effect, effect);
    format!("{}\n{}", look.paint(Paint::Strong, &heading), facts.render(2))
}

fn effect(plan: &PlanReport, look: Look) -> String {
    if !plan.services_known {
        return look.say(Words::ServicesLater);
    }
    let touched: Vec<&PlanService> = plan.services.iter().filter(|s| s.action != "unchanged").collect();
    if touched.is_empty() {
        return look.say(Words::EffectNone);
    }
    let (changed, all) = (touched.len().to_string(), plan.services.len().to_string());
    let names: Vec<&str> = touched.iter().map(|service| service.name.as_str()).collect();
    let words = match changed == all {
        true => Words::ServicesAll,
        false => Words::ServicesTouched { changed: &changed, all: &all },
    };
    format!("{} ({})", look.say(words), names.join(", "))
}

fn services(services: &[PlanService], look: Look) -> String {
    let headings = [Words::Service, Words::Action, Words::Why].map(|words| (look.say(words), Align::Left));
    let mut table = Table::new(look, &headings);
    for service in services {
        let paint = match service.action.as_str() {
            "unchanged" => Paint::Dim,
            "remove" | "recreate" => Paint::Warn,
            _ => Paint::Good,
        };
        table.row([
            (service.name.clone(), None),
            (look.term(&service.action), Some(paint)),
            (look.term(&service.reason), None),
        ]);
    }
    table.render(2)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::messages::Lang;
    use crate::upgrade::{PlanEdit, PlanStep};

    const EN: Look = Look { lang: Lang::En, colour: false };

    fn plan() -> PlanReport {
        let step = |text: &str| PlanStep { step: "X".into(), description: text.into() };
        let service = |name: &str, action: &str, reason: &str| PlanService {
            name: name.into(),
            action: action.into(),
            reason: reason.into(),
        };
        PlanReport {
            schema: 1,
            from: Some("1.0.0".parse().unwrap()),
            to: "1.1.0".parse().unwrap(),
            strategy: "full".into(),
            reason: "base_version_changed".into(),
            bytes_to_fetch: 2_097_152,
            disk_needed: 10_485_760,
            steps: vec![step("download it"), step("swap api")],
            services: vec![service("api", "swap", "image"), service("db", "unchanged", "")],
            services_known: true,
            back: None,
            edits: vec![],
        }
    }

    #[test]
    fn the_whole_plan() {
        assert_eq!(
            render(&plan(), EN),
            "\
plan: 1.0.0 → 1.1.0
  strategy     full (base version changed)
  to fetch     2.0 MiB
  disk needed  10.0 MiB
  effect       1 of 2 are touched, the others keep running (api)

steps
  1. download it
  2. swap api

services
  SERVICE  ACTION     WHY
  api      swap       image
  db       unchanged
"
        );
    }

    #[test]
    fn edits_by_hand_are_shown_as_a_difference() {
        let edit = PlanEdit { path: "compose.yaml".into(), diff: "@@ -1 +1 @@\n-a\n+b\n".into() };
        let shown = render(&PlanReport { edits: vec![edit], ..plan() }, EN);
        let end = "\nedited by hand, will be set aside in shared/edits\n  compose.yaml\n    @@ -1 +1 @@\n    -a\n    +b\n";
        assert!(shown.ends_with(end), "{shown}");
    }

    #[test]
    fn the_summary_in_chinese_says_when_the_services_are_not_known_yet() {
        let plan = PlanReport { services_known: false, services: vec![], ..plan() };
        assert_eq!(
            summary(&plan, Look { lang: Lang::Zh, colour: false }),
            "\
计划：1.0.0 → 1.1.0
  策略      全量升级（基础版本已改变）
  需下载    2.0 MiB
  所需磁盘  10.0 MiB
  预期影响  下载安装包后才能确定每个服务的操作
"
        );
    }

    #[test]
    fn a_rollback_says_what_becomes_of_the_data() {
        let mut back = WayBack {
            data: DataPlan::Restore { backup_id: "b1".into(), at: "2026-11-20T08:00:00Z".into() },
            safety_backup: true,
            images_missing: vec![],
            bundle_present: true,
        };
        let plan = PlanReport { back: Some(back.clone()), ..plan() };
        assert_eq!(
            summary(&plan, EN),
            "\
roll back: 1.0.0 → 1.1.0
  data         restored from backup b1 of 2026-11-20 08:00:00Z; what was written since will not be in it
               the present data is backed up first
  images       in the engine; the bundle is here too
  disk needed  10.0 MiB
  effect       1 of 2 are touched, the others keep running (api)
"
        );
        let document = serde_json::to_value(&plan).unwrap();
        assert_eq!(document["data"]["restore"]["backup_id"], "b1");
        let lacking = WayBack { images_missing: vec!["a:1".into()], bundle_present: false, ..back.clone() };
        let text = summary(&PlanReport { back: Some(lacking), ..plan.clone() }, EN);
        assert!(
            text.contains("images       not here; taken from another bundle here, or fetched: a:1\n"),
            "{text}"
        );
        assert!(text.contains("to fetch     2.0 MiB\n"), "{text}");
        back.data = DataPlan::Keep;
        let kept = serde_json::to_value(PlanReport { back: Some(back), ..plan }).unwrap();
        assert_eq!(kept["data"], "keep");
    }

    #[test]
    fn the_effect_names_the_services_it_is_about() {
        let mut all = plan();
        all.services.truncate(1);
        assert!(summary(&all, EN).contains("effect       all services are touched (api)\n"));
        all.services[0].action = "unchanged".into();
        assert!(summary(&all, EN).contains("effect       no service is touched\n"));
    }

    #[test]
    fn nothing_to_do_is_one_line() {
        let plan = PlanReport {
            strategy: "none".into(),
            reason: "up_to_date".into(),
            steps: vec![],
            services: vec![],
            ..plan()
        };
        assert_eq!(render(&plan, EN), "✓ nothing to do: 1.0.0 stays as it is\n");
    }
}
