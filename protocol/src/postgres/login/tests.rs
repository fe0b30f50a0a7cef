use super::*;

fn authentication(code: u32, rest: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    message::framed(&mut out, b'R', |out| {
        out.extend(code.to_be_bytes());
        out.extend(rest);
    });
    out
}

fn server_greeting() -> Vec<u8> {
    let mut input = authentication(0, b"");
    message::parameter_status(&mut input, b"server_version", b"15.18");
    message::backend_key_data(&mut input, 42, b"1234");
    message::ready_for_query(&mut input, Status::Idle);
    input
}

/// Feeds `input` in pieces of `size` bytes until the login ends.
fn drive(
    login: &mut Login<'_>,
    input: &[u8],
    size: usize,
) -> Result<(Welcome, Vec<u8>), LoginError> {
    let (mut out, mut buffer) = (Vec::new(), Vec::new());
    for piece in input.chunks(size) {
        buffer.extend_from_slice(piece);
        loop {
            let (taken, welcome) = login.step(&buffer, &mut out)?;
            buffer.drain(..taken);
            match welcome {
                Some(welcome) => return Ok((welcome, out)),
                None if taken == 0 => break,
                None => {}
            }
        }
    }
    panic!("the login did not end");
}

#[test]
fn a_token_goes_in_clear_at_any_length() {
    let token = "t".repeat(60_000);
    let mut first = Vec::new();
    let mut login = Login::begin("my-vm", "app", Secret::Token(&token), 2, &mut first);
    assert!(first[4..].starts_with(&[0, 3, 0, 2]));
    assert!(first.ends_with(b"user\0my-vm\0database\0app\0\0"));
    let mut input = authentication(3, b"");
    input.extend(server_greeting());
    let (welcome, out) = drive(&mut login, &input, 1).unwrap();
    assert_eq!(out.len(), HEADER + token.len() + 1);
    assert_eq!(
        welcome.parameters,
        [(b"server_version".to_vec(), b"15.18".to_vec())]
    );
    assert_eq!(welcome.key.unwrap().pid, 42);
}

#[test]
fn a_token_is_sent_to_no_other_method() {
    for request in [
        authentication(5, b"salt"),
        authentication(10, b"SCRAM-SHA-256\0\0"),
    ] {
        let mut login = Login::begin("u", "d", Secret::Token("t"), 2, &mut Vec::new());
        let mut out = Vec::new();
        let error = login.step(&request, &mut out).unwrap_err();
        assert!(matches!(error, LoginError::TokenNotWanted(_)), "{error}");
        assert!(out.is_empty());
    }
}

#[test]
fn md5_hashes_with_the_salt() {
    let mut login = Login::begin("u", "d", Secret::Password("p"), 2, &mut Vec::new());
    let mut input = authentication(5, &[1, 2, 3, 4]);
    input.extend(server_greeting());
    let (_, out) = drive(&mut login, &input, 7).unwrap();
    assert!(out.starts_with(b"p\0\0\0\x28md5") && out.len() == 41);
}

#[test]
fn refusals_and_nonsense_are_errors() {
    let mut refusal = Vec::new();
    message::Report::fatal("28000", "no")
        .hint("try")
        .encode(&mut refusal);
    let mut long = vec![b'S'];
    long.extend(40_000_u32.to_be_bytes());
    for (input, expected) in [
        (refusal, "no (SQLSTATE 28000)"),
        (authentication(7, b""), "GSSAPI"),
        (authentication(99, b""), "99"),
        (authentication(10, b"OAUTHBEARER\0\0"), "OAUTHBEARER"),
        (authentication(11, b""), "order"),
        (authentication(12, b""), "order"),
        (authentication(5, b"x"), "salt"),
        (vec![b'T', 0, 0, 0, 4], "'T'"),
        (vec![b'K', 0, 0, 0, 5, 1], "key"),
        (negotiation(3, b"\0\0\0\0"), "version"),
        (negotiation(2, b"\0\0\0\x01_pq_.x\0"), "version"),
        (negotiation(2, b""), "version"),
        (long, "40001"),
        (vec![b'R', 0, 0, 0, 3], "impossible length"),
    ] {
        let mut login = Login::begin("u", "d", Secret::Password("p"), 2, &mut Vec::new());
        let error = login.step(&input, &mut Vec::new()).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }
}

fn negotiation(minor: u8, options: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    message::framed(&mut out, b'v', |out| {
        out.extend([0, 3, 0, minor]);
        out.extend(options);
    });
    out
}

#[test]
fn keys_are_as_long_as_the_server_makes_them() {
    for (minor, length) in [(None, 4), (None, 32), (Some(0), 4), (Some(2), 256)] {
        let mut login = Login::begin("u", "d", Secret::Token("t"), 2, &mut Vec::new());
        let mut input = Vec::new();
        if let Some(minor) = minor {
            input.extend(negotiation(minor, &[0; 4]));
        }
        input.extend(authentication(0, b""));
        message::backend_key_data(&mut input, 42, &vec![7; length]);
        message::ready_for_query(&mut input, Status::Idle);
        let (welcome, _) = drive(&mut login, &input, 3).unwrap();
        assert_eq!(welcome.key.unwrap().secret.len(), length);
    }
}

#[test]
fn only_the_first_word_can_be_about_the_version() {
    for (minor, code, is_about_it) in [
        (2, "0A000", true),
        (2, "08P01", true),
        (2, "28000", false),
        (0, "0A000", false),
    ] {
        let mut refusal = Vec::new();
        message::Report::fatal(code, "no").encode(&mut refusal);
        let begin = || Login::begin("u", "d", Secret::Token("t"), minor, &mut Vec::new());
        let error = begin().step(&refusal, &mut Vec::new()).unwrap_err();
        assert_eq!(
            matches!(error, LoginError::Version { minor: 2, .. }),
            is_about_it,
            "{error}"
        );
        let later = [authentication(0, b""), refusal].concat();
        let error = drive(&mut begin(), &later, 9).unwrap_err();
        assert!(matches!(error, LoginError::Refused(_)), "{error}");
    }
}

#[test]
fn bytes_behind_the_ssl_answer_are_an_attack() {
    assert_eq!(read_ssl_answer(b"S"), Ok(()));
    assert_eq!(read_ssl_answer(b"Sx"), Err(SslRefused::Injected));
    assert_eq!(read_ssl_answer(b"N"), Err(SslRefused::NoTls));
    assert_eq!(read_ssl_answer(b"H"), Err(SslRefused::NotPostgres));
}
