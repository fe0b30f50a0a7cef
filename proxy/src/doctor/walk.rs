//! One route's way, from the configuration to a query: each step as far as those before it allow.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use entrapool_metrics::RouteMetrics;
use tokio::net::TcpStream;

use super::cause::Names;
use super::claims::Claims;
use super::report::{RouteReport, Step, StepReport, Subject};
use super::trial::Trial;
use super::{Printer, claims, configuration, identity, login, query, resolve, tcp, tls};
use crate::config::{Loaded, Route};
use crate::identity::{Audience, Token, TokenHandle};
use crate::upstream::Shown;

/// A route that is to be examined.
pub(super) struct Walk<'a> {
    route: &'a Route,
    loaded: &'a Loaded,
    /// Of each step.
    limit: Duration,
}

/// All that the steps behind the configuration need.
pub(super) struct Prepared {
    pub(super) token: TokenHandle,
    pub(super) trial: Trial,
    pub(super) metrics: Arc<RouteMetrics>,
    pub(super) shown: Shown,
}

impl<'a> Walk<'a> {
    pub(super) fn new(route: &'a Route, loaded: &'a Loaded, limit: Duration) -> Self {
        Self {
            route,
            loaded,
            limit,
        }
    }

    /// Walks it.
    pub(super) async fn run(&self, printer: &mut Printer<'_>) {
        let route = self.route;
        printer.begin(RouteReport::new(Subject {
            name: route.name.clone(),
            engine: route.engine().as_str(),
            server: format!("{}:{}", route.upstream.host, route.upstream.port),
            user: route.user().map(Into::into),
            database: route.database().map(Into::into),
        }));
        let (report, prepared) = configuration::examine(route, self.loaded);
        printer.step(report);
        let Some(prepared) = prepared else {
            for step in Step::ALL.into_iter().skip(1) {
                printer.step(StepReport::skipped(step, "the configuration is at fault"));
            }
            return;
        };
        let (token, claims) = self.prove(&prepared, printer).await;
        self.reach(&prepared, token.as_deref(), &claims, printer)
            .await;
    }

    /// Who we are: a token, and what it says.
    async fn prove(
        &self,
        prepared: &Prepared,
        printer: &mut Printer<'_>,
    ) -> (Option<Arc<Token>>, Claims) {
        let names = self.names(prepared);
        let why = self.loaded.why_identity(&self.route.name);
        let (report, token) = identity::examine(&prepared.token, why, self.limit, &names).await;
        printer.step(report);
        let Some(token) = token else {
            printer.step(StepReport::skipped(Step::Claims, "there is no token"));
            return (None, Claims::default());
        };
        let audience = Audience::of(self.route.engine()).resource(self.route.identity.cloud);
        let (report, claims) = claims::examine(&token, audience, &names);
        printer.step(report);
        (Some(token), claims)
    }

    /// The way to the server, and into it.
    async fn reach(
        &self,
        prepared: &Prepared,
        token: Option<&Token>,
        claims: &Claims,
        printer: &mut Printer<'_>,
    ) {
        let names = self.names(prepared);
        let Some((stream, peer)) = self.connect(prepared, &names, printer).await else {
            for step in [Step::Tls, Step::Login, Step::Query] {
                printer.step(StepReport::skipped(step, "there is no connection"));
            }
            return;
        };
        let line = tls::Line {
            trial: &prepared.trial,
            shown: &prepared.shown,
            limit: self.limit,
        };
        let (report, line) = line.examine((stream, peer), token, &names).await;
        printer.step(report);
        let (Some(line), Some(token)) = (line, token) else {
            let why = match token {
                None => "there is no token",
                Some(_) => "there is no connection to log in on",
            };
            printer.step(StepReport::skipped(Step::Login, why));
            printer.step(StepReport::skipped(Step::Query, why));
            return;
        };
        let entry = login::Entry {
            trial: &prepared.trial,
            token,
            claims,
            limit: self.limit,
        };
        let (report, session) = entry.examine((line, peer), &names).await;
        printer.step(report);
        match session {
            Some(session) => printer.step(query::examine(session, self.limit, &names).await),
            None => printer.step(StepReport::skipped(Step::Query, "there is no session")),
        }
    }

    async fn connect(
        &self,
        prepared: &Prepared,
        names: &Names<'_>,
        printer: &mut Printer<'_>,
    ) -> Option<(TcpStream, SocketAddr)> {
        let target = prepared.trial.target();
        let known_as = &self.route.upstream.host;
        let (report, addresses) = resolve::examine(target, known_as, self.limit, names).await;
        printer.step(report);
        if addresses.is_empty() {
            printer.step(StepReport::skipped(Step::Tcp, "there is no address"));
            return None;
        }
        let phases = &prepared.metrics.connect;
        let (report, connection) = tcp::examine(&addresses, phases, self.limit, names).await;
        printer.step(report);
        connection
    }

    fn names<'b>(&'b self, prepared: &'b Prepared) -> Names<'b> {
        Names {
            engine: self.route.engine(),
            user: self.route.user().unwrap_or_default(),
            database: prepared.trial.database(),
        }
    }
}
