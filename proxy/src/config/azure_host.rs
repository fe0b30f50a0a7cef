//! What a server's name says about Azure: which engine it has, in which cloud.
//!
//! `route` takes notes from it, never errors: a name may be anybody's.

use super::model::{Cloud, Engine};

/// Azure Database for PostgreSQL and Azure SQL, by the end of their names.
const SUFFIXES: [(&str, Engine, Cloud); 6] = [
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
];

/// What does not fit together, in a sentence for the log.
pub(super) fn doubt(host: &str, engine: Engine, cloud: Cloud) -> Option<String> {
    let (of_host, cloud_of_host) = look_up(host)?;
    if of_host != engine {
        Some(format!(
            "{host} is a name of Azure's for {}, but the route is {}",
            of_host.as_str(),
            engine.as_str()
        ))
    } else if cloud_of_host != cloud {
        Some(format!(
            "{host} is in the cloud {}, but the token will be for cloud={}; such a login fails",
            cloud_of_host.as_str(),
            cloud.as_str()
        ))
    } else {
        None
    }
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
            ("database.windows.net", None),
            ("a.database.windows.net.example.com", None),
            ("10.0.0.4", None),
        ];
        for (host, wanted) in table {
            assert_eq!(look_up(host), wanted, "{host}");
        }
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
        assert_eq!(doubt(host, Engine::Tds, Cloud::UsGov), None);
        assert_eq!(doubt("db.example.com", Engine::Tds, Cloud::China), None);
        let cloud = doubt(host, Engine::Tds, Cloud::Public).unwrap();
        assert!(cloud.contains("in the cloud usgov, but the token will be for cloud=public"));
        let engine = doubt(host, Engine::Postgres, Cloud::UsGov).unwrap();
        assert!(engine.contains("for sqlserver, but the route is postgres"));
    }
}
