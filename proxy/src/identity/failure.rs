//! Why there is no token, in words that an operator can act on.
//!
//! [`Failure`] is one attempt at a source; [`Unavailable`] is what a client's login is told. No
//! token, password, assertion or secret gets in here: text from outside passes through
//! [`quoted`].

use std::borrow::Cow;
use std::error::Error;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use super::observe::Subject;

/// The kinds of failure, as a metric label.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum FailureClass {
    /// No connection, or it broke.
    Unreachable,
    /// Too slow.
    Timeout,
    /// The source does not know the identity, or refuses its credential.
    Rejected,
    /// The source knows us and says no.
    Forbidden,
    /// IMDS is being updated; back within 70 s.
    Updating,
    /// Too many questions.
    Throttled,
    /// The source failed.
    ServerError,
    /// The answer was not a token.
    InvalidAnswer,
    /// The answer was a token that is already over.
    Stale,
    /// A credential file.
    File,
    /// The Azure CLI.
    Tool,
    /// Our settings or environment do not fit together.
    Misconfigured,
}

impl FailureClass {
    /// The label's value.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Unreachable => "unreachable",
            Self::Timeout => "timeout",
            Self::Rejected => "rejected",
            Self::Forbidden => "forbidden",
            Self::Updating => "updating",
            Self::Throttled => "throttled",
            Self::ServerError => "server_error",
            Self::InvalidAnswer => "invalid_answer",
            Self::Stale => "stale",
            Self::File => "file",
            Self::Tool => "tool",
            Self::Misconfigured => "misconfigured",
        }
    }
}

/// Why a machine has no token for the identity that was meant, as far as its endpoint tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Assignment {
    /// The machine has no identity at all, and none was named.
    None,
    /// The one that was named is not the machine's.
    NotThisOne,
    /// The machine has several, and none was named.
    Several,
}

/// One attempt that brought no token: what happened, and what to try.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    pub(super) class: FailureClass,
    pub(super) message: String,
    pub(super) hint: Cow<'static, str>,
    /// How long the source asks us to wait.
    pub(super) retry_after: Option<Duration>,
    /// More of [`FailureClass::Rejected`], for people: nothing is decided by it.
    pub(super) assignment: Option<Assignment>,
}

impl Failure {
    pub(super) fn new(
        class: FailureClass,
        message: impl Into<String>,
        hint: impl Into<Cow<'static, str>>,
    ) -> Self {
        Self {
            class,
            message: message.into(),
            hint: hint.into(),
            retry_after: None,
            assignment: None,
        }
    }

    /// Its kind.
    #[must_use]
    pub fn class(&self) -> FailureClass {
        self.class
    }

    /// What happened.
    #[must_use]
    pub fn message(&self) -> &str {
        &self.message
    }

    /// What to try; may be empty.
    #[must_use]
    pub fn hint(&self) -> &str {
        &self.hint
    }

    /// What is the matter with the machine's identities, if that is what it is.
    #[must_use]
    pub fn assignment(&self) -> Option<Assignment> {
        self.assignment
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        if !self.hint.is_empty() {
            write!(f, "; {}", self.hint)?;
        }
        Ok(())
    }
}

impl Error for Failure {}

/// Failures in a row, since the last success or the start.
#[derive(Debug, Clone)]
pub(super) struct Streak {
    pub(super) since: SystemTime,
    pub(super) count: u32,
    pub(super) last: Failure,
}

/// What stands between a login and a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Lack {
    /// Not even a first one yet.
    NotYet,
    /// The last one is over, or so nearly that a login could not finish.
    Expired(SystemTime),
    /// The server refused it, and a refresh failed.
    Refused,
    /// The server refused it, and the source gave the same one again.
    SameAgain,
    /// The server refused it, and a refresh was tried a moment ago.
    TooSoon(Duration),
    /// The process is ending.
    Stopped,
}

/// Why there is no usable token: which identity, since when, the last cause and what to try.
#[derive(Clone)]
pub struct Unavailable(Arc<Details>);

struct Details {
    subject: Arc<Subject>,
    lack: Lack,
    streak: Option<Streak>,
    now: SystemTime,
}

impl Unavailable {
    pub(super) fn new(
        subject: &Arc<Subject>,
        lack: Lack,
        streak: Option<Streak>,
        now: SystemTime,
    ) -> Self {
        Self(Arc::new(Details {
            subject: Arc::clone(subject),
            lack,
            streak,
            now,
        }))
    }

    /// The kind of failure, as a metric label: that of the last attempt, if there was one.
    pub fn class(&self) -> &'static str {
        match (&self.0.streak, self.0.lack) {
            (Some(streak), _) => streak.last.class.as_str(),
            (None, Lack::NotYet) => "starting",
            (None, Lack::Expired(_)) => "expired",
            (None, Lack::Refused | Lack::SameAgain) => "refused",
            (None, Lack::TooSoon(_)) => "rate_limited",
            (None, Lack::Stopped) => "stopping",
        }
    }

    /// How the last attempt at the source failed, if it did.
    #[must_use]
    pub fn failure(&self) -> Option<&Failure> {
        self.0.streak.as_ref().map(|streak| &streak.last)
    }

    /// Whose token is missing.
    pub fn subject(&self) -> &Subject {
        &self.0.subject
    }

    /// Since when refreshes fail, if they do.
    pub fn since(&self) -> Option<SystemTime> {
        self.0.streak.as_ref().map(|streak| streak.since)
    }
}

impl fmt::Display for Unavailable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Details {
            subject,
            lack,
            streak,
            now,
        } = &*self.0;
        match lack {
            Lack::NotYet if streak.is_none() => {
                write!(
                    f,
                    "no token yet for {subject}: the first request is under way"
                )?;
            }
            Lack::NotYet => write!(f, "no token yet for {subject}")?,
            Lack::Expired(expiry) => match now.duration_since(*expiry) {
                Ok(ago) => write!(f, "the token of {subject} expired {} ago", Span(ago))?,
                Err(_) => write!(f, "the token of {subject} is about to expire")?,
            },
            Lack::Refused => write!(f, "the server refused the token of {subject}")?,
            Lack::SameAgain => write!(
                f,
                "the server refused the token of {subject}, and the source gave the same one again; \
                 check that the role is mapped to this identity"
            )?,
            Lack::TooSoon(wait) => write!(
                f,
                "the server refused the token of {subject}; a refresh was tried a moment ago, the next \
                 forced one is allowed in {}",
                Span(*wait)
            )?,
            Lack::Stopped => write!(f, "no new token for {subject}: entrapool is stopping")?,
        }
        if let Some(streak) = streak {
            let past = now.duration_since(streak.since).unwrap_or_default();
            let Streak { count, last, .. } = streak;
            let times = if *count == 1 { "attempt" } else { "attempts" };
            write!(
                f,
                "; refreshing fails for {} ({count} {times}): {last}",
                Span(past)
            )?;
        }
        Ok(())
    }
}

impl fmt::Debug for Unavailable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Unavailable")
            .field(&self.to_string())
            .finish()
    }
}

impl Error for Unavailable {}

/// A route's identity that can never work, found before anything is asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IdentityError {
    /// The endpoint is not a plain http URL of this host.
    #[error(
        "imds_endpoint `{0}` is refused: a token must not leave this host, so only http to a loopback \
         or link-local address is allowed, e.g. http://127.0.0.1:8080"
    )]
    ImdsEndpoint(String),
    /// App Service identities cannot be chosen by resource id.
    #[error(
        "identity app-service cannot use resource_id; name the identity by client_id or object_id"
    )]
    ResourceIdOnAppService,
    /// The authority host is not an https URL.
    #[error(
        "the authority `{0}` is refused: it must be an https URL, e.g. https://login.microsoftonline.com"
    )]
    Authority(String),
    /// No path was given.
    #[error("identity password-file needs password_file, the path of the file")]
    NoPasswordFile,
    /// The file of extra roots.
    #[error("authority_ca_file {}: {cause}", path.display())]
    AuthorityCaFile {
        /// Its path.
        path: PathBuf,
        /// What is wrong with it.
        cause: String,
    },
    /// TLS could not be set up for the requests to Entra.
    #[error("TLS for requests to Entra cannot be set up: {0}")]
    Tls(String),
}

/// The longest quotation of somebody else's text.
const LONGEST_QUOTE: usize = 300;
/// Longer runs of letters and digits are taken for secrets: a JWT has hundreds, an id has 36.
const LONGEST_RUN: usize = 100;

/// Text from outside, fit for an error: one line, at most 300 characters, and nothing in it that
/// could be a token.
pub(super) fn quoted(text: &str) -> String {
    let mut quote = String::new();
    for word in text.split(|c: char| c.is_whitespace() || c.is_control()) {
        if word.is_empty() {
            continue;
        }
        if !quote.is_empty() {
            quote.push(' ');
        }
        quote.push_str(if secretive(word) { "[removed]" } else { word });
        if let Some((end, _)) = quote.char_indices().nth(LONGEST_QUOTE) {
            quote.truncate(end);
            quote.push_str("...");
            break;
        }
    }
    quote
}

/// `eyJ` begins every JWT: base64 of `{"`.
fn secretive(word: &str) -> bool {
    let joint = |c: char| !(c.is_alphanumeric() || matches!(c, '-' | '_' | '.' | '+' | '='));
    word.contains("eyJ") || word.split(joint).any(|run| run.len() > LONGEST_RUN)
}

/// A duration for people: two digits are enough.
pub(super) struct Span(pub(super) Duration);

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.0.as_secs();
        match seconds {
            0..=9 => write!(f, "{:.1} s", self.0.as_secs_f64()),
            10..=119 => write!(f, "{seconds} s"),
            120..=7199 => write!(f, "{} min", seconds / 60),
            _ => write!(f, "{} h", seconds / 3600),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn subject() -> Arc<Subject> {
        Arc::new(Subject {
            identity: "imds".to_owned(),
            source: "imds",
            audience: "https://ossrdbms-aad.database.windows.net",
        })
    }

    fn at(seconds: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
    }

    #[test]
    fn an_expired_token_is_explained_with_cause_and_remedy() {
        let streak = Streak {
            since: at(1000),
            count: 12,
            last: Failure::new(FailureClass::Updating, "IMDS answered 410", "wait for it"),
        };
        let lack = Lack::Expired(at(1200));
        let error = Unavailable::new(&subject(), lack, Some(streak), at(1242));
        assert_eq!(
            error.to_string(),
            "the token of identity `imds` (audience https://ossrdbms-aad.database.windows.net) \
             expired 42 s ago; refreshing fails for 4 min (12 attempts): IMDS answered 410; wait for it"
        );
        assert_eq!(error.class(), "updating");
        assert_eq!(error.since(), Some(at(1000)));
    }

    #[test]
    fn each_lack_has_its_own_class() {
        let class = |lack| Unavailable::new(&subject(), lack, None, at(0)).class();
        assert_eq!(class(Lack::NotYet), "starting");
        assert_eq!(class(Lack::Expired(at(0))), "expired");
        assert_eq!(class(Lack::SameAgain), "refused");
        assert_eq!(class(Lack::TooSoon(Duration::ZERO)), "rate_limited");
        assert_eq!(class(Lack::Stopped), "stopping");
    }

    #[test]
    fn a_quotation_is_short_single_line_and_without_tokens() {
        assert_eq!(quoted("Identity\r\n\tnot  found\0"), "Identity not found");
        let leak = format!(
            "bad assertion eyJhbGciOi.eyJhdWQ.c2ln and \"{}\"",
            "x".repeat(101)
        );
        assert_eq!(quoted(&leak), "bad assertion [removed] and [removed]");
        let resource = format!(
            "/subscriptions/{}/providers/{}",
            "1".repeat(80),
            "a".repeat(80)
        );
        assert_eq!(quoted(&resource), resource);
        let long = quoted(&"äö ".repeat(400));
        assert_eq!(long.chars().count(), LONGEST_QUOTE + 3);
        assert!(long.ends_with("..."));
    }

    #[test]
    fn spans_read_well() {
        let shown = |millis| Span(Duration::from_millis(millis)).to_string();
        assert_eq!(shown(1500), "1.5 s");
        assert_eq!(shown(95_000), "95 s");
        assert_eq!(shown(600_000), "10 min");
        assert_eq!(shown(86_400_000), "24 h");
    }
}
