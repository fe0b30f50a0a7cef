//! @@ROWCOUNT and its like, and functions about the session.

use std::time::{SystemTime, UNIX_EPOCH};

use rusqlite::types::Value;

use super::Session;
use crate::tds::error::ServerError;
use crate::tds::sql::convert;
use crate::tds::sql::lexer::lex;
use crate::tds::sql::tokens::Tokens;
use crate::tds::wire::kind::{Kind, Length};
use crate::tds::wire::temporal::Moment;

const NAME: Kind = Kind::nvarchar(128);

/// What the last statement left behind.
#[derive(Debug, Default)]
pub(super) struct Last {
    pub(super) row_count: u64,
    pub(super) error: i32,
    /// @@IDENTITY: of any scope.
    pub(super) identity: Option<i64>,
    /// @@FETCH_STATUS.
    pub(super) fetch_status: i64,
    /// The error on its way was thrown: it ends the batch.
    pub(super) is_thrown: bool,
}

/// Now, UTC, as all clocks of Azure.
pub(super) fn now() -> Moment {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    Moment::since_1970(since.unwrap_or_default())
}

fn integer(number: impl Into<i64>) -> Value {
    Value::Integer(number.into())
}

impl Session {
    /// `@@name`, for the translator.
    pub(in crate::tds) fn global(&self, name: &str) -> Result<(Kind, Value), ServerError> {
        let rows = i64::try_from(self.last.row_count).unwrap_or(i64::MAX);
        let identity = Kind::Decimal {
            precision: 38,
            scale: 0,
        };
        Ok(match name {
            "@@rowcount" => (Kind::Int, integer(rows)),
            "@@error" => (Kind::Int, integer(self.last.error)),
            "@@trancount" => (Kind::Int, integer(self.transaction.count())),
            "@@spid" => (Kind::SmallInt, integer(self.spid)),
            "@@identity" => (identity, self.last.identity.map_or(Value::Null, integer)),
            "@@fetch_status" => (Kind::Int, integer(self.last.fetch_status)),
            "@@cursor_rows" => (Kind::Int, integer(self.cursors.last_rows())),
            "@@version" => {
                let text = "Microsoft SQL Azure (RTM) - 12.0.2000.8 (entrapool emulator, SQLite)";
                (Kind::nvarchar(300), Value::Text(text.to_owned()))
            }
            "@@max_precision" => (Kind::TinyInt, integer(38)),
            "@@servername" => (NAME, Value::Text("entrapool-emulator".to_owned())),
            "@@servicename" => (NAME, Value::Text("MSSQLSERVER".to_owned())),
            "@@language" => (NAME, Value::Text(self.options.language.name.to_owned())),
            "@@datefirst" => (Kind::TinyInt, integer(self.options.date_first)),
            "@@lock_timeout" => (Kind::Int, integer(self.options.lock_timeout)),
            "@@textsize" => (Kind::Int, integer(self.options.text_size)),
            "@@options" => (Kind::Int, integer(self.options_word())),
            "@@nestlevel" => {
                let depth = self.frames.len().saturating_sub(1);
                (Kind::Int, integer(i64::try_from(depth).unwrap_or(0)))
            }
            "@@procid" => (Kind::Int, integer(0)),
            _ => {
                let text = format!("Must declare the scalar variable \"{name}\".");
                return Err(ServerError::new(137, 15, text));
            }
        })
    }

    /// The bits of @@OPTIONS (`user options` of sp_configure).
    fn options_word(&self) -> i64 {
        let bits = [
            ("implicit_transactions", 2),
            ("cursor_close_on_commit", 4),
            ("ansi_warnings", 8),
            ("ansi_padding", 16),
            ("ansi_nulls", 32),
            ("arithabort", 64),
            ("arithignore", 128),
            ("quoted_identifier", 256),
            ("nocount", 512),
            ("ansi_null_dflt_on", 1024),
            ("ansi_null_dflt_off", 2048),
            ("concat_null_yields_null", 4096),
            ("numeric_roundabort", 8192),
            ("xact_abort", 16_384),
        ];
        let on = bits.iter().filter(|(name, _)| self.options.is_on(name));
        on.map(|(_, bit)| bit).sum()
    }

    /// A function that is not of values alone; arguments that are not constants come as NULL.
    pub(in crate::tds) fn function(
        &self,
        name: &str,
        arguments: &[Value],
    ) -> Result<(Kind, Value), ServerError> {
        let text = |text: &str| (NAME, Value::Text(text.to_owned()));
        let argument = |at: usize| match arguments.get(at) {
            Some(Value::Text(text)) => text.as_str(),
            _ => "",
        };
        Ok(match name {
            "getdate" | "getutcdate" => (Kind::DateTime, clock(Kind::DateTime)?),
            "sysdatetime" | "sysutcdatetime" => (Kind::DateTime2(7), clock(Kind::DateTime2(7))?),
            "sysdatetimeoffset" => (Kind::DateTimeOffset(7), clock(Kind::DateTimeOffset(7))?),
            "db_name" if arguments.is_empty() => text(&self.context.database),
            "db_name" => (NAME, self.database_name(arguments.first())),
            "db_id" => (Kind::SmallInt, self.database_id(arguments.first())),
            "original_login" => text(&self.facts.identity.user),
            "suser_sname" | "suser_name" | "user_name" => text(self.user()),
            "app_name" => text(&self.facts.app),
            "host_name" => text(&self.facts.host),
            "schema_name" => text("dbo"),
            "object_id" => (Kind::Int, self.object_id(argument(0))?),
            "session_context" => {
                let pair = self.context.pairs.get(&argument(0).to_lowercase());
                let value = pair.map_or(Ok(Value::Null), |pair| {
                    convert::cast(pair.value.clone(), Kind::nvarchar(4_000))
                });
                (Kind::nvarchar(4_000), value?)
            }
            "context_info" => {
                let info = &self.context.info;
                let value = if info.is_empty() {
                    Value::Null
                } else {
                    Value::Blob(info.clone())
                };
                (Kind::Binary(Length::Varying(128)), value)
            }
            "scope_identity" => {
                let kind = Kind::Decimal {
                    precision: 38,
                    scale: 0,
                };
                let identity = self.frames.last().and_then(|frame| frame.identity);
                (kind, identity.map_or(Value::Null, integer))
            }
            "rowcount_big" => {
                let rows = i64::try_from(self.last.row_count).unwrap_or(i64::MAX);
                (Kind::BigInt, integer(rows))
            }
            "xact_state" => {
                let state = match (self.transaction.count(), self.transaction.is_doomed()) {
                    (0, _) => 0,
                    (_, true) => -1,
                    (_, false) => 1,
                };
                (Kind::SmallInt, integer(state))
            }
            "applock_mode" => text(self.application_lock_mode(argument(1), argument(2))),
            "cursor_status" => {
                let status = self.cursors.status(argument(1));
                (Kind::SmallInt, integer(status))
            }
            "error_number" | "error_message" | "error_severity" | "error_state" | "error_line"
            | "error_procedure" => self.caught(name),
            _ => {
                let text = format!("'{name}' is not a recognized built-in function name.");
                return Err(ServerError::new(195, 15, text));
            }
        })
    }

    /// As whom statements run.
    pub(super) fn user(&self) -> &str {
        if let Some(role) = &self.context.application_role {
            return role;
        }
        let impersonation = self.context.impersonations.last();
        impersonation.map_or(&self.facts.identity.user, |impersonation| {
            &impersonation.user
        })
    }

    /// NULL outside of a CATCH.
    fn caught(&self, name: &str) -> (Kind, Value) {
        let mut frames = self.frames.iter().rev();
        let error = frames.find_map(|frame| frame.caught.last());
        let number = |number: i64| (Kind::Int, integer(number));
        let Some(error) = error else {
            let kind = match name {
                "error_message" => Kind::nvarchar(4_000),
                "error_procedure" => NAME,
                _ => Kind::Int,
            };
            return (kind, Value::Null);
        };
        match name {
            "error_number" => number(error.number.into()),
            "error_message" => (Kind::nvarchar(4_000), Value::Text(error.message.clone())),
            "error_severity" => number(error.class.into()),
            "error_state" => number(error.state.into()),
            "error_line" => number(error.line.into()),
            _ if error.procedure.is_empty() => (NAME, Value::Null),
            _ => (NAME, Value::Text(error.procedure.clone())),
        }
    }

    fn database_name(&self, id: Option<&Value>) -> Value {
        let id = match id {
            Some(Value::Integer(id)) => usize::try_from(*id).ok(),
            _ => None,
        };
        let names = &self.server.setup.databases;
        let found = id.and_then(|id| names.get(id.checked_sub(1)?));
        found.map_or(Value::Null, |name| Value::Text(name.clone()))
    }

    fn database_id(&self, name: Option<&Value>) -> Value {
        let name = match name {
            None => self.context.database.as_str(),
            Some(Value::Text(name)) => name,
            Some(_) => return Value::Null,
        };
        let mut names = self.server.setup.databases.iter();
        let found = names.position(|known| known.eq_ignore_ascii_case(name));
        let id = found.and_then(|at| i64::try_from(at + 1).ok());
        id.map_or(Value::Null, integer)
    }

    /// Some number for a table or procedure that is there, NULL for others.
    pub(super) fn object_id(&self, name: &str) -> Result<Value, ServerError> {
        let tokens = lex(name, true)?;
        let names = Tokens::new(&tokens).names()?;
        if let [.., own] = names.as_slice()
            && own.starts_with('#')
            && !own.starts_with("##")
        {
            let found = self.table(&names).is_ok() || self.stored_procedure(&names)?.is_some();
            return Ok(if found {
                integer(self.temporary_object(own))
            } else {
                Value::Null
            });
        }
        let exists = self.table(&names).is_ok() || self.stored_procedure(&names)?.is_some();
        let name = super::views::table_name(&names);
        Ok(match exists {
            true => integer(object_number(&name)),
            false => Value::Null,
        })
    }
}

/// The number of an object with this name in `dbo`.
pub(super) fn object_number(name: &str) -> i64 {
    name.to_lowercase().bytes().fold(17, |hash, byte| {
        (hash * 31 + i64::from(byte)) % 2_000_000_000
    })
}

fn clock(kind: Kind) -> Result<Value, ServerError> {
    let text = now().text(kind);
    let text = text.ok_or_else(|| ServerError::new(40_000, 16, "The clock shows no year."))?;
    Ok(Value::Text(text))
}
