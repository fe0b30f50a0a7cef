//! The registry as a scraper sees it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::{Duration, SystemTime};

use super::*;
use crate::family::Kind;

/// Name and labels of each sample, with its value.
fn samples(text: &str) -> BTreeMap<String, f64> {
    text.lines()
        .filter(|line| !line.starts_with('#'))
        .map(|line| {
            let (series, value) = line.rsplit_once(' ').expect("a sample has a value");
            (series.to_owned(), value.parse().expect("a number"))
        })
        .collect()
}

fn value(metrics: &Metrics, series: &str) -> f64 {
    let all = samples(&metrics.render());
    *all.get(series)
        .unwrap_or_else(|| panic!("{series} is absent from {all:#?}"))
}

fn declared(text: &str) -> BTreeSet<String> {
    text.lines()
        .filter_map(|line| line.strip_prefix("# TYPE "))
        .map(|line| line.split(' ').next().unwrap_or_default().to_owned())
        .collect()
}

#[test]
fn every_family_is_declared_once_from_the_start() {
    let metrics = Metrics::new();
    let catalogued: BTreeSet<String> = catalogue::families().map(|f| f.name.to_owned()).collect();
    let empty = metrics.render();
    assert_eq!(declared(&empty), catalogued);

    metrics.route(Protocol::Postgres, "main");
    metrics.token("vm", "imds", "postgres");
    let text = metrics.render();
    assert_eq!(declared(&text), catalogued);
    let lines = text.lines().filter(|line| line.starts_with("# TYPE "));
    assert_eq!(
        lines.count(),
        catalogued.len(),
        "a family is declared twice"
    );
}

#[test]
fn names_follow_the_rules() {
    for family in catalogue::families() {
        let name = family.name;
        assert!(
            name.starts_with("entrapool_") || name.starts_with("process_"),
            "{name}"
        );
        let total = name.ends_with("_total");
        assert_eq!(total, matches!(family.kind, Kind::Counter), "{name}");
        if let Kind::Histogram(bounds) = family.kind {
            assert!(name.ends_with("_seconds"), "{name}");
            assert!(bounds.is_sorted_by(|a, b| a < b), "{name}");
        }
        assert!(
            !family.help.contains(['\n', '\\']),
            "{name}: help is one line"
        );
        assert!(family.help.ends_with('.'), "{name}");
        assert!(family.look_for.ends_with(['.', '`']), "{name}");
    }
}

#[test]
fn a_route_begins_with_all_its_series_at_zero() {
    let metrics = Metrics::new();
    metrics.route(Protocol::Postgres, "main");
    let all = samples(&metrics.render());
    let own: BTreeMap<_, _> = all
        .iter()
        .filter(|(s, _)| s.contains("route=\"main\""))
        .collect();
    assert!(own.values().all(|value| **value == 0.0), "{own:#?}");
    assert_closed::<State>(&all, "entrapool_pool_connections");
    assert_closed::<Direction>(&all, "entrapool_bytes_total");
    assert_closed::<LoginFailure>(&all, "entrapool_login_failures_total");
    assert_closed::<Closed>(&all, "entrapool_upstream_closed_total");
    assert_closed::<Cause>(&all, "entrapool_sessions_ended_total");
    assert_closed::<CancelResult>(&all, "entrapool_cancel_requests_total");
    assert_closed::<Phase>(&all, "entrapool_upstream_connect_seconds_count");
}

/// Each value of `L` has exactly one series, and its values are distinct.
fn assert_closed<L: Label>(all: &BTreeMap<String, f64>, family: &str) {
    let prefix = format!("{family}{{");
    let own: Vec<_> = all.keys().filter(|s| s.starts_with(&prefix)).collect();
    assert_eq!(own.len(), L::ALL.len(), "{family}");
    for (index, label) in L::ALL.iter().enumerate() {
        assert_eq!(label.index(), index);
        let pair = format!("{}=\"{}\"", L::NAME, label.value());
        assert_eq!(
            own.iter().filter(|s| s.contains(&pair)).count(),
            1,
            "{family} {pair}"
        );
    }
}

#[test]
fn recordings_reach_their_own_series() {
    let metrics = Metrics::new();
    let route = metrics.route(Protocol::Postgres, "main");
    let other = metrics.route(Protocol::Tds, "main");
    route.query_duration.observe(0.003);
    route.transaction_duration.observe(61.0);
    route.pool_wait.observe(0.0);
    route.connect.phase(Phase::Tls).observe(0.004);
    route.bytes.add(Direction::ClientOut, 1_000);
    other.bytes.add(Direction::ClientOut, 7);
    route.login_failures.inc(LoginFailure::Role);
    route.connections_closed.inc(Closed::Lifetime);
    route.sessions_ended.inc(Cause::TokenRefused);
    route.cancels.inc(CancelResult::Stale);
    route.handovers.inc();

    let all = samples(&metrics.render());
    let main = "protocol=\"postgres\",route=\"main\"";
    for (series, expected) in [
        (
            format!("entrapool_query_duration_seconds_bucket{{{main},le=\"0.0025\"}}"),
            0.0,
        ),
        (
            format!("entrapool_query_duration_seconds_bucket{{{main},le=\"0.005\"}}"),
            1.0,
        ),
        (
            format!("entrapool_transaction_duration_seconds_bucket{{{main},le=\"60\"}}"),
            0.0,
        ),
        (
            format!("entrapool_transaction_duration_seconds_bucket{{{main},le=\"+Inf\"}}"),
            1.0,
        ),
        (
            format!("entrapool_pool_wait_seconds_bucket{{{main},le=\"0.0001\"}}"),
            1.0,
        ),
        (
            format!("entrapool_upstream_connect_seconds_count{{phase=\"tls\",{main}}}"),
            1.0,
        ),
        (
            format!("entrapool_upstream_connect_seconds_count{{phase=\"tcp\",{main}}}"),
            0.0,
        ),
        (
            format!("entrapool_bytes_total{{direction=\"client_out\",{main}}}"),
            1_000.0,
        ),
        (
            format!("entrapool_login_failures_total{{class=\"role\",{main}}}"),
            1.0,
        ),
        (
            format!(
                "entrapool_upstream_closed_total{{{},reason=\"lifetime\",route=\"main\"}}",
                "protocol=\"postgres\""
            ),
            1.0,
        ),
        (
            format!(
                "entrapool_sessions_ended_total{{blame=\"identity\",cause=\"token_refused\",{main}}}"
            ),
            1.0,
        ),
        (
            format!(
                "entrapool_cancel_requests_total{{{},result=\"stale\",route=\"main\"}}",
                "protocol=\"postgres\""
            ),
            1.0,
        ),
        (format!("entrapool_handovers_total{{{main}}}"), 1.0),
    ] {
        assert_eq!(all.get(&series), Some(&expected), "{series}");
    }
    assert_eq!(other.bytes.get(Direction::ClientOut), 7);
}

#[test]
fn a_connection_is_in_exactly_one_state() {
    let metrics = Metrics::new();
    let route = metrics.route(Protocol::Postgres, "main");
    let counts = || {
        State::ALL
            .iter()
            .map(|s| route.connections.now(*s))
            .collect::<Vec<_>>()
    };
    let mut first = route.connections.enter(State::Creating);
    let second = route.connections.enter(State::Creating);
    assert_eq!(counts(), [0, 0, 2, 0, 0]);
    first.move_to(State::Active);
    assert_eq!(
        (first.state(), counts()),
        (State::Active, vec![0, 1, 1, 0, 0])
    );
    first.move_to(State::Active);
    assert_eq!(counts(), [0, 1, 1, 0, 0]);
    first.move_to(State::Cleaning);
    first.move_to(State::Idle);
    assert_eq!(counts(), [1, 0, 1, 0, 0]);
    drop((first, second));
    assert_eq!(counts(), [0, 0, 0, 0, 0]);
}

#[test]
fn clients_leave_the_gauge_but_not_the_counter() {
    let metrics = Metrics::new();
    let route = metrics.route(Protocol::Postgres, "main");
    let first = route.clients.client();
    let second = route.clients.client();
    let waiting = route.clients_waiting.client();
    assert_eq!((route.clients.now(), route.clients_waiting.now()), (2, 1));
    drop((first, waiting));
    assert_eq!((route.clients.now(), route.clients_waiting.now()), (1, 0));
    drop(second);
    assert_eq!((route.clients.now(), route.clients.total()), (0, 2));
}

#[test]
fn recording_for_a_query_does_not_allocate() {
    let metrics = Metrics::new();
    let route = metrics.route(Protocol::Postgres, "main");
    let mut backend = route.connections.enter(State::Idle);
    let counted = allocation_counter::measure(|| {
        let _client = route.clients.client();
        let waiting = route.clients_waiting.client();
        route.pool_wait.observe(0.002);
        drop(waiting);
        backend.move_to(State::Active);
        route.bytes.add(Direction::ClientIn, 100);
        route.bytes.add(Direction::UpstreamOut, 100);
        route.query_duration.observe(0.001);
        route.transaction_duration.observe(0.001);
        backend.move_to(State::Cleaning);
        backend.move_to(State::Idle);
        route.handovers.inc();
        route.cancels.inc(CancelResult::Sent);
        route.sessions_ended.inc(Cause::Quit);
        drop(route.connections.enter(State::Creating));
    });
    assert_eq!(counted.count_total, 0);
    // The counter itself works in this binary.
    let counted = allocation_counter::measure(|| drop(metrics.render()));
    assert!(counted.count_total > 0);
}

#[test]
fn the_same_route_twice_shares_its_series() {
    let metrics = Metrics::new();
    let before = metrics.route(Protocol::Postgres, "main");
    let guard = before.clients.client();
    let after = metrics.route(Protocol::Postgres, "main");
    assert_eq!(after.clients.now(), 1);
    drop(guard);
    assert_eq!(after.clients.now(), 0);
}

#[test]
fn limits_and_token_times_are_absent_until_known() {
    let metrics = Metrics::new();
    let route = metrics.route(Protocol::Postgres, "main");
    let token = metrics.token("vm", "imds", "postgres");
    let text = metrics.render();
    for family in [
        "entrapool_pool_size{",
        "entrapool_max_clients{",
        "entrapool_token_expiry_timestamp_seconds{",
        "entrapool_token_lifetime_seconds{",
        "entrapool_token_last_success_timestamp_seconds{",
    ] {
        assert!(!text.contains(family), "{family} is there too early");
    }
    route.limits(10, 500);
    let now = SystemTime::UNIX_EPOCH + Duration::from_millis(1_700_000_000_500);
    token.refreshed(RefreshResult::Ok, Duration::from_millis(40), now);
    token.token(now + Duration::from_secs(3600), Duration::from_secs(3600));

    let own = "{audience=\"postgres\",identity=\"vm\",source=\"imds\"}";
    assert_eq!(
        value(
            &metrics,
            "entrapool_pool_size{protocol=\"postgres\",route=\"main\"}"
        ),
        10.0
    );
    assert_eq!(
        value(
            &metrics,
            "entrapool_max_clients{protocol=\"postgres\",route=\"main\"}"
        ),
        500.0
    );
    let series = format!("entrapool_token_expiry_timestamp_seconds{own}");
    assert_eq!(value(&metrics, &series), 1_700_003_600.5);
    assert_eq!(
        value(&metrics, &format!("entrapool_token_lifetime_seconds{own}")),
        3600.0
    );
    let series = format!("entrapool_token_last_success_timestamp_seconds{own}");
    assert_eq!(value(&metrics, &series), 1_700_000_000.5);
}

#[test]
fn a_password_never_has_an_expiry_and_a_failure_is_no_success() {
    let metrics = Metrics::new();
    let password = metrics.token("db", "password-file", "postgres");
    let now = SystemTime::now();
    password.refreshed(RefreshResult::Failed, Duration::from_millis(1), now);
    assert!(!metrics.render().contains("last_success_timestamp_seconds{"));
    password.refreshed(RefreshResult::Same, Duration::from_millis(1), now);
    let text = metrics.render();
    assert!(text.contains("last_success_timestamp_seconds{"));
    assert!(!text.contains("expiry_timestamp_seconds{"));
    assert_eq!(password.refreshes(RefreshResult::Failed), 1);
    assert_eq!(password.refreshes(RefreshResult::Same), 1);
    assert_eq!(password.refreshes(RefreshResult::Ok), 0);
}

#[test]
fn http_statuses_are_a_closed_set() {
    let metrics = Metrics::new();
    let token = metrics.token("vm", "imds", "postgres");
    for status in [
        Some(200),
        Some(429),
        Some(418),
        Some(0),
        Some(u16::MAX),
        None,
    ] {
        token.http_response(status);
    }
    assert_closed::<HttpStatus>(
        &samples(&metrics.render()),
        "entrapool_token_http_responses_total",
    );
    let own = "audience=\"postgres\",identity=\"vm\",source=\"imds\"";
    let count = |status: &str| {
        let series = format!("entrapool_token_http_responses_total{{{own},status=\"{status}\"}}");
        value(&metrics, &series)
    };
    assert_eq!(
        (count("200"), count("429"), count("other"), count("none")),
        (1.0, 1.0, 3.0, 1.0)
    );
    for status in HttpStatus::ALL {
        // The two that are no numbers were counted above.
        if let Ok(code) = status.value().parse::<u16>() {
            assert_eq!(HttpStatus::from(Some(code)), *status);
        }
    }
}

#[test]
fn names_from_the_configuration_are_escaped() {
    let metrics = Metrics::new();
    metrics.route(Protocol::Postgres, "a\"b\\c\nd");
    assert!(metrics.render().contains(r#"route="a\"b\\c\nd""#));
}

#[test]
fn every_observation_is_counted_while_scrapes_go_on() {
    let metrics = Arc::new(Metrics::new());
    let route = metrics.route(Protocol::Postgres, "main");
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..5_000 {
                    let mut guard = route.connections.enter(State::Idle);
                    guard.move_to(State::Active);
                    route.query_duration.observe(0.001);
                }
            });
        }
        for _ in 0..20 {
            metrics.render();
        }
    });
    assert_eq!(route.query_duration.get_sample_count(), 20_000);
    assert_eq!(
        State::ALL
            .iter()
            .map(|s| route.connections.now(*s))
            .sum::<i64>(),
        0
    );
}

#[test]
fn build_info_and_start_time() {
    let metrics = Metrics::new();
    let version = env!("CARGO_PKG_VERSION");
    assert_eq!(
        value(
            &metrics,
            &format!("entrapool_build_info{{version=\"{version}\"}}")
        ),
        1.0
    );
    let age =
        late::unix_seconds(SystemTime::now()) - value(&metrics, "entrapool_start_time_seconds");
    assert!((0.0..60.0).contains(&age), "{age}");
}

#[test]
fn the_reference_is_up_to_date() {
    let path = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/metrics.md"));
    let generated = Metrics::new().reference_markdown();
    if std::env::var_os("ENTRAPOOL_BLESS").is_some_and(|value| value == "1") {
        std::fs::write(path, &generated).expect("docs/metrics.md can be written");
    }
    let written = std::fs::read_to_string(path).unwrap_or_default();
    assert_eq!(
        written, generated,
        "docs/metrics.md is old; run ENTRAPOOL_BLESS=1 cargo test -p entrapool-metrics"
    );
}
