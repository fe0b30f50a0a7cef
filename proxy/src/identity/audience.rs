//! What a token is for: the resource it is asked for, per cloud.
//!
//! [`Identities`](super::Identities) and the sources call it; it never talks to anybody.

use crate::config::{Cloud, Engine};

/// The kind of server that will check the token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Audience {
    /// Azure Database for PostgreSQL and for MySQL.
    PostgresAndMysql,
    /// Azure SQL Database and Managed Instance.
    AzureSql,
}

impl Audience {
    /// What servers of an engine want.
    #[must_use]
    pub fn of(engine: Engine) -> Self {
        match engine {
            Engine::Postgres => Self::PostgresAndMysql,
            Engine::Tds => Self::AzureSql,
        }
    }

    /// The resource as it is registered. Azure SQL's ends in a slash: its `aud` claim has one.
    pub fn resource(self, cloud: Cloud) -> &'static str {
        match (self, cloud) {
            (Self::PostgresAndMysql, Cloud::Public) => "https://ossrdbms-aad.database.windows.net",
            (Self::PostgresAndMysql, Cloud::UsGov) => {
                "https://ossrdbms-aad.database.usgovcloudapi.net"
            }
            (Self::PostgresAndMysql, Cloud::China) => {
                "https://ossrdbms-aad.database.chinacloudapi.cn"
            }
            (Self::AzureSql, Cloud::Public) => "https://database.windows.net/",
            (Self::AzureSql, Cloud::UsGov) => "https://database.usgovcloudapi.net/",
            (Self::AzureSql, Cloud::China) => "https://database.chinacloudapi.cn/",
        }
    }

    /// The scope of the v2 endpoint. A resource that ends in a slash gets two, by intent.
    pub(super) fn scope(self, cloud: Cloud) -> String {
        format!("{}/.default", self.resource(cloud))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_cloud_has_a_resource_of_its_own() {
        let table = [
            (
                Cloud::Public,
                "https://ossrdbms-aad.database.windows.net",
                "https://database.windows.net/",
            ),
            (
                Cloud::UsGov,
                "https://ossrdbms-aad.database.usgovcloudapi.net",
                "https://database.usgovcloudapi.net/",
            ),
            (
                Cloud::China,
                "https://ossrdbms-aad.database.chinacloudapi.cn",
                "https://database.chinacloudapi.cn/",
            ),
        ];
        for (cloud, postgres, sql) in table {
            assert_eq!(Audience::PostgresAndMysql.resource(cloud), postgres);
            assert_eq!(Audience::AzureSql.resource(cloud), sql);
            assert_eq!(Audience::AzureSql.scope(cloud), format!("{sql}/.default"));
        }
    }

    #[test]
    fn the_slash_of_azure_sql_survives_in_the_scope() {
        assert_eq!(
            Audience::AzureSql.scope(Cloud::Public),
            "https://database.windows.net//.default"
        );
        assert_eq!(
            Audience::PostgresAndMysql.scope(Cloud::China),
            "https://ossrdbms-aad.database.chinacloudapi.cn/.default"
        );
    }
}
