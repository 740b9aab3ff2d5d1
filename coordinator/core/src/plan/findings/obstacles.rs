//! What a person must change before the storage can be upgraded from the runner's host: rights, tools, the server itself.
//! Found by the agent, which also says what to do; nothing of it can be approved away.

use crate::plan::case::{Case, finding};
use cutover_vocabulary::finding::{Finding, FindingSubject, Level, Source};
use cutover_vocabulary::name::shown;
use cutover_vocabulary::storage::ObstacleKind;

pub(super) fn check(case: &Case<'_>) -> Vec<Finding> {
    let obstacles = case.storages().into_iter().flat_map(|storage| &storage.obstacles);
    obstacles
        .map(|obstacle| {
            let (code, source) = match obstacle.kind {
                ObstacleKind::MissingGrant => ("missing-grant", Source::ThisStorage),
                ObstacleKind::MissingTool => ("missing-tool", Source::ThisHost),
                ObstacleKind::NotWritable => ("storage-not-writable", Source::ThisStorage),
                ObstacleKind::MissingExtension => ("missing-extension", Source::ThisStorage),
            };
            finding(
                code,
                Level::Block,
                FindingSubject::Storage,
                source,
                shown(&obstacle.what).to_string(),
                obstacle.remedy.clone(),
            )
        })
        .collect()
}
