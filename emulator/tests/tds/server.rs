//! Servers and tokens for the tests.

use std::sync::Arc;

use entrapool_emulator::LoginRecord;
use entrapool_emulator::directory::{Directory, Principal};
use entrapool_emulator::issuer::{Issuer, SQL_AUDIENCE};
use entrapool_emulator::pki::Pki;
use entrapool_emulator::tds::{TdsServer, TdsServerBuilder};

use crate::client::{Client, Login};

/// A tenant and what belongs to it.
pub(crate) struct Tenant {
    pub(crate) issuer: Issuer,
    pub(crate) record: Arc<LoginRecord>,
    pub(crate) pki: Pki,
}

impl Tenant {
    pub(crate) fn new() -> anyhow::Result<Self> {
        let directory = Arc::new(Directory::new("local"));
        directory.register(Principal::named("my-vm"));
        directory.register(Principal::named("stranger"));
        Ok(Self {
            issuer: Issuer::new(directory)?,
            record: Arc::new(LoginRecord::default()),
            pki: Pki::new()?,
        })
    }

    /// A server for tokens of `my-vm`.
    pub(crate) fn server(&self) -> TdsServerBuilder {
        let verifier = self.issuer.verifier(SQL_AUDIENCE);
        TdsServer::builder()
            .database("appdb")
            .database("otherdb")
            .entra(verifier, Arc::clone(&self.record))
            .user("my-vm")
    }

    pub(crate) fn token(&self) -> anyhow::Result<String> {
        let principal = Principal::named("my-vm");
        Ok(self.issuer.mint(&principal, SQL_AUDIENCE)?.secret)
    }
}

/// A server without Entra, for the user `sa`.
pub(crate) fn plain() -> TdsServerBuilder {
    TdsServer::builder()
        .database("appdb")
        .database("otherdb")
        .password("sa", "secret")
        .application_role("approle", "role-secret")
}

/// A plain server and a logged-in client.
pub(crate) async fn plain_pair() -> anyhow::Result<(TdsServer, Client)> {
    let server = plain().start().await?;
    let client = Client::open(&server, &Login::sa()).await?;
    Ok((server, client))
}
