use super::*;
use crate::tds::login7::{ClientLogin, Options};
use crate::tds::message;
use crate::tds::reader::{push_b_text, push_us_text};

const TOKEN: &str = "eyJhbGciOiJSUzI1NiJ9.token";

fn begin<'a>(
    options: &'a Options,
    secret: Secret<'a>,
    transport: Transport,
) -> (Login<'a>, Vec<u8>) {
    let login = UpstreamLogin {
        options,
        database: "app",
        server_name: "my.database.windows.net",
        app_name: "entrapool",
        host_name: "vm",
        packet_size: 4096,
        fed_auth_echo: false,
        session_recovery: true,
    };
    let mut out = Vec::new();
    let login = Login::begin(login, secret, transport, &mut out);
    (login, out)
}

fn prelogin_answer(encryption: Encryption) -> Vec<u8> {
    let asked = ClientPrelogin {
        version: [0; 6],
        encryption,
        mars: false,
        fed_auth: None,
    };
    let mut out = Vec::new();
    asked.answer([12, 0, 8, 0, 0, 0], encryption, &mut out);
    out
}

fn env_text(number: u8, new: &str) -> Vec<u8> {
    let mut out = vec![token::ENVCHANGE];
    counted_u16(&mut out, |out| {
        out.push(number);
        push_b_text(out, new);
        push_b_text(out, "");
    });
    out
}

pub(super) fn login_ack() -> Vec<u8> {
    let mut out = vec![token::LOGINACK];
    counted_u16(&mut out, |out| {
        out.extend([1, 0x74, 0, 0, 4]);
        push_b_text(out, "Microsoft SQL Server");
        out.extend([12, 0, 8, 0]);
    });
    out
}

fn error(number: i32, text: &str) -> Vec<u8> {
    let mut out = vec![token::ERROR];
    counted_u16(&mut out, |out| {
        out.extend(number.to_le_bytes());
        out.extend([1, 14]);
        push_us_text(out, text, 1000);
        out.extend([0, 0, 1, 0, 0, 0]);
    });
    out
}

const FEATURES: &[u8] = &[
    0xae, 2, 0, 0, 0, 0, 1, 4, 0, 0, 0, 0, 2, 7, 7, 10, 1, 0, 0, 0, 1, 0xff,
];

fn greeting() -> Vec<u8> {
    let mut tokens = env_text(1, "app");
    tokens.extend([token::INFO, 4, 0, 0x45, 0x16, 0, 0]);
    tokens.extend([token::ENVCHANGE, 8, 0, 7, 5, 9, 4, 0xd0, 0, 0x34, 0]);
    tokens.extend(env_text(2, "us_english"));
    tokens.extend(login_ack());
    tokens.extend(FEATURES);
    tokens.extend(env_text(4, "4096"));
    message::done(&mut tokens, token::DONE, 0, 0);
    tokens
}

fn route(number: u8) -> Vec<u8> {
    let mut out = vec![token::ENVCHANGE];
    counted_u16(&mut out, |out| {
        out.push(number);
        counted_u16(out, |out| {
            out.extend([0, 0xf8, 0x2a]);
            push_us_text(out, r"Node.Example\inst", 100);
            if number == 21 {
                push_us_text(out, "other", 100);
            }
        });
        out.extend([0, 0]);
    });
    out
}

/// The end of a login that the server answers with these tokens, in packets of 512 bytes that
/// arrive byte by byte.
fn end(secret: Secret<'_>, tokens: &[u8]) -> Result<Outcome, LoginError> {
    let options = Options::default();
    let (mut login, _) = begin(&options, secret, Transport::Wrapped);
    let answer = prelogin_answer(Encryption::On);
    assert_eq!(login.agree(&answer[..answer.len() - 1]), Ok(None));
    assert_eq!(login.agree(&answer), Ok(Some(answer.len())));
    let mut out = Vec::new();
    login.log_in(&mut out);
    assert!(out.len() <= login.room());
    let mut answer = Vec::new();
    packet::split(&mut answer, Kind::Answer, 0, 512, tokens);
    let mut pending = Vec::new();
    for byte in answer {
        pending.push(byte);
        let (taken, outcome) = login.step(&pending)?;
        pending.drain(..taken);
        if let Some(outcome) = outcome {
            assert!(pending.is_empty());
            return Ok(outcome);
        }
    }
    panic!("no end");
}

#[test]
fn a_token_gets_a_session() {
    let Ok(Outcome::Welcome(welcome)) = end(Secret::Token(TOKEN), &greeting()) else {
        panic!("a welcome");
    };
    assert_eq!(welcome.database, "app");
    assert_eq!(welcome.language, "us_english");
    assert_eq!(welcome.collation, Some([9, 4, 0xd0, 0, 0x34]));
    assert_eq!(welcome.packet_size, 4096);
    assert_eq!(welcome.server_name, "Microsoft SQL Server");
    assert_eq!(welcome.server_version, [12, 0, 8, 0]);
    assert_eq!(welcome.prelogin_version, [12, 0, 8, 0, 0, 0]);
    assert_eq!(
        welcome.feature(feature::SESSION_RECOVERY),
        Some(&[0, 2, 7, 7][..])
    );
    assert_eq!(welcome.layout(), Layout::default());
}

/// What a client is told is what the server said, but for its own version and features.
#[test]
fn clients_are_told_what_the_server_said() {
    let Ok(Outcome::Welcome(welcome)) = end(Secret::Token(TOKEN), &greeting()) else {
        panic!("a welcome");
    };
    let options = Options {
        features: vec![Feature {
            id: feature::UTF8,
            data: [1].into(),
        }],
        ..Options::default()
    };
    let (login, _) = begin(&options, Secret::Token(TOKEN), Transport::Strict);
    let mut out = Vec::new();
    login.log_in(&mut out);
    let body = packet::whole(&out, 100_000).unwrap().unwrap().body;
    let client = ClientLogin::read(&body).unwrap();
    let mut answer = Vec::new();
    message::login_response(&welcome, &client, 8000, &mut answer);
    let mut again = Login::begin(
        login.login,
        Secret::Token(TOKEN),
        Transport::Strict,
        &mut out,
    );
    let (taken, outcome) = again.step(&answer).unwrap();
    assert_eq!(taken, answer.len());
    let Some(Outcome::Welcome(told)) = outcome else {
        panic!("a welcome");
    };
    assert_eq!(told.tokens, welcome.tokens);
    assert_eq!(told.packet_size, 8000);
    assert_eq!(told.server_version, welcome.server_version);
    // Asked for were 1, 2, 10 and 15; for the client there are 2 and 10.
    let ids: Vec<u8> = told.features.iter().map(|feature| feature.id).collect();
    assert_eq!(ids, [feature::FED_AUTH, feature::UTF8]);
}

#[test]
fn the_token_must_have_been_looked_at() {
    let mut tokens = login_ack();
    message::done(&mut tokens, token::DONE, 0, 0);
    assert_eq!(
        end(Secret::Token(TOKEN), &tokens),
        Err(LoginError::TokenIgnored)
    );
    let password = Secret::Password {
        user: "sa",
        password: "x",
    };
    assert!(matches!(end(password, &tokens), Ok(Outcome::Welcome(_))));
}

#[test]
fn servers_send_elsewhere() {
    for (number, database) in [(20, None), (21, Some("other".to_owned()))] {
        for mut tokens in [login_ack(), Vec::new()] {
            tokens.extend(route(number));
            message::done(&mut tokens, token::DONE, 0, 0);
            assert_eq!(
                end(Secret::Token(TOKEN), &tokens),
                Ok(Outcome::Redirect(Redirect {
                    host: "node.example".into(),
                    server_name: r"Node.Example\inst,11000".into(),
                    port: 11000,
                    database: database.clone(),
                }))
            );
        }
    }
}

#[test]
fn servers_say_no() {
    let mut tokens = error(4060, "Cannot open database.");
    tokens.extend(error(18456, "Login failed."));
    message::done(&mut tokens, token::DONE, 2, 0);
    let Err(LoginError::Refused(error)) = end(Secret::Token(TOKEN), &tokens) else {
        panic!("a refusal");
    };
    assert_eq!(
        (error.number, &*error.message),
        (4060, "Cannot open database.")
    );
    for bad in [&[0x01][..], &[0xfd, 0], &[token::ENVCHANGE, 1, 0, 4]] {
        assert!(end(Secret::Token(TOKEN), bad).is_err());
    }
    let mut nothing = Vec::new();
    message::done(&mut nothing, token::DONE, 0, 0);
    assert!(matches!(
        end(Secret::Token(TOKEN), &nothing),
        Err(LoginError::NoAnswer(_))
    ));
}

#[test]
fn no_secret_leaves_without_tls() {
    let options = Options::default();
    for encryption in [Encryption::Off, Encryption::NotSupported] {
        let (mut login, asked) = begin(&options, Secret::Token(TOKEN), Transport::Wrapped);
        assert!(!asked.is_empty());
        let answer = prelogin_answer(encryption);
        assert_eq!(login.agree(&answer), Err(LoginError::NoTls));
    }
    let (mut login, _) = begin(&options, Secret::Token(TOKEN), Transport::Wrapped);
    let mut answer = prelogin_answer(Encryption::On);
    answer.push(4);
    assert_eq!(login.agree(&answer), Err(LoginError::Injected));
    let (mut strict, _) = begin(&options, Secret::Token(TOKEN), Transport::Strict);
    let answer = prelogin_answer(Encryption::NotSupported);
    assert_eq!(strict.agree(&answer), Ok(Some(answer.len())));
}
