//! LOGIN7 judged, and the answer to a good one.

use std::sync::Arc;

use super::Refusal;
use super::identity::{self, Identity};
use super::opening::Opened;
use crate::tds::builder::Profile;
use crate::tds::error::ServerError;
use crate::tds::seen::LoginSeen;
use crate::tds::server::Server;
use crate::tds::session::{Language, LoginFacts, Session};
use crate::tds::wire::features::{ENHANCED_ROUTING, FEDAUTH, SESSION_RECOVERY, UTF8, put_ack};
use crate::tds::wire::link::Link;
use crate::tds::wire::login7::Login7;
use crate::tds::wire::packet::{Envelope, LOGIN_PACKET};
use crate::tds::wire::tokens::{
    Done, DoneKind, env, put_env_bytes, put_env_text, put_info, put_login_ack, put_routing,
    put_states,
};
use crate::tds::wire::version::Version;

/// SQL_Latin1_General_CP1_CI_AS: LCID and flags, then the sort id (MS-TDS 2.2.5.1.2).
pub(in crate::tds) const COLLATION: [u8; 5] = [0x09, 0x04, 0xd0, 0x00, 0x34];

/// A client that is in.
#[derive(Debug)]
pub(in crate::tds) struct Entered {
    pub(in crate::tds) link: Link,
    pub(in crate::tds) session: Session,
    pub(in crate::tds) envelope: Envelope,
    pub(in crate::tds) version: Version,
}

/// The same without its connection.
#[derive(Debug)]
pub(super) struct Entrance {
    session: Session,
    envelope: Envelope,
    version: Version,
}

impl Entrance {
    pub(super) fn with(self, link: Link) -> Entered {
        Entered {
            link,
            session: self.session,
            envelope: self.envelope,
            version: self.version,
        }
    }
}

pub(super) async fn enter(
    server: &Arc<Server>,
    opened: &mut Opened,
    port: u16,
) -> Result<Entrance, Refusal> {
    let breach = |_| {
        server.counters.protocol_violations.add();
        Refusal::Silent
    };
    let login = Login7::read(&opened.login7).map_err(breach)?;
    let version = Version::of(login.version);
    let Some(version) = version else {
        let text = "TDS 7.1 or later is required; set the client to a newer TDS version.";
        let error = ServerError::new(17_830, 20, text);
        return Err(Refusal::told(error, Version::V71));
    };
    let told = |error: ServerError| Refusal::told(error, version);
    if let Some(fault) = server.faults.next_login() {
        return Err(told(fault));
    }
    check_server_name(server, &login, port).map_err(told)?;
    if login.is_beyond_us() {
        let what = "changing passwords, user instances and attached files at the login";
        return Err(told(ServerError::unsupported(what)));
    }
    let identity = identity::identify(server, &login, opened.fedauth).map_err(told)?;
    if let Some((host, port)) = &server.setup.redirect {
        let body = redirection(&login, version, host, *port);
        let envelope = envelope(LOGIN_PACKET, 0);
        let sent = opened.link.send(&envelope.message(&body)).await;
        sent.map_err(|_| Refusal::Silent)?;
        return Err(Refusal::Redirected);
    }
    let database = database(server, &login, &identity).map_err(told)?;
    let language = Language::named(&login.language);
    let Some(language) = language.or_else(|| login.language.is_empty().then(Language::default))
    else {
        let text = format!("'{}' is not an official language name.", login.language);
        return Err(told(ServerError::new(2740, 16, text)));
    };
    let size = packet_size(server, login.packet_size);
    let seen = LoginSeen {
        user: identity.user.clone(),
        token_id: identity.token_id.clone(),
        database: database.clone(),
        app: login.app.clone(),
        host: login.host.clone(),
        server: login.server.clone(),
        version,
        features: login.features.iter().map(|asked| asked.id).collect(),
        over_tls: opened.over_tls,
        packet_size: size,
    };
    let has_recovery =
        server.setup.profile == Profile::Azure && login.feature(SESSION_RECOVERY).is_some();
    let facts = LoginFacts {
        identity,
        database,
        language,
        version,
        app: login.app.clone(),
        host: login.host.clone(),
        is_odbc: login.is_odbc() || login.type_flags & 0x10 != 0,
        has_recovery,
    };
    let spid = server.new_spid();
    let session = Session::open(Arc::clone(server), facts, spid).map_err(told)?;
    let body = greeting(server, &login, &session, size);
    let first = envelope(LOGIN_PACKET, spid).message(&body);
    opened
        .link
        .send(&first)
        .await
        .map_err(|_| Refusal::Silent)?;
    server.counters.logins.add();
    server.register.note_login(seen);
    Ok(Entrance {
        session,
        envelope: envelope(size, spid),
        version,
    })
}

fn envelope(size: usize, spid: u16) -> Envelope {
    Envelope { size, spid }
}

/// Behind the gateway the server is found by the name in LOGIN7 alone.
fn check_server_name(server: &Server, login: &Login7, port: u16) -> Result<(), ServerError> {
    let Some((host, routed_port)) = &server.setup.routed_as else {
        return Ok(());
    };
    if login.server.is_empty() {
        let text = "Server name cannot be determined. It must appear as the first segment of the \
                    server's dns name (servername.database.windows.net). (LOGIN7.ServerName is \
                    empty.)";
        return Err(ServerError::new(40_531, 11, text));
    }
    let expected = format!("{host},{}", routed_port.unwrap_or(port));
    if login.server.eq_ignore_ascii_case(&expected) {
        return Ok(());
    }
    let text = format!(
        "Cannot open server \"{}\" requested by the login. The login failed.",
        login.server
    );
    Err(ServerError::new(40_532, 11, text))
}

/// The database of the login, in its own spelling.
fn database(server: &Server, login: &Login7, identity: &Identity) -> Result<String, ServerError> {
    let fallback = match identity.token_id {
        // A contained user has no default database.
        Some(_) => "master",
        None => server
            .setup
            .databases
            .get(1)
            .map_or("master", String::as_str),
    };
    let asked = if login.database.is_empty() {
        fallback
    } else {
        &login.database
    };
    let Some(found) = server.has_database(asked) else {
        let text =
            format!("Cannot open database \"{asked}\" requested by the login. The login failed.");
        return Err(ServerError::new(4060, 11, text));
    };
    if identity.token_id.is_some() && found == "master" {
        return Err(ServerError::login_failed(
            "<token-identified principal>",
            "",
        ));
    }
    Ok(found.to_owned())
}

/// 0 asks for the server's own; the server's own is also the most.
fn packet_size(server: &Server, asked: u32) -> usize {
    match usize::try_from(asked) {
        Ok(0) | Err(_) => server.setup.packet_size,
        Ok(asked) => asked.clamp(512, server.setup.packet_size.max(512)),
    }
}

fn redirection(login: &Login7, version: Version, host: &str, port: u16) -> Vec<u8> {
    let mut body = Vec::new();
    let is_enhanced = login.feature(ENHANCED_ROUTING).is_some();
    put_login_ack(&mut body, version);
    let mut acks = Vec::new();
    if login.feature(FEDAUTH).is_some() {
        acks.push((FEDAUTH, Vec::new()));
    }
    if is_enhanced {
        acks.push((ENHANCED_ROUTING, vec![1]));
    }
    put_ack(&mut body, &acks);
    let database = is_enhanced.then_some(login.database.as_str());
    put_routing(&mut body, host, port, database);
    Done::new(DoneKind::Done).put(&mut body, version);
    body
}

/// In the order of all real servers.
fn greeting(server: &Server, login: &Login7, session: &Session, size: usize) -> Vec<u8> {
    let facts = session.facts();
    let version = facts.version;
    let (database, language) = (&facts.database, facts.language.name);
    let mut body = Vec::new();
    put_env_text(&mut body, env::DATABASE, database, "master");
    let text = format!("Changed database context to '{database}'.");
    put_info(
        &mut body,
        &ServerError::info(5701, text).with_state(2),
        version,
    );
    put_env_bytes(&mut body, env::COLLATION, &COLLATION, &[]);
    put_env_text(&mut body, env::LANGUAGE, language, "");
    let text = format!("Changed language setting to {language}.");
    put_info(&mut body, &ServerError::info(5703, text), version);
    put_login_ack(&mut body, version);
    if server.setup.profile == Profile::Azure && version >= Version::V74 {
        put_ack(&mut body, &acknowledged(login, session));
    }
    put_env_text(&mut body, env::PACKET_SIZE, &size.to_string(), "4096");
    Done::new(DoneKind::Done).put(&mut body, version);
    body
}

/// Only what was asked for, and only what this server does.
fn acknowledged(login: &Login7, session: &Session) -> Vec<(u8, Vec<u8>)> {
    let mut acks = Vec::new();
    for asked in &login.features {
        match asked.id {
            SESSION_RECOVERY => {
                let mut states = Vec::new();
                put_states(&mut states, &session.baseline());
                acks.push((SESSION_RECOVERY, states));
            }
            FEDAUTH => acks.push((FEDAUTH, Vec::new())),
            UTF8 if asked.data == [1] => acks.push((UTF8, vec![1])),
            _ => {}
        }
    }
    acks
}
