use super::*;

const TOKEN: &str = "eyJ0eXAiOiJKV1QiLCJhbGc1";

fn options() -> Options {
    Options {
        flags1: USE_DB | INIT_DB_FATAL | SET_LANGUAGE,
        flags2: ODBC,
        type_flags: 0,
        flags3: 0,
        language: "Deutsch".into(),
        features: vec![Feature {
            id: feature::UTF8,
            data: [1].into(),
        }],
    }
}

fn upstream(options: &Options) -> UpstreamLogin<'_> {
    UpstreamLogin {
        options,
        database: "app",
        server_name: "my.database.windows.net",
        app_name: "entrapool",
        host_name: "vm",
        packet_size: 4096,
        fed_auth_echo: true,
        session_recovery: true,
    }
}

fn body(secret: Secret<'_>) -> Vec<u8> {
    let options = options();
    let mut out = Vec::new();
    upstream(&options).encode(secret, &mut out);
    packet::whole(&out, LONGEST).unwrap().unwrap().body
}

/// The feature data that an ODBC driver sends for a token of 24 characters.
#[test]
fn a_token_is_sent_as_others_send_it() {
    let body = body(Secret::Token(TOKEN));
    let mut expected = vec![2, 0x35, 0, 0, 0, 3, 0x30, 0, 0, 0];
    push_utf16(&mut expected, TOKEN);
    assert!(body.windows(expected.len()).any(|part| part == expected));
    // Neither a user nor a password.
    assert_eq!(place(&body, USER_NAME.at).unwrap().1, 0);
    assert_eq!(place(&body, PASSWORD.at).unwrap().1, 0);
    assert_eq!(
        body.len(),
        usize::try_from(Reader::new(&body).u32().unwrap()).unwrap()
    );
}

#[test]
fn what_is_written_can_be_read() {
    let read = ClientLogin::read(&body(Secret::Token(TOKEN))).unwrap();
    assert_eq!(read.options, options());
    assert_eq!(read.version, VERSION_7_4);
    assert_eq!(read.packet_size, 4096);
    assert_eq!(read.database, "app");
    assert_eq!(read.server_name, "my.database.windows.net");
    assert_eq!(read.app_name, "entrapool");
    assert_eq!(read.host_name, "vm");
    assert_eq!(read.library, "entrapool");
    let ids: Vec<u8> = read.features.iter().map(|feature| feature.id).collect();
    assert_eq!(ids, [1, 2, 10, 15]);
    assert!(read.features.iter().all(|feature| feature.data.len() < 2));
}

#[test]
fn a_long_token_takes_several_packets_and_no_more_room_than_said() {
    let options = options();
    let token = "x".repeat(3000);
    let login = upstream(&options);
    let secret = Secret::Token(&token);
    let mut out = Vec::with_capacity(login.room(secret));
    let place = out.as_ptr();
    login.encode(secret, &mut out);
    assert_eq!(out.as_ptr(), place, "the token was copied");
    let first = packet::Header::read(&out).unwrap().unwrap();
    assert_eq!((first.total(), first.is_last()), (4096, false));
    let message = packet::whole(&out, LONGEST).unwrap().unwrap();
    assert_eq!(message.taken, out.len());
    assert_eq!(ClientLogin::read(&message.body).unwrap().database, "app");
}

#[test]
fn a_password_is_sent_as_the_protocol_wants_it() {
    let body = body(Secret::Password {
        user: "sa",
        password: "Aé",
    });
    let (at, count) = place(&body, PASSWORD.at).unwrap();
    assert_eq!(count, 2);
    // 0x41 and 0xe9: nibbles swapped, XOR 0xa5.
    assert_eq!(body[at..at + 4], [0xb1, 0xa5, 0x3b, 0xa5]);
    assert_eq!(ClientLogin::read(&body).unwrap().user_name, "sa");
    assert!(
        !ClientLogin::read(&body)
            .unwrap()
            .asked_for(feature::FED_AUTH)
    );
}

#[test]
fn logins_that_are_not_served() {
    use LoginRefusal::*;
    let good = body(Secret::Token(TOKEN));
    let with = |at: usize, byte: u8| {
        let mut body = good.clone();
        body[at] = byte;
        ClientLogin::read(&body).unwrap_err()
    };
    assert_eq!(with(25, INTEGRATED), Integrated);
    assert_eq!(with(27, CHANGE_PASSWORD), ChangePassword);
    assert_eq!(with(27, USER_INSTANCE), UserInstance);
    assert_eq!(with(84, 1), AttachFile);
    assert_eq!(with(7, 0x71), Version(0x7100_0004));
    assert_eq!(with(38, 129), Layout("the machine's name"));
    assert_eq!(with(37, 0xff), Layout("the machine's name"));
    assert_eq!(with(58, 0), Layout("the extension"));
    assert_eq!(with(1, 0xff), Layout("the fixed part"));
    assert_eq!(Integrated.number(), 18452);
}

#[test]
fn nothing_short_is_taken() {
    let good = body(Secret::Token(TOKEN));
    for cut in 0..good.len() {
        assert!(ClientLogin::read(&good[..cut]).is_err(), "{cut}");
    }
}

#[test]
fn the_version_makes_no_difference_to_backends() {
    let mut older = body(Secret::Token(TOKEN));
    put(&mut older, 4, &VERSION_7_3B.to_le_bytes());
    let read = ClientLogin::read(&older).unwrap();
    assert_eq!(read.version, VERSION_7_3B);
    assert_eq!(read.options, options());
    assert!(!format!("{read:?}").contains(TOKEN));
}
