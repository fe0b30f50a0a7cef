use super::*;

fn packet(code: u32, body: &[u8]) -> Vec<u8> {
    let mut packet = u32::try_from(body.len() + 8)
        .unwrap()
        .to_be_bytes()
        .to_vec();
    packet.extend(code.to_be_bytes());
    packet.extend(body);
    packet
}

fn startup(body: &[u8]) -> Result<Startup, StartupError> {
    match FirstPacket::read(&packet(0x0003_0000, body))? {
        Some((FirstPacket::Startup(startup), _)) => Ok(startup),
        other => panic!("{other:?}"),
    }
}

#[test]
fn requests_and_cancels() {
    for (bytes, expected) in [
        (packet(SSL_CODE, b""), FirstPacket::SslRequest),
        (packet(GSSENC_CODE, b""), FirstPacket::GssEncRequest),
        (
            packet(CANCEL_CODE, b"\0\0\0\x07key!"),
            FirstPacket::Cancel(CancelKey {
                pid: 7,
                secret: b"key!".to_vec(),
            }),
        ),
        (
            packet(CANCEL_CODE, &[1; 36]),
            FirstPacket::Cancel(CancelKey {
                pid: 0x0101_0101,
                secret: vec![1; 32],
            }),
        ),
    ] {
        assert_eq!(FirstPacket::read(&bytes), Ok(Some((expected, bytes.len()))));
        for cut in 0..bytes.len() {
            assert_eq!(FirstPacket::read(&bytes[..cut]), Ok(None), "cut at {cut}");
        }
    }
}

#[test]
fn nonsense_is_refused() {
    let long = vec![b'x'; MAX_LENGTH];
    for (bytes, sqlstate) in [
        (b"\x16\x03\x01\x02\0".to_vec(), "0A000"),
        (b"GET / HTTP/1.1\r\n".to_vec(), "08P01"),
        (b"\0\0\0\x07".to_vec(), "08P01"),
        (b"\xff\xff\xff\xff".to_vec(), "08P01"),
        (packet(0x0003_0000, &long), "08P01"),
        (packet(SSL_CODE, b"x"), "08P01"),
        (packet(CANCEL_CODE, b"\0\0\0\x07"), "08P01"),
        (packet(CANCEL_CODE, &[0; 261]), "08P01"),
        (packet(0x0002_0000, b""), "0A000"),
        (packet(0x0004_0000, b"\0"), "0A000"),
        (packet(0x0003_0000, b"user\0a\0"), "08P01"),
        (packet(0x0003_0000, b"user\0"), "08P01"),
        (packet(0x0003_0000, b"user\0\xff\0\0"), "08P01"),
        (packet(0x0003_0000, b"database\0d\0\0"), "28000"),
        (packet(0x0003_0000, b"user\0a\0options\0-e\0\0"), "42601"),
    ] {
        let error = FirstPacket::read(&bytes).unwrap_err();
        assert_eq!(error.sqlstate(), sqlstate, "{error}");
    }
}

#[test]
fn every_parameter_is_carried() {
    let startup = startup(
        b"user\0me\0database\0db\0extra_float_digits\x002\0options\0-c a=1 --b=2\0_pq_.x\0y\0\0",
    )
    .unwrap();
    assert_eq!(startup.user, "me");
    assert_eq!(startup.database.as_deref(), Some("db"));
    assert_eq!(startup.replication, None);
    let settings: Vec<_> = startup.settings.iter().map(|(n, v)| (&**n, &**v)).collect();
    assert_eq!(
        settings,
        [("a", "1"), ("b", "2"), ("extra_float_digits", "2")]
    );
    assert_eq!(startup.protocol_options, [b"_pq_.x".to_vec()]);
}

#[test]
fn replication_is_told_from_its_absence() {
    for (value, wanted) in [
        ("database", true),
        ("true", true),
        ("on", true),
        ("1", true),
    ]
    .into_iter()
    .chain([
        ("false", false),
        ("off", false),
        ("0", false),
        ("no", false),
    ]) {
        let body = format!("user\0me\0replication\0{value}\0\0");
        assert_eq!(
            startup(body.as_bytes()).unwrap().replication.is_some(),
            wanted,
            "{value}"
        );
    }
}
