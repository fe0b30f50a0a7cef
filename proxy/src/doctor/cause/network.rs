//! Causes between this machine and the server: resolve, tcp, tls.

use super::Advice::{For, Say};
use super::{Cause, Names, causes};
use crate::config::Engine;
use crate::doctor::report::Step;
use crate::{postgres, tds};

causes! {
    ON_THE_WAY_TO_THE_SERVER;
    NAME_UNKNOWN = (Resolve, "name-unknown", [
        "the name does not exist",
        "`the name ... can't be resolved`; clients get 08001 (TDS: 40613)",
    ], For(name));
    DNS_SILENT = (Resolve, "dns-silent", [
        "the name servers don't answer, or can't find out",
        "`Temporary failure in name resolution`",
    ], Say("Check the servers in /etc/resolv.conf, and that UDP and TCP port 53 to them is open; in Kubernetes also CoreDNS and NetworkPolicies."));
    PRIVATE_RECORD_MISSING = (Resolve, "private-record-missing", [
        "the private DNS zone is linked to this network, and has no record of the server",
        "`the name ... can't be resolved`, although it can elsewhere",
    ], Say("Add the private endpoint to the zone (its DNS zone group), or dial it by address with connect_to."));
    ZONE_NOT_LINKED = (Resolve, "private-zone-not-linked", [
        "the server has a private endpoint, but its name leads to the public address from here",
        "time-outs, TDS error 40615 or 47073, although a private endpoint exists",
    ], Say("Link the private DNS zone (privatelink.postgres.database.azure.com, privatelink.database.windows.net) to this virtual network, or forward the zone from your own DNS; or set connect_to to the endpoint's address. If the public way is meant, this is no fault."));
    PRIVATE_ELSEWHERE = (Resolve, "private-address-unexplained", [
        "the address is private, and DNS knows nothing of a private endpoint",
        "it works until the endpoint is made anew, with another address",
    ], Say("Something else than Azure's DNS gives the address: /etc/hosts, or a zone of your own. Check that it is the endpoint's address of today."));
    PRIVATELINK_NAMED = (Resolve, "privatelink-name", [
        "the ROUTE has the private endpoint's own name, which certificate and gateway don't know",
        "`tls-wrong-name`, or TDS error 40532",
    ], Say("Write the server's ordinary name without `privatelink` into the ROUTE: it leads to the private endpoint by itself where the DNS zone is linked."));
    TCP_REFUSED = (Tcp, "tcp-refused", [
        "the machine is there, and nothing listens on the port",
        "`Connection refused`; clients get 08001 (TDS: 40613)",
    ], Say("Check the port in the ROUTE, and that the server is up: a flexible server may be stopped, or restarting."));
    TCP_FILTERED = (Tcp, "tcp-filtered", [
        "nothing comes back: a firewall drops the packets, or the server is off",
        "`no answer within connect_timeout ..., during name look-up or TCP connect`",
    ], For(filtered));
    TCP_UNREACHABLE = (Tcp, "tcp-unreachable", [
        "there is no way to the address from this machine",
        "`No route to host`, `Network is unreachable`",
    ], Say("Check the routes of this machine and network: peering, VPN, a route table that sends the address nowhere; and IPv6, if the address is one."));
    TCP_FORBIDDEN = (Tcp, "tcp-forbidden", [
        "a rule on this machine forbids the connection",
        "`Operation not permitted` or `Permission denied` on connect",
    ], Say("Look at the machine's own rules: nft list ruleset, iptables -S OUTPUT, SELinux, a NetworkPolicy."));
    TLS_EXPIRED = (Tls, "tls-expired", [
        "the server's certificate has expired, or this machine's clock is ahead",
        "`invalid peer certificate: certificate expired`",
    ], Say("Compare the dates with this machine's clock. Azure renews its certificates by itself: if the clock is right, it is another machine that answers."));
    TLS_NOT_YET = (Tls, "tls-not-yet-valid", [
        "the server's certificate is not valid yet: this machine's clock is behind",
        "`invalid peer certificate: certificate not valid yet`",
    ], Say("Set the clock of this machine."));
    TLS_NAME = (Tls, "tls-wrong-name", [
        "the server's certificate is for another name",
        "`certificate not valid for name`",
    ], Say("Write the name that the certificate is for into the ROUTE; dial by address or by a name of your own with connect_to, or set server_name."));
    TLS_ROOT = (Tls, "tls-unknown-root", [
        "no known root has issued the server's certificate",
        "`invalid peer certificate: UnknownIssuer`",
    ], Say("Look at the issuer: if it is a firewall of yours that looks into TLS, let this connection past it; if it is an authority of yours, name its root in ca_file."));
    TLS_NOT_OFFERED = (Tls, "tls-not-offered", [
        "the server has no TLS, and without it no token or password is sent",
        "`the server does not offer TLS`",
    ], For(not_offered));
    TLS_NOT_DIRECT = (Tls, "tls-not-direct", [
        "the server does not take TLS before it is asked for",
        "`the server does not take TLS before it is asked for`",
    ], Say(postgres::hint::NOT_DIRECT));
    NOT_THE_PROTOCOL = (Tls, "not-the-protocol", [
        "what answers there is no server of this kind",
        "`the server did not answer SSLRequest as PostgreSQL does`, `the server did not answer the login`",
    ], For(not_the_protocol));
    TLS_CLOSED = (Tls, "tls-closed", [
        "the connection is closed in the middle of the handshake",
        "`the server closed the connection during the handshake`, `Connection reset by peer`",
    ], Say("Something on the way ends connections of this kind (a firewall that looks into TLS, a proxy, a load balancer without a healthy server behind it), or the server is going down."));
    TLS_SILENT = (Tls, "tls-silent", [
        "the connection is open and nobody speaks",
        "`no answer within connect_timeout ..., during the TLS handshake`",
    ], Say("Something accepts connections for the server (a proxy, a load balancer), or packets of full size get lost: check the MTU of VPNs and tunnels on the way."));
    TLS_FAILED = (Tls, "tls-failed", [
        "TLS fails for another reason",
        "`TLS with ...: ...`",
    ], For(certificate));
}

fn name(names: &Names<'_>) -> String {
    match names.engine {
        Engine::Postgres => postgres::hint::NAME,
        Engine::Tds => tds::hint::NAME,
    }
    .to_owned()
}

fn filtered(names: &Names<'_>) -> String {
    match names.engine {
        Engine::Postgres => "Let this machine's address through the server's firewall rules, or use its private endpoint; check network security groups, route tables and NetworkPolicies on the way, and that the server is not stopped.",
        Engine::Tds => tds::hint::NETWORK,
    }
    .to_owned()
}

fn not_offered(names: &Names<'_>) -> String {
    match names.engine {
        Engine::Postgres => postgres::hint::NO_TLS,
        Engine::Tds => tds::hint::TLS,
    }
    .to_owned()
}

fn not_the_protocol(names: &Names<'_>) -> String {
    match names.engine {
        Engine::Postgres => postgres::hint::NOT_POSTGRES,
        Engine::Tds => tds::hint::NOT_SQL_SERVER,
    }
    .to_owned()
}

fn certificate(names: &Names<'_>) -> String {
    match names.engine {
        Engine::Postgres => postgres::hint::CERTIFICATE,
        Engine::Tds => tds::hint::TLS,
    }
    .to_owned()
}
