//! An error or a message as SQL Server reports it: number, state, class, text.

use rusqlite::ffi;

/// What goes into an ERROR or INFO token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ServerError {
    pub(super) number: i32,
    pub(super) state: u8,
    /// Severity: up to 10 a message, 11 to 19 an error, from 20 on the connection ends.
    pub(super) class: u8,
    pub(super) message: String,
    pub(super) procedure: String,
    pub(super) line: u32,
}

impl ServerError {
    pub(super) fn new(number: i32, class: u8, message: impl Into<String>) -> Self {
        Self {
            number,
            state: 1,
            class,
            message: message.into(),
            procedure: String::new(),
            line: 1,
        }
    }

    pub(super) fn with_state(mut self, state: u8) -> Self {
        self.state = state;
        self
    }

    pub(super) fn at(mut self, line: u32) -> Self {
        self.line = line;
        self
    }

    /// A message (class 0 to 10).
    pub(super) fn info(number: i32, message: impl Into<String>) -> Self {
        Self::new(number, 0, message)
    }

    /// The login is refused, as Azure hides why (state 1).
    pub(super) fn login_failed(who: &str, more: &str) -> Self {
        Self::new(18456, 14, format!("Login failed for user '{who}'.{more}"))
    }

    /// Something that SQL Server has and this server has not.
    pub(super) fn unsupported(what: &str) -> Self {
        Self::new(
            40_000,
            16,
            format!(
                "The emulator does not support {what}. See docs/tds-emulator.md for what it knows."
            ),
        )
    }

    pub(super) fn syntax(near: &str) -> Self {
        Self::new(102, 15, format!("Incorrect syntax near '{near}'."))
    }

    pub(super) fn protocol(what: &str) -> Self {
        let text =
            format!("The incoming tabular data stream (TDS) protocol stream is incorrect: {what}.");
        Self::new(4002, 16, text)
    }

    pub(super) fn conversion(value: &str, from: &str, to: &str) -> Self {
        let text = format!(
            "Conversion failed when converting the {from} value '{value}' to data type {to}."
        );
        Self::new(245, 16, text)
    }

    /// Whether the statements behind it in the batch are not run, without XACT_ABORT.
    pub(super) fn aborts_batch(&self) -> bool {
        const ABORTING: [i32; 12] = [
            102, 105, 156, 137, 207, 208, 241, 245, 1205, 3960, 8114, 40_000,
        ];
        self.class >= 17 || ABORTING.contains(&self.number)
    }

    /// For messages that pass through SQLite (functions of ours).
    pub(super) fn encode(&self) -> String {
        format!(
            "\u{1}{}\u{1}{}\u{1}{}",
            self.number, self.class, self.message
        )
    }

    fn decode(text: &str) -> Option<Self> {
        let mut parts = text.strip_prefix('\u{1}')?.splitn(3, '\u{1}');
        let number = parts.next()?.parse().ok()?;
        let class = parts.next()?.parse().ok()?;
        Some(Self::new(number, class, parts.next()?))
    }
}

impl From<rusqlite::Error> for ServerError {
    fn from(error: rusqlite::Error) -> Self {
        let (failure, message) = match &error {
            rusqlite::Error::SqliteFailure(failure, Some(text)) => (Some(*failure), text.clone()),
            rusqlite::Error::SqlInputError { error, msg, .. } => (Some(*error), msg.clone()),
            other => (other.sqlite_error().copied(), other.to_string()),
        };
        if let Some(ours) = Self::decode(&message) {
            return ours;
        }
        let code = failure.map_or(0, |failure| failure.extended_code);
        by_code(code, &message).unwrap_or_else(|| by_words(&message))
    }
}

/// SQLite's extended codes where they say enough.
fn by_code(code: i32, message: &str) -> Option<ServerError> {
    let what = message.split_once(": ").map_or(message, |(_, what)| what);
    let table = what.split('.').next().unwrap_or(what);
    let columns = what.rsplit('.').next().unwrap_or(what);
    Some(match code {
        ffi::SQLITE_CONSTRAINT_PRIMARYKEY | ffi::SQLITE_CONSTRAINT_ROWID => ServerError::new(
            2627,
            14,
            format!(
                "Violation of PRIMARY KEY constraint 'PK_{table}'. Cannot insert duplicate key in \
                 object 'dbo.{table}'. The duplicate key is in column {columns}."
            ),
        ),
        ffi::SQLITE_CONSTRAINT_UNIQUE => ServerError::new(
            2627,
            14,
            format!(
                "Violation of UNIQUE KEY constraint. Cannot insert duplicate key in object \
                 'dbo.{table}'. The duplicate key is in column {columns}."
            ),
        ),
        ffi::SQLITE_CONSTRAINT_NOTNULL => ServerError::new(
            515,
            16,
            format!(
                "Cannot insert the value NULL into column '{columns}', table 'dbo.{table}'; \
                 column does not allow nulls. INSERT fails."
            ),
        )
        .with_state(2),
        ffi::SQLITE_CONSTRAINT_CHECK | ffi::SQLITE_CONSTRAINT_FOREIGNKEY => ServerError::new(
            547,
            16,
            format!("The statement conflicted with a constraint: {message}."),
        ),
        ffi::SQLITE_BUSY_SNAPSHOT => ServerError::new(
            3960,
            16,
            "Snapshot isolation transaction aborted due to update conflict. Retry the transaction \
             or change the isolation level for the update/delete statement.",
        ),
        ffi::SQLITE_BUSY | ffi::SQLITE_LOCKED | ffi::SQLITE_LOCKED_SHAREDCACHE => {
            ServerError::new(1222, 16, "Lock request time out period exceeded.").with_state(51)
        }
        _ => return None,
    })
}

fn by_words(message: &str) -> ServerError {
    let named = |words: &str| message.split_once(words).map(|(_, name)| name.to_owned());
    let bare = |name: String| {
        let name = name.rsplit('.').next().unwrap_or_default().to_owned();
        name.split(' ').next().unwrap_or_default().to_owned()
    };
    if let Some(name) = named("no such table: ") {
        let text = format!("Invalid object name '{}'.", bare(name));
        return ServerError::new(208, 16, text);
    }
    if let Some(name) = named("no such column: ") {
        let text = format!("Invalid column name '{}'.", bare(name));
        return ServerError::new(207, 16, text);
    }
    if message.contains("already exists") {
        let name = message.split('"').nth(1).unwrap_or(message);
        let text = format!("There is already an object named '{name}' in the database.");
        return ServerError::new(2714, 16, text);
    }
    if let Some(rest) = message.strip_prefix("near \"") {
        let near = rest.split('"').next().unwrap_or_default();
        return ServerError::syntax(near);
    }
    let text = format!("The emulator's store refused the statement: {message}.");
    ServerError::new(40_000, 16, text)
}
