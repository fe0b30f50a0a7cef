//! PRINT, RAISERROR, THROW, WAITFOR.

use std::time::Duration;

use rusqlite::types::Value;

use super::stop::{Step, Stop};
use super::{Output, Session};
use crate::tds::error::ServerError;
use crate::tds::sql::convert;
use crate::tds::sql::lexer::{Lexed, Token};
use crate::tds::sql::tokens::Tokens;
use crate::tds::wire::kind::{Charset, Kind, Length};
use crate::tds::wire::temporal::{Moment, TICKS_PER_SECOND};

const TEXT: Kind = Kind::Text(Length::Max, Charset::Unicode);

impl Session {
    pub(super) fn print(&mut self, run: &[Lexed], out: &mut Output) -> Result<Step, Stop> {
        let (_, value) = self.evaluate(run.get(1..).unwrap_or_default())?;
        let line = run.first().map_or(1, |token| token.line);
        let text = text_of(value)?;
        // PRINT of nothing prints a blank.
        let text = if text.is_empty() {
            " ".to_owned()
        } else {
            text
        };
        out.info(&ServerError::info(0, text).at(line));
        self.last.row_count = 0;
        Ok(Step::Next)
    }

    /// `RAISERROR (text, severity, state, arguments…) [WITH …]`.
    pub(super) fn raise(&self, run: &[Lexed], out: &mut Output) -> Result<Step, Stop> {
        let mut tokens = Tokens::new(run);
        let line = tokens.line();
        tokens.expect("raiserror")?;
        let mut inside = tokens.parenthesised()?;
        let mut with_log = false;
        if tokens.take("with") {
            loop {
                with_log |= tokens.name()?.eq_ignore_ascii_case("log");
                if !tokens.symbol(",") {
                    break;
                }
            }
        }
        tokens.end()?;
        let mut values = Vec::new();
        while !inside.is_empty() {
            let (value, taken) = self.leading_value(inside)?;
            values.push(value);
            inside = inside.get(taken..).unwrap_or_default();
            match inside.split_first() {
                Some((comma, rest)) if comma.token == Token::Symbol(",") => inside = rest,
                None => {}
                Some(_) => return Err(Tokens::new(inside).unexpected().into()),
            }
        }
        let mut values = values.into_iter();
        let (number, pattern) = match values.next() {
            Some(Value::Integer(number)) => (
                i32::try_from(number).unwrap_or(50_000),
                format!("Error {number}, severity and state as given."),
            ),
            Some(value) => (50_000, text_of(value)?),
            None => return Err(ServerError::syntax("raiserror").at(line).into()),
        };
        let mut small = |default: u8| match values.next() {
            Some(Value::Integer(number)) => u8::try_from(number.clamp(0, 255)).unwrap_or(default),
            _ => default,
        };
        let (class, state) = (small(16).min(25), small(1));
        let message = formatted(&pattern, values)?;
        if class >= 19 && !with_log {
            let text = "Error severity levels greater than 18 can only be specified by members of \
                        the sysadmin role, using the WITH LOG option.";
            return Err(ServerError::new(2754, 16, text).at(line).into());
        }
        let error = ServerError::new(number, class, message)
            .with_state(state)
            .at(line);
        if class > 10 {
            return Err(error.into());
        }
        out.info(&error);
        Ok(Step::Next)
    }

    /// THROW number, text, state; alone, in a CATCH, the error that was caught.
    pub(super) fn throw(&mut self, run: &[Lexed]) -> Result<Step, Stop> {
        let line = run.first().map_or(1, |token| token.line);
        let mut rest = run.get(1..).unwrap_or_default();
        if rest.is_empty() {
            let caught = self.frame()?.caught.last().cloned();
            let error = caught.ok_or_else(|| {
                let text =
                    "To rethrow an error, a THROW statement must be used inside a CATCH block.";
                ServerError::new(10_704, 15, text).at(line)
            })?;
            return Err(self.thrown(error));
        }
        let mut values = Vec::new();
        for at in 0..3 {
            let (value, taken) = self.leading_value(rest)?;
            values.push(value);
            rest = rest.get(taken..).unwrap_or_default();
            if at < 2 {
                let mut tokens = Tokens::new(rest);
                tokens.expect_symbol(",")?;
                rest = tokens.rest();
            }
        }
        Tokens::new(rest).end()?;
        let [Value::Integer(number), text, Value::Integer(state)] = values.as_slice() else {
            return Err(ServerError::syntax("throw").at(line).into());
        };
        let number = i32::try_from(*number).unwrap_or(0);
        if number < 50_000 {
            let text = "Error number in the THROW statement is outside the valid range. Specify an \
                        error number in the valid range of 50000 to 2147483647.";
            return Err(ServerError::new(35_100, 16, text).at(line).into());
        }
        let state = u8::try_from(*state).unwrap_or(1);
        let error = ServerError::new(number, 16, text_of(text.clone())?)
            .with_state(state)
            .at(line);
        Err(self.thrown(error))
    }

    /// THROW ends the batch, whatever its number, and heeds XACT_ABORT.
    fn thrown(&mut self, error: ServerError) -> Stop {
        if self.options.is_on("xact_abort") {
            self.transaction.doom();
        }
        self.last.is_thrown = true;
        error.into()
    }

    /// WAITFOR DELAY, WAITFOR TIME.
    pub(super) fn wait_for(&self, run: &[Lexed]) -> Result<Step, Stop> {
        let mut tokens = Tokens::new(run);
        tokens.expect("waitfor")?;
        let until = tokens.take("time");
        if !until {
            tokens.expect("delay")?;
        }
        let text = text_of(self.evaluate(tokens.rest())?.1)?;
        let moment = Moment::parse(&text).ok_or_else(|| {
            let text = format!("Incorrect time syntax in time string '{text}' used with WAITFOR.");
            ServerError::new(148, 15, text).at(tokens.line())
        })?;
        let mut ticks = moment.ticks;
        if until {
            let now = super::globals::now().ticks;
            ticks = (ticks + 86_400 * TICKS_PER_SECOND - now) % (86_400 * TICKS_PER_SECOND);
        }
        let time = Duration::from_nanos(ticks.saturating_mul(100));
        if self.cancel.sleep(time) {
            Ok(Step::Next)
        } else {
            Err(Stop::Cancelled)
        }
    }
}

fn text_of(value: Value) -> Result<String, ServerError> {
    match convert::cast(value, TEXT)? {
        Value::Text(text) => Ok(text),
        _ => Ok(String::new()),
    }
}

/// `%s`, `%d`, `%i`, `%u`, `%x`, `%%`.
fn formatted(
    pattern: &str,
    mut values: impl Iterator<Item = Value>,
) -> Result<String, ServerError> {
    let mut text = String::new();
    let mut characters = pattern.chars();
    while let Some(c) = characters.next() {
        if c != '%' {
            text.push(c);
            continue;
        }
        match characters.next() {
            Some('%') => text.push('%'),
            Some('s' | 'd' | 'i' | 'u') => match values.next() {
                None | Some(Value::Null) => text.push_str("(null)"),
                Some(value) => text.push_str(&text_of(value)?),
            },
            Some('x') => match values.next() {
                Some(Value::Integer(number)) => text.push_str(&format!("{number:x}")),
                _ => text.push_str("(null)"),
            },
            other => {
                text.push('%');
                text.extend(other);
            }
        }
    }
    Ok(text)
}
