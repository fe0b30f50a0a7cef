//! A source that answers by a script, for tests of the refresh task under tokio's paused clock.

use std::future::Future;
use std::pin::Pin;

use crate::identity::failure::Failure;
use crate::identity::source::Fetched;

type Answer = Pin<Box<dyn Future<Output = Result<Fetched, Failure>> + Send>>;

/// Answers each question by a closure.
pub(in crate::identity) struct Script(Box<dyn FnMut() -> Answer + Send>);

impl Script {
    /// `line` is called for each question.
    pub(super) fn new<F>(mut line: impl FnMut() -> F + Send + 'static) -> Self
    where
        F: Future<Output = Result<Fetched, Failure>> + Send + 'static,
    {
        Self(Box::new(move || Box::pin(line())))
    }

    pub(in crate::identity) async fn fetch(&mut self) -> Result<Fetched, Failure> {
        (self.0)().await
    }
}
