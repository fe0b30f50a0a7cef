//! `ENTRAPOOL_*` variables.
//!
//! `load` calls this once. Other variables are not looked at, except by `identity`.

use super::environment::Environment;
use super::error::{ConfigErrors, Place};
use super::key::{Described, nearest};
use super::keys;
use super::route_url::{RouteUrl, read_url};
use super::settings::{Raw, Settings};

const PREFIX: &str = "ENTRAPOOL_";
const ROUTE: &str = "ENTRAPOOL_ROUTE";

/// What the environment says.
pub(super) struct Variables {
    /// The program's keys.
    pub(super) settings: Settings,
    /// The routes that could be read, in order.
    pub(super) routes: Vec<Settings>,
    /// Whether any route was written, even if wrongly.
    pub(super) has_routes: bool,
}

/// Reads all `ENTRAPOOL_*` variables; unknown ones are reported.
pub(super) fn read_variables(env: &dyn Environment, errors: &mut ConfigErrors) -> Variables {
    let mut settings = Settings::new(Place::Whole);
    let mut routes = Vec::new();
    for name in env.names() {
        if !name.starts_with(PREFIX) {
            continue;
        }
        let value = env.get(&name).unwrap_or_default();
        let place = Place::Variable(name.clone());
        if let Some(key) = program_key(&name) {
            settings.insert(key.name(), Raw::Text(value), place);
        } else if let Some(number) = route_number(&name) {
            routes.push((number, name, RouteUrl::from(value)));
        } else if !is_service_link(&name, &value) {
            errors.add(&place, unknown_variable(&name));
        }
    }
    routes.sort_by_key(|(number, _, _)| *number);
    Variables {
        settings,
        has_routes: !routes.is_empty(),
        routes: routes
            .into_iter()
            .filter_map(|(_, name, url)| {
                let shown = url.to_string();
                read_url(
                    &url,
                    &Place::Route {
                        origin: name,
                        shown,
                    },
                    errors,
                )
            })
            .collect(),
    }
}

fn program_key(name: &str) -> Option<&'static dyn Described> {
    keys::PROGRAM
        .iter()
        .copied()
        .find(|key| key.variable() == name)
}

/// `ENTRAPOOL_ROUTE` comes first, then `ENTRAPOOL_ROUTE_0`, `_1` and so on.
fn route_number(name: &str) -> Option<u64> {
    let rest = name.strip_prefix(ROUTE)?;
    if rest.is_empty() {
        return Some(0);
    }
    let digits = rest.strip_prefix('_')?;
    let plain = digits.bytes().all(|digit| digit.is_ascii_digit());
    let number: u32 = digits.parse().ok().filter(|_| plain)?;
    Some(u64::from(number) + 1)
}

/// Kubernetes puts the address of every Service into every pod of its namespace ("Docker links"),
/// so a Service called `entrapool` or `entrapool-metrics` must not stop the program.
fn is_service_link(name: &str, value: &str) -> bool {
    if name.ends_with("_SERVICE_HOST") || name.ends_with("_SERVICE_PORT") {
        return true;
    }
    if name.contains("_SERVICE_PORT_") {
        return value.bytes().all(|digit| digit.is_ascii_digit());
    }
    let mut words = name.rsplit('_').peekable();
    words.next_if(|word| ["PROTO", "PORT", "ADDR"].contains(word));
    let of_protocol = words
        .next()
        .is_some_and(|word| ["TCP", "UDP", "SCTP"].contains(&word));
    let of_number = words.next().is_some_and(|word| word.parse::<u16>().is_ok());
    let of_port = of_protocol && of_number && words.next() == Some("PORT");
    of_port || (name.ends_with("_PORT") && value.contains("://"))
}

fn unknown_variable(name: &str) -> String {
    let known: Vec<String> = keys::PROGRAM
        .iter()
        .map(|key| key.variable())
        .chain([ROUTE.to_owned(), format!("{ROUTE}_0")])
        .collect();
    if keys::ROUTE.iter().any(|key| key.variable() == name) {
        return format!(
            "is a key of a route; write it into the route's URL, as in {ROUTE}=postgres://...?key=value"
        );
    }
    match nearest(name, known.iter().map(String::as_str)) {
        Some(near) => format!("this variable is not known; did you mean {near}?"),
        None => "this variable is not known; entrapool --help lists all of them".to_owned(),
    }
}
