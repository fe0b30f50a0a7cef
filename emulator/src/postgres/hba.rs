//! `pg_hba.conf`: who may log in, and how it is checked.

use std::fmt::Write as _;
use std::net::SocketAddr;

use super::RoleLogin;
use crate::ldap::{PREFIX, SUFFIX};

/// The file for these roles; token roles are checked by the LDAP responder.
pub(super) fn file(
    token_roles: &[String],
    other_roles: &[(String, RoleLogin)],
    responder: Option<SocketAddr>,
) -> String {
    let mut text = String::from("local all all trust\n");
    let mut line = |kind: &str, role: &str, method: &str| {
        // Writing to a String cannot fail.
        let _infallible = writeln!(text, "{kind} all {} 127.0.0.1/32 {method}", quoted(role));
    };
    if let Some(responder) = responder {
        let ldap = format!(
            "ldap ldapserver={} ldapport={} ldapprefix=\"{PREFIX}\" ldapsuffix=\"{SUFFIX}\"",
            responder.ip(),
            responder.port()
        );
        for role in token_roles {
            line("hostssl", role, &ldap);
        }
    }
    for (role, login) in other_roles {
        match login {
            RoleLogin::Scram(_) => line("hostssl", role, "scram-sha-256"),
            RoleLogin::Md5(_) => line("hostssl", role, "md5"),
            RoleLogin::Cleartext(_) => line("hostssl", role, "password"),
            RoleLogin::Trust => line("host", role, "trust"),
        }
    }
    text
}

/// Quotes keep a name from meaning `all` or a group; a quote in it is doubled.
fn quoted(role: &str) -> String {
    format!("\"{}\"", role.replace('"', "\"\""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_of_role_has_its_line() {
        let others = [
            ("s".to_owned(), RoleLogin::Scram("x".to_owned())),
            ("m".to_owned(), RoleLogin::Md5("x".to_owned())),
            ("p".to_owned(), RoleLogin::Cleartext("x".to_owned())),
            ("d".to_owned(), RoleLogin::Trust),
        ];
        let responder = SocketAddr::from(([127, 0, 0, 1], 3890));
        let text = file(&["all".to_owned()], &others, Some(responder));
        assert_eq!(
            text.lines().collect::<Vec<_>>(),
            [
                "local all all trust",
                "hostssl all \"all\" 127.0.0.1/32 ldap ldapserver=127.0.0.1 ldapport=3890 \
                 ldapprefix=\"cn=\" ldapsuffix=\",dc=entra\"",
                "hostssl all \"s\" 127.0.0.1/32 scram-sha-256",
                "hostssl all \"m\" 127.0.0.1/32 md5",
                "hostssl all \"p\" 127.0.0.1/32 password",
                "host all \"d\" 127.0.0.1/32 trust",
            ]
        );
    }
}
