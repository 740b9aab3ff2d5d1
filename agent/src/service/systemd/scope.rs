//! A control group of its own for a process that must outlive the agent: systemd ends everything that is in the group of a unit
//! which it stops.

use super::bus::Bus;
use std::path::Path;
use zbus::Variant;

/// Whether this process is the main process of a unit.
pub fn runs_as_unit() -> bool {
    let group = std::fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let in_unit = group.lines().any(|line| line.ends_with(".service"));
    let by_init = rustix::process::getppid().is_some_and(|parent| parent.as_raw_nonzero().get() == 1);
    in_unit && by_init && Path::new("/run/systemd/system").is_dir()
}

/// Moves this process into a scope of its own, named after the work. Call it before it has children.
///
/// # Errors
/// Why systemd does not do it: then this process ends with the agent, and the next one begins its work again.
pub async fn leave(work: &str) -> Result<(), String> {
    let own = std::process::id();
    let name = name(work, own);
    let properties = [
        ("Description", Variant::from(format!("Cutover: {work}"))),
        ("PIDs", Variant::from(vec![own])),
        ("CollectMode", Variant::from("inactive-or-failed")),
    ];
    let failed = |error: zbus::Error| format!("systemd does not make the scope {name}: {error}");
    let manager = Bus.manager().await.map_err(failed)?;
    manager.start_transient_unit(&name, "fail", &properties, &[]).await.map(drop).map_err(failed)
}

/// A process id comes again, and so does a piece of work: both together do not within a boot.
fn name(work: &str, process: u32) -> String {
    let known = |c: char| if c.is_ascii_alphanumeric() || ":-_.".contains(c) { c } else { '_' };
    // A unit's name may have 255 characters.
    let work: String = work.chars().map(known).take(180).collect();
    format!("cutover-work-{work}-{process}.scope")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scope_is_named_after_its_work() {
        assert_eq!(name("prod-1/3 (secure)", 7), "cutover-work-prod-1_3__secure_-7.scope");
        assert!(name(&"x".repeat(400), 7).len() < 255);
    }
}
