//! What a TDS server is to be like.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use super::server::{Access, Setup, TdsServer};
use super::wire::prelogin::Encryption;
use crate::error::Error;
use crate::login_record::LoginRecord;
use crate::pki::ServerCertificate;
use crate::verifier::Verifier;

/// How much a server tells its clients.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Profile {
    /// As Azure SQL Database: SESSIONSTATE, transaction ENVCHANGEs, FEATUREEXTACK.
    Azure,
    /// No SESSIONSTATE, no FEATUREEXTACK, and transaction ENVCHANGEs for Transaction Manager
    /// requests only.
    Bare,
}

/// Whether RESETCONNECTION sets the isolation level back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IsolationOnReset {
    /// As SQL Server and Managed Instance (MS-TDS 2.2.3.1.2).
    Kept,
    /// As Azure SQL Database.
    SetBack,
}

/// Builds a [`TdsServer`].
#[derive(Debug)]
pub struct TdsServerBuilder {
    setup: Setup,
    certificate: Option<ServerCertificate>,
    encryption: Option<Encryption>,
}

impl TdsServerBuilder {
    pub(super) fn new() -> Self {
        Self {
            setup: Setup {
                databases: vec!["master".to_owned()],
                profile: Profile::Azure,
                isolation_on_reset: IsolationOnReset::SetBack,
                packet_size: 4096,
                access: Access::default(),
                redirect: None,
                routed_as: None,
                login_errors: VecDeque::new(),
                application_roles: Vec::new(),
                revalidate_after: Duration::from_secs(10 * 3600),
                use_is_refused: false,
            },
            certificate: None,
            encryption: None,
        }
    }

    /// Another database; `master` is always there. The first one named is the default of SQL
    /// logins.
    #[must_use]
    pub fn database(mut self, name: &str) -> Self {
        self.setup.databases.push(name.to_owned());
        self
    }

    /// Lets tokens in that this verifier accepts, whose principals are users of every database
    /// but `master` (contained users; see [`TdsServerBuilder::user`]).
    #[must_use]
    pub fn entra(mut self, verifier: Verifier, record: Arc<LoginRecord>) -> Self {
        self.setup.access.entra = Some((verifier, record));
        self
    }

    /// As `CREATE USER [name] FROM EXTERNAL PROVIDER` in every database but `master`: only the
    /// principals that were named so get in.
    #[must_use]
    pub fn user(mut self, principal: &str) -> Self {
        self.setup.access.users.push(principal.to_owned());
        self
    }

    /// A SQL login, in every database.
    #[must_use]
    pub fn password(mut self, user: &str, password: &str) -> Self {
        let login = (user.to_owned(), password.to_owned());
        self.setup.access.passwords.push(login);
        self
    }

    /// Has a certificate: TLS is required then, unless [`TdsServerBuilder::encryption`] says
    /// otherwise, and TDS 8.0 is understood.
    #[must_use]
    pub fn tls(mut self, certificate: &ServerCertificate) -> Self {
        self.certificate = Some(certificate.clone());
        self
    }

    /// What the server is set to; without a certificate it is always `NotSupported`.
    #[must_use]
    pub fn encryption(mut self, encryption: Encryption) -> Self {
        self.encryption = Some(encryption);
        self
    }

    /// Sends everybody who may log in to another server (ENVCHANGE 20 or 21).
    #[must_use]
    pub fn redirect_to(mut self, host: &str, port: u16) -> Self {
        self.setup.redirect = Some((host.to_owned(), port));
        self
    }

    /// Is the target of a redirection: LOGIN7's server name must be `host,port`, as behind the
    /// gateway of Azure. `port` may be unknown yet: `None` takes the server's own.
    #[must_use]
    pub fn routed_as(mut self, host: &str, port: Option<u16>) -> Self {
        self.setup.routed_as = Some((host.to_owned(), port));
        self
    }

    /// The next `times` logins fail with this error.
    #[must_use]
    pub fn login_error(mut self, number: i32, times: usize) -> Self {
        let errors = std::iter::repeat_n(number, times);
        self.setup.login_errors.extend(errors);
        self
    }

    /// How much it tells (everything otherwise).
    #[must_use]
    pub fn profile(mut self, profile: Profile) -> Self {
        self.setup.profile = profile;
        self
    }

    /// What RESETCONNECTION does with the isolation level (sets it back otherwise).
    #[must_use]
    pub fn isolation_on_reset(mut self, what: IsolationOnReset) -> Self {
        self.setup.isolation_on_reset = what;
        self
    }

    /// A role for sp_setapprole.
    #[must_use]
    pub fn application_role(mut self, name: &str, password: &str) -> Self {
        let role = (name.to_owned(), password.to_owned());
        self.setup.application_roles.push(role);
        self
    }

    /// From which age of a connection on RESETCONNECTION checks that its token has not expired
    /// (10 h otherwise, as on Azure).
    #[must_use]
    pub fn revalidate_after(mut self, age: Duration) -> Self {
        self.setup.revalidate_after = age;
        self
    }

    /// Refuses USE to another database with error 40508, as Azure SQL Database does; Managed
    /// Instance and SQL Server allow it, and so does this server otherwise.
    #[must_use]
    pub fn refuse_use(mut self) -> Self {
        self.setup.use_is_refused = true;
        self
    }

    /// The packet size for clients that ask for none, and the most that others get; 512 to
    /// 32,767 (4,096 otherwise).
    #[must_use]
    pub fn packet_size(mut self, bytes: usize) -> Self {
        self.setup.packet_size = bytes.clamp(512, 32_767);
        self
    }

    /// Listens on a free loopback port.
    ///
    /// # Errors
    /// When no port, directory or TLS set-up can be had.
    pub async fn start(self) -> Result<TdsServer, Error> {
        let encryption = match (&self.certificate, self.encryption) {
            (None, _) => Encryption::NotSupported,
            (Some(_), None) => Encryption::Required,
            (Some(_), Some(chosen)) => chosen,
        };
        TdsServer::start(self.setup, self.certificate.as_ref(), encryption).await
    }
}
