//! One client's conversation with the console: simple and extended queries (55.2.2, 55.2.3).

mod extended;

use std::collections::{HashMap, VecDeque};

use super::columns::HELP;
use super::command::{Command, LONGEST_TEXT, Show, parse};
use super::table::{Column, Format, Formats, Table, Value, data_row, row_description};
use crate::postgres::frame::{HEADER, Header};
use crate::postgres::message::{Report, framed, ready_for_query};
use crate::postgres::{Status, Violation};
use extended::{Portal, Statement};

/// Most prepared statements, and most portals, of a client.
pub const MOST_NAMES: usize = 100;

/// Longest message in bytes: a Parse with a command's text, or a Bind that fills its names.
const LONGEST_MESSAGE: usize = 2 * LONGEST_TEXT;

/// What to do next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// More bytes are needed.
    Starved,
    /// A message has been dealt with; there may be more.
    Taken,
    /// This is to be done, and [`Conversation::answer`] to be told what came of it.
    Run(Command),
    /// The client has said goodbye.
    Quit,
}

/// What came of a command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// Rows, with the columns of [`Command::columns`].
    Rows(Table),
    /// It is done, and has no rows.
    Done,
    /// It could not be done.
    Refused(Report),
}

/// The state of one conversation, behind the greeting.
#[derive(Debug, Default)]
pub struct Conversation {
    statements: HashMap<Vec<u8>, Statement>,
    portals: HashMap<Vec<u8>, Portal>,
    mood: Mood,
}

/// What is going on.
#[derive(Debug, Default)]
enum Mood {
    /// A message may come.
    #[default]
    Open,
    /// An extended request has failed: up to the next Sync, nothing counts.
    Skipping,
    /// These commands of a simple query are still to be run.
    Query(VecDeque<Command>),
    /// The first one runs now.
    RunningQuery(Command, VecDeque<Command>),
    /// The command of this portal runs now, for at most so many rows; 0 is all.
    RunningPortal(Vec<u8>, usize),
}

impl Conversation {
    /// Deals with the first message in `input`; returns how many of its bytes are done with, and
    /// appends what is to be sent. While a command runs, nothing is taken.
    ///
    /// # Errors
    /// A message that can't be one, or is longer than anything that the console understands.
    pub fn step(&mut self, input: &[u8], out: &mut Vec<u8>) -> Result<(Step, usize), Violation> {
        match std::mem::take(&mut self.mood) {
            Mood::Query(commands) => return Ok((self.next_of_query(commands, out), 0)),
            mood @ (Mood::RunningQuery(..) | Mood::RunningPortal(..)) => {
                self.mood = mood;
                return Ok((Step::Starved, 0));
            }
            mood @ (Mood::Open | Mood::Skipping) => self.mood = mood,
        }
        let Some(header) = Header::read(input)? else {
            return Ok((Step::Starved, 0));
        };
        let total = header.total();
        if total > HEADER + LONGEST_MESSAGE {
            return Err(Violation::TooLarge {
                tag: header.tag.into(),
                length: total,
                limit: HEADER + LONGEST_MESSAGE,
            });
        }
        let Some(body) = header.body(input) else {
            return Ok((Step::Starved, 0));
        };
        Ok((self.message(header.tag, body, out)?, total))
    }

    /// What came of the command that [`Step::Run`] has handed out.
    pub fn answer(&mut self, answer: Answer, out: &mut Vec<u8>) {
        match (std::mem::take(&mut self.mood), answer) {
            (Mood::RunningQuery(..), Answer::Refused(report)) => {
                report.encode(out);
                self.mood = Mood::Query(VecDeque::new());
            }
            (Mood::RunningQuery(command, rest), answer) => {
                if let Some(columns) = command.columns() {
                    rows(out, columns, &rows_of(answer));
                }
                complete(out, command.tag());
                self.mood = Mood::Query(rest);
            }
            (Mood::RunningPortal(..), Answer::Refused(report)) => self.fail(&report, out),
            (Mood::RunningPortal(name, limit), answer) => {
                self.executed(&name, limit, rows_of(answer), out);
            }
            // Nothing runs, so that nothing can have come of it.
            (mood, _) => self.mood = mood,
        }
    }

    /// The next command of a simple query, or its end.
    fn next_of_query(&mut self, mut commands: VecDeque<Command>, out: &mut Vec<u8>) -> Step {
        match commands.pop_front() {
            Some(command) => {
                self.mood = Mood::RunningQuery(command.clone(), commands);
                self.run(command, out)
            }
            None => {
                ready_for_query(out, Status::Idle);
                Step::Taken
            }
        }
    }

    fn message(&mut self, tag: u8, body: &[u8], out: &mut Vec<u8>) -> Result<Step, Violation> {
        if matches!(self.mood, Mood::Skipping) && !matches!(tag, b'S' | b'X') {
            return Ok(Step::Taken);
        }
        match tag {
            b'Q' => {
                self.query(body, out)?;
                Ok(Step::Taken)
            }
            b'P' | b'B' | b'D' | b'E' | b'C' => self.extended(tag, body, out),
            b'S' => {
                self.mood = Mood::Open;
                self.portals.clear();
                ready_for_query(out, Status::Idle);
                Ok(Step::Taken)
            }
            b'X' => Ok(Step::Quit),
            // What there is to send is sent anyway; outside of COPY, its messages are ignored.
            b'H' | b'd' | b'c' | b'f' => Ok(Step::Taken),
            b'F' => {
                let message = "the console has no functions to call";
                Report::error("0A000", message).encode(out);
                ready_for_query(out, Status::Idle);
                Ok(Step::Taken)
            }
            tag => Err(Violation::Tag { tag: tag.into() }),
        }
    }

    /// A simple query ends what the extended protocol has left without a name.
    fn query(&mut self, body: &[u8], out: &mut Vec<u8>) -> Result<(), Violation> {
        let Some(text) = body.strip_suffix(&[0]) else {
            return Err(Violation::Malformed {
                tag: 'Q',
                what: "text",
            });
        };
        self.statements.remove(&b""[..]);
        self.portals.clear();
        match parse(text) {
            Ok(commands) => {
                if commands.is_empty() {
                    empty_query_response(out);
                }
                self.mood = Mood::Query(commands.into());
            }
            Err(report) => {
                report.encode(out);
                self.mood = Mood::Query(VecDeque::new());
            }
        }
        Ok(())
    }

    /// Runs a command here, if nothing has to be known for it.
    fn run(&mut self, command: Command, out: &mut Vec<u8>) -> Step {
        let answer = match &command {
            Command::Show(Show::Help) => {
                let row = |(command, meaning): &(&'static str, &'static str)| {
                    vec![Value::from(*command), Value::from(*meaning)]
                };
                let rows = HELP.iter().map(row).collect();
                Answer::Rows(Table { rows })
            }
            Command::Parameter(parameter) => Answer::Rows(Table {
                rows: vec![vec![parameter.value.into()]],
            }),
            Command::Ping => Answer::Rows(Table {
                rows: vec![vec![Value::Number(1)]],
            }),
            Command::Set => {
                notice(out, "SET is taken, and changes nothing here");
                Answer::Done
            }
            _ => return Step::Run(command),
        };
        self.answer(answer, out);
        Step::Taken
    }

    /// An extended request has failed: nothing more is done before the next Sync.
    fn fail(&mut self, report: &Report, out: &mut Vec<u8>) {
        report.encode(out);
        self.mood = Mood::Skipping;
    }
}

/// A whole answer to a simple query: all is text.
fn rows(out: &mut Vec<u8>, columns: &[Column], rows: &[Vec<Value>]) {
    let formats = Formats::default();
    row_description(out, columns, &formats);
    for row in rows {
        data_row(out, columns, &formats, row);
    }
}

fn rows_of(answer: Answer) -> Vec<Vec<Value>> {
    match answer {
        Answer::Rows(table) => table.rows,
        Answer::Done | Answer::Refused(_) => Vec::new(),
    }
}

fn complete(out: &mut Vec<u8>, tag: &str) {
    framed(out, b'C', |out| {
        out.extend_from_slice(tag.as_bytes());
        out.push(0);
    });
}

fn empty_query_response(out: &mut Vec<u8>) {
    framed(out, b'I', |_| {});
}

/// Appends a NoticeResponse (55.8).
fn notice(out: &mut Vec<u8>, message: &str) {
    framed(out, b'N', |out| {
        for (field, value) in [
            (b'S', "NOTICE"),
            (b'V', "NOTICE"),
            (b'C', "00000"),
            (b'M', message),
        ] {
            out.push(field);
            out.extend_from_slice(value.as_bytes());
            out.push(0);
        }
        out.push(0);
    });
}
