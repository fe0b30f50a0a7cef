//! What a client wants, read from its text.

use super::lexer::{Token, Unclosed, tokens};
use super::parameters::{self, Parameter};
use crate::postgres::message::Report;

/// Longest text of a command, in bytes: it bounds what a client can make us keep.
pub const LONGEST_TEXT: usize = 8 * 1024;
/// Longest name of a database, in bytes.
const LONGEST_NAME: usize = 512;

/// A command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    /// `SHOW POOLS` and its like.
    Show(Show),
    /// `SHOW` of a setting of PostgreSQL.
    Parameter(&'static Parameter),
    /// `SELECT 1`: is anybody there?
    Ping,
    /// `SET` of something that drivers set: taken, and of no effect.
    Set,
    /// `PAUSE [db]`.
    Pause(Option<String>),
    /// `RESUME [db]`.
    Resume(Option<String>),
    /// `RECONNECT [db]`.
    Reconnect(Option<String>),
    /// `KILL [db]`.
    Kill(Option<String>),
    /// `KILL_CLIENT id`.
    KillClient(u64),
    /// `WAIT_CLOSE [db]`.
    WaitClose(Option<String>),
    /// `RELOAD`.
    Reload,
    /// `SHUTDOWN`.
    Shutdown(Shutdown),
}

/// How to stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shutdown {
    /// `SHUTDOWN`: in the way of SIGTERM.
    Drain,
    /// `SHUTDOWN WAIT_FOR_SERVERS`: the same.
    WaitForServers,
    /// `SHUTDOWN WAIT_FOR_CLIENTS`.
    WaitForClients,
}

/// What can be shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Show {
    /// The commands.
    Help,
    /// The version.
    Version,
    /// Totals and averages by route.
    Stats,
    /// Totals alone.
    StatsTotals,
    /// Averages alone.
    StatsAverages,
    /// Totals and averages over all routes.
    Totals,
    /// By database and role: clients and backends.
    Pools,
    /// Where each database is.
    Databases,
    /// Clients.
    Clients,
    /// Backends.
    Servers,
    /// Roles.
    Users,
    /// How many of everything.
    Lists,
    /// Settings.
    Config,
    /// Whether it is paused.
    State,
    /// Peers: there are none.
    Peers,
    /// Pools of peers: there are none.
    PeerPools,
    /// Names kept: none is.
    DnsHosts,
    /// Zones kept: none is.
    DnsZones,
    /// Tokens.
    Tokens,
    /// Sessions that keep their backend.
    Pins,
}

impl Show {
    /// All, by the word that follows `SHOW`.
    pub(super) const WORDS: &[(&str, Self)] = &[
        ("HELP", Self::Help),
        ("VERSION", Self::Version),
        ("STATS", Self::Stats),
        ("STATS_TOTALS", Self::StatsTotals),
        ("STATS_AVERAGES", Self::StatsAverages),
        ("TOTALS", Self::Totals),
        ("POOLS", Self::Pools),
        ("DATABASES", Self::Databases),
        ("CLIENTS", Self::Clients),
        ("SERVERS", Self::Servers),
        ("USERS", Self::Users),
        ("LISTS", Self::Lists),
        ("CONFIG", Self::Config),
        ("STATE", Self::State),
        ("PEERS", Self::Peers),
        ("PEER_POOLS", Self::PeerPools),
        ("DNS_HOSTS", Self::DnsHosts),
        ("DNS_ZONES", Self::DnsZones),
        ("TOKENS", Self::Tokens),
        ("PINS", Self::Pins),
    ];
}

/// What PgBouncer knows, and this does not: the command, and what to do instead.
const NOT_HERE: &[(&str, &str)] = &[
    ("DISABLE", "PAUSE holds clients back, and KILL ends them."),
    (
        "ENABLE",
        "There is no DISABLE that it could undo; RESUME undoes PAUSE and KILL.",
    ),
    (
        "SUSPEND",
        "PAUSE closes all backends and lets clients wait.",
    ),
];

/// The same behind `SHOW`.
const NOT_SHOWN: &[(&str, &str)] = &[
    (
        "FDS",
        "A restart takes no sockets over. Use SHOW CLIENTS and SHOW SERVERS.",
    ),
    ("SOCKETS", "Use SHOW CLIENTS and SHOW SERVERS."),
    ("ACTIVE_SOCKETS", "Use SHOW CLIENTS and SHOW SERVERS."),
    (
        "MEM",
        "The metric process_resident_memory_bytes says how much memory there is in use.",
    ),
];

/// All commands of a text, in their order: none if it holds nothing but blanks and comments.
///
/// # Errors
/// What the client is told: of a text with one bad command, none runs.
pub fn parse(text: &[u8]) -> Result<Vec<Command>, Report> {
    if text.len() > LONGEST_TEXT {
        let message = format!(
            "a command of {} bytes is too long for the console: {LONGEST_TEXT} at most",
            text.len()
        );
        return Err(Report::error("54000", message));
    }
    let text = std::str::from_utf8(text)
        .map_err(|_| Report::error("22021", "the command is not valid UTF-8"))?;
    let tokens = tokens(text).map_err(|Unclosed(what)| {
        let report = Report::error("42601", format!("unterminated {what}"));
        report.hint("Close it with the quote that it began with, a comment with */.")
    })?;
    let commands = tokens.split(|token| *token == Token::Semicolon);
    let commands = commands.filter(|tokens| !tokens.is_empty());
    commands.map(command).collect()
}

fn command(tokens: &[Token]) -> Result<Command, Report> {
    let Some((Token::Word(verb), rest)) = tokens.split_first() else {
        return Err(unknown_command("it does not begin with a word"));
    };
    match verb.to_ascii_uppercase().as_str() {
        "SHOW" => show(rest),
        "SELECT" => select(rest),
        "SET" => set(rest),
        "PAUSE" => database(rest).map(Command::Pause),
        "RESUME" => database(rest).map(Command::Resume),
        "RECONNECT" => database(rest).map(Command::Reconnect),
        "KILL" => database(rest).map(Command::Kill),
        "WAIT_CLOSE" => database(rest).map(Command::WaitClose),
        "KILL_CLIENT" => client(rest).map(Command::KillClient),
        "RELOAD" => alone(rest, Command::Reload),
        "SHUTDOWN" => shutdown(rest).map(Command::Shutdown),
        "BEGIN" | "START" | "COMMIT" | "END" | "ROLLBACK" | "SAVEPOINT" | "RELEASE" => {
            let message = "the console knows no transactions";
            let hint = "Switch autocommit on in the driver: no command can be rolled back.";
            Err(Report::error("0A000", message).hint(hint))
        }
        upper => Err(not_here(NOT_HERE, upper).unwrap_or_else(|| unknown_command(verb))),
    }
}

/// `SHOW`'s word, or a setting's.
fn show(rest: &[Token]) -> Result<Command, Report> {
    match rest {
        [Token::Word(what) | Token::Quoted(what)] => shown(what),
        // The one setting whose name is words.
        [Token::Word(first), Token::Word(second), Token::Word(third)]
            if [first, second, third]
                .into_iter()
                .zip(["transaction", "isolation", "level"])
                .all(|(word, wanted)| word.eq_ignore_ascii_case(wanted)) =>
        {
            shown("transaction_isolation")
        }
        [] => Err(unknown_show("SHOW what?")),
        _ => Err(unknown_show("SHOW takes one word")),
    }
}

fn shown(what: &str) -> Result<Command, Report> {
    let word = what.to_ascii_uppercase();
    if let Some((_, show)) = Show::WORDS.iter().find(|(known, _)| *known == word) {
        return Ok(Command::Show(*show));
    }
    if let Some(parameter) = parameters::find(what) {
        return Ok(Command::Parameter(parameter));
    }
    let refusal = not_here(NOT_SHOWN, &word);
    Err(refusal.unwrap_or_else(|| unknown_show(&format!("there is no SHOW {}", shortened(what)))))
}

/// `SELECT 1`, and, as in PgBouncer, `SELECT` for `SHOW`.
fn select(rest: &[Token]) -> Result<Command, Report> {
    match rest {
        [Token::Word(one)] if one == "1" => Ok(Command::Ping),
        [Token::Word(word)] if !word.starts_with(|c: char| c.is_ascii_digit()) => shown(word),
        _ => {
            let message = "the console runs no SQL: of SELECT it knows SELECT 1 alone";
            Err(Report::error("42601", message).hint(hint()))
        }
    }
}

/// `SET [SESSION | LOCAL] name = value`; its own forms for the character set and the time zone.
fn set(rest: &[Token]) -> Result<Command, Report> {
    let words: Vec<String> = rest
        .iter()
        .map_while(|token| match token {
            Token::Word(word) => Some(word.to_ascii_lowercase()),
            Token::Quoted(word) => Some(word.clone()),
            _ => None,
        })
        .collect();
    let mut words: Vec<&str> = words.iter().map(String::as_str).collect();
    if let ["session" | "local", _, ..] = words.as_slice() {
        words.remove(0);
    }
    match words.as_slice() {
        ["characteristics" | "transaction" | "names", ..] | ["time", "zone", ..] => {
            Ok(Command::Set)
        }
        [name, ..] if parameters::is_taken(name) => Ok(Command::Set),
        [name, ..] => {
            let message = format!("{} can't be set on the console", shortened(name));
            let hint =
                "Settings are in the configuration; RELOAD reads it again. SHOW CONFIG shows them.";
            Err(Report::error("0A000", message).hint(hint))
        }
        [] => Err(unknown_command("SET without a name")),
    }
}

/// The optional name of a database.
fn database(rest: &[Token]) -> Result<Option<String>, Report> {
    match rest {
        [] => Ok(None),
        [Token::Word(name) | Token::Quoted(name)] if name.len() <= LONGEST_NAME => {
            Ok(Some(name.clone()))
        }
        [Token::Word(_) | Token::Quoted(_)] => {
            let message = format!("a name of more than {LONGEST_NAME} bytes stands for nothing");
            let hint = "SHOW DATABASES lists the names.";
            Err(Report::error("42622", message).hint(hint))
        }
        _ => {
            let message = "one name is expected here, or none";
            let hint = "Put a name with other characters than letters, digits and _ into double quotes. SHOW DATABASES lists the names.";
            Err(Report::error("42601", message).hint(hint))
        }
    }
}

fn client(rest: &[Token]) -> Result<u64, Report> {
    let number = match rest {
        [Token::Word(number) | Token::Text(number)] => number.parse().ok(),
        _ => None,
    };
    number.ok_or_else(|| {
        let report = Report::error("42601", "KILL_CLIENT expects a client's number");
        report.hint("The column id of SHOW CLIENTS has it.")
    })
}

fn shutdown(rest: &[Token]) -> Result<Shutdown, Report> {
    match rest {
        [] => Ok(Shutdown::Drain),
        [Token::Word(how)] if how.eq_ignore_ascii_case("wait_for_servers") => {
            Ok(Shutdown::WaitForServers)
        }
        [Token::Word(how)] if how.eq_ignore_ascii_case("wait_for_clients") => {
            Ok(Shutdown::WaitForClients)
        }
        _ => {
            let message = "SHUTDOWN knows WAIT_FOR_SERVERS and WAIT_FOR_CLIENTS";
            Err(Report::error("42601", message).hint(hint()))
        }
    }
}

fn alone(rest: &[Token], command: Command) -> Result<Command, Report> {
    if rest.is_empty() {
        return Ok(command);
    }
    Err(Report::error("42601", "nothing may follow this command").hint(hint()))
}

fn not_here(list: &[(&str, &str)], word: &str) -> Option<Report> {
    let (name, instead) = list.iter().find(|(name, _)| *name == word)?;
    let message = format!("entrapool has no {name}, which PgBouncer knows");
    Some(Report::error("0A000", message).hint(*instead))
}

fn unknown_command(what: &str) -> Report {
    let message = format!("not a command of the console: {}", shortened(what));
    Report::error("42601", message).hint(hint())
}

fn unknown_show(message: &str) -> Report {
    let words: Vec<_> = Show::WORDS.iter().map(|(word, _)| *word).collect();
    let hint = format!("There are {}.", words.join(", "));
    Report::error("42601", message).hint(hint)
}

fn hint() -> &'static str {
    "There are SHOW, PAUSE, RESUME, RECONNECT, KILL, KILL_CLIENT, WAIT_CLOSE, RELOAD and SHUTDOWN; SHOW HELP explains them."
}

/// A client's word, for its own eyes.
fn shortened(word: &str) -> String {
    const LONGEST: usize = 60;
    let mut short: String = word.chars().take(LONGEST).collect();
    if short.len() < word.len() {
        short.push_str("...");
    }
    short
}
