//! INSERT BULK and the data behind it (MS-TDS 2.2.6.1).

use super::data::{Access, command};
use super::stop::{Step, Stop};
use super::{Output, Session};
use crate::tds::error::ServerError;
use crate::tds::sql::lexer::Lexed;
use crate::tds::sql::tokens::Tokens;
use crate::tds::sql::translator::quote;
use crate::tds::wire::bulk;
use crate::tds::wire::tokens::{Done, DoneKind};

/// Where the next bulk load goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Target {
    names: Vec<String>,
    columns: Vec<String>,
}

impl Session {
    /// INSERT BULK table (column type, …) [WITH (…)]: the rows come in the next message.
    pub(super) fn insert_bulk(&mut self, run: &[Lexed], out: &mut Output) -> Result<Step, Stop> {
        self.before_data(Access::Writes)?;
        let mut tokens = Tokens::new(run);
        tokens.expect("insert")?;
        tokens.expect("bulk")?;
        let names = tokens.names()?;
        let table = self.table(&names)?;
        let mut inside = Tokens::new(tokens.parenthesised()?);
        let mut columns = Vec::new();
        loop {
            let name = inside.name()?;
            inside.kind()?;
            if inside.take("collate") {
                inside.name()?;
            }
            let _either = inside.take("null") || inside.take("not") && inside.take("null");
            if table.column(&name).is_none() {
                let text = format!("Invalid column name '{name}'.");
                return Err(ServerError::new(207, 16, text).into());
            }
            columns.push(name);
            if !inside.symbol(",") {
                break;
            }
        }
        inside.end()?;
        if tokens.take("with") {
            tokens.parenthesised()?;
        }
        tokens.end()?;
        self.bulk = Some(Target { names, columns });
        out.done(Done::new(self.done_kind()));
        Ok(Step::Next)
    }

    pub(super) fn bulk_request(&mut self, body: &[u8], out: &mut Output) -> Result<(), Stop> {
        self.push_batch("")?;
        let Some(target) = self.bulk.take() else {
            let text = "bulk data without INSERT BULK before it";
            return Err(ServerError::protocol(text).into());
        };
        let data = bulk::read(body, self.facts.version)
            .map_err(|malformed| ServerError::protocol(&malformed.to_string()))?;
        let table = self.table(&target.names)?;
        // The rows' own column names decide; clients may leave them out.
        let names: Vec<&String> = data
            .columns
            .iter()
            .enumerate()
            .map(|(at, name)| match target.columns.get(at) {
                Some(declared) if name.is_empty() => declared,
                _ => name,
            })
            .collect();
        let mut places = Vec::new();
        for (at, name) in names.iter().enumerate() {
            let column = table.column(name).ok_or_else(|| {
                ServerError::new(207, 16, format!("Invalid column name '{name}'."))
            })?;
            places.push(format!("tsql_assign(?{}, '{}')", at + 1, column.kind));
        }
        let list: Vec<String> = names.iter().map(|name| quote(name)).collect();
        let sql = format!(
            "INSERT INTO {} ({}) VALUES ({})",
            table.sql,
            list.join(", "),
            places.join(", ")
        );
        self.open_implicit(out);
        self.begin_writing()?;
        let count = u64::try_from(data.rows.len()).unwrap_or(0);
        self.atomically(|session| {
            for row in &data.rows {
                session.change(&sql, row)?;
            }
            Ok(())
        })?;
        self.last.row_count = count;
        let mut done = Done::new(DoneKind::Done);
        done.command = command::BULK;
        done.rows = Some(count);
        out.done(done);
        Ok(())
    }
}
