//! Everything that the console says when something is not done. What can't be read of a command is
//! said by `entrapool_protocol`.

use entrapool_protocol::postgres::Violation;
use entrapool_protocol::postgres::message::Report;

use super::rights::Stranger;
use super::{DATABASES, MOST_VISITORS};
use crate::control::Refusal;

pub(super) fn not_allowed(stranger: &Stranger, group: Option<&str>) -> Report {
    let report = Report::fatal(
        "28000",
        format!("entrapool: no access to the console: {stranger}"),
    );
    let who = "The console is for the user that entrapool runs as, for root,";
    report.hint(match group {
        Some(group) => format!("{who} and for members of the group {group} (console.group)."),
        None => {
            format!("{who} and for members of the group that the key console.group names; it names none.")
        }
    })
}

pub(super) fn too_many() -> Report {
    let message = format!("entrapool: the console has {MOST_VISITORS} clients already");
    Report::fatal("53300", message).hint("Close some of them: an exporter needs one.")
}

pub(super) fn no_randomness(error: &getrandom::Error) -> Report {
    let message = format!("entrapool: the system has no randomness: {error}");
    Report::fatal("58000", message)
}

pub(super) fn malformed(violation: &Violation) -> Report {
    Report::fatal(
        "08P01",
        format!("entrapool: the console can't go on: {violation}"),
    )
}

pub(super) fn stopping() -> Report {
    Report::fatal("57P01", "entrapool is stopping")
}

pub(super) fn killed() -> Report {
    Report::fatal("57P01", "terminating the connection: an operator ended it")
}

pub(super) fn cancelled(resumed: bool) -> Report {
    let message = "the command waits no longer, as was asked for";
    let report = Report::error("57014", message);
    if resumed {
        report.hint("The clients that PAUSE held back go on.")
    } else {
        report
    }
}

pub(super) fn no_database(name: &str, known: &[String]) -> Report {
    let message = format!("there is no database {name} on the console");
    let hint = format!(
        "PAUSE, RESUME, RECONNECT, KILL and WAIT_CLOSE take a route's name or, if only one route has it, its database's: {}.",
        known.join(", ")
    );
    Report::error("3D000", message).hint(hint)
}

pub(super) fn itself(name: &str) -> Report {
    let others = DATABASES.join(" and ");
    let message = format!("{name} is the console itself");
    let hint = format!("Name a route: {others} hold no backends. SHOW DATABASES lists them.");
    Report::error("42809", message).hint(hint)
}

pub(super) fn ambiguous(name: &str, routes: &[&str]) -> Report {
    let message = format!("{name} is the database of several routes");
    let hint = format!("Name one of the routes: {}.", routes.join(", "));
    Report::error("42725", message).hint(hint)
}

pub(super) fn already_paused() -> Report {
    Report::error("55000", "clients are held back already").hint("RESUME lets them go on.")
}

pub(super) fn not_paused() -> Report {
    let report = Report::error("55000", "no clients are held back");
    report.hint("SHOW DATABASES says in its column paused which databases are.")
}

pub(super) fn no_client(number: u64) -> Report {
    let report = Report::error("42704", format!("there is no client {number}"));
    report.hint("The column id of SHOW CLIENTS has the numbers; it may have left meanwhile.")
}

pub(super) fn not_reloaded(refusal: &Refusal) -> Report {
    let (code, hint) = match refusal {
        Refusal::Configuration(_) => ("F0000", "Nothing was changed: correct it, and try again."),
        Refusal::Busy(_) => ("55000", "Try again later."),
    };
    Report::error(code, refusal.to_string()).hint(hint)
}

pub(super) fn no_waiting_for_clients() -> Report {
    let message = "entrapool does not wait for clients that idle";
    let hint = "SHUTDOWN ends those at once, the others after their transaction. drain.accept_for says how long new ones are still let in.";
    Report::error("0A000", message).hint(hint)
}
