//! Any first bytes of a client of SQL Server, and any LOGIN7.
//!
//! Once enough has come to know, more does not change the answer; what we answer or send in turn
//! can be read again and says the same.

use entrapool_protocol::tds::login7::{ClientLogin, LONGEST, Secret, UpstreamLogin};
use entrapool_protocol::tds::packet::{HEADER, whole};
use entrapool_protocol::tds::prelogin::{ClientTls, First, ServerPrelogin, decide};

/// Checks the first bytes at every length, and the data as a LOGIN7.
pub fn check(data: &[u8]) {
    first(data);
    login(data);
    // Behind a packet's header.
    login(data.get(HEADER..).unwrap_or_default());
}

fn first(data: &[u8]) {
    let known = First::read(data);
    let some = (0..data.len()).filter(|&at| at < 128 || at % 97 == 0 || at + 16 > data.len());
    for length in some {
        match First::read(&data[..length]) {
            Ok(None) => {}
            read => assert_eq!(read, known, "of {length} bytes"),
        }
    }
    let Ok(Some(First::Prelogin(prelogin, length))) = known else {
        return;
    };
    assert!(length <= data.len());
    for policy in [ClientTls::Auto, ClientTls::Off, ClientTls::Require] {
        let decision = decide(prelogin.encryption, policy);
        let mut out = Vec::new();
        prelogin.answer([12, 0, 1, 2, 3, 4], decision.answer, &mut out);
        let answer = ServerPrelogin::read(&out[HEADER..]).expect("our own answer");
        assert_eq!(answer.version, [12, 0, 1, 2, 3, 4]);
        assert_eq!(answer.encryption, decision.answer);
        assert_eq!(answer.fed_auth.is_some(), prelogin.fed_auth.is_some());
    }
    let mut out = Vec::new();
    prelogin.request(&mut out);
    let length = out.len();
    assert_eq!(
        First::read(&out),
        Ok(Some(First::Prelogin(prelogin, length)))
    );
}

fn login(body: &[u8]) {
    let Ok(client) = ClientLogin::read(body) else {
        return;
    };
    let upstream = UpstreamLogin {
        options: &client.options,
        database: &client.database,
        server_name: &client.server_name,
        app_name: &client.app_name,
        host_name: &client.host_name,
        packet_size: client.packet_size,
        fed_auth_echo: true,
        session_recovery: true,
    };
    let secret = Secret::Token("eyJhbGciOiJSUzI1NiJ9.token");
    let mut out = Vec::with_capacity(upstream.room(secret));
    let room = out.capacity();
    upstream.encode(secret, &mut out);
    assert_eq!(out.capacity(), room, "a secret was copied");
    let message = whole(&out, 2 * LONGEST)
        .expect("our own")
        .expect("all of it");
    let again = ClientLogin::read(&message.body).expect("our own LOGIN7");
    assert_eq!(again.options, client.options);
    assert_eq!(again.database, client.database);
    assert_eq!(again.app_name, client.app_name);
    assert_eq!(again.packet_size, client.packet_size);
}
