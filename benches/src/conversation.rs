//! Requests and answers in bytes. An encoder of its own: a change of the product's must not
//! change what it is measured with.

/// A request and its whole answer.
#[derive(Debug, Clone)]
pub struct Exchange {
    /// From the client.
    pub request: Vec<u8>,
    /// From the server.
    pub answer: Vec<u8>,
}

/// `select ...` by Query, one row: what `pgbench -S` does.
#[must_use]
pub fn simple_query() -> Exchange {
    Exchange {
        request: message(
            b'Q',
            b"SELECT abalance FROM pgbench_accounts WHERE aid = 68123;\0",
        ),
        answer: [
            row_description(),
            row(b"-1234"),
            completed("SELECT 1"),
            ready(),
        ]
        .concat(),
    }
}

/// The same on a named statement: Bind, Describe, Execute, Sync, as `pgbench -M prepared`.
#[must_use]
pub fn prepared_batch() -> Exchange {
    let bind = [
        &b"\0P_0\0\0\0\0\x01"[..],
        &5_u32.to_be_bytes(),
        b"68123\0\x01\0\0",
    ];
    let request = [
        message(b'B', &bind.concat()),
        message(b'D', b"P\0"),
        message(b'E', b"\0\0\0\0\0"),
        message(b'S', b""),
    ];
    let answer = [
        message(b'2', b""),
        row_description(),
        row(b"-1234"),
        completed("SELECT 1"),
        ready(),
    ];
    Exchange {
        request: request.concat(),
        answer: answer.concat(),
    }
}

/// Parse of the statement that [`prepared_batch`] binds, and its answer.
#[must_use]
pub fn preparation() -> Exchange {
    let parse = b"P_0\0SELECT abalance FROM pgbench_accounts WHERE aid = $1;\0\0\0";
    Exchange {
        request: [message(b'P', parse), message(b'S', b"")].concat(),
        answer: [message(b'1', b""), ready()].concat(),
    }
}

/// A Query with a hundred rows of 200 bytes.
#[must_use]
pub fn hundred_rows() -> Exchange {
    let rows = row(&[b'x'; 200]).repeat(100);
    Exchange {
        request: message(b'Q', b"SELECT body FROM documents LIMIT 100\0"),
        answer: [row_description(), rows, completed("SELECT 100"), ready()].concat(),
    }
}

/// Tag, length, body.
fn message(tag: u8, body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(body.len() + 4).unwrap_or(u32::MAX);
    [&[tag], &length.to_be_bytes()[..], body].concat()
}

fn row_description() -> Vec<u8> {
    let column = [
        &b"\0\x01abalance\0"[..],
        &16_384_u32.to_be_bytes(),
        &[0, 3],
        &23_u32.to_be_bytes(),
        &[0, 4],
        &[0xff; 4],
        &[0, 0],
    ];
    message(b'T', &column.concat())
}

fn row(value: &[u8]) -> Vec<u8> {
    let length = u32::try_from(value.len()).unwrap_or(u32::MAX);
    message(b'D', &[&[0, 1], &length.to_be_bytes()[..], value].concat())
}

fn completed(tag: &str) -> Vec<u8> {
    message(b'C', &[tag.as_bytes(), b"\0"].concat())
}

fn ready() -> Vec<u8> {
    message(b'Z', b"I")
}
