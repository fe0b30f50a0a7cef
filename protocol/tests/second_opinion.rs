//! pgwire, an independent implementation, reads what we write and writes what we read.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use bytes::BytesMut;
use entrapool_protocol::postgres::Status;
use entrapool_protocol::postgres::message::{self, Report};
use entrapool_protocol::postgres::startup::FirstPacket;
use entrapool_protocol::postgres::tracker::{Boundary, Event, Tracker};
use pgwire::messages::cancel::CancelRequest;
use pgwire::messages::extendedquery::{Bind, Execute, Parse, Sync};
use pgwire::messages::response::{CommandComplete, ReadyForQuery, TransactionStatus};
use pgwire::messages::simplequery::Query;
use pgwire::messages::startup::{SecretKey, Startup};
use pgwire::messages::{
    DecodeContext, PgWireBackendMessage, PgWireFrontendMessage, ProtocolVersion,
};

fn context() -> DecodeContext {
    let mut context = DecodeContext::new(ProtocolVersion::PROTOCOL3_0);
    context.awaiting_frontend_ssl = false;
    context.awaiting_frontend_startup = false;
    context
}

/// What pgwire makes of a message to a client.
fn backend(make: impl FnOnce(&mut Vec<u8>)) -> PgWireBackendMessage {
    let mut bytes = Vec::new();
    make(&mut bytes);
    let mut buffer = BytesMut::from(&bytes[..]);
    let read = PgWireBackendMessage::decode(&mut buffer, &context())
        .unwrap()
        .unwrap();
    assert!(buffer.is_empty());
    read
}

/// What pgwire makes of a message to a server.
fn frontend(make: impl FnOnce(&mut Vec<u8>)) -> PgWireFrontendMessage {
    let mut bytes = Vec::new();
    make(&mut bytes);
    let mut buffer = BytesMut::from(&bytes[..]);
    let read = PgWireFrontendMessage::decode(&mut buffer, &context())
        .unwrap()
        .unwrap();
    assert!(buffer.is_empty());
    read
}

fn frontend_bytes(message: &PgWireFrontendMessage) -> Vec<u8> {
    let mut buffer = BytesMut::new();
    message.encode(&mut buffer).unwrap();
    buffer.to_vec()
}

fn backend_bytes(message: &PgWireBackendMessage) -> Vec<u8> {
    let mut buffer = BytesMut::new();
    message.encode(&mut buffer).unwrap();
    buffer.to_vec()
}

#[test]
fn what_we_tell_clients() {
    let error = Report::fatal("28000", "no").detail("more").hint("try");
    let PgWireBackendMessage::ErrorResponse(read) = backend(|out| error.encode(out)) else {
        panic!("not an error");
    };
    let fields: Vec<_> = read
        .fields
        .iter()
        .map(|(field, value)| (*field, value.as_str()))
        .collect();
    let wanted = [
        (b'S', "FATAL"),
        (b'V', "FATAL"),
        (b'C', "28000"),
        (b'M', "no"),
        (b'D', "more"),
        (b'H', "try"),
    ];
    assert_eq!(fields, wanted);

    let status = backend(|out| message::parameter_status(out, b"TimeZone", b"UTC"));
    let PgWireBackendMessage::ParameterStatus(read) = status else {
        panic!("{status:?}")
    };
    assert_eq!(
        (read.name.as_str(), read.value.as_str()),
        ("TimeZone", "UTC")
    );

    let key = backend(|out| message::backend_key_data(out, 7, &[0, 0, 0, 9]));
    let PgWireBackendMessage::BackendKeyData(read) = key else {
        panic!("{key:?}")
    };
    assert_eq!((read.pid, read.secret_key), (7, SecretKey::I32(9)));

    let ready = backend(|out| message::ready_for_query(out, Status::Failed));
    let PgWireBackendMessage::ReadyForQuery(read) = ready else {
        panic!("{ready:?}")
    };
    assert_eq!(read.status, TransactionStatus::Error);

    let unknown = [b"_pq_.x".to_vec()];
    let version = backend(|out| message::negotiate_protocol_version(out, 2, &unknown));
    let PgWireBackendMessage::NegotiateProtocolVersion(read) = version else {
        panic!("{version:?}");
    };
    assert_eq!(read.newest_minor_protocol, 0x0003_0002);
    assert_eq!(read.unsupported_options, ["_pq_.x"]);

    let complete = backend(|out| out.extend_from_slice(&message::PARSE_COMPLETE));
    assert!(matches!(complete, PgWireBackendMessage::ParseComplete(_)));
    let complete = backend(|out| out.extend_from_slice(&message::CLOSE_COMPLETE));
    assert!(matches!(complete, PgWireBackendMessage::CloseComplete(_)));
}

#[test]
fn what_we_tell_servers() {
    let query = frontend(|out| message::query(out, b"select 1"));
    assert!(matches!(query, PgWireFrontendMessage::Query(read) if read.query == "select 1"));
    let parse = frontend(|out| message::parse(out, b"s", b"select 1\0\0\x01\0\0\0\x17"));
    let PgWireFrontendMessage::Parse(read) = parse else {
        panic!("{parse:?}")
    };
    assert_eq!(
        (read.name.as_deref(), read.query.as_str()),
        (Some("s"), "select 1")
    );
    assert_eq!(read.type_oids, [23]);
    let close = frontend(|out| message::close(out, b'S', b"s"));
    let PgWireFrontendMessage::Close(read) = close else {
        panic!("{close:?}")
    };
    assert_eq!((read.target_type, read.name.as_deref()), (b'S', Some("s")));
    let fail = frontend(|out| message::copy_fail(out, "gone"));
    assert!(matches!(fail, PgWireFrontendMessage::CopyFail(read) if read.message == "gone"));
    assert!(matches!(
        frontend(|out| out.extend_from_slice(&message::SYNC)),
        PgWireFrontendMessage::Sync(_)
    ));
    assert!(matches!(
        frontend(|out| out.extend_from_slice(&message::TERMINATE)),
        PgWireFrontendMessage::Terminate(_)
    ));
}

#[test]
fn the_first_packets_of_others() {
    let mut startup = Startup::new();
    startup.parameters.insert("user".into(), "me".into());
    startup.parameters.insert("TimeZone".into(), "UTC".into());
    let bytes = frontend_bytes(&PgWireFrontendMessage::Startup(startup));
    let Ok(Some((FirstPacket::Startup(read), length))) = FirstPacket::read(&bytes) else {
        panic!("{bytes:?}");
    };
    assert_eq!((read.user.as_str(), length), ("me", bytes.len()));
    assert_eq!(read.settings, [("TimeZone".to_owned(), "UTC".to_owned())]);

    let cancel = CancelRequest::new(7, SecretKey::I32(9));
    let bytes = frontend_bytes(&PgWireFrontendMessage::CancelRequest(cancel));
    let Ok(Some((FirstPacket::Cancel(key), _))) = FirstPacket::read(&bytes) else {
        panic!("{bytes:?}");
    };
    assert_eq!((key.pid, key.secret.as_slice()), (7, &[0, 0, 0, 9][..]));
}

#[test]
fn a_conversation_of_others() {
    let mut tracker = Tracker::new(std::sync::Arc::default());
    let batch = [
        PgWireFrontendMessage::Query(Query::new("begin".into())),
        PgWireFrontendMessage::Parse(Parse::new(None, "select 1".into(), vec![])),
        PgWireFrontendMessage::Bind(Bind::new(None, None, vec![], vec![], vec![])),
        PgWireFrontendMessage::Execute(Execute::new(None, 0)),
        PgWireFrontendMessage::Sync(Sync::new()),
    ];
    let sent: Vec<u8> = batch.iter().flat_map(frontend_bytes).collect();
    let mut forwarded = Vec::new();
    let taken = tracker.front(&sent, None, &mut forwarded).unwrap();
    assert_eq!((taken.bytes, &forwarded), (sent.len(), &sent));

    let ready = |status| PgWireBackendMessage::ReadyForQuery(ReadyForQuery::new(status));
    let tag = |tag: &str| PgWireBackendMessage::CommandComplete(CommandComplete::new(tag.into()));
    let first: Vec<u8> = [tag("BEGIN"), ready(TransactionStatus::Transaction)]
        .iter()
        .flat_map(backend_bytes)
        .collect();
    let step = tracker.back(&first, None).unwrap();
    assert_eq!(
        (step.take, step.event),
        (first.len(), Event::Ready(Boundary::Busy))
    );
}
