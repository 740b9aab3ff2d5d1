//! Names of orders and what they are about.

use crate::malformed::{Malformed, small, text, wanted, word};
use crate::v1 as pb;
use cutover_vocabulary as words;
use cutover_vocabulary::order::StepId;

impl From<words::Subject> for pb::Subject {
    fn from(subject: words::Subject) -> Self {
        let about = match subject {
            words::Subject::Instance(name) => pb::subject::About::Instance(name.into()),
            words::Subject::Ledger(name) => pb::subject::About::Ledger(name.into()),
            words::Subject::Storage => pb::subject::About::Storage(pb::WholeStorage {}),
        };
        Self { about: Some(about) }
    }
}
impl TryFrom<pb::Subject> for words::Subject {
    type Error = Malformed;
    fn try_from(wire: pb::Subject) -> Result<Self, Malformed> {
        match wire.about.ok_or_else(|| Malformed::here("it names nothing"))? {
            pb::subject::About::Instance(name) => Ok(Self::Instance(text("instance", &name)?)),
            pb::subject::About::Ledger(name) => Ok(Self::Ledger(text("ledger", &name)?)),
            pb::subject::About::Storage(pb::WholeStorage {}) => Ok(Self::Storage),
        }
    }
}

impl From<words::OrderId> for pb::OrderId {
    fn from(id: words::OrderId) -> Self {
        let text = id.to_string();
        let words::OrderId { upgrade, step: StepId { stage, run, subject }, phase, attempt } = id;
        Self {
            upgrade: upgrade.into(),
            stage: stage.into(),
            run: run.into(),
            phase: pb::Phase::from(phase).into(),
            subject: Some(subject.into()),
            attempt: attempt.into(),
            text,
        }
    }
}
impl TryFrom<pb::OrderId> for words::OrderId {
    type Error = Malformed;
    fn try_from(wire: pb::OrderId) -> Result<Self, Malformed> {
        Ok(Self {
            upgrade: text("upgrade", &wire.upgrade)?,
            step: StepId {
                stage: small("stage", wire.stage)?,
                run: small("run", wire.run)?,
                subject: wanted("subject", wire.subject)?,
            },
            phase: word::<pb::Phase, _>("phase", wire.phase)?,
            attempt: small("attempt", wire.attempt)?,
        })
    }
}

impl From<words::phase::Stage> for pb::Stage {
    fn from(stage: words::phase::Stage) -> Self {
        let words::phase::Stage { phase, border, wave } = stage;
        Self {
            phase: pb::Phase::from(phase).into(),
            border: border.map(|border| pb::Border::from(border).into()),
            wave: wave.map(u32::from),
        }
    }
}
impl TryFrom<pb::Stage> for words::phase::Stage {
    type Error = Malformed;
    fn try_from(wire: pb::Stage) -> Result<Self, Malformed> {
        Ok(Self {
            phase: word::<pb::Phase, _>("phase", wire.phase)?,
            border: wire.border.map(|border| word::<pb::Border, _>("border", border)).transpose()?,
            wave: wire.wave.map(|wave| small("wave", wave)).transpose()?,
        })
    }
}
