//! SET options (SET @x is in `assignment`).

use rusqlite::types::Value;

use super::language::Language;
use super::options::SWITCHES;
use super::stop::{Step, Stop};
use super::{Output, Session};
use crate::tds::error::ServerError;
use crate::tds::sql::lexer::{Lexed, Token};
use crate::tds::sql::tokens::Tokens;
use crate::tds::wire::tokens::{env, put_env_text};
use crate::tds::wire::transaction::Isolation;

impl Session {
    pub(super) fn set_statement(&mut self, run: &[Lexed], out: &mut Output) -> Result<Step, Stop> {
        let mut tokens = Tokens::new(run);
        tokens.expect("set")?;
        if matches!(tokens.peek(), Some(Token::Variable(_))) {
            return self.set_variable(run);
        }
        let name = tokens.name()?.to_ascii_lowercase();
        self.last.row_count = 0;
        match name.as_str() {
            "transaction" => self.set_isolation(&mut tokens)?,
            "identity_insert" => self.set_identity_insert(&mut tokens)?,
            "language" => self.set_language(&mut tokens, out)?,
            "context_info" => {
                let value = self.evaluate(tokens.rest())?.1;
                self.set_context_info(value)?;
                return Ok(Step::Next);
            }
            "datefirst"
            | "dateformat"
            | "lock_timeout"
            | "textsize"
            | "rowcount"
            | "deadlock_priority"
            | "query_governor_cost_limit" => {
                self.set_number(&name, &mut tokens)?;
            }
            _ => self.set_switches(&name, &mut tokens)?,
        }
        tokens.end()?;
        Ok(Step::Next)
    }

    /// SET a, b, STATISTICS IO ON.
    fn set_switches(&mut self, first: &str, tokens: &mut Tokens<'_>) -> Result<(), ServerError> {
        let mut names = vec![first.to_owned()];
        if matches!(first, "statistics") {
            names = vec![format!(
                "statistics {}",
                tokens.name()?.to_ascii_lowercase()
            )];
        }
        while tokens.symbol(",") {
            names.push(tokens.name()?.to_ascii_lowercase());
        }
        if let Some(unknown) = names.iter().find(|name| !SWITCHES.contains(&name.as_str())) {
            let text = format!("'{unknown}' is not a recognized SET option.");
            return Err(ServerError::new(195, 15, text).at(tokens.line()));
        }
        let on = if tokens.take("on") {
            true
        } else {
            tokens.expect("off")?;
            false
        };
        let refused = names
            .iter()
            .find(|name| on && (name.starts_with("showplan") || name.starts_with("statistics")));
        if let Some(name) = refused {
            return Err(ServerError::unsupported(&format!(
                "SET {} ON",
                name.to_uppercase()
            )));
        }
        for name in names {
            self.options.switch(&name, on);
        }
        Ok(())
    }

    /// SET TRANSACTION ISOLATION LEVEL ….
    fn set_isolation(&mut self, tokens: &mut Tokens<'_>) -> Result<(), ServerError> {
        tokens.expect("isolation")?;
        tokens.expect("level")?;
        let level = if tokens.take("read") {
            if tokens.take("uncommitted") {
                Isolation::ReadUncommitted
            } else {
                tokens.expect("committed")?;
                Isolation::ReadCommitted
            }
        } else if tokens.take("repeatable") {
            tokens.expect("read")?;
            Isolation::RepeatableRead
        } else if tokens.take("serializable") {
            Isolation::Serializable
        } else {
            tokens.expect("snapshot")?;
            Isolation::Snapshot
        };
        self.options.isolation = level;
        Ok(())
    }

    fn set_identity_insert(&mut self, tokens: &mut Tokens<'_>) -> Result<(), ServerError> {
        let table = self.table(&tokens.names()?)?;
        if tokens.take("off") {
            self.options.identity_insert = None;
            return Ok(());
        }
        tokens.expect("on")?;
        if !table.columns.iter().any(|column| column.is_identity) {
            let text = format!(
                "Table '{}' does not have the identity property. Cannot perform SET operation.",
                table.name
            );
            return Err(ServerError::new(8106, 16, text));
        }
        self.options.identity_insert = Some(table.sql);
        Ok(())
    }

    fn set_language(&mut self, tokens: &mut Tokens<'_>, out: &mut Output) -> Result<(), Stop> {
        let name = self.word_or_value(tokens)?;
        let language = Language::named(&name).ok_or_else(|| {
            let text = format!("'{name}' is not an official language name from syslanguages.");
            ServerError::new(2741, 16, text)
        })?;
        let old = self.options.language.name;
        self.options.set_language(language);
        let new = language.name;
        out.put(|bytes| put_env_text(bytes, env::LANGUAGE, new, old));
        let text = format!("Changed language setting to {new}.");
        out.info(&ServerError::info(5703, text));
        Ok(())
    }

    /// Options with a number or a word.
    fn set_number(&mut self, name: &str, tokens: &mut Tokens<'_>) -> Result<(), Stop> {
        let line = tokens.line();
        let word = self.word_or_value(tokens)?;
        let wrong =
            || ServerError::new(195, 15, format!("'{word}' is no value for {name}.")).at(line);
        let number = || word.parse::<i64>().map_err(|_| wrong());
        let options = &mut self.options;
        match name {
            "datefirst" => {
                let day = u8::try_from(number()?).ok();
                let day = day.filter(|day| (1..=7).contains(day));
                options.date_first = day.ok_or_else(wrong)?;
            }
            "dateformat" => {
                let format = word.to_ascii_lowercase();
                if !["mdy", "dmy", "ymd", "ydm", "myd", "dym"].contains(&format.as_str()) {
                    return Err(wrong().into());
                }
                options.date_format = format;
            }
            "lock_timeout" => options.lock_timeout = number()?.max(-1),
            "textsize" => {
                options.text_size = match number()? {
                    -1 | 0 => i32::MAX.into(),
                    size => size,
                };
            }
            "rowcount" => options.row_count = u64::try_from(number()?).map_err(|_| wrong())?,
            "deadlock_priority" => {
                options.deadlock_priority = match word.to_ascii_lowercase().as_str() {
                    "low" => -5,
                    "normal" => 0,
                    "high" => 5,
                    _ => number()?,
                };
            }
            _ => {
                number()?;
            }
        }
        Ok(())
    }

    /// `German`, `'German'`, `@x`, `-1`: as text.
    fn word_or_value(&self, tokens: &mut Tokens<'_>) -> Result<String, Stop> {
        let negative = tokens.symbol("-");
        let word = match tokens.next() {
            Some(Token::Word(word) | Token::Quoted(word) | Token::Text(word)) => word.clone(),
            Some(Token::Number(number)) => number.clone(),
            Some(Token::Variable(name)) => match self.variable(name)?.1 {
                Value::Text(text) => text,
                Value::Integer(number) => number.to_string(),
                _ => String::new(),
            },
            _ => return Err(tokens.unexpected().into()),
        };
        Ok(if negative { format!("-{word}") } else { word })
    }

    fn set_context_info(&mut self, value: Value) -> Result<(), ServerError> {
        match value {
            Value::Blob(mut bytes) if bytes.len() <= 128 => {
                // It is a binary(128).
                bytes.resize(128, 0);
                self.context.info = bytes;
                Ok(())
            }
            Value::Null => {
                self.context.info.clear();
                Ok(())
            }
            _ => {
                let text = "SET CONTEXT_INFO needs a binary value of up to 128 bytes.";
                Err(ServerError::new(8144, 16, text))
            }
        }
    }
}
