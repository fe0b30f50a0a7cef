//! The local Azure as a whole: tenant, metadata service, token endpoint, one database server.
//!
//! The demo and the end-to-end tests of the proxy start here; the parts can be had one by one
//! from their own modules. Everything stops when the value is dropped.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::directory::{Directory, Principal};
use crate::embedded::EmbeddedPostgres;
use crate::entra::Entra;
use crate::error::Error;
use crate::imds::Imds;
use crate::issuer::{Issuer, OSSRDBMS_AUDIENCE, SQL_AUDIENCE};
use crate::ldap::LdapResponder;
use crate::login_record::LoginRecord;
use crate::managed_identity::{Assignment, ManagedIdentities};
use crate::pki::Pki;
use crate::postgres::{Postgres, PostgresBuilder, find_installation};
use crate::tds::{TdsServer, TdsServerBuilder};

/// Which database server stands behind the tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ServerChoice {
    /// A real PostgreSQL if this machine has one, else the embedded server.
    #[default]
    Auto,
    /// A real PostgreSQL, or an error.
    Real,
    /// The embedded server.
    Embedded,
}

/// What the local Azure is to look like.
#[derive(Debug)]
pub struct LocalAzureBuilder {
    role: String,
    database: String,
    server: ServerChoice,
    token_life: Option<Duration>,
    postgres: PostgresBuilder,
}

impl LocalAzureBuilder {
    /// The machine's identity, and its role in the database (`my-vm` otherwise).
    #[must_use]
    pub fn role(mut self, name: &str) -> Self {
        name.clone_into(&mut self.role);
        self
    }

    /// The database (`appdb` otherwise).
    #[must_use]
    pub fn database(mut self, name: &str) -> Self {
        name.clone_into(&mut self.database);
        self
    }

    /// Which server.
    #[must_use]
    pub fn server(mut self, choice: ServerChoice) -> Self {
        self.server = choice;
        self
    }

    /// How long tokens live (24 h otherwise); it can be changed later at the issuer.
    #[must_use]
    pub fn token_life(mut self, life: Duration) -> Self {
        self.token_life = Some(life);
        self
    }

    /// More of a real PostgreSQL: roles, databases, settings. The embedded server ignores it.
    #[must_use]
    pub fn postgres(mut self, change: impl FnOnce(PostgresBuilder) -> PostgresBuilder) -> Self {
        self.postgres = change(self.postgres);
        self
    }

    /// Starts everything.
    ///
    /// # Errors
    /// When a part does not start; the others are stopped again.
    pub async fn start(self) -> Result<LocalAzure, Error> {
        let pki = Pki::new()?;
        let directory = Arc::new(Directory::new("local"));
        let issuer = Arc::new(Issuer::new(Arc::clone(&directory))?);
        if let Some(life) = self.token_life {
            issuer.set_life(life);
        }
        let identities = Arc::new(ManagedIdentities::new(Arc::clone(&issuer)));
        identities.assign(Assignment::System, Principal::named(&self.role));
        let imds = Imds::start(Arc::clone(&identities)).await?;
        let entra = Entra::start(Arc::clone(&issuer), &pki).await?;
        let verifier = issuer.verifier(OSSRDBMS_AUDIENCE);
        let record = Arc::new(LoginRecord::default());
        let server = if self.wants_real()? {
            let ldap = LdapResponder::start(verifier, Arc::clone(&record)).await?;
            let postgres = self
                .postgres
                .token_role(&self.role)
                .database(&self.database)
                .start(&pki, Some(ldap.address()))
                .await?;
            DatabaseServer::Real {
                postgres: Box::new(postgres),
                ldap,
            }
        } else {
            let certificate = pki.issue(&["localhost", "127.0.0.1"])?;
            let databases = [self.database.as_str(), "postgres"];
            let server =
                EmbeddedPostgres::start(verifier, Arc::clone(&record), &certificate, &databases);
            DatabaseServer::Embedded(server.await?)
        };
        Ok(LocalAzure {
            role: self.role,
            database: self.database,
            server,
            imds,
            entra,
            identities,
            issuer,
            record,
            pki,
        })
    }

    fn wants_real(&self) -> Result<bool, Error> {
        match (self.server, find_installation()) {
            (ServerChoice::Embedded, _) | (ServerChoice::Auto, Err(Error::PostgresMissing)) => {
                Ok(false)
            }
            (ServerChoice::Auto | ServerChoice::Real, found) => found.map(|_| true),
        }
    }
}

/// The database server that checks the tokens.
#[derive(Debug)]
pub enum DatabaseServer {
    /// PostgreSQL itself, and the responder that it asks.
    Real {
        /// The cluster.
        postgres: Box<Postgres>,
        /// What its `pg_hba.conf` points to.
        ldap: LdapResponder,
    },
    /// The stand-in.
    Embedded(EmbeddedPostgres),
}

/// A running local Azure.
#[derive(Debug)]
pub struct LocalAzure {
    role: String,
    database: String,
    server: DatabaseServer,
    imds: Imds,
    entra: Entra,
    identities: Arc<ManagedIdentities>,
    issuer: Arc<Issuer>,
    record: Arc<LoginRecord>,
    pki: Pki,
}

impl LocalAzure {
    /// What it is to look like.
    #[must_use]
    pub fn builder() -> LocalAzureBuilder {
        LocalAzureBuilder {
            role: "my-vm".to_owned(),
            database: "appdb".to_owned(),
            server: ServerChoice::Auto,
            token_life: None,
            postgres: Postgres::builder(),
        }
    }

    /// The machine's identity, and its role in the database.
    #[must_use]
    pub fn role(&self) -> &str {
        &self.role
    }

    /// The application's database.
    #[must_use]
    pub fn database(&self) -> &str {
        &self.database
    }

    /// What stands for `http://169.254.169.254`.
    #[must_use]
    pub fn imds_endpoint(&self) -> String {
        self.imds.endpoint()
    }

    /// The root certificate of every server in here.
    #[must_use]
    pub fn ca_file(&self) -> PathBuf {
        self.pki.ca_file()
    }

    /// Where the database server listens; its certificate is for `localhost`.
    #[must_use]
    pub fn postgres_addr(&self) -> SocketAddr {
        match &self.server {
            DatabaseServer::Real { postgres, .. } => postgres.address(),
            DatabaseServer::Embedded(embedded) => embedded.address(),
        }
    }

    /// The database server.
    #[must_use]
    pub fn server(&self) -> &DatabaseServer {
        &self.server
    }

    /// The database server, to stop and start it.
    #[must_use]
    pub fn server_mut(&mut self) -> &mut DatabaseServer {
        &mut self.server
    }

    /// The cluster, if the server is a real one.
    #[must_use]
    pub fn real_postgres(&self) -> Option<&Postgres> {
        match &self.server {
            DatabaseServer::Real { postgres, .. } => Some(postgres),
            DatabaseServer::Embedded(_) => None,
        }
    }

    /// The metadata service, with its faults.
    #[must_use]
    pub fn imds(&self) -> &Imds {
        &self.imds
    }

    /// The token endpoint; applications have to be registered first.
    #[must_use]
    pub fn entra(&self) -> &Entra {
        &self.entra
    }

    /// The machine's identities, and the platform's token cache.
    #[must_use]
    pub fn identities(&self) -> &Arc<ManagedIdentities> {
        &self.identities
    }

    /// The tenant's issuer: life and size of tokens.
    #[must_use]
    pub fn issuer(&self) -> &Arc<Issuer> {
        &self.issuer
    }

    /// A stand-in for Azure SQL Database in this tenant, with TLS, the application's database and
    /// the machine's identity as its user; not started yet.
    ///
    /// # Errors
    /// When no certificate can be issued.
    pub fn sql_server(&self) -> Result<TdsServerBuilder, Error> {
        let certificate = self.pki.issue(&["localhost", "127.0.0.1"])?;
        let verifier = self.issuer.verifier(SQL_AUDIENCE);
        Ok(TdsServer::builder()
            .database(&self.database)
            .entra(verifier, Arc::clone(&self.record))
            .user(&self.role)
            .tls(&certificate))
    }

    /// The logins that the database server saw.
    #[must_use]
    pub fn logins(&self) -> &LoginRecord {
        &self.record
    }

    /// The authority behind all certificates.
    #[must_use]
    pub fn pki(&self) -> &Pki {
        &self.pki
    }
}
