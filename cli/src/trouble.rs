//! What went wrong, for the person at the terminal: what happened to what, why, and what to do next.

use cutover_proto::malformed::Malformed;
use miette::Diagnostic;
use std::error::Error as StdError;

/// A source of any kind.
pub type Cause = Box<dyn StdError + Send + Sync>;

/// An error at the top of a command.
#[derive(Debug, thiserror::Error, Diagnostic)]
pub enum Trouble {
    /// No coordinator answers.
    #[error("no coordinator answers at {endpoint}")]
    #[diagnostic(help(
        "see that it runs, and that you may use its socket; another one is named with --coordinator or CUTOVER_COORDINATOR"
    ))]
    Unreachable {
        /// Where it was looked for.
        endpoint: String,
        /// Why it cannot be reached.
        #[source]
        source: Cause,
    },
    /// No coordinator that was asked leads, for longer than an election takes.
    #[error("{doing} found no coordinator that leads. {said}")]
    #[diagnostic(help(
        "an election takes seconds: the coordinators' logs say why there is none; where one leads that was not asked, name it \
         with --coordinator too. Nothing is lost: look with `cutover status` once one leads, what was asked for may be done"
    ))]
    Leaderless {
        /// What was asked for.
        doing: String,
        /// Who was asked, and what each said.
        said: String,
    },
    /// The coordinator answered no.
    #[error("{doing} was refused ({code}): {message}")]
    Refused {
        /// What was asked for.
        doing: String,
        /// The refusal's stable code.
        code: String,
        /// Why, in the coordinator's words.
        message: String,
        /// What to do.
        #[help]
        remedy: Option<String>,
    },
    /// The call was cut off, so nothing is known of its effect.
    #[error("{doing} got no answer: {message}")]
    #[diagnostic(help(
        "look with `cutover status` before you call again: it may have been done, and a second call may begin another upgrade"
    ))]
    Broken {
        /// What was asked for.
        doing: String,
        /// What the transport said.
        message: String,
    },
    /// The coordinator's answer means nothing to this version of Cutover.
    #[error("cannot read the answer to {doing}")]
    #[diagnostic(help("use a `cutover` of the coordinator's version"))]
    Malformed {
        /// What was asked for.
        doing: String,
        /// Which field.
        #[source]
        source: Malformed,
    },
    /// The command line, or a value in it, makes no sense.
    #[error("{what}")]
    Usage {
        /// What is wrong.
        what: String,
        /// What to write instead.
        #[help]
        next: Option<String>,
    },
    /// Something on this machine failed.
    #[error("{what}")]
    Failed {
        /// What was tried, on what.
        what: String,
        /// Why it failed, if something below said so.
        #[source]
        source: Option<Cause>,
        /// What to do.
        #[help]
        next: Option<String>,
    },
}

impl Trouble {
    /// Something on this machine failed because of `source`.
    pub fn failed(what: impl Into<String>, source: impl Into<Cause>) -> Self {
        Self::Failed { what: what.into(), source: Some(source.into()), next: None }
    }
    /// Something on this machine failed, and that is all that is known.
    pub fn plain(what: impl Into<String>) -> Self {
        Self::Failed { what: what.into(), source: None, next: None }
    }
    /// A value that makes no sense.
    pub fn usage(what: impl Into<String>) -> Self {
        Self::Usage { what: what.into(), next: None }
    }
    /// The same with what to do next; only where a person can do something.
    #[must_use]
    pub fn next(self, hint: impl Into<String>) -> Self {
        let hint = Some(hint.into());
        match self {
            Self::Usage { what, .. } => Self::Usage { what, next: hint },
            Self::Failed { what, source, .. } => Self::Failed { what, source, next: hint },
            Self::Refused { doing, code, message, .. } => Self::Refused { doing, code, message, remedy: hint },
            other @ (Self::Unreachable { .. }
            | Self::Leaderless { .. }
            | Self::Malformed { .. }
            | Self::Broken { .. }) => other,
        }
    }

    /// The stable code of what was refused.
    pub fn code(&self) -> Option<&str> {
        match self {
            Self::Refused { code, .. } => Some(code.as_str()),
            Self::Leaderless { .. } => Some(cutover_proto::Code::NotLeader.word()),
            Self::Unreachable { .. }
            | Self::Malformed { .. }
            | Self::Usage { .. }
            | Self::Broken { .. }
            | Self::Failed { .. } => None,
        }
    }

    /// The whole error as JSON, for `--json`: what, why (outermost cause first), next.
    pub fn to_json(&self) -> serde_json::Value {
        let mut why = Vec::new();
        let mut cause = self.source();
        while let Some(error) = cause {
            why.push(error.to_string());
            cause = error.source();
        }
        let code = self.code();
        let next = self.help().map(|help| help.to_string());
        serde_json::json!({ "error": { "what": self.to_string(), "why": why, "code": code, "next": next } })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exit::Exit;

    #[test]
    fn an_error_says_what_why_and_what_next_also_as_json() {
        let trouble = Trouble::failed("cannot make the sandbox's folder /x", std::io::Error::other("disk full"))
            .next("free some space");
        let json = trouble.to_json();
        assert_eq!(json["error"]["what"], "cannot make the sandbox's folder /x");
        assert_eq!(json["error"]["why"][0], "disk full");
        assert_eq!(json["error"]["next"], "free some space");
    }

    #[test]
    fn a_refusal_keeps_its_meaning_in_the_exit_status() {
        let refused = |code: &str| Trouble::Refused {
            doing: "start".into(),
            code: code.into(),
            message: "no".into(),
            remedy: None,
        };
        assert_eq!(Exit::of_trouble(&refused("NEEDS_APPROVAL")), Exit::NeedsApproval);
        assert_eq!(Exit::of_trouble(&refused("BLOCKED")), Exit::Blocked);
        assert_eq!(Exit::of_trouble(&refused("PLAN_STALE")), Exit::Blocked);
        assert_eq!(Exit::of_trouble(&Trouble::usage("x")), Exit::Usage);
    }
}
