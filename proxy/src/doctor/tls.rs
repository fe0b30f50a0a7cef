//! The sixth step: TLS with a certificate that can be trusted, and what the protocol says before.

use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant, SystemTime};

use entrapool_protocol::postgres::login::{LoginError as PostgresLogin, SslRefused};
use entrapool_protocol::tds::login::LoginError as TdsLogin;
use rustls::CertificateError;
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::cause::{self, Cause, Names};
use super::report::{Finding, Step, StepReport};
use super::trial::{self, Fault, Trial};
use crate::identity::Token;
use crate::upstream::{Certificate, Shown, TlsError, utc};
use crate::{postgres, tds};

/// What the step works on.
pub(super) struct Line<'a> {
    pub(super) trial: &'a Trial,
    /// What the server shows.
    pub(super) shown: &'a Shown,
    pub(super) limit: Duration,
}

impl<'a> Line<'a> {
    /// Secures a connection.
    pub(super) async fn examine(
        &self,
        (stream, peer): (TcpStream, SocketAddr),
        token: Option<&'a Token>,
        names: &Names<'_>,
    ) -> (StepReport, Option<trial::Line<'a>>) {
        let began = Instant::now();
        let mut report = StepReport::new(Step::Tls);
        let securing = self.trial.secure(stream, peer, token);
        let secured = timeout(self.limit, securing).await;
        report.elapsed = began.elapsed();
        match &self.trial.tls() {
            Some(tls) => report.fact("verified for", tls.name()),
            None => report.fact("tls", "off: the server is on this machine"),
        }
        self.tell_chain(&mut report);
        let (cause, words) = match secured {
            Ok(Ok(line)) => {
                if let Some(cipher) = line.cipher() {
                    report.fact("agreed on", cipher);
                }
                return (report, Some(line));
            }
            Ok(Err(fault)) => (cause_of(&fault), fault.to_string()),
            Err(_) => (
                &cause::TLS_SILENT,
                format!("{peer} said nothing within {:?}", self.limit),
            ),
        };
        report.fail(Finding::new(cause, words, names));
        (report, None)
    }

    fn tell_chain(&self, report: &mut StepReport) {
        let chain = self.shown.chain();
        let Some(own) = chain.first() else {
            return;
        };
        report.fact("certificate", own.to_string());
        report.fact("valid", validity(own));
        for more in chain.get(1..).unwrap_or_default() {
            report.fact("through", more.to_string());
        }
        if let Some(tls) = self.trial.tls() {
            let root = tls.root_of(&chain).map_or_else(
                || "none that is known".to_owned(),
                |root| {
                    let from = match root.is_extra {
                        true => "from ca_file",
                        false => "built in",
                    };
                    format!("{:?}, {from}", root.name)
                },
            );
            report.fact("root", root);
        }
    }
}

fn validity(certificate: &Certificate) -> String {
    let shown = |at: Option<SystemTime>| at.map_or_else(|| "?".to_owned(), utc);
    format!(
        "from {} to {}",
        shown(certificate.not_before),
        shown(certificate.not_after)
    )
}

/// The diagnosis of a connection that could not be secured.
fn cause_of(fault: &Fault) -> &'static Cause {
    match fault {
        Fault::Postgres(postgres::Failed::Tls(error)) | Fault::Tds(tds::Failed::Tls(error)) => {
            of_tls(error)
        }
        Fault::Postgres(postgres::Failed::Io(error)) | Fault::Tds(tds::Failed::Io(error)) => {
            of_io(error)
        }
        Fault::Postgres(postgres::Failed::Ssl(refused)) => match refused {
            SslRefused::NoTls | SslRefused::Injected => &cause::TLS_NOT_OFFERED,
            SslRefused::NotDirect => &cause::TLS_NOT_DIRECT,
            SslRefused::NotPostgres => &cause::NOT_THE_PROTOCOL,
        },
        Fault::Tds(tds::Failed::Login(TdsLogin::NoTls | TdsLogin::Injected)) => {
            &cause::TLS_NOT_OFFERED
        }
        Fault::Postgres(postgres::Failed::Login(PostgresLogin::Violation(_)))
        | Fault::Tds(tds::Failed::Login(_)) => &cause::NOT_THE_PROTOCOL,
        Fault::Postgres(_) | Fault::Tds(_) => &cause::TLS_FAILED,
    }
}

/// The diagnosis of a handshake that failed, wherever it was.
pub(super) fn of_tls(error: &TlsError) -> &'static Cause {
    let TlsError::Handshake { cause, .. } = error else {
        return &cause::TLS_FAILED;
    };
    let inner = cause.get_ref();
    match inner.and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
        Some(rustls::Error::InvalidCertificate(reason)) => of_certificate(reason),
        Some(_) => &cause::TLS_FAILED,
        None => of_io(cause),
    }
}

fn of_certificate(reason: &CertificateError) -> &'static Cause {
    match reason {
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => &cause::TLS_EXPIRED,
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            &cause::TLS_NOT_YET
        }
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            &cause::TLS_NAME
        }
        CertificateError::UnknownIssuer => &cause::TLS_ROOT,
        _ => &cause::TLS_FAILED,
    }
}

fn of_io(error: &io::Error) -> &'static Cause {
    match error.kind() {
        io::ErrorKind::UnexpectedEof
        | io::ErrorKind::ConnectionReset
        | io::ErrorKind::ConnectionAborted
        | io::ErrorKind::BrokenPipe => &cause::TLS_CLOSED,
        _ => &cause::TLS_FAILED,
    }
}
