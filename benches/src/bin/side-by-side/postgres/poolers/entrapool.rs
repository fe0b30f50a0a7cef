//! The product's binary, from the same build as this program.

use anyhow::Context as _;
use tokio::process::Command;
use url::form_urlencoded::Serializer;

use super::{Pooler, directory, free_address};
use crate::scene::{BACKENDS, Scene};

pub(crate) async fn start(scene: &Scene) -> anyhow::Result<Pooler> {
    let us = std::env::current_exe().context("cannot find this program")?;
    let address = free_address()?;
    let azure = scene.azure();
    let keys = Serializer::new(String::new())
        .append_pair("identity", "imds")
        .append_pair("imds_endpoint", &azure.imds_endpoint())
        .append_pair("server_name", "localhost")
        .append_pair("ca_file", &azure.ca_file().to_string_lossy())
        .append_pair("listen", &address.to_string())
        .append_pair("pool_mode", "transaction")
        .append_pair("pool_size", &BACKENDS.to_string())
        .append_pair("max_clients", "20000")
        .finish();
    let route = format!(
        "postgres://{}@{}/{}?{keys}",
        azure.role(),
        azure.postgres_addr(),
        azure.database()
    );
    let mut command = Command::new(us.with_file_name("entrapool"));
    command.args(["--http", "127.0.0.1:0"]).arg(route);
    Pooler::start(
        "entrapool".to_owned(),
        address,
        command,
        directory()?,
        scene,
    )
    .await
}
