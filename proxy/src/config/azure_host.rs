//! What a server's name says about Azure: which engine it has, in which cloud.
//!
//! A token of one cloud opens every server there that the identity may use, so `route` lets it go
//! to names of that cloud only. Where engine and name don't fit it takes a note: that is merely
//! useless.

use super::model::{Cloud, Engine};

/// Azure Database for PostgreSQL and all that takes tokens of Azure SQL, by the end of their names.
const SUFFIXES: [(&str, Engine, Cloud); 11] = [
    (
        ".postgres.database.azure.com",
        Engine::Postgres,
        Cloud::Public,
    ),
    (
        ".postgres.database.usgovcloudapi.net",
        Engine::Postgres,
        Cloud::UsGov,
    ),
    (
        ".postgres.database.chinacloudapi.cn",
        Engine::Postgres,
        Cloud::China,
    ),
    (".database.windows.net", Engine::Tds, Cloud::Public),
    (".database.usgovcloudapi.net", Engine::Tds, Cloud::UsGov),
    (".database.chinacloudapi.cn", Engine::Tds, Cloud::China),
    // Synapse and Fabric.
    (".sql.azuresynapse.net", Engine::Tds, Cloud::Public),
    (
        ".sql.azuresynapse.usgovcloudapi.net",
        Engine::Tds,
        Cloud::UsGov,
    ),
    (".sql.azuresynapse.azure.cn", Engine::Tds, Cloud::China),
    (".database.fabric.microsoft.com", Engine::Tds, Cloud::Public),
    (
        ".datawarehouse.fabric.microsoft.com",
        Engine::Tds,
        Cloud::Public,
    ),
];

/// Whether a name is of a database of Azure's in this cloud. Nobody else gets a certificate for
/// one.
pub(super) fn is_in(host: &str, cloud: Cloud) -> bool {
    look_up(host).is_some_and(|(_, of_host)| of_host == cloud)
}

/// The ends of such names, for a message.
pub(super) fn names_in(cloud: Cloud, engine: Engine) -> String {
    let fits =
        |(_, of_name, in_cloud): &&(&str, Engine, Cloud)| *of_name == engine && *in_cloud == cloud;
    let names = SUFFIXES.iter().filter(fits).map(|(suffix, ..)| *suffix);
    names.collect::<Vec<_>>().join(", ")
}

/// What does not fit together, in a sentence for the log.
pub(super) fn doubt(host: &str, engine: Engine) -> Option<String> {
    let (of_host, _) = look_up(host)?;
    (of_host != engine).then(|| {
        format!(
            "{host} is a name of Azure's for {}, but the route is {}",
            of_host.as_str(),
            engine.as_str()
        )
    })
}

/// The cloud that a name belongs to, if it is one of Azure's.
pub(super) fn cloud_of(host: &str) -> Option<Cloud> {
    look_up(host).map(|(_, cloud)| cloud)
}

/// Whether it is the name of a single server in Azure's own zones: not of a managed instance, whose
/// name has its network's zone in it.
#[must_use]
pub fn is_azure_server(host: &str) -> bool {
    let host = host.trim_end_matches('.').to_ascii_lowercase();
    SUFFIXES.iter().any(|(suffix, ..)| {
        let server = host.strip_suffix(suffix);
        server.is_some_and(|server| !server.is_empty() && !server.contains('.'))
    })
}

fn look_up(host: &str) -> Option<(Engine, Cloud)> {
    let host = host.trim_end_matches('.').to_ascii_lowercase();
    SUFFIXES
        .iter()
        .find(|(suffix, ..)| host.ends_with(suffix))
        .map(|(_, engine, cloud)| (*engine, *cloud))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_azure() {
        use Cloud::{China, Public, UsGov};
        use Engine::{Postgres, Tds};
        let table = [
            ("a.postgres.database.azure.com", Some((Postgres, Public))),
            (
                "a.postgres.database.usgovcloudapi.net",
                Some((Postgres, UsGov)),
            ),
            (
                "a.postgres.database.chinacloudapi.cn",
                Some((Postgres, China)),
            ),
            ("a.database.windows.net", Some((Tds, Public))),
            ("A.Database.Windows.NET.", Some((Tds, Public))),
            ("mi.0123abcd.database.windows.net", Some((Tds, Public))),
            ("a.database.usgovcloudapi.net", Some((Tds, UsGov))),
            ("a.database.chinacloudapi.cn", Some((Tds, China))),
            ("a-ondemand.sql.azuresynapse.net", Some((Tds, Public))),
            ("a.datawarehouse.fabric.microsoft.com", Some((Tds, Public))),
            ("database.windows.net", None),
            ("a.database.windows.net.example.com", None),
            ("10.0.0.4", None),
        ];
        for (host, wanted) in table {
            assert_eq!(look_up(host), wanted, "{host}");
        }
    }

    #[test]
    fn a_name_is_of_one_cloud() {
        assert!(is_in("a.database.windows.net", Cloud::Public));
        assert!(!is_in("a.database.windows.net", Cloud::UsGov));
        for strange in [
            "db.example.com",
            "a.database.windows.net.example.com",
            "::1",
        ] {
            assert!(!is_in(strange, Cloud::Public), "{strange}");
        }
        assert_eq!(
            names_in(Cloud::UsGov, Engine::Postgres),
            ".postgres.database.usgovcloudapi.net"
        );
    }

    #[test]
    fn a_server_is_one_label_in_front() {
        assert!(is_azure_server("a.postgres.database.azure.com"));
        assert!(is_azure_server("A.database.windows.net."));
        assert!(!is_azure_server("mi.0123abcd.database.windows.net"));
        assert!(!is_azure_server(".database.windows.net"));
        assert!(!is_azure_server("db.example.com"));
    }

    #[test]
    fn only_what_does_not_fit_is_doubted() {
        let host = "a.database.usgovcloudapi.net";
        assert_eq!(doubt(host, Engine::Tds), None);
        assert_eq!(doubt("db.example.com", Engine::Tds), None);
        let engine = doubt(host, Engine::Postgres).unwrap();
        assert!(engine.contains("for sqlserver, but the route is postgres"));
    }
}
