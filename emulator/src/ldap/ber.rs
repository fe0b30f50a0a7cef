//! The little BER (X.690, definite lengths) that a simple bind needs: RFC 4511 4.1.1, 4.2, 4.3.
//!
//! Pure functions over bytes; the responder reads and writes.

/// Tags of RFC 4511.
const SEQUENCE: u8 = 0x30;
const INTEGER: u8 = 0x02;
const OCTET_STRING: u8 = 0x04;
const ENUMERATED: u8 = 0x0a;
const BIND_REQUEST: u8 = 0x60;
const BIND_RESPONSE: u8 = 0x61;
const UNBIND_REQUEST: u8 = 0x42;
const SIMPLE: u8 = 0x80;

/// A message from a client.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Request<'a> {
    /// The content of the message id, sent back as it came.
    pub(super) id: &'a [u8],
    pub(super) operation: Operation<'a>,
}

#[derive(Debug, PartialEq, Eq)]
pub(super) enum Operation<'a> {
    Bind(Bind<'a>),
    Unbind,
    Unsupported,
}

/// A bind; `password` is `None` for anything but a simple bind. Not for logs.
#[derive(PartialEq, Eq)]
pub(super) struct Bind<'a> {
    pub(super) name: &'a str,
    pub(super) password: Option<&'a str>,
}

impl std::fmt::Debug for Bind<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Bind")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

/// RFC 4511 appendix A.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ResultCode {
    Success = 0,
    ProtocolError = 2,
    AuthMethodNotSupported = 7,
    InvalidCredentials = 49,
    UnwillingToPerform = 53,
}

#[derive(Debug)]
pub(super) struct BindAnswer {
    pub(super) code: ResultCode,
    pub(super) diagnostic: String,
}

/// The bytes are not what RFC 4511 says.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Malformed;

/// A decoded length field.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Length {
    /// Bytes of the field itself.
    pub(super) field: usize,
    /// Bytes that follow it.
    pub(super) body: usize,
}

/// Decodes the length field at the start of `bytes`.
pub(super) fn length(bytes: &[u8]) -> Result<Length, Malformed> {
    let (&first, rest) = bytes.split_first().ok_or(Malformed)?;
    if first < 0x80 {
        let body = usize::from(first);
        return Ok(Length { field: 1, body });
    }
    let count = usize::from(first & 0x7f);
    // 0 is the indefinite form, which LDAP forbids (RFC 4511 5.1).
    if !(1..=4).contains(&count) {
        return Err(Malformed);
    }
    let digits = rest.get(..count).ok_or(Malformed)?;
    let body = digits
        .iter()
        .fold(0, |sum, digit| (sum << 8) | usize::from(*digit));
    Ok(Length {
        field: 1 + count,
        body,
    })
}

/// Decodes one whole message.
pub(super) fn decode(message: &[u8]) -> Result<Request<'_>, Malformed> {
    let (body, _) = expect(message, SEQUENCE)?;
    let (id, body) = expect(body, INTEGER)?;
    let (tag, operation, _controls) = element(body)?;
    let operation = match tag {
        BIND_REQUEST => Operation::Bind(bind(operation)?),
        UNBIND_REQUEST => Operation::Unbind,
        _ => Operation::Unsupported,
    };
    Ok(Request { id, operation })
}

fn bind(body: &[u8]) -> Result<Bind<'_>, Malformed> {
    let (_version, body) = expect(body, INTEGER)?;
    let (name, body) = expect(body, OCTET_STRING)?;
    let (method, credentials, _) = element(body)?;
    Ok(Bind {
        name: text(name)?,
        password: (method == SIMPLE).then(|| text(credentials)).transpose()?,
    })
}

fn text(bytes: &[u8]) -> Result<&str, Malformed> {
    std::str::from_utf8(bytes).map_err(|_| Malformed)
}

fn expect(bytes: &[u8], tag: u8) -> Result<(&[u8], &[u8]), Malformed> {
    let (found, content, rest) = element(bytes)?;
    if found == tag {
        Ok((content, rest))
    } else {
        Err(Malformed)
    }
}

/// Tag, content and what follows.
fn element(bytes: &[u8]) -> Result<(u8, &[u8], &[u8]), Malformed> {
    let (&tag, rest) = bytes.split_first().ok_or(Malformed)?;
    let length = length(rest)?;
    let (content, rest) = rest[length.field..]
        .split_at_checked(length.body)
        .ok_or(Malformed)?;
    Ok((tag, content, rest))
}

/// A whole BindResponse message.
pub(super) fn encode_bind_answer(id: &[u8], answer: &BindAnswer) -> Vec<u8> {
    let mut result = Vec::new();
    put(&mut result, ENUMERATED, &[answer.code as u8]);
    put(&mut result, OCTET_STRING, b"");
    put(&mut result, OCTET_STRING, answer.diagnostic.as_bytes());
    let mut body = Vec::new();
    put(&mut body, INTEGER, id);
    put(&mut body, BIND_RESPONSE, &result);
    let mut message = Vec::new();
    put(&mut message, SEQUENCE, &body);
    message
}

fn put(out: &mut Vec<u8>, tag: u8, content: &[u8]) {
    out.push(tag);
    match u8::try_from(content.len()) {
        Ok(short) if short < 0x80 => out.push(short),
        _ => {
            out.push(0x84);
            // Our own messages stay far below 4 GiB.
            let length = u32::try_from(content.len()).unwrap_or(u32::MAX);
            out.extend(length.to_be_bytes());
        }
    }
    out.extend(content);
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A bind as OpenLDAP's library writes it.
    fn bind_request(name: &str, password: &[u8]) -> Vec<u8> {
        let mut bind = Vec::new();
        put(&mut bind, INTEGER, &[3]);
        put(&mut bind, OCTET_STRING, name.as_bytes());
        put(&mut bind, SIMPLE, password);
        let mut body = Vec::new();
        put(&mut body, INTEGER, &[1]);
        put(&mut body, BIND_REQUEST, &bind);
        let mut message = Vec::new();
        put(&mut message, SEQUENCE, &body);
        message
    }

    #[test]
    fn decodes_binds_with_short_and_long_passwords() {
        for size in [0, 1, 127, 128, 255, 256, 60_000] {
            let password = "x".repeat(size);
            let message = bind_request("cn=me,dc=entra", password.as_bytes());
            let request = decode(&message).unwrap();
            assert_eq!(request.id, [1]);
            let expected = Bind {
                name: "cn=me,dc=entra",
                password: Some(&password),
            };
            assert!(request.operation == Operation::Bind(expected));
        }
    }

    #[test]
    fn every_cut_of_a_bind_is_malformed() {
        let message = bind_request("cn=me,dc=entra", &[b'p'; 300]);
        for end in 0..message.len() {
            assert_eq!(decode(&message[..end]), Err(Malformed), "cut at {end}");
        }
    }

    #[test]
    fn refuses_the_indefinite_form_and_absurd_lengths() {
        assert_eq!(length(&[0x80]), Err(Malformed));
        assert_eq!(length(&[0x85, 1, 1, 1, 1, 1]), Err(Malformed));
        assert_eq!(
            length(&[0x82, 1, 0]),
            Ok(Length {
                field: 3,
                body: 256
            })
        );
    }

    #[test]
    fn a_sasl_bind_has_no_password_and_an_unbind_is_one() {
        let mut bind = Vec::new();
        put(&mut bind, INTEGER, &[3]);
        put(&mut bind, OCTET_STRING, b"cn=me,dc=entra");
        put(&mut bind, 0xa3, b"EXTERNAL");
        assert_eq!(super::bind(&bind).unwrap().password, None);
        let unbind = [0x30, 0x05, 0x02, 0x01, 0x02, 0x42, 0x00];
        assert_eq!(decode(&unbind).unwrap().operation, Operation::Unbind);
    }

    #[test]
    fn the_answer_has_the_bytes_of_the_standard() {
        let answer = BindAnswer {
            code: ResultCode::InvalidCredentials,
            diagnostic: "no".to_owned(),
        };
        let expected = [
            0x30, 0x0e, 0x02, 0x01, 0x07, 0x61, 0x09, 0x0a, 0x01, 49, 0x04, 0, 0x04, 2, b'n', b'o',
        ];
        assert_eq!(encode_bind_answer(&[7], &answer), expected);
    }
}
