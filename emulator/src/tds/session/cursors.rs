//! Cursors of T-SQL: DECLARE, OPEN, FETCH, CLOSE, DEALLOCATE. All are static: their rows are those
//! of the moment of OPEN.

use std::collections::BTreeMap;

use rusqlite::types::Value;

use super::rows::{Heading, headings, put_metadata, put_row};
use super::stop::{Step, Stop};
use super::{Output, Session};
use crate::tds::error::ServerError;
use crate::tds::sql::lexer::{Lexed, Token};
use crate::tds::sql::tokens::Tokens;
use crate::tds::sql::translator::Translator;
use crate::tds::wire::tokens::Done;

/// Rows and a place among them.
#[derive(Debug, Default)]
pub(super) struct Rows {
    pub(super) headings: Vec<Heading>,
    rows: Vec<Vec<Value>>,
    /// 0 is before the first.
    at: i64,
}

/// Where a FETCH goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Move {
    Next,
    Prior,
    First,
    Last,
    Absolute(i64),
    Relative(i64),
}

#[derive(Debug)]
struct Cursor {
    query: Vec<Lexed>,
    /// `None` while it is closed.
    open: Option<Rows>,
    may_scroll: bool,
    /// LOCAL: the frame that it ends with.
    frame: Option<usize>,
}

/// All of a session: T-SQL's by name, those of the API by handle.
#[derive(Debug, Default)]
pub(super) struct Cursors {
    named: BTreeMap<String, Cursor>,
    pub(super) by_handle: BTreeMap<i32, Rows>,
    next_handle: i32,
    last_rows: i64,
}

impl Rows {
    pub(super) fn new(headings: Vec<Heading>, rows: Vec<Vec<Value>>) -> Self {
        Self {
            headings,
            rows,
            at: 0,
        }
    }

    pub(super) fn len(&self) -> i64 {
        i64::try_from(self.rows.len()).unwrap_or(i64::MAX)
    }

    pub(super) fn place(&self) -> i64 {
        self.at
    }

    /// Moves; gives the row that is there then.
    pub(super) fn go(&mut self, to: Move) -> Option<&Vec<Value>> {
        let end = self.len() + 1;
        let at = match to {
            Move::Next => self.at + 1,
            Move::Prior => self.at - 1,
            Move::First => 1,
            Move::Last => end - 1,
            Move::Absolute(place) if place < 0 => end + place,
            Move::Absolute(place) => place,
            Move::Relative(by) => self.at.saturating_add(by),
        };
        self.at = at.clamp(0, end);
        let index = usize::try_from(self.at - 1).ok()?;
        self.rows.get(index)
    }
}

impl Cursors {
    pub(super) fn has_any(&self) -> bool {
        !self.named.is_empty() || !self.by_handle.is_empty()
    }

    /// Numbers, names (none for those of the API), and whether they are open.
    pub(super) fn all(&self) -> Vec<(i32, String, bool)> {
        let by_name = self.named.iter().zip(1..);
        let by_name = by_name.map(|((name, cursor), at)| (at, name.clone(), cursor.open.is_some()));
        let by_handle = self.by_handle.keys();
        let by_handle = by_handle.map(|handle| (*handle, String::new(), true));
        by_name.chain(by_handle).collect()
    }

    pub(super) fn last_rows(&self) -> i64 {
        self.last_rows
    }

    pub(super) fn clear(&mut self) {
        self.named.clear();
        self.by_handle.clear();
    }

    pub(super) fn close_all(&mut self) {
        for cursor in self.named.values_mut() {
            cursor.open = None;
        }
    }

    pub(super) fn end_of_frame(&mut self, depth: usize) {
        self.named.retain(|_, cursor| cursor.frame != Some(depth));
    }

    /// CURSOR_STATUS: 1 open with rows, 0 open without, -1 closed, -3 none such.
    pub(super) fn status(&self, name: &str) -> i64 {
        match self.named.get(&name.to_lowercase()) {
            None => -3,
            Some(cursor) => cursor
                .open
                .as_ref()
                .map_or(-1, |rows| i64::from(rows.len() > 0)),
        }
    }

    pub(super) fn add(&mut self, rows: Rows) -> i32 {
        self.last_rows = rows.len();
        // As on SQL Server, the numbers look like addresses.
        self.next_handle += 2;
        let handle = 180_150_000 + self.next_handle;
        self.by_handle.insert(handle, rows);
        handle
    }
}

impl Session {
    /// `DECLARE name [INSENSITIVE] [SCROLL] CURSOR [options] FOR query`.
    pub(super) fn declare_cursor(&mut self, run: &[Lexed]) -> Result<Step, Stop> {
        let mut tokens = Tokens::new(run);
        tokens.expect("declare")?;
        let name = tokens.name()?.to_lowercase();
        tokens.take("insensitive");
        let mut may_scroll = tokens.take("scroll");
        tokens.expect("cursor")?;
        let mut frame = None;
        while !tokens.take("for") {
            let option = tokens.name()?.to_ascii_lowercase();
            match option.as_str() {
                "local" => frame = Some(self.frames.len()),
                "scroll" | "static" | "keyset" => may_scroll = true,
                "global" | "forward_only" | "fast_forward" | "dynamic" | "read_only"
                | "optimistic" | "type_warning" => {}
                other => {
                    let what = format!("cursors with {}", other.to_uppercase());
                    return Err(ServerError::unsupported(&what).into());
                }
            }
        }
        let mut query = tokens.rest().to_vec();
        while matches!(
            query.last().map(|last| &last.token),
            Some(Token::Symbol(";"))
        ) {
            query.pop();
        }
        if self.cursors.named.contains_key(&name) {
            let text = format!("A cursor with the name '{name}' already exists.");
            return Err(ServerError::new(16_915, 16, text).into());
        }
        let cursor = Cursor {
            query,
            open: None,
            may_scroll,
            frame,
        };
        self.cursors.named.insert(name, cursor);
        Ok(Step::Next)
    }

    pub(super) fn cursor_statement(
        &mut self,
        run: &[Lexed],
        out: &mut Output,
    ) -> Result<Step, Stop> {
        let mut tokens = Tokens::new(run);
        let verb = tokens.name()?.to_ascii_lowercase();
        if verb == "fetch" {
            return self.fetch(&mut tokens, out);
        }
        tokens.take("global");
        let name = tokens.name()?.to_lowercase();
        tokens.end()?;
        match verb.as_str() {
            "open" => self.open_cursor(&name, out)?,
            "close" => {
                let cursor = self.cursor(&name)?;
                if cursor.open.take().is_none() {
                    return Err(not_open(&name).into());
                }
            }
            _ => {
                self.cursor(&name)?;
                self.cursors.named.remove(&name);
            }
        }
        Ok(Step::Next)
    }

    fn open_cursor(&mut self, name: &str, out: &mut Output) -> Result<(), Stop> {
        let cursor = self.cursor(name)?;
        if cursor.open.is_some() {
            return Err(ServerError::new(16_905, 16, "The cursor is already open.").into());
        }
        let query = cursor.query.clone();
        self.open_implicit(out);
        let rows = self.materialise(&query)?;
        self.cursors.last_rows = rows.len();
        self.cursor(name)?.open = Some(rows);
        Ok(())
    }

    /// All rows of a query, kept.
    pub(super) fn materialise(&mut self, tokens: &[Lexed]) -> Result<Rows, Stop> {
        let (query, bound) = {
            let mut translator = Translator::new(self, tokens);
            let query = translator.query()?;
            if translator.tokens().take("for") {
                // FOR READ ONLY, FOR UPDATE OF …: the rows are read-only in any case.
                while translator.tokens().next().is_some() {}
            }
            translator.tokens().end()?;
            (query, translator.into_bound())
        };
        self.begin_reading()?;
        let rows = self.all_rows(&query.sql, &bound)?;
        let headings = headings(&query.columns, rows.first().map(Vec::as_slice));
        Ok(Rows::new(headings, rows))
    }

    /// `FETCH [NEXT | … FROM] name [INTO @a, @b]`.
    fn fetch(&mut self, tokens: &mut Tokens<'_>, out: &mut Output) -> Result<Step, Stop> {
        let to = self.fetch_direction(tokens)?;
        tokens.take("from");
        tokens.take("global");
        let name = tokens.name()?.to_lowercase();
        let mut targets = Vec::new();
        if tokens.take("into") {
            loop {
                targets.push(tokens.variable()?);
                if !tokens.symbol(",") {
                    break;
                }
            }
        }
        tokens.end()?;
        let cursor = self.cursor(&name)?;
        if to != Move::Next && !cursor.may_scroll {
            let text = "fetch: The fetch type cannot be used with forward only cursors.";
            return Err(ServerError::new(16_911, 16, text).into());
        }
        let rows = cursor.open.as_mut().ok_or_else(|| not_open(&name))?;
        let headings = rows.headings.clone();
        let row = rows.go(to).cloned();
        self.last.fetch_status = if row.is_some() { 0 } else { -1 };
        let count = u64::from(row.is_some());
        self.last.row_count = count;
        if !targets.is_empty() {
            if targets.len() != headings.len() {
                let text = "Cursorfetch: The number of variables declared in the INTO list must \
                            match that of selected columns.";
                return Err(ServerError::new(16_924, 16, text).into());
            }
            for (target, value) in targets.iter().zip(row.into_iter().flatten()) {
                self.assign_variable(target, value)?;
            }
            return Ok(Step::Next);
        }
        put_metadata(out, &headings);
        if let Some(row) = row {
            put_row(out, &headings, row)?;
        }
        let mut done = Done::new(self.done_kind());
        done.command = super::data::command::SELECT;
        done.rows = Some(count);
        out.done(done);
        Ok(Step::Next)
    }

    fn fetch_direction(&self, tokens: &mut Tokens<'_>) -> Result<Move, Stop> {
        for (word, to) in [
            ("next", Move::Next),
            ("prior", Move::Prior),
            ("first", Move::First),
            ("last", Move::Last),
        ] {
            if tokens.take(word) {
                return Ok(to);
            }
        }
        let absolute = tokens.take("absolute");
        if !absolute && !tokens.take("relative") {
            return Ok(Move::Next);
        }
        let (value, taken) = self.leading_value(tokens.rest())?;
        tokens.go_to(tokens.at() + taken);
        let Value::Integer(number) = value else {
            return Err(tokens.unexpected().into());
        };
        Ok(if absolute {
            Move::Absolute(number)
        } else {
            Move::Relative(number)
        })
    }

    fn cursor(&mut self, name: &str) -> Result<&mut Cursor, ServerError> {
        self.cursors.named.get_mut(name).ok_or_else(|| {
            let text = format!("A cursor with the name '{name}' does not exist.");
            ServerError::new(16_916, 16, text)
        })
    }
}

fn not_open(name: &str) -> ServerError {
    ServerError::new(16_917, 16, format!("Cursor is not open ({name})."))
}
