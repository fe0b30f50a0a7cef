//! Causes on the way to a token: configuration, identity, claims.

use super::Advice::Say;
use super::{Cause, causes};
use crate::doctor::report::Step;
use crate::identity::advice;

causes! {
    ON_THE_WAY_TO_A_TOKEN;
    CONFIGURATION = (Configuration, "configuration", [
        "the configuration has an error",
        "the process exits with 2; `entrapool check` prints the same",
    ], Say("Correct what is named, at the place that is named; docs/configuration.md has all keys."));
    ROUTE_UNKNOWN = (Configuration, "route-unknown", [
        "no route has this name",
        "`entrapool doctor NAME`",
    ], Say("Give one of the names, or a whole ROUTE; `entrapool check` shows every route with its name."));
    ROUTE_FILES = (Configuration, "route-files", [
        "something that the route names can't be used: a file of certificates, or a host that no certificate could be valid for",
        "the process exits with 2 and says `route ...: ca_file ...`",
    ], Say("Check that the file is there, may be read by this user and holds PEM; and the spelling of host and server_name."));
    IMDS_UNREACHABLE = (Identity, "imds-unreachable", [
        "the metadata service can't be reached: refused, filtered, or not there",
        "`no token yet for identity imds ...: IMDS at http://169.254.169.254 cannot be reached`",
    ], Say(advice::IMDS_UNREACHABLE));
    IMDS_UPDATING = (Identity, "imds-updating", [
        "the metadata service has no identity endpoint at the moment",
        "`IMDS answered 404` or `IMDS answered 410`",
    ], Say(advice::IMDS_UPDATING));
    IMDS_THROTTLED = (Identity, "imds-throttled", [
        "the metadata service is asked too often",
        "`IMDS answered 429`",
    ], Say(advice::IMDS_THROTTLED));
    IMDS_FORBIDDEN = (Identity, "imds-forbidden", [
        "the metadata service, or something in front of it, refuses this process",
        "`IMDS answered 401` or `IMDS answered 403`",
    ], Say(advice::IMDS_FORBIDDEN));
    IDENTITY_NONE = (Identity, "identity-none", [
        "the machine has no identity",
        "`IMDS answered 400: Identity not found`, and no client_id, object_id or resource_id is set",
    ], Say(advice::NO_IDENTITY));
    IDENTITY_NOT_ASSIGNED = (Identity, "identity-not-assigned", [
        "the identity that is named is not one of this machine's",
        "`IMDS answered 400: Identity not found`, and client_id, object_id, resource_id or AZURE_CLIENT_ID is set",
    ], Say(advice::NOT_ASSIGNED));
    IDENTITY_SEVERAL = (Identity, "identity-several", [
        "the machine has several identities, and none is named",
        "`IMDS answered 400: Multiple user assigned identities exist`",
    ], Say(advice::SEVERAL));
    APP_SERVICE_UNREACHABLE = (Identity, "app-service-unreachable", [
        "App Service's identity endpoint can't be reached",
        "`the App Service identity endpoint ... cannot be reached`",
    ], Say(advice::APP_SERVICE_UNREACHABLE));
    APP_SERVICE_FORBIDDEN = (Identity, "app-service-forbidden", [
        "App Service's identity endpoint refuses this process",
        "`the App Service identity endpoint answered 401` or `403`",
    ], Say(advice::APP_SERVICE_FORBIDDEN));
    ENTRA_UNREACHABLE = (Identity, "entra-unreachable", [
        "Entra's token endpoint can't be reached",
        "`Entra at https://login.microsoftonline.com cannot be reached`",
    ], Say(advice::ENTRA_UNREACHABLE));
    ENTRA_REJECTED = (Identity, "entra-rejected", [
        "Entra refuses the application or its credential",
        "`Entra answered 400: AADSTS...` or `401`",
    ], Say(advice::ENTRA_REJECTED));
    SOURCE_FAILED = (Identity, "source-failed", [
        "the source of tokens has a fault of its own, or is asked too often",
        "`answered 500`, `503` or `429`",
    ], Say("Wait: a running entrapool asks again by itself and keeps its last token until that expires."));
    SOURCE_ANSWER = (Identity, "source-answer", [
        "the source's answer is no token",
        "`the answer (status 200) is not JSON`, redirects, pages of a captive portal",
    ], Say(advice::NO_TOKEN));
    TOKEN_STALE = (Identity, "token-stale", [
        "the source gives a token that can't be used any more",
        "`the source gave a token that expired ... ago`",
    ], Say(advice::STALE));
    CREDENTIAL_FILE = (Identity, "credential-file", [
        "a file of the identity can't be read: the federated token or the password",
        "`the federated token file ... cannot be read`, `password_file`",
    ], Say("Check the path, the owner and the mode of the file, and that it is mounted in this container."));
    AZ_CLI = (Identity, "az-cli", [
        "the Azure CLI gives no token",
        "`az account get-access-token` fails",
    ], Say("Run `az login`, and look at what `az account get-access-token` says."));
    IDENTITY_SETTINGS = (Identity, "identity-settings", [
        "settings or environment of the identity don't fit together",
        "`no token yet`, and nothing was asked over the network",
    ], Say("Correct the key or variable that is named; README.md has what each identity needs."));
    TOKEN_OPAQUE = (Claims, "token-opaque", [
        "the token's claims can't be read",
        "nothing else; the server may take it all the same",
    ], Say("Tokens of Entra are JWTs: check where this one comes from if the server refuses it."));
    TOKEN_EXPIRED = (Claims, "token-expired", [
        "the token has expired by its own claim",
        "`The access token has expired` or `Token is expired` at the login",
    ], Say("Check the clock of this machine. A source that keeps old tokens (a cache, an agent) has to renew them."));
    CLOCK_BEHIND = (Claims, "clock-behind", [
        "the token is not valid yet: the clock of this machine is behind",
        "logins are refused although the token is new",
    ], Say("Set the clock of this machine (chrony, systemd-timesyncd, the hypervisor's)."));
    TOKEN_AUDIENCE = (Claims, "token-audience", [
        "the token is for something else than this kind of server, or for another cloud",
        "`The access token does not have a valid audience claim`",
    ], Say("Check cloud, and that nothing between this process and the source rewrites its requests."));
}
