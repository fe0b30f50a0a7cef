//! Causes in the server: login, query.

use super::Advice::{For, Say};
use super::{Cause, Names, causes};
use crate::config::Engine;
use crate::doctor::report::Step;
use crate::{postgres, tds};

causes! {
    IN_THE_SERVER;
    ROLE_REFUSED = (Login, "role-refused", [
        "PostgreSQL refuses the token for this role: it is missing, or was not made as an Entra role, or belongs to another identity",
        "28P01 or 28000 `password authentication failed for user`",
    ], For(role));
    ROLE_MISSING = (Login, "role-missing", [
        "the server says that there is no such role",
        "28000 `role ... does not exist`",
    ], For(role));
    ROLE_CASE = (Login, "role-case", [
        "the role in the ROUTE differs from the identity's name in upper and lower case",
        "28P01 or 28000 `password authentication failed for user`",
    ], For(named));
    ROLE_OTHER = (Login, "role-other-name", [
        "the role in the ROUTE is not this identity's, and the identity's own name works",
        "28P01 or 28000 `password authentication failed for user`",
    ], For(named));
    ROLE_NOT_ENTRA = (Login, "role-not-entra", [
        "the server asks for a password: the role was not created from Entra, or the server has no Entra authentication",
        "`the server asked for ..., which an access token can't answer`",
    ], For(not_entra));
    ROLE_TYPE = (Login, "role-type", [
        "the role was made for a user or a group, and the token is a service's (or the other way round)",
        "`Service Principals cannot generate AAD_AUTH_TOKENTYPE_APP_USER tokens for role`",
    ], For(role_type));
    TOKEN_REFUSED_EXPIRED = (Login, "token-refused-expired", [
        "the server takes the token for expired",
        "`The access token has expired`, 18456 `Token is expired`",
    ], Say(tds::hint::TOKEN_EXPIRED));
    TOKEN_REFUSED_AUDIENCE = (Login, "token-refused-audience", [
        "the server wants a token for something else",
        "`The access token does not have a valid audience claim`",
    ], Say("Check cloud, and that the ROUTE's scheme fits the server: postgres:// and sqlserver:// ask for different tokens."));
    TOKEN_REFUSED = (Login, "token-refused", [
        "the server refuses the token itself",
        "`The access token ...`",
    ], Say("Check that the token comes from the tenant that the server belongs to; the message is the server's own."));
    NO_ENTRY = (Login, "no-access-rule", [
        "the server has no rule that lets this role in from this address",
        "28000 `no pg_hba.conf entry for host`",
    ], Say("On Azure: let this machine's address through the server's firewall rules. Elsewhere pg_hba.conf needs a line (hostssl) for this role, database and address."));
    PASSWORD_WRONG = (Login, "password-wrong", [
        "the server refuses the user or its password",
        "28P01, or 18456 for a route with identity=password-file",
    ], For(password));
    METHOD_UNKNOWN = (Login, "method-unknown", [
        "the server asks for a way to log in that entrapool does not know",
        "`the server asked for the authentication method ...`",
    ], Say("Give the role password authentication (scram-sha-256) in pg_hba.conf, or an Entra role on Azure."));
    USER_MISSING = (Login, "user-missing", [
        "the identity has no user in this database, or the database does not exist",
        "18456 `Login failed for user '<token-identified principal>'`",
    ], For(user));
    ENTRA_OFF = (Login, "entra-off", [
        "the server has not looked at the token: it has no Entra authentication",
        "`the server did not acknowledge the access token`",
    ], Say(tds::hint::NO_ENTRA));
    SQL_FIREWALL = (Login, "sql-firewall", [
        "Azure SQL's firewall does not let this machine's address in",
        "40615 or 40914 `Client with IP address ... is not allowed to access the server`",
    ], Say(tds::hint::FIREWALL));
    PUBLIC_ACCESS_DENIED = (Login, "public-access-denied", [
        "the server denies public access, and this connection came on the public way",
        "47073 `Deny Public Network Access is set to Yes`",
    ], Say("Use the private endpoint: link its DNS zone to this network, or set connect_to to its address. Or allow public access, with firewall rules."));
    SERVER_NAME = (Login, "server-name", [
        "the gateway does not know the server's name",
        "40531 or 40532 `Cannot open server ... requested by the login`",
    ], Say(tds::hint::SERVER_NAME));
    DATABASE_MISSING = (Login, "database-missing", [
        "there is no such database",
        "3D000, or 4060 `Cannot open database`",
    ], For(database));
    DATABASE_DENIED = (Login, "database-denied", [
        "the role may not connect to this database",
        "42501 `permission denied for database`, or 916",
    ], For(denied));
    TOO_MANY_CONNECTIONS = (Login, "too-many-connections", [
        "the server has no place for another connection",
        "53300 `too many connections`, or 10928, 10929, 49918 to 49920",
    ], For(too_many));
    SERVER_NOT_READY = (Login, "server-not-ready", [
        "the server is starting, stopping, moving or busy",
        "57P03, or 40197, 40501, 40613",
    ], Say("Try again in a minute; a serverless database that sleeps wakes up by this. If it lasts, look at the server's health in the portal."));
    REDIRECT_BLOCKED = (Login, "redirect-blocked", [
        "the gateway sends us on to a machine that can't be reached",
        "`no answer within connect_timeout` from inside Azure, although port 1433 is open",
    ], Say("Allow outgoing TCP to ports 11000 to 11999 of Azure SQL (service tag Sql), or set the server's connection policy to Proxy."));
    LOGIN_SILENT = (Login, "login-silent", [
        "the server does not answer the login",
        "`no answer within connect_timeout ..., during the login`",
    ], Say("The server is overloaded, or can't reach Entra to check the token. Try again; look at the server's health and its outgoing rules."));
    LOGIN_BROKEN = (Login, "login-broken", [
        "the connection breaks during the login",
        "`the connection broke: ...`",
    ], Say("Look at the server's log: it closed the connection, or a proxy in front of it did."));
    LOGIN_REFUSED = (Login, "login-refused", [
        "the server refuses the login for another reason",
        "the server's own message",
    ], Say("The message is the server's own; its log may say more."));
    QUERY_REFUSED = (Query, "query-refused", [
        "the login went well, and the server refuses a simple query",
        "an error of the server's at the first query",
    ], Say("The message is the server's own: a policy, a logon trigger or a resource limit may be the reason."));
    QUERY_BROKEN = (Query, "query-broken", [
        "the login went well, and no answer to a query comes",
        "`the server at ... closed the connection unexpectedly`",
    ], Say("Something ends or loses the connection right after its login: a proxy on the way, an MTU, or a server that is going down."));
}

fn role(names: &Names<'_>) -> String {
    postgres::hint::role(names.user)
}

/// `names.user` is the identity's own name here.
fn named(names: &Names<'_>) -> String {
    let user = names.user;
    format!(
        "Write {user:?} for the user in the ROUTE: role and identity must have the same name, in the same case."
    )
}

fn not_entra(names: &Names<'_>) -> String {
    postgres::hint::no_entra(names.user)
}

fn role_type(names: &Names<'_>) -> String {
    let user = names.user;
    format!(
        "As Entra administrator, in database postgres, drop the role and make it anew by the identity's object id: SELECT * FROM pgaadauth_create_principal_with_oid('{user}', 'OBJECT-ID', 'service', false, false)."
    )
}

fn password(names: &Names<'_>) -> String {
    match names.engine {
        Engine::Postgres => postgres::hint::PASSWORD_LOGIN.to_owned(),
        Engine::Tds => tds::hint::login(names.user, names.database),
    }
}

fn user(names: &Names<'_>) -> String {
    tds::hint::user(names.database)
}

fn database(names: &Names<'_>) -> String {
    match names.engine {
        Engine::Postgres => postgres::hint::database(names.database),
        Engine::Tds => tds::hint::database(names.database),
    }
}

fn denied(names: &Names<'_>) -> String {
    let Names { user, database, .. } = names;
    match names.engine {
        Engine::Postgres => {
            format!(
                "As the database's owner: GRANT CONNECT ON DATABASE \"{database}\" TO \"{user}\"."
            )
        }
        Engine::Tds => tds::hint::user(database),
    }
}

fn too_many(names: &Names<'_>) -> String {
    match names.engine {
        Engine::Postgres => postgres::hint::TOO_MANY,
        Engine::Tds => tds::hint::TOO_MANY,
    }
    .to_owned()
}
