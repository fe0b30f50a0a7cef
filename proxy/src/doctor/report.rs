//! What was found, whatever it looks like: routes, their steps, what is the matter and what to try.
//! Pure: made by the steps, shown by `text` and `json`.

use std::time::{Duration, Instant};

use super::cause::{Cause, Names};
use crate::config::cli::Exit;

/// A step of the way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    Configuration,
    Identity,
    Claims,
    Resolve,
    Tcp,
    Tls,
    Login,
    Query,
}

impl Step {
    /// In the order of the way.
    pub(super) const ALL: [Self; 8] = [
        Self::Configuration,
        Self::Identity,
        Self::Claims,
        Self::Resolve,
        Self::Tcp,
        Self::Tls,
        Self::Login,
        Self::Query,
    ];

    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Configuration => "configuration",
            Self::Identity => "identity",
            Self::Claims => "claims",
            Self::Resolve => "resolve",
            Self::Tcp => "tcp",
            Self::Tls => "tls",
            Self::Login => "login",
            Self::Query => "query",
        }
    }

    /// How the process ends if it fails here.
    fn exit(self) -> Exit {
        match self {
            Self::Configuration => Exit::Configuration,
            Self::Identity | Self::Claims => Exit::NoToken,
            Self::Resolve | Self::Tcp | Self::Tls | Self::Login | Self::Query => Exit::Unusable,
        }
    }
}

/// How a step ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Outcome {
    Good,
    /// It works, and something should be looked at.
    Warned,
    Failed,
    /// It was not tried, and why.
    Skipped(&'static str),
}

impl Outcome {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Good => "ok",
            Self::Warned => "warning",
            Self::Failed => "failed",
            Self::Skipped(_) => "skipped",
        }
    }
}

/// Something that is the matter.
#[derive(Debug, Clone)]
pub(super) struct Finding {
    pub(super) cause: &'static Cause,
    /// What happened, with names and numbers.
    pub(super) detail: String,
    pub(super) remedy: String,
}

impl Finding {
    /// With the remedy of the cause.
    pub(super) fn new(cause: &'static Cause, detail: impl Into<String>, names: &Names<'_>) -> Self {
        Self {
            cause,
            detail: printable(&detail.into()),
            remedy: cause.remedy(names),
        }
    }

    /// With a remedy that knows more than the cause, if there is one.
    pub(super) fn with_remedy(mut self, remedy: &str) -> Self {
        if !remedy.is_empty() {
            remedy.clone_into(&mut self.remedy);
        }
        self
    }
}

/// A step, done or not.
#[derive(Debug, Clone)]
pub(super) struct StepReport {
    pub(super) step: Step,
    pub(super) outcome: Outcome,
    pub(super) elapsed: Duration,
    /// What is so, in the order of telling.
    pub(super) facts: Vec<(&'static str, String)>,
    pub(super) findings: Vec<Finding>,
}

impl StepReport {
    /// Good, so far.
    pub(super) fn new(step: Step) -> Self {
        Self {
            step,
            outcome: Outcome::Good,
            elapsed: Duration::ZERO,
            facts: Vec::new(),
            findings: Vec::new(),
        }
    }

    pub(super) fn skipped(step: Step, why: &'static str) -> Self {
        Self {
            outcome: Outcome::Skipped(why),
            ..Self::new(step)
        }
    }

    pub(super) fn fact(&mut self, name: &'static str, value: impl Into<String>) {
        self.facts.push((name, printable(&value.into())));
    }

    pub(super) fn warn(&mut self, finding: Finding) {
        if self.outcome == Outcome::Good {
            self.outcome = Outcome::Warned;
        }
        self.findings.push(finding);
    }

    pub(super) fn fail(&mut self, finding: Finding) {
        self.outcome = Outcome::Failed;
        self.findings.push(finding);
    }

    /// It has taken since `began`.
    pub(super) fn since(mut self, began: Instant) -> Self {
        self.elapsed = began.elapsed();
        self
    }

    pub(super) fn has_failed(&self) -> bool {
        self.outcome == Outcome::Failed
    }
}

/// A server's words may be in it: they stay on one line, and steer no terminal.
fn printable(text: &str) -> String {
    let one = |c: char| if c.is_control() { ' ' } else { c };
    text.chars().map(one).collect()
}

/// A route that is examined.
#[derive(Debug, Clone)]
pub(super) struct RouteReport {
    /// `None` if the configuration brought no route.
    pub(super) subject: Option<Subject>,
    pub(super) steps: Vec<StepReport>,
}

/// Which route it is.
#[derive(Debug, Clone)]
pub(super) struct Subject {
    pub(super) name: String,
    pub(super) engine: &'static str,
    /// `host:port`.
    pub(super) server: String,
    /// Who logs in, where that has a name besides the token.
    pub(super) user: Option<String>,
    pub(super) database: Option<String>,
}

impl RouteReport {
    pub(super) fn new(subject: Subject) -> Self {
        Self {
            subject: Some(subject),
            steps: Vec::new(),
        }
    }

    pub(super) fn of_nothing() -> Self {
        Self {
            subject: None,
            steps: Vec::new(),
        }
    }

    /// The first step that has failed.
    pub(super) fn failure(&self) -> Option<&StepReport> {
        self.steps.iter().find(|step| step.has_failed())
    }
}

/// All of it.
#[derive(Debug, Default)]
pub(super) struct Report {
    pub(super) routes: Vec<RouteReport>,
}

impl Report {
    /// How the process ends.
    pub(super) fn exit(&self) -> Exit {
        let failure = self.routes.iter().find_map(RouteReport::failure);
        failure.map_or(Exit::Clean, |step| step.step.exit())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::cause;

    fn failed(step: Step) -> RouteReport {
        let mut report = StepReport::new(step);
        let finding = Finding::new(&cause::TCP_REFUSED, "it was refused", &Names::EXAMPLE);
        report.warn(finding.clone());
        assert!(!report.has_failed());
        report.fail(finding);
        let mut route = RouteReport::of_nothing();
        route.steps.push(StepReport::new(Step::Configuration));
        route.steps.push(report);
        route
    }

    #[test]
    fn the_first_failure_is_the_exit() {
        let exit = |routes: &[Step]| {
            let routes = routes.iter().map(|step| failed(*step)).collect();
            Report { routes }.exit()
        };
        assert_eq!(exit(&[]), Exit::Clean);
        assert_eq!(exit(&[Step::Configuration]), Exit::Configuration);
        assert_eq!(exit(&[Step::Claims, Step::Tcp]), Exit::NoToken);
        assert_eq!(exit(&[Step::Tcp, Step::Claims]), Exit::Unusable);
    }

    #[test]
    fn a_server_steers_no_terminal() {
        let finding = Finding::new(&cause::TCP_REFUSED, "a\u{1b}[2Jb\nc", &Names::EXAMPLE);
        assert_eq!(finding.detail, "a [2Jb c");
        let mut report = StepReport::new(Step::Login);
        report.fact("server", "x\r\u{7}");
        assert_eq!(report.facts[0].1, "x  ");
    }

    #[test]
    fn a_failure_stays_one() {
        let mut report = StepReport::new(Step::Tcp);
        let finding = Finding::new(&cause::TCP_REFUSED, "", &Names::EXAMPLE);
        report.fail(finding.clone());
        report.warn(finding.clone().with_remedy(""));
        assert_eq!(report.outcome, Outcome::Failed);
        assert!(!report.findings[1].remedy.is_empty());
        assert_eq!(finding.with_remedy("other").remedy, "other");
    }
}
