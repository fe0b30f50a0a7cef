//! Hot path: no allocation per row or packet. Goes through a server's message token by token.

use super::layout::Layout;
use super::machine::{Machine, Ran, Step, Telling, Window};
use super::{
    COLINFO, COLMETADATA, DATACLASSIFICATION, DONE, DONEINPROC, DONEPROC, Done, ENVCHANGE, ERROR,
    FEATUREEXTACK, FEDAUTHINFO, INFO, LOGINACK, NBCROW, OFFSET, ORDER, RETURNSTATUS, RETURNVALUE,
    ROW, SESSIONSTATE, SSPI, TABNAME, Token,
};

/// What [`Walker::next`] came to.
#[derive(Debug, PartialEq, Eq)]
pub struct Walked<'a> {
    /// How far the input is read.
    pub at: usize,
    /// Where the token began in the input; `None` if it began in an earlier packet.
    pub begin: Option<usize>,
    /// The token; `None` if the input is at its end.
    pub token: Option<Token<'a>>,
}

/// Reads one server's messages.
#[derive(Debug)]
pub struct Walker {
    machine: Machine,
    /// The present token; 0 between tokens.
    token: u8,
    /// Where it began in the present packet.
    begin: Option<usize>,
    lost: bool,
}

impl Walker {
    /// A reader of messages as they look after a login that agreed on `layout`.
    #[must_use]
    pub fn new(layout: Layout) -> Self {
        Self {
            machine: Machine::new(layout),
            token: 0,
            begin: None,
            lost: false,
        }
    }

    /// A new packet begins: places are told from its start.
    pub fn begin_packet(&mut self) {
        self.begin = None;
    }

    /// The message is at its end. Returns whether that is the end of a token, too.
    pub fn end_message(&mut self) -> bool {
        let clean = self.token == 0 && !self.lost;
        self.machine.clear();
        self.token = 0;
        self.lost = false;
        clean
    }

    /// The token that the input ended in, and where it began, if it began in this packet.
    #[must_use]
    pub fn cut_token(&self) -> Option<(u8, Option<usize>)> {
        (self.token != 0 && !self.lost).then_some((self.token, self.begin))
    }

    /// What is kept of the token that the input ended in: its beginning, behind its length.
    #[must_use]
    pub fn kept(&self) -> &[u8] {
        &self.machine.kept
    }

    /// Whether what follows in this message can't be read.
    #[must_use]
    pub fn is_lost(&self) -> bool {
        self.lost
    }

    /// Goes on from `at` in a packet's payload, up to the end of the next token that says
    /// something.
    #[inline]
    pub fn next<'a>(&'a mut self, input: &'a [u8], at: usize) -> Walked<'a> {
        let mut window = Window { input, at };
        if self.lost {
            return starved(input.len());
        }
        loop {
            match self.machine.run(&mut window) {
                Ran::Starved => return starved(window.at),
                Ran::Lost => return self.lose(input),
                Ran::Tell(telling) => return self.tell(telling, &window),
                Ran::Idle => {
                    self.token = 0;
                    let Some(&token) = window.rest().first() else {
                        return starved(window.at);
                    };
                    self.begin = Some(window.at);
                    window.at += 1;
                    self.token = token;
                    if !self.begin_token(token) {
                        return self.lose(input);
                    }
                }
            }
        }
    }

    /// Notes the steps of a token. Returns whether it is known.
    #[inline]
    fn begin_token(&mut self, token: u8) -> bool {
        let machine = &mut self.machine;
        match token {
            ROW if machine.has_columns => machine.begin_row(false),
            NBCROW if machine.has_columns => machine.begin_row(true),
            _ => {
                machine.kept.clear();
                machine.overflowed = false;
                match steps(token, machine.layout) {
                    Some(steps) => machine.push(steps),
                    None => return false,
                }
            }
        }
        true
    }

    fn lose<'a>(&mut self, input: &'a [u8]) -> Walked<'a> {
        self.lost = true;
        Walked {
            at: input.len(),
            begin: self.begin,
            token: Some(Token::Unknown(self.token)),
        }
    }

    /// If an ENVCHANGE says that, in one packet or in several, it goes on: its length counts
    /// nothing but this byte. Apart from [`Walker::tell`], which goes on without it mostly.
    #[cold]
    fn heed_promotion(&mut self, telling: &Telling, window: &Window<'_>) {
        let is_promotion = match *telling {
            Telling::Kept => self.machine.kept == PROMOTED,
            Telling::Here { from, to } => window.input.get(from..to) == Some(PROMOTED),
            Telling::Status(_) | Telling::Done { .. } | Telling::Int { .. } => false,
        };
        if is_promotion {
            self.token = ENVCHANGE;
            self.machine.push(&[Step::LongBytes, Step::Skip(1)]);
        }
    }

    #[inline]
    fn tell<'a>(&'a mut self, telling: Telling, window: &Window<'a>) -> Walked<'a> {
        let token = self.token;
        if !matches!(telling, Telling::Int { .. }) {
            self.token = 0;
        }
        if token == ENVCHANGE {
            self.heed_promotion(&telling, window);
        }
        let told = match telling {
            Telling::Kept => content(token, &self.machine.kept),
            Telling::Here { from, to } => {
                let body = window.input.get(from..to).unwrap_or_default();
                content(token, body)
            }
            Telling::Status(status) => Token::ReturnStatus(status),
            Telling::Done {
                status,
                command,
                rows,
            } => Token::Done(Done {
                token,
                status,
                command,
                rows,
            }),
            Telling::Int { at, from, count } => Token::Int {
                ordinal: self.machine.ordinal,
                at,
                from,
                count,
            },
        };
        Walked {
            at: window.at,
            begin: self.begin,
            token: Some(told),
        }
    }
}

/// ENVCHANGE 15: the transaction is a distributed one now.
const PROMOTED: &[u8] = &[15];

fn starved<'a>(at: usize) -> Walked<'a> {
    Walked {
        at,
        begin: None,
        token: None,
    }
}

/// How a token that is no row is passed over; `None` for one that is not known.
fn steps(token: u8, layout: Layout) -> Option<&'static [Step]> {
    Some(match token {
        DONE | DONEPROC | DONEINPROC => &[Step::Done],
        COLMETADATA => &[Step::ColumnCount],
        ENVCHANGE | ERROR | INFO | LOGINACK => &[Step::WordToken],
        ORDER | TABNAME | COLINFO | SSPI => &[Step::WordBytes],
        RETURNSTATUS => &[Step::Status],
        RETURNVALUE => &[Step::Ordinal],
        SESSIONSTATE => &[Step::LongToken],
        FEDAUTHINFO => &[Step::LongBytes],
        FEATUREEXTACK => &[Step::Feature],
        OFFSET if layout.old => &[Step::Skip(4)],
        DATACLASSIFICATION if layout.data_classification == 1 => {
            &[Step::LabelCount, Step::LabelCount, Step::SensitiveCount]
        }
        // Version 2 has a rank in front of the columns.
        DATACLASSIFICATION if layout.data_classification > 1 => &[
            Step::LabelCount,
            Step::LabelCount,
            Step::Skip(4),
            Step::SensitiveCount,
        ],
        _ => return None,
    })
}

fn content(token: u8, body: &[u8]) -> Token<'_> {
    match token {
        ERROR => Token::Error(body),
        INFO => Token::Info(body),
        ENVCHANGE => Token::EnvChange(body),
        SESSIONSTATE => Token::SessionState(body),
        LOGINACK => Token::LoginAck(body),
        FEATUREEXTACK => Token::Features(body),
        other => Token::Unknown(other),
    }
}

#[cfg(test)]
#[path = "walker/tests.rs"]
mod tests;
