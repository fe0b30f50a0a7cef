//! Notifications that change the connection they come by: from a backend that listens for its
//! client to one that listens for all, and back.
//!
//! Each connection gets the notifications of a database in one order, that of their commits. So
//! one of ours, sent on a channel of ours to both, marks the same place in both streams: what
//! is before it the client gets from one, what is behind it from the other; nothing twice,
//! nothing never, everything in order.

use super::Violation;
use super::frame::split_cstr;

/// A place in the order of notifications.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Marker {
    /// The channel, of which no client knows.
    pub channel: Box<[u8]>,
    /// Never the same twice.
    pub payload: Box<[u8]>,
}

/// On which side of a marker a backend's notifications are for its client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// Before it: the client leaves the backend.
    Before,
    /// Behind it: the client comes to the backend.
    Behind,
}

/// A NotificationResponse (55.7).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Notification<'a> {
    /// Where it was sent to.
    pub channel: &'a [u8],
    /// What it says.
    pub payload: &'a [u8],
}

impl<'a> Notification<'a> {
    /// Reads a message's body.
    ///
    /// # Errors
    /// [`Violation::Malformed`].
    pub fn read(body: &'a [u8]) -> Result<Self, Violation> {
        let malformed = |what| Violation::Malformed { tag: 'A', what };
        let (_, rest) = body
            .split_first_chunk::<4>()
            .ok_or_else(|| malformed("process id"))?;
        let (channel, rest) = split_cstr(rest).ok_or_else(|| malformed("channel"))?;
        let (payload, _) = split_cstr(rest).ok_or_else(|| malformed("payload"))?;
        Ok(Self { channel, payload })
    }

    /// Whether this is `marker`.
    #[must_use]
    pub fn is(&self, marker: &Marker) -> bool {
        *self.channel == *marker.channel && *self.payload == *marker.payload
    }
}

/// The two Queries that let a client leave a backend that listens for it.
#[must_use]
pub fn leave(marker: &Marker) -> [Vec<u8>; 2] {
    [notify(&[], marker), b"UNLISTEN *".to_vec()]
}

/// The two Queries that make a backend listen to `names`, for a client that comes to it.
#[must_use]
pub fn arrive(names: &[Box<[u8]>], marker: &Marker) -> [Vec<u8>; 2] {
    let mut unlisten = b"UNLISTEN ".to_vec();
    push_name(&mut unlisten, &marker.channel);
    [notify(names, marker), unlisten]
}

/// `LISTEN` to each of `names`.
#[must_use]
pub fn listen<'a>(names: impl IntoIterator<Item = &'a [u8]>) -> Vec<u8> {
    each(b"LISTEN ", names)
}

/// `UNLISTEN` each of `names`.
#[must_use]
pub fn unlisten<'a>(names: impl IntoIterator<Item = &'a [u8]>) -> Vec<u8> {
    each(b"UNLISTEN ", names)
}

fn each<'a>(command: &[u8], names: impl IntoIterator<Item = &'a [u8]>) -> Vec<u8> {
    let mut sql = Vec::new();
    for name in names {
        sql.extend_from_slice(command);
        push_name(&mut sql, name);
        sql.push(b';');
    }
    sql
}

/// One transaction that listens to `names` and the marker's channel, and sends the marker. It
/// writes nothing that would have to be on disk before it is answered.
fn notify(names: &[Box<[u8]>], marker: &Marker) -> Vec<u8> {
    let mut sql = b"SET LOCAL synchronous_commit = off;".to_vec();
    let names = names.iter().map(|name| &**name);
    sql.extend(listen(names.chain([&*marker.channel])));
    sql.extend_from_slice(b"NOTIFY ");
    push_name(&mut sql, &marker.channel);
    sql.extend_from_slice(b", '");
    sql.extend_from_slice(&marker.payload);
    sql.push(b'\'');
    sql
}

/// A channel's name as an identifier.
fn push_name(sql: &mut Vec<u8>, name: &[u8]) {
    sql.push(b'"');
    for &byte in name {
        if byte == b'"' {
            sql.push(byte);
        }
        sql.push(byte);
    }
    sql.push(b'"');
}

#[cfg(test)]
mod tests {
    use super::*;

    fn marker() -> Marker {
        Marker {
            channel: Box::from(*b"ours"),
            payload: Box::from(*b"7"),
        }
    }

    fn text(sql: Vec<u8>) -> String {
        String::from_utf8(sql).unwrap()
    }

    #[test]
    fn the_sql_of_a_crossing() {
        let names = [Box::from(*b"a"), Box::from(*b"B\"c")];
        assert_eq!(
            arrive(&names, &marker()).map(text),
            [
                "SET LOCAL synchronous_commit = off;LISTEN \"a\";LISTEN \"B\"\"c\";\
                 LISTEN \"ours\";NOTIFY \"ours\", '7'",
                "UNLISTEN \"ours\"",
            ]
        );
        assert_eq!(
            leave(&marker()).map(text),
            [
                "SET LOCAL synchronous_commit = off;LISTEN \"ours\";NOTIFY \"ours\", '7'",
                "UNLISTEN *",
            ]
        );
        let two = [&b"a"[..], b"b"];
        assert_eq!(text(unlisten(two)), "UNLISTEN \"a\";UNLISTEN \"b\";");
    }

    #[test]
    fn notifications_are_read() {
        let read = Notification::read(b"\0\0\0\x01ours\x007\0").unwrap();
        assert!(read.is(&marker()));
        assert!(
            !Notification::read(b"\0\0\0\x01ours\0\0")
                .unwrap()
                .is(&marker())
        );
        for bad in [&b"\0\0\0"[..], b"\0\0\0\x01ours", b"\0\0\0\x01ours\x007"] {
            assert!(Notification::read(bad).is_err(), "{bad:?}");
        }
    }
}
