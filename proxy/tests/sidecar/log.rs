//! What the process writes to stderr, line by line, as it comes.

use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncRead, BufReader};
use tokio::sync::watch;

use super::PATIENCE;

/// How many lines a failed test shows.
const TAIL: usize = 20;

/// The lines so far.
#[derive(Clone)]
pub struct Log {
    lines: watch::Receiver<Vec<Line>>,
}

/// One line.
#[derive(Clone, Debug)]
pub struct Line {
    /// As it was written.
    pub text: String,
    /// The same as JSON, if it is.
    pub json: Option<Value>,
}

impl Line {
    /// A field's value, if it is text.
    pub fn field(&self, name: &str) -> Option<&str> {
        self.json.as_ref()?.get(name)?.as_str()
    }

    /// Whether it is the event with this message.
    pub fn is(&self, message: &str) -> bool {
        self.field("message") == Some(message)
    }
}

impl Log {
    /// Reads until the writer has gone.
    pub fn read(from: impl AsyncRead + Unpin + Send + 'static) -> Self {
        let (sender, lines) = watch::channel(Vec::new());
        tokio::spawn(async move {
            let mut from = BufReader::new(from).lines();
            while let Ok(Some(text)) = from.next_line().await {
                let json = serde_json::from_str(&text).ok();
                sender.send_modify(|lines| lines.push(Line { text, json }));
            }
        });
        Self { lines }
    }

    /// The lines so far.
    pub fn lines(&self) -> Vec<Line> {
        self.lines.borrow().clone()
    }

    /// The same as one text.
    pub fn text(&self) -> String {
        self.last(usize::MAX)
    }

    /// The end of it, for the message of a failed test.
    pub fn tail(&self) -> String {
        format!("the log ends:\n{}", self.last(TAIL))
    }

    fn last(&self, count: usize) -> String {
        let lines = self.lines.borrow();
        let lines = lines.iter().skip(lines.len().saturating_sub(count));
        let texts: Vec<_> = lines.map(|line| line.text.as_str()).collect();
        texts.join("\n")
    }

    /// Waits for a line; `None` if there is none when the log ends.
    pub async fn find(&self, which: impl Fn(&Line) -> bool) -> Option<Line> {
        let mut lines = self.lines.clone();
        let found = lines.wait_for(|lines| lines.iter().any(&which));
        let waited = tokio::time::timeout(PATIENCE, found).await;
        let waited = waited.map(|found| found.is_ok());
        assert!(waited.is_ok(), "no such line in time:\n{}", self.tail());
        self.lines().into_iter().find(|line| which(line))
    }

    /// Waits for the event with this message.
    pub async fn event(&self, message: &str) -> Line {
        let line = self.find(|line| line.is(message)).await;
        line.unwrap_or_else(|| panic!("no event {message:?} in the log:\n{}", self.tail()))
    }

    /// The whole log, once it has ended.
    pub async fn whole(&self) -> String {
        let mut lines = self.lines.clone();
        let ended = async { while lines.changed().await.is_ok() {} };
        let ended = tokio::time::timeout(PATIENCE, ended).await;
        assert!(ended.is_ok(), "the log does not end:\n{}", self.tail());
        self.text()
    }
}
