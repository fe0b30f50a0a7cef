//! The probes' verdicts, with what was tested, as JSON.
//!
//! Pure: from the routes' health to a [`Report`].

use serde::Serialize;
use serde::ser::{SerializeMap, Serializer};

use super::health::{Health, RouteHealth, TokenHealth};

/// Which question is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Probe {
    /// May the application start?
    Startup,
    /// Does the event loop answer? Never anything about the upstream: restarting a sidecar does
    /// not heal a server.
    Liveness,
    /// Would a new client be served?
    Readiness,
}

impl Probe {
    fn verdict(self) -> &'static str {
        match self {
            Self::Startup => "started",
            Self::Liveness => "alive",
            Self::Readiness => "ready",
        }
    }

    fn tested(self) -> &'static [&'static str] {
        match self {
            Self::Startup => &["listener bound", "first token held"],
            Self::Liveness => &["event loop answers"],
            Self::Readiness => &[
                "listener bound",
                "token valid or backends logged in",
                "room for clients",
                "not draining",
            ],
        }
    }
}

/// The body of a probe's answer.
#[derive(Debug)]
pub struct Report {
    probe: Probe,
    pub(super) ok: bool,
    /// `None` where routes are not looked at.
    routes: Option<Vec<RouteReport>>,
}

#[derive(Debug)]
struct RouteReport {
    probe: Probe,
    route: String,
    ok: bool,
    checks: Vec<Check>,
}

#[derive(Debug, Serialize)]
struct Check {
    check: &'static str,
    ok: bool,
    detail: String,
}

/// What `/readiness` says.
#[must_use]
pub fn readiness(health: &dyn Health) -> Report {
    Report::new(Probe::Readiness, health)
}

impl Report {
    /// Whether all is well.
    #[must_use]
    pub fn ok(&self) -> bool {
        self.ok
    }

    pub(super) fn new(probe: Probe, health: &dyn Health) -> Self {
        let routes: Option<Vec<RouteReport>> = match probe {
            Probe::Liveness => None,
            Probe::Startup => Some(health.routes().into_iter().map(started).collect()),
            Probe::Readiness => {
                let draining = health.draining();
                let routes = health.routes().into_iter();
                Some(routes.map(|route| ready(route, draining)).collect())
            }
        };
        // No route at all means that the program has not come that far.
        let ok = routes
            .as_ref()
            .is_none_or(|routes| !routes.is_empty() && routes.iter().all(|route| route.ok));
        Self { probe, ok, routes }
    }
}

impl Serialize for Report {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry(self.probe.verdict(), &self.ok)?;
        map.serialize_entry("tested", self.probe.tested())?;
        if let Some(routes) = &self.routes {
            map.serialize_entry("routes", routes)?;
        }
        map.end()
    }
}

impl Serialize for RouteReport {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("route", &self.route)?;
        map.serialize_entry(self.probe.verdict(), &self.ok)?;
        map.serialize_entry("checks", &self.checks)?;
        map.end()
    }
}

fn started(route: RouteHealth) -> RouteReport {
    let checks = vec![listener(&route), first_token(&route.token)];
    RouteReport::new(Probe::Startup, route.name, checks)
}

fn ready(route: RouteHealth, draining: bool) -> RouteReport {
    let checks = vec![
        listener(&route),
        token(&route),
        clients(&route),
        drain(draining),
    ];
    RouteReport::new(Probe::Readiness, route.name, checks)
}

impl RouteReport {
    fn new(probe: Probe, route: String, checks: Vec<Check>) -> Self {
        Self {
            probe,
            route,
            ok: checks.iter().all(|check| check.ok),
            checks,
        }
    }
}

fn listener(route: &RouteHealth) -> Check {
    let detail = match &route.listening_on {
        Some(place) => format!("listening on {place}"),
        None => "not bound".to_owned(),
    };
    Check {
        check: "listener",
        ok: route.listening_on.is_some(),
        detail,
    }
}

/// A token that has expired since was held all the same: a start happens once.
fn first_token(token: &TokenHealth) -> Check {
    Check {
        check: "first_token",
        ok: !matches!(token, TokenHealth::Missing { .. }),
        detail: describe(token),
    }
}

fn token(route: &RouteHealth) -> Check {
    let usable = matches!(route.token, TokenHealth::Usable { .. });
    let mut detail = describe(&route.token);
    if !usable && route.backends > 0 {
        // Without a token the open backends still serve; only new logins fail.
        detail.push_str(&format!("; {} backends are logged in", route.backends));
    }
    Check {
        check: "token",
        ok: usable || route.backends > 0,
        detail,
    }
}

fn describe(token: &TokenHealth) -> String {
    match token {
        TokenHealth::Missing { reason } => format!("none yet: {reason}"),
        TokenHealth::Usable {
            expires_in: Some(left),
        } => format!("expires in {} s", left.as_secs()),
        TokenHealth::Usable { expires_in: None } => "password, does not expire".to_owned(),
        TokenHealth::Expired { ago, reason } => {
            format!("expired {} s ago: {reason}", ago.as_secs())
        }
    }
}

fn clients(route: &RouteHealth) -> Check {
    Check {
        check: "clients",
        ok: route.clients < route.max_clients,
        detail: format!("{} of {}", route.clients, route.max_clients),
    }
}

fn drain(draining: bool) -> Check {
    let detail = if draining { "stopping" } else { "not draining" };
    Check {
        check: "draining",
        ok: !draining,
        detail: detail.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    struct Fixed(Vec<RouteHealth>, bool);

    impl Health for Fixed {
        fn routes(&self) -> Vec<RouteHealth> {
            self.0.clone()
        }

        fn draining(&self) -> bool {
            self.1
        }
    }

    fn healthy() -> RouteHealth {
        RouteHealth {
            name: "main".to_owned(),
            listening_on: Some("127.0.0.1:5432".to_owned()),
            token: TokenHealth::Usable {
                expires_in: Some(Duration::from_secs(3412)),
            },
            backends: 2,
            clients: 7,
            max_clients: 10,
        }
    }

    fn missing() -> TokenHealth {
        TokenHealth::Missing {
            reason: "IMDS does not answer".to_owned(),
        }
    }

    fn expired() -> TokenHealth {
        TokenHealth::Expired {
            ago: Duration::from_secs(12),
            reason: "429".to_owned(),
        }
    }

    /// (started, alive, ready)
    fn verdicts(health: &dyn Health) -> (bool, bool, bool) {
        let ok = |probe| Report::new(probe, health).ok;
        (
            ok(Probe::Startup),
            ok(Probe::Liveness),
            ok(Probe::Readiness),
        )
    }

    #[test]
    fn each_condition_decides_its_own_probes() {
        type Change = fn(&mut RouteHealth);
        let table: [(&str, Change, (bool, bool)); 9] = [
            ("healthy", |_| {}, (true, true)),
            ("not bound", |r| r.listening_on = None, (false, false)),
            (
                "no token, no backend",
                |r| (r.token, r.backends) = (missing(), 0),
                (false, false),
            ),
            ("expired, backends", |r| r.token = expired(), (true, true)),
            (
                "expired, no backend",
                |r| (r.token, r.backends) = (expired(), 0),
                (true, false),
            ),
            ("no backend yet", |r| r.backends = 0, (true, true)),
            (
                "password",
                |r| r.token = TokenHealth::Usable { expires_in: None },
                (true, true),
            ),
            ("one client free", |r| r.clients = 9, (true, true)),
            ("full", |r| r.clients = 10, (true, false)),
        ];
        for (name, change, (started, ready)) in table {
            let mut route = healthy();
            change(&mut route);
            let alone = Fixed(vec![route.clone()], false);
            assert_eq!(verdicts(&alone), (started, true, ready), "{name}");
            let beside = Fixed(vec![healthy(), route], false);
            assert_eq!(
                verdicts(&beside),
                (started, true, ready),
                "{name}, beside a healthy one"
            );
        }
    }

    #[test]
    fn draining_is_not_ready_and_no_route_is_not_started() {
        assert_eq!(verdicts(&Fixed(vec![healthy()], true)), (true, true, false));
        assert_eq!(verdicts(&Fixed(Vec::new(), false)), (false, true, false));
    }

    #[test]
    fn readiness_says_what_was_tested() {
        let mut route = healthy();
        route.token = expired();
        let report = Report::new(Probe::Readiness, &Fixed(vec![route], true));
        let json = serde_json::to_value(&report).expect("JSON");
        let expected = serde_json::json!({
            "ready": false,
            "tested": [
                "listener bound",
                "token valid or backends logged in",
                "room for clients",
                "not draining",
            ],
            "routes": [{
                "route": "main",
                "ready": false,
                "checks": [
                    {"check": "listener", "ok": true, "detail": "listening on 127.0.0.1:5432"},
                    {"check": "token", "ok": true,
                     "detail": "expired 12 s ago: 429; 2 backends are logged in"},
                    {"check": "clients", "ok": true, "detail": "7 of 10"},
                    {"check": "draining", "ok": false, "detail": "stopping"},
                ],
            }],
        });
        assert_eq!(json, expected);
    }

    #[test]
    fn startup_and_liveness_say_what_was_tested() {
        let mut route = healthy();
        route.listening_on = None;
        route.token = missing();
        let health = Fixed(vec![route], false);
        let startup = serde_json::to_value(Report::new(Probe::Startup, &health)).expect("JSON");
        let expected = serde_json::json!({
            "started": false,
            "tested": ["listener bound", "first token held"],
            "routes": [{
                "route": "main",
                "started": false,
                "checks": [
                    {"check": "listener", "ok": false, "detail": "not bound"},
                    {"check": "first_token", "ok": false, "detail": "none yet: IMDS does not answer"},
                ],
            }],
        });
        assert_eq!(startup, expected);
        let liveness = serde_json::to_value(Report::new(Probe::Liveness, &health)).expect("JSON");
        let expected = serde_json::json!({"alive": true, "tested": ["event loop answers"]});
        assert_eq!(liveness, expected);
    }
}
