//! Hot path: no allocation per packet. Goes through a client's calls of procedures (2.2.6.6),
//! however packets cut them.

use super::layout::{Layout, Purpose};
use super::machine::{Machine, Ran, Step, Telling, Window};

/// The procedures that have numbers.
pub mod procedure {
    /// Cursors: 1 to 9.
    pub const LAST_CURSOR: u16 = 9;
    /// sp_executesql.
    pub const EXECUTE_SQL: u16 = 10;
    /// sp_prepare.
    pub const PREPARE: u16 = 11;
    /// sp_execute.
    pub const EXECUTE: u16 = 12;
    /// sp_prepexec.
    pub const PREPARE_AND_EXECUTE: u16 = 13;
    /// sp_prepexecrpc.
    pub const PREPARE_RPC: u16 = 14;
    /// sp_unprepare.
    pub const UNPREPARE: u16 = 15;
}

/// What a client calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Name<'a> {
    /// One of [`procedure`], by its number or its name.
    Known(u16),
    /// Another, by its name in UTF-16.
    Text(&'a [u8]),
}

/// Something of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Heard<'a> {
    /// ALL_HEADERS, behind its length (2.2.5.3).
    Headers(&'a [u8]),
    /// A call begins.
    Call(Call<'a>),
    /// Some or all of the four bytes of the handle of a prepared statement.
    Handle {
        /// Where they stand in the input.
        at: usize,
        /// How many of the four came before.
        from: u8,
        /// How many these are.
        count: u8,
    },
    /// Here stands what separates two calls, in TDS 7.1.
    Separator(usize),
    /// A call that needs a handle has none, or something else in its place.
    NoHandle,
    /// The declaration of a statement's parameters, in UTF-16; `None` if it is too long to be
    /// kept.
    Parameters(Option<&'a [u8]>),
    /// The statement's text, likewise.
    Statement(Option<&'a [u8]>),
    /// What follows can't be read.
    Lost,
}

/// The beginning of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Call<'a> {
    /// Of what.
    pub name: Name<'a>,
    /// The bits of OptionFlags: 2 leaves out the metadata.
    pub flags: u16,
}

/// Where we are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    HeadersLength,
    Headers,
    NameLength,
    Number,
    Named,
    /// In front of the flags of a call of this procedure; 0 for one by name.
    Flags(u16),
    /// In front of this parameter, or of what separates calls.
    Parameter(u8),
    Status(u8),
    Value(u8),
    /// Behind a text that is told.
    Text(u8),
    Lost,
}

/// Reads the calls of one message.
#[derive(Debug, Clone)]
pub struct Calls {
    machine: Machine,
    start: Phase,
    phase: Phase,
    procedure: u16,
}

impl Default for Calls {
    fn default() -> Self {
        Self {
            machine: Machine::new(Layout::default()),
            start: Phase::HeadersLength,
            phase: Phase::HeadersLength,
            procedure: 0,
        }
    }
}

/// What one turn came to.
enum Turn {
    More,
    Starved,
    Separator,
    Headers,
    Call(u16),
    NoHandle,
    Text(u8),
    Lost,
}

impl Calls {
    /// Reads calls of TDS 7.1: without headers, and with separators of their own.
    #[must_use]
    pub fn narrow() -> Self {
        Self {
            start: Phase::NameLength,
            phase: Phase::NameLength,
            ..Self::default()
        }
    }

    /// A new message begins.
    pub fn begin(&mut self) {
        self.machine.clear();
        self.phase = self.start;
        self.procedure = 0;
    }

    /// Whether a message may end here.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        matches!(self.phase, Phase::Parameter(_)) && self.machine.is_idle()
    }

    /// Goes on from `at` in a packet's payload. Returns how far it is read, and what was heard;
    /// `None` at the end of the input.
    pub fn next<'a>(&'a mut self, input: &'a [u8], at: usize) -> (usize, Option<Heard<'a>>) {
        let mut window = Window { input, at };
        if self.phase == Phase::Lost {
            return (input.len(), None);
        }
        loop {
            let turn = match self.machine.run(&mut window) {
                Ran::Starved => Turn::Starved,
                Ran::Lost => Turn::Lost,
                Ran::Tell(Telling::Int { at, from, count }) => {
                    return (window.at, Some(Heard::Handle { at, from, count }));
                }
                Ran::Tell(_) => Turn::More,
                Ran::Idle => self.turn(&mut window),
            };
            match turn {
                Turn::More => {}
                Turn::Starved => return (window.at, None),
                turn => return self.hear(turn, &window),
            }
        }
    }

    fn hear<'a>(&'a mut self, turn: Turn, window: &Window<'a>) -> (usize, Option<Heard<'a>>) {
        let machine = &self.machine;
        let kept = (!machine.overflowed).then_some(&*machine.kept);
        let heard = match turn {
            Turn::Separator => Heard::Separator(window.at.saturating_sub(1)),
            Turn::Headers => Heard::Headers(&machine.kept),
            Turn::Call(flags) => Heard::Call(Call {
                name: match self.procedure {
                    0 => Name::Text(&machine.kept),
                    number => Name::Known(number),
                },
                flags,
            }),
            Turn::NoHandle => Heard::NoHandle,
            Turn::Text(parameter) => {
                let (statement, _) = texts(self.procedure);
                match parameter == statement {
                    true => Heard::Statement(kept),
                    false => Heard::Parameters(kept),
                }
            }
            Turn::Lost => {
                self.phase = Phase::Lost;
                return (window.input.len(), Some(Heard::Lost));
            }
            Turn::More | Turn::Starved => return (window.at, None),
        };
        (window.at, Some(heard))
    }

    /// All steps are done: the next ones.
    fn turn(&mut self, window: &mut Window<'_>) -> Turn {
        match self.phase {
            Phase::HeadersLength => {
                let Some(field) = self.machine.field::<4>(window) else {
                    return Turn::Starved;
                };
                let Some(length) = u32::from_le_bytes(field).checked_sub(4) else {
                    return Turn::Lost;
                };
                self.keep(length, Phase::Headers)
            }
            Phase::Headers => {
                self.phase = Phase::NameLength;
                Turn::Headers
            }
            Phase::NameLength => {
                let Some(field) = self.machine.field::<2>(window) else {
                    return Turn::Starved;
                };
                match u16::from_le_bytes(field) {
                    u16::MAX => {
                        self.phase = Phase::Number;
                        Turn::More
                    }
                    length => self.keep(2 * u32::from(length), Phase::Named),
                }
            }
            Phase::Number => {
                let Some(field) = self.machine.field::<2>(window) else {
                    return Turn::Starved;
                };
                self.phase = Phase::Flags(u16::from_le_bytes(field));
                Turn::More
            }
            Phase::Named => {
                self.phase = Phase::Flags(known(&self.machine.kept));
                Turn::More
            }
            Phase::Flags(procedure) => {
                let Some(field) = self.machine.field::<2>(window) else {
                    return Turn::Starved;
                };
                self.procedure = procedure;
                self.phase = Phase::Parameter(0);
                Turn::Call(u16::from_le_bytes(field))
            }
            Phase::Parameter(number) => self.parameter(window, number),
            Phase::Status(number) => {
                let Some([status, kind]) = self.machine.field::<2>(window) else {
                    return Turn::Starved;
                };
                if status & ENCRYPTED != 0 {
                    return Turn::Lost;
                }
                self.machine.push(&[Step::Type(kind, Purpose::Parameter)]);
                self.phase = Phase::Value(number);
                Turn::More
            }
            Phase::Value(number) => self.value(number),
            Phase::Text(number) => {
                self.phase = Phase::Parameter(number.saturating_add(1));
                Turn::Text(number)
            }
            Phase::Lost => Turn::Starved,
        }
    }

    fn keep(&mut self, length: u32, then: Phase) -> Turn {
        self.machine.kept.clear();
        self.machine.overflowed = false;
        self.machine.push(&[Step::Keep(length)]);
        self.phase = then;
        Turn::More
    }

    /// The length of a parameter's name, or what separates two calls.
    fn parameter(&mut self, window: &mut Window<'_>, number: u8) -> Turn {
        let Some([byte]) = self.machine.field::<1>(window) else {
            return Turn::Starved;
        };
        if byte == NARROW_BATCH && self.start == Phase::NameLength {
            self.phase = Phase::NameLength;
            return Turn::Separator;
        }
        if matches!(byte, BATCH | NO_EXECUTION) {
            let lacks = number == 0 && takes_handle(self.procedure);
            self.phase = Phase::NameLength;
            return if lacks { Turn::NoHandle } else { Turn::More };
        }
        self.machine.push(&[Step::Skip(byte), Step::Skip(byte)]);
        self.phase = Phase::Status(number);
        Turn::More
    }

    fn value(&mut self, number: u8) -> Turn {
        self.phase = Phase::Parameter(number.saturating_add(1));
        let value = self.machine.single;
        let (statement, parameters) = texts(self.procedure);
        if number == 0 && takes_handle(self.procedure) {
            self.machine.push(&[Step::Single]);
            if !self.machine.is_int {
                return Turn::NoHandle;
            }
        } else if number == statement || number == parameters {
            self.machine.kept.clear();
            self.machine.overflowed = false;
            self.machine.push(&[Step::KeptValue(value)]);
            self.phase = Phase::Text(number);
        } else {
            self.machine.push(&[Step::Value(value)]);
        }
        Turn::More
    }
}

/// Between two calls, and between two of TDS 7.1.
const BATCH: u8 = 0xff;
const NARROW_BATCH: u8 = 0x80;
const NO_EXECUTION: u8 = 0xfe;
/// Of a parameter's status: what follows its value says how it is encrypted.
const ENCRYPTED: u8 = 8;

/// Whether the first parameter of a procedure is the handle of a prepared statement.
fn takes_handle(procedure: u16) -> bool {
    matches!(
        procedure,
        procedure::PREPARE
            | procedure::EXECUTE
            | procedure::PREPARE_AND_EXECUTE
            | procedure::UNPREPARE
    )
}

/// Which parameters are a statement's text and the declaration of its parameters.
fn texts(procedure: u16) -> (u8, u8) {
    match procedure {
        procedure::EXECUTE_SQL => (0, 1),
        procedure::PREPARE | procedure::PREPARE_AND_EXECUTE => (2, 1),
        _ => (u8::MAX, u8::MAX),
    }
}

/// The number of a procedure that has one, by its name; 0 for others.
fn known(name: &[u8]) -> u16 {
    let mut buffer = [0_u8; 32];
    let Some(name) = ascii_lower(name, &mut buffer) else {
        return 0;
    };
    let name = name
        .strip_prefix(b"[sys].")
        .or_else(|| name.strip_prefix(b"sys."))
        .unwrap_or(name);
    match name {
        b"sp_cursor" => 1,
        b"sp_cursoropen" => 2,
        b"sp_cursorprepare" => 3,
        b"sp_cursorexecute" => 4,
        b"sp_cursorprepexec" => 5,
        b"sp_cursorunprepare" => 6,
        b"sp_cursorfetch" => 7,
        b"sp_cursoroption" => 8,
        b"sp_cursorclose" => 9,
        b"sp_executesql" => procedure::EXECUTE_SQL,
        b"sp_prepare" => procedure::PREPARE,
        b"sp_execute" => procedure::EXECUTE,
        b"sp_prepexec" => procedure::PREPARE_AND_EXECUTE,
        b"sp_prepexecrpc" => procedure::PREPARE_RPC,
        b"sp_unprepare" => procedure::UNPREPARE,
        _ => 0,
    }
}

/// UTF-16 as ASCII in lower case; `None` if it is something else, or longer than `buffer`.
pub(in crate::tds) fn ascii_lower<'b>(text: &[u8], buffer: &'b mut [u8]) -> Option<&'b [u8]> {
    let (units, _) = text.as_chunks::<2>();
    let place = buffer.get_mut(..units.len())?;
    for (to, unit) in place.iter_mut().zip(units) {
        let [byte, 0] = *unit else {
            return None;
        };
        *to = byte.to_ascii_lowercase();
    }
    Some(place)
}

#[cfg(test)]
#[path = "calls/tests.rs"]
mod tests;
