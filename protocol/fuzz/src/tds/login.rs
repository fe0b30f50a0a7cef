//! Any bytes from a server that a login is under way with.
//!
//! However they are cut, the login ends in the same way.

use entrapool_protocol::tds::login::{Login, Outcome, Transport};
use entrapool_protocol::tds::login7::{Options, Secret, UpstreamLogin};
use entrapool_protocol::tds::message::login_response;

use super::super::input::{Input, pieces};

/// Compares the stream as a whole with the stream in pieces.
pub fn check(data: &[u8]) {
    let Some(input) = Input::read(data) else {
        return;
    };
    let whole = run(&input, &[input.stream]);
    let cut = run(&input, &pieces(input.stream, input.lengths()));
    assert_eq!(whole, cut);
}

/// How the login ended, if it did.
fn run(input: &Input<'_>, parts: &[&[u8]]) -> Option<Result<Outcome, String>> {
    let options = Options::default();
    let login = UpstreamLogin {
        options: &options,
        database: "app",
        server_name: "server",
        app_name: "entrapool",
        host_name: "vm",
        packet_size: 4096,
        fed_auth_echo: false,
        session_recovery: true,
    };
    let secret = match input.flag(0) {
        true => Secret::Token("token"),
        false => Secret::Password {
            user: "sa",
            password: "password",
        },
    };
    let mut first = Vec::new();
    // With TLS in packets, what comes behind the answer to PRELOGIN too early is refused.
    let mut login = Login::begin(login, secret, Transport::Strict, &mut first);
    let mut pending = Vec::new();
    let mut agreed = input.flag(1);
    for part in parts {
        pending.extend_from_slice(part);
        loop {
            if !agreed {
                match login.agree(&pending) {
                    Ok(None) => break,
                    Ok(Some(taken)) => {
                        agreed = true;
                        pending.drain(..taken);
                    }
                    Err(error) => return Some(Err(error.to_string())),
                }
            }
            match login.step(&pending) {
                Ok((taken, Some(outcome))) => {
                    assert!(taken <= pending.len());
                    greets(&outcome);
                    return Some(Ok(outcome));
                }
                Ok((0, None)) => break,
                Ok((taken, None)) => {
                    pending.drain(..taken);
                }
                Err(error) => return Some(Err(error.to_string())),
            }
        }
    }
    None
}

/// What clients would be told is a message.
fn greets(outcome: &Outcome) {
    use entrapool_protocol::tds::login7::ClientLogin;
    use entrapool_protocol::tds::packet::whole;
    let Outcome::Welcome(welcome) = outcome else {
        return;
    };
    let options = Options::default();
    let login = UpstreamLogin {
        options: &options,
        database: "",
        server_name: "x",
        app_name: "",
        host_name: "",
        packet_size: 0,
        fed_auth_echo: false,
        session_recovery: false,
    };
    let mut bytes = Vec::new();
    login.encode(Secret::Token("x"), &mut bytes);
    let message = whole(&bytes, 10_000).expect("our own").expect("all of it");
    let client = ClientLogin::read(&message.body).expect("our own LOGIN7");
    let mut told = Vec::new();
    login_response(welcome, &client, 4096, &mut told);
    let told = whole(&told, 100_000).expect("our own").expect("all of it");
    assert!(told.body.len() >= welcome.tokens.len());
}
