//! Parse, Bind, Describe, Execute, Close (55.2.3). There are no parameters; a portal lives until
//! the next Sync, since the console knows no transactions.

use super::{
    Command, Conversation, Format, Formats, MOST_NAMES, Mood, Report, Step, Value, Violation,
    complete, data_row, empty_query_response, framed, parse, row_description,
};
use crate::postgres::frame::split_cstr;
use crate::postgres::message::{CLOSE_COMPLETE, PARSE_COMPLETE};

/// Longest name of a statement or portal, in bytes.
const LONGEST_NAME: usize = 256;

/// A prepared statement: one command, or none if its text is empty.
#[derive(Debug, Clone)]
pub(super) struct Statement(Option<Command>);

/// A statement with the formats of its columns.
#[derive(Debug)]
pub(super) struct Portal {
    command: Option<Command>,
    formats: Formats,
    progress: Progress,
}

/// How far a portal has been executed.
#[derive(Debug)]
enum Progress {
    New,
    /// These rows are left.
    Suspended(std::vec::IntoIter<Vec<Value>>),
    Done,
}

/// Why a request is not done: the client is told, or it has broken the protocol.
enum Failure {
    Refused(Report),
    Broken(Violation),
}

impl From<Report> for Failure {
    fn from(report: Report) -> Self {
        Self::Refused(report)
    }
}

impl From<Violation> for Failure {
    fn from(violation: Violation) -> Self {
        Self::Broken(violation)
    }
}

impl Conversation {
    /// One message of the extended protocol, other than Sync and Flush.
    pub(super) fn extended(
        &mut self,
        tag: u8,
        body: &[u8],
        out: &mut Vec<u8>,
    ) -> Result<Step, Violation> {
        let mut reader = Reader {
            tag: tag.into(),
            rest: body,
        };
        let done = match tag {
            b'P' => self.parse(&mut reader, out),
            b'B' => self.bind(&mut reader, out),
            b'D' => self.describe(&mut reader, out),
            b'C' => self.close(&mut reader, out),
            _ => return self.execute(&mut reader, out),
        };
        match done {
            Ok(()) => Ok(Step::Taken),
            Err(failure) => self.failed(failure, out),
        }
    }

    /// A portal's command has run; its rows go out, up to the limit.
    pub(super) fn executed(
        &mut self,
        name: &[u8],
        limit: usize,
        rows: Vec<Vec<Value>>,
        out: &mut Vec<u8>,
    ) {
        if let Some(portal) = self.portals.get_mut(name) {
            portal.send(rows.into_iter(), limit, out);
        }
    }

    fn failed(&mut self, failure: Failure, out: &mut Vec<u8>) -> Result<Step, Violation> {
        match failure {
            Failure::Refused(report) => {
                self.fail(&report, out);
                Ok(Step::Taken)
            }
            Failure::Broken(violation) => Err(violation),
        }
    }

    fn parse(&mut self, reader: &mut Reader<'_>, out: &mut Vec<u8>) -> Result<(), Failure> {
        let (name, text) = (reader.string("name")?, reader.string("text")?);
        for _ in 0..reader.count("number of types")? {
            reader.take(4, "type")?;
        }
        reader.end()?;
        if !name.is_empty() && self.statements.contains_key(name) {
            let message = format!("prepared statement \"{}\" already exists", printed(name));
            return Err(Report::error("42P05", message).into());
        }
        let mut commands = parse(text)?.into_iter();
        let command = commands.next();
        if commands.next().is_some() {
            let message = "cannot insert multiple commands into a prepared statement";
            let hint = "Prepare them one by one, or send them in a simple query.";
            return Err(Report::error("42601", message).hint(hint).into());
        }
        if !self.statements.contains_key(name) {
            room(self.statements.len(), name, "prepared statements")?;
        }
        self.statements.insert(name.into(), Statement(command));
        out.extend_from_slice(&PARSE_COMPLETE);
        Ok(())
    }

    fn bind(&mut self, reader: &mut Reader<'_>, out: &mut Vec<u8>) -> Result<(), Failure> {
        let (name, statement) = (reader.string("portal")?, reader.string("statement")?);
        for _ in 0..reader.count("number of parameter formats")? {
            reader.take(2, "parameter format")?;
        }
        let parameters = reader.count("number of parameters")?;
        for _ in 0..parameters {
            let length = reader.take(4, "parameter length")?;
            // -1 is NULL, which has no bytes.
            let length = length.iter().fold(0_u32, |all, &b| all << 8 | u32::from(b));
            if length != u32::MAX {
                reader.take(length as usize, "parameter")?;
            }
        }
        let mut formats = Vec::new();
        for _ in 0..reader.count("number of result formats")? {
            formats.push(match reader.take(2, "result format")? {
                [0, 0] => Format::Text,
                [0, 1] => Format::Binary,
                _ => {
                    let message = "a format code is neither 0 (text) nor 1 (binary)";
                    return Err(Report::error("22023", message).into());
                }
            });
        }
        reader.end()?;
        let command = self.statement(statement)?.0.clone();
        if parameters > 0 {
            let message = format!(
                "bind message supplies {parameters} parameters, but commands of the console have none"
            );
            let hint = "Write names into the command's text, in double quotes.";
            return Err(Report::error("08P01", message).hint(hint).into());
        }
        let columns = command
            .as_ref()
            .and_then(Command::columns)
            .map_or(0, <[_]>::len);
        if formats.len() > 1 && formats.len() != columns {
            let message = format!(
                "bind message has {} result formats but the command has {columns} columns",
                formats.len()
            );
            return Err(Report::error("08P01", message).into());
        }
        if !name.is_empty() && self.portals.contains_key(name) {
            let message = format!("portal \"{}\" already exists", printed(name));
            return Err(Report::error("42P03", message).into());
        }
        if !self.portals.contains_key(name) {
            room(self.portals.len(), name, "portals")?;
        }
        let portal = Portal {
            command,
            formats: Formats(formats),
            progress: Progress::New,
        };
        self.portals.insert(name.into(), portal);
        framed(out, b'2', |_| {});
        Ok(())
    }

    fn describe(&self, reader: &mut Reader<'_>, out: &mut Vec<u8>) -> Result<(), Failure> {
        let (kind, name) = reader.target()?;
        let (command, formats) = match kind {
            Target::Statement => {
                let statement = self.statement(name)?;
                // ParameterDescription of no parameters.
                framed(out, b't', |out| out.extend_from_slice(&[0, 0]));
                (&statement.0, &Formats::default())
            }
            Target::Portal => {
                let portal = self.portals.get(name).ok_or_else(|| no_portal(name))?;
                (&portal.command, &portal.formats)
            }
        };
        match command.as_ref().and_then(Command::columns) {
            Some(columns) => row_description(out, columns, formats),
            // NoData.
            None => framed(out, b'n', |_| {}),
        }
        Ok(())
    }

    /// Closing what is not there is no error.
    fn close(&mut self, reader: &mut Reader<'_>, out: &mut Vec<u8>) -> Result<(), Failure> {
        let (kind, name) = reader.target()?;
        match kind {
            Target::Statement => drop(self.statements.remove(name)),
            Target::Portal => drop(self.portals.remove(name)),
        }
        out.extend_from_slice(&CLOSE_COMPLETE);
        Ok(())
    }

    fn execute(&mut self, reader: &mut Reader<'_>, out: &mut Vec<u8>) -> Result<Step, Violation> {
        let name = reader.string("portal")?;
        let limit = reader.take(4, "row limit")?;
        let limit = limit.iter().fold(0_u32, |all, &b| all << 8 | u32::from(b));
        // A negative limit is none, as in PostgreSQL.
        let limit = i32::try_from(limit).map_or(0, |limit| usize::try_from(limit).unwrap_or(0));
        reader.end()?;
        let Some(portal) = self.portals.get_mut(name) else {
            return self.failed(no_portal(name).into(), out);
        };
        let Some(command) = &portal.command else {
            empty_query_response(out);
            return Ok(Step::Taken);
        };
        let command = command.clone();
        match std::mem::replace(&mut portal.progress, Progress::Done) {
            Progress::New => {
                self.mood = Mood::RunningPortal(name.into(), limit);
                Ok(self.run(command, out))
            }
            Progress::Suspended(rows) => {
                portal.send(rows, limit, out);
                Ok(Step::Taken)
            }
            // A SELECT that has ended goes on to have no rows; a command runs once.
            Progress::Done if command.columns().is_some() => {
                complete(out, command.tag());
                Ok(Step::Taken)
            }
            Progress::Done => {
                let message = format!("portal \"{}\" cannot be run", printed(name));
                self.failed(Report::error("55000", message).into(), out)
            }
        }
    }

    fn statement(&self, name: &[u8]) -> Result<&Statement, Report> {
        self.statements.get(name).ok_or_else(|| {
            let message = format!("prepared statement \"{}\" does not exist", printed(name));
            Report::error("26000", message)
        })
    }
}

impl Portal {
    /// Sends rows up to `limit` (0 is all), and what tells whether there are more.
    fn send(&mut self, mut rows: std::vec::IntoIter<Vec<Value>>, limit: usize, out: &mut Vec<u8>) {
        let Some(command) = &self.command else {
            return;
        };
        let columns = command.columns().unwrap_or_default();
        let count = if limit == 0 { usize::MAX } else { limit };
        for row in rows.by_ref().take(count) {
            data_row(out, columns, &self.formats, &row);
        }
        // PostgreSQL looks no further than the limit: it does not know whether that was all.
        if limit > 0 && rows.len() > 0 {
            framed(out, b's', |_| {});
            self.progress = Progress::Suspended(rows);
        } else {
            complete(out, command.tag());
            self.progress = Progress::Done;
        }
    }
}

/// What Describe and Close are about.
#[derive(Clone, Copy)]
enum Target {
    Statement,
    Portal,
}

/// Reads a message's fields.
struct Reader<'a> {
    tag: char,
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    fn string(&mut self, what: &'static str) -> Result<&'a [u8], Violation> {
        let (string, rest) = split_cstr(self.rest).ok_or_else(|| self.malformed(what))?;
        self.rest = rest;
        Ok(string)
    }

    fn take(&mut self, length: usize, what: &'static str) -> Result<&'a [u8], Violation> {
        let (taken, rest) = self
            .rest
            .split_at_checked(length)
            .ok_or_else(|| self.malformed(what))?;
        self.rest = rest;
        Ok(taken)
    }

    fn count(&mut self, what: &'static str) -> Result<u16, Violation> {
        let bytes = self.take(2, what)?;
        Ok(bytes.iter().fold(0, |all, &b| all << 8 | u16::from(b)))
    }

    fn target(&mut self) -> Result<(Target, &'a [u8]), Violation> {
        let target = match self.take(1, "kind")? {
            b"S" => Target::Statement,
            b"P" => Target::Portal,
            _ => return Err(self.malformed("kind")),
        };
        let name = self.string("name")?;
        self.end()?;
        Ok((target, name))
    }

    /// Nothing may follow.
    fn end(&self) -> Result<(), Violation> {
        if self.rest.is_empty() {
            Ok(())
        } else {
            Err(self.malformed("length"))
        }
    }

    fn malformed(&self, what: &'static str) -> Violation {
        Violation::Malformed {
            tag: self.tag,
            what,
        }
    }
}

/// Whether one more is kept, under this name.
fn room(taken: usize, name: &[u8], what: &str) -> Result<(), Report> {
    if name.len() > LONGEST_NAME {
        let message = format!("names of {what} have {LONGEST_NAME} bytes at most on the console");
        return Err(Report::error("54000", message));
    }
    if taken >= MOST_NAMES {
        let message = format!("the console keeps {MOST_NAMES} {what} of a client at most");
        let hint = "Close those that are not needed any more.";
        return Err(Report::error("54000", message).hint(hint));
    }
    Ok(())
}

fn no_portal(name: &[u8]) -> Report {
    let message = format!("portal \"{}\" does not exist", printed(name));
    Report::error("34000", message)
}

/// A client's name, for its own eyes.
fn printed(name: &[u8]) -> String {
    const LONGEST: usize = 60;
    let name = name.get(..LONGEST).unwrap_or(name);
    String::from_utf8_lossy(name).into_owned()
}
