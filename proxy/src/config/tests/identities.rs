//! Which identity comes out of which keys and which environment.

use super::{PLAIN, errors, try_load};
use crate::config::{
    ClientSecret, Cloud, IdentitySpec, MapEnvironment, Selector, Source, Workload,
};

fn empty() -> MapEnvironment {
    MapEnvironment::default()
}

fn workload_env() -> MapEnvironment {
    empty()
        .with("AZURE_FEDERATED_TOKEN_FILE", "/var/run/token")
        .with("AZURE_TENANT_ID", "tenant")
        .with("AZURE_CLIENT_ID", "client")
}

fn app_service_env() -> MapEnvironment {
    empty()
        .with("IDENTITY_ENDPOINT", "http://127.0.0.1:41/msi")
        .with("IDENTITY_HEADER", "header")
}

fn secret_env() -> MapEnvironment {
    empty()
        .with("AZURE_TENANT_ID", "tenant")
        .with("AZURE_CLIENT_ID", "client")
        .with("AZURE_CLIENT_SECRET", "hunter2")
}

fn identity(query: &str, env: &MapEnvironment) -> (IdentitySpec, Vec<String>) {
    match try_load(&[&format!("{PLAIN}?{query}")], env) {
        Ok(mut loaded) => (loaded.config.routes.remove(0).identity, loaded.notes),
        Err(errors) => panic!("{query}: {errors}"),
    }
}

fn refusal(query: &str, env: &MapEnvironment) -> String {
    let found = errors(&[&format!("{PLAIN}?{query}")], env);
    assert_eq!(found.len(), 1, "{query}: {found:#?}");
    found[0].clone()
}

fn workload(client_id: &str, authority: Option<&str>) -> Source {
    Source::Workload(Workload {
        tenant_id: "tenant".to_owned(),
        client_id: client_id.to_owned(),
        token_file: "/var/run/token".into(),
        authority: authority.map(ToOwned::to_owned),
    })
}

#[test]
fn auto_goes_by_the_environment() {
    let blank = empty().with("AZURE_FEDERATED_TOKEN_FILE", " ");
    let half = empty().with("IDENTITY_ENDPOINT", "http://127.0.0.1:41/msi");
    let both = workload_env()
        .with("IDENTITY_ENDPOINT", "http://127.0.0.1:41/msi")
        .with("IDENTITY_HEADER", "header");
    let table = [
        (empty(), "", Source::Imds, "chose imds because neither"),
        (blank, "", Source::Imds, "chose imds because neither"),
        (half, "", Source::Imds, "chose imds because neither"),
        (
            app_service_env(),
            "",
            Source::AppService,
            "chose app-service because IDENTITY_ENDPOINT and IDENTITY_HEADER are set",
        ),
        (
            workload_env(),
            "",
            workload("client", None),
            "chose workload because AZURE_FEDERATED_TOKEN_FILE is set",
        ),
        (both, "", workload("client", None), "chose workload"),
        (
            workload_env(),
            "client_id=other",
            workload("other", None),
            "chose workload",
        ),
        (
            workload_env(),
            "imds_endpoint=http://127.0.0.1:80",
            Source::Imds,
            "chose imds because imds_endpoint is given",
        ),
    ];
    for (env, query, source, note) in table {
        let (identity, notes) = identity(query, &env);
        assert_eq!(identity.source, source, "{query} {env:?}");
        let wanted = format!("route postgres-5432: identity auto {note}");
        assert!(notes[0].starts_with(&wanted), "{notes:?}");
    }
}

#[test]
fn auto_never_falls_back_to_the_nodes_identity() {
    let env = empty().with("AZURE_FEDERATED_TOKEN_FILE", "/var/run/token");
    let message = refusal("", &env);
    assert!(
        message.contains("workload needs AZURE_TENANT_ID and AZURE_CLIENT_ID, not set"),
        "{message}"
    );
    let message = refusal("client_id=x", &env);
    assert!(
        message.contains("workload needs AZURE_TENANT_ID, not set"),
        "{message}"
    );
}

#[test]
fn auto_names_hosts_that_it_cannot_serve() {
    let arc = empty()
        .with("IDENTITY_ENDPOINT", "http://localhost:40342/x")
        .with("IMDS_ENDPOINT", "http://localhost:40342");
    let fabric = app_service_env().with("IDENTITY_SERVER_THUMBPRINT", "ab");
    let shell = empty().with("MSI_ENDPOINT", "http://localhost:50342");
    for (env, host) in [
        (arc, "Azure Arc"),
        (fabric, "Service Fabric"),
        (shell, "Cloud Shell"),
    ] {
        let message = refusal("", &env);
        assert!(message.contains(host), "{message}");
    }
}

#[test]
fn a_named_source_is_not_second_guessed() {
    let (identity, notes) = identity("identity=imds", &workload_env());
    assert_eq!(identity.source, Source::Imds);
    assert_eq!(
        identity.selector,
        Some(Selector::ClientId("client".to_owned()))
    );
    assert_eq!(
        notes,
        ["route postgres-5432: AZURE_CLIENT_ID names the identity, since the route does not"]
    );
}

#[test]
fn selectors() {
    let id = || "x".to_owned();
    let table = [
        ("identity=imds", None),
        ("identity=imds&client_id=x", Some(Selector::ClientId(id()))),
        ("identity=imds&object_id=x", Some(Selector::ObjectId(id()))),
        (
            "identity=imds&resource_id=x",
            Some(Selector::ResourceId(id())),
        ),
    ];
    for (query, wanted) in table {
        assert_eq!(identity(query, &empty()).0.selector, wanted, "{query}");
    }
    let (spec, _) = identity(
        "client_id=x",
        &app_service_env().with("AZURE_CLIENT_ID", "y"),
    );
    assert_eq!(spec.selector, Some(Selector::ClientId(id())));
    let (spec, _) = identity("", &workload_env());
    assert_eq!(
        spec.selector, None,
        "the workload carries its client id itself"
    );
}

#[test]
fn selectors_that_do_not_fit() {
    let table = [
        (
            "client_id=x&object_id=y",
            empty(),
            "object_id: client_id names an identity already",
        ),
        (
            "object_id=x&resource_id=y",
            empty(),
            "resource_id: object_id names an identity already",
        ),
        (
            "resource_id=x",
            app_service_env(),
            "resource_id: identity=app-service cannot use it; use client_id or object_id",
        ),
        (
            "object_id=x",
            workload_env(),
            "object_id: identity=workload cannot use it; use client_id",
        ),
        (
            "identity=secret&resource_id=x",
            secret_env(),
            "resource_id: identity=secret cannot use it; use client_id",
        ),
        (
            "identity=az-cli&client_id=x",
            empty(),
            "client_id: identity=az-cli cannot use it; leave it out",
        ),
        (
            "identity=password-file&password_file=/p&client_id=x",
            empty(),
            "client_id: identity=password-file cannot use it",
        ),
    ];
    for (query, env, wanted) in table {
        let message = refusal(query, &env);
        assert!(message.contains(wanted), "{query}: {message}");
    }
}

#[test]
fn secrets_come_from_the_environment_and_stay_hidden() {
    let (spec, _) = identity("identity=secret", &secret_env());
    let wanted = Source::Secret(ClientSecret {
        tenant_id: "tenant".to_owned(),
        client_id: "client".to_owned(),
        secret: "hunter2".to_owned(),
        authority: None,
    });
    assert_eq!(spec.source, wanted);
    assert!(!format!("{spec:?}").contains("hunter2"));
    assert!(!format!("{:?}", secret_env()).contains("hunter2"));
    let message = refusal("identity=secret", &empty());
    let names = "AZURE_CLIENT_SECRET and AZURE_TENANT_ID and AZURE_CLIENT_ID";
    assert!(message.contains(names), "{message}");
}

#[test]
fn named_sources_need_their_variables() {
    let message = refusal("identity=workload", &empty());
    let names = "AZURE_FEDERATED_TOKEN_FILE and AZURE_TENANT_ID and AZURE_CLIENT_ID";
    assert!(message.contains(names), "{message}");
    let message = refusal("identity=app-service", &empty());
    assert!(
        message.contains("IDENTITY_ENDPOINT and IDENTITY_HEADER"),
        "{message}"
    );
}

#[test]
fn password_files() {
    let (spec, _) = identity(
        "identity=password-file&password_file=/run/pw",
        &secret_env(),
    );
    assert_eq!(spec.source, Source::PasswordFile);
    assert_eq!(spec.password_file, Some("/run/pw".into()));
    assert_eq!(spec.selector, None);
    let message = refusal("identity=password-file", &empty());
    assert!(
        message.contains("password-file needs password_file"),
        "{message}"
    );
    let message = refusal("password_file=/run/pw", &empty());
    assert!(message.contains("is only for identity=password-file, but the identity is imds"));
}

#[test]
fn metadata_endpoints() {
    let table = [
        ("http://127.0.0.1:8080", "http://127.0.0.1:8080"),
        ("http://127.1.2.3:8080/", "http://127.1.2.3:8080"),
        ("http://localhost:1", "http://localhost:1"),
        ("http://[::1]:8080", "http://[::1]:8080"),
        ("http://169.254.169.254", "http://169.254.169.254"),
        ("http://[fe80::1]:80", "http://[fe80::1]"),
    ];
    for (text, wanted) in table {
        let (spec, _) = identity(&format!("imds_endpoint={text}"), &empty());
        assert_eq!(spec.imds_endpoint.as_deref(), Some(wanted));
    }
    let bad = [
        "https://127.0.0.1:8080",
        "http://10.0.0.1:8080",
        "http://example.com",
        "http://localhost.example.com",
        "http://[::ffff:10.0.0.1]",
        "http://[2001:db8::1]",
        "http://127.0.0.1/path",
        "http://127.0.0.1/?q",
        "http://user:pw@127.0.0.1",
        "127.0.0.1:8080",
    ];
    for text in bad {
        let message = refusal(&format!("imds_endpoint={text}"), &empty());
        assert!(message.contains("imds_endpoint: "), "{text}: {message}");
    }
    let message = refusal("imds_endpoint=http://127.0.0.1&identity=az-cli", &empty());
    assert!(message.contains("is only for identity=imds"), "{message}");
}

#[test]
fn clouds_and_authorities() {
    let (spec, _) = identity("cloud=china&allow_any_host=true", &empty());
    assert_eq!(spec.cloud, Cloud::China);
    let table = [
        ("public", "https://login.microsoftonline.com/", None),
        ("usgov", "https://login.microsoftonline.us", None),
        (
            "public",
            "https://login.microsoftonline.us/",
            Some("https://login.microsoftonline.us"),
        ),
        (
            "public",
            "https://127.0.0.1:8443/",
            Some("https://127.0.0.1:8443"),
        ),
    ];
    for (cloud, host, wanted) in table {
        let env = workload_env().with("AZURE_AUTHORITY_HOST", host);
        let (spec, _) = identity(&format!("cloud={cloud}&allow_any_host=true"), &env);
        assert_eq!(spec.source, workload("client", wanted), "{cloud} {host}");
    }
    for host in [
        "http://login.microsoftonline.com",
        "login.microsoftonline.com",
    ] {
        let message = refusal("", &workload_env().with("AZURE_AUTHORITY_HOST", host));
        assert!(
            message.contains("AZURE_AUTHORITY_HOST is not an https:// URL"),
            "{message}"
        );
    }
}
