//! Who is there, and who leads.

use super::ink::Ink;
use super::page::Page;
use super::words;
use cutover_proto::convert::moment;
use cutover_proto::v1;

/// The page.
pub fn page(leader: &v1::Leader, deployments: &[v1::Deployment], instances: &[v1::Instance], ink: Ink) -> String {
    let mut page = Page::new(ink);
    let who = match &leader.name {
        Some(name) => format!("{name} leads (epoch {})", leader.epoch),
        None => "nobody leads at the moment".to_owned(),
    };
    page.paragraph(0, format_args!("Coordinator {}: {who}", leader.this_coordinator));
    super::status::coordinators(&mut page, leader);
    if deployments.is_empty() {
        page.gap();
        page.paragraph(0, "No deployment is known: no agent with an instance has ever attached.");
    }
    for deployment in deployments {
        page.heading(&format!("Deployment {}", deployment.name));
        if let Some(upgrade) = &deployment.upgrade {
            page.entry(2, 16, "Upgrade", format_args!("{upgrade}, not ended"));
        }
        for instance in instances.iter().filter(|instance| instance.deployment == deployment.name) {
            page.entry(2, 16, &instance.name, line(instance, deployment.allowed.as_deref()));
        }
    }
    page.finish()
}

/// One deployment: who is there, who is missing, and who was refused.
pub fn deployment(details: &v1::DeploymentDetails, ink: Ink) -> String {
    let mut page = Page::new(ink);
    let deployment = details.deployment.clone().unwrap_or_default();
    page.heading(&format!("Deployment {}", deployment.name));
    if let Some(upgrade) = &deployment.upgrade {
        page.entry(2, 16, "Upgrade", format_args!("{upgrade}, not ended"));
    }
    for instance in &details.instances {
        page.entry(2, 16, &instance.name, line(instance, deployment.allowed.as_deref()));
    }
    for missing in &details.missing {
        page.entry(2, 16, missing, "MISSING: declared, and no agent has ever spoken for it; a plan blocks on it");
    }
    for claim in &details.claims {
        let text = format_args!("REFUSED: agent {} on machine {} claims it: {}", claim.agent, claim.machine, claim.why)
            .to_string();
        page.entry(2, 16, &claim.instance, cutover_vocabulary::name::shown(&text).to_string());
    }
    page.finish()
}

fn line(instance: &v1::Instance, allowed: Option<&str>) -> String {
    let heard = match moment("last_heard", instance.last_heard) {
        Ok(at) => format!("last heard {}", words::moment(at)),
        Err(_) => "never heard".to_owned(),
    };
    let link = if instance.connected { "connected" } else { "NOT CONNECTED" };
    let run = match &instance.report {
        Some(report) => {
            let state = report.run.clone().map(cutover_vocabulary::instance::RunState::try_from);
            let state = match state {
                Some(Ok(state)) => state.to_string(),
                Some(Err(_)) | None => "unknown".to_owned(),
            };
            let version = match (&report.running, &report.on_disk) {
                (Some(running), Some(disk)) if running != disk => format!(", answers as {running}, {disk} on disk"),
                (Some(running), Some(_) | None) => format!(", answers as {running}"),
                (None, Some(disk)) => format!(", {disk} on disk"),
                (None, None) => String::new(),
            };
            let fenced = match (report.fenced, report.fenced_by.as_str()) {
                (false, _) => String::new(),
                (true, "") => ", fenced".to_owned(),
                (true, by) => format!(", fenced by {}", cutover_vocabulary::name::shown(by)),
            };
            let guard = match report.missing_guard.as_str() {
                "" => String::new(),
                place => format!("; DRIFT: its guard {} is gone", cutover_vocabulary::name::shown(place)),
            };
            format!("{state}{version}{fenced}{guard}{}{}", drift(&report.drift), other(report, allowed))
        }
        None => "nothing is known of it".to_owned(),
    };
    format!("{run}; agent {} {link}, {heard}", instance.agent)
}

/// What is not as Cutover last switched it.
fn drift(seen: &[v1::Drift]) -> String {
    let known = seen.iter().cloned().map(cutover_vocabulary::instance::Drift::try_from);
    known.flatten().map(|drift| format!("; DRIFT: {drift}")).collect()
}

/// That it has another release than the one that the deployment's latest upgrade left.
fn other(report: &v1::InstanceReport, allowed: Option<&str>) -> String {
    let (verb, version) = match (&report.running, &report.on_disk) {
        (Some(running), _) => ("runs", running),
        (None, Some(on_disk)) => ("would start", on_disk),
        (None, None) => return String::new(),
    };
    match allowed.filter(|allowed| allowed != version) {
        Some(allowed) => {
            let text = format!(
                "; DRIFT: it {verb} {version}, the deployment's allowed release is {allowed}; `cutover rejoin {}` brings it there",
                report.instance
            );
            cutover_vocabulary::name::shown(&text).to_string()
        }
        None => String::new(),
    }
}
