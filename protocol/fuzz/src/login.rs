//! Any bytes from a server that a login is under way with.
//!
//! However they are cut, the login ends in the same way; a token leaves only as the answer to a
//! request for a cleartext password; no more is waited for than a login's longest message.

use entrapool_protocol::postgres::login::{BUFFER, Login, Secret, Welcome};
use entrapool_protocol::postgres::message::NEWEST_MINOR;

use super::input::{Input, pieces};

const TOKEN: &str = "eyJhbGciOiJSUzI1NiJ9.token";

/// Compares the stream as a whole with the stream in pieces.
pub fn check(data: &[u8]) {
    let Some(input) = Input::read(data) else {
        return;
    };
    let whole = run(&input, &[input.stream]);
    let cut = run(&input, &pieces(input.stream, input.lengths()));
    assert_eq!(whole, cut);
}

/// How a login went.
#[derive(Debug, PartialEq)]
struct Course {
    /// Its end, if it came to one.
    end: Option<Result<Welcome, String>>,
    /// How much was answered; SCRAM's nonce makes the bytes differ.
    answered: usize,
    left: usize,
}

fn run(input: &Input<'_>, parts: &[&[u8]]) -> Course {
    let secret = if input.flag(0) {
        Secret::Token(TOKEN)
    } else {
        Secret::Password(TOKEN)
    };
    let mut first = Vec::new();
    let mut login = Login::begin("my-vm", "app", secret, NEWEST_MINOR, &mut first);
    let (mut out, mut pending) = (Vec::new(), Vec::new());
    let mut end = None;
    let mut asked = 0;
    'parts: for part in parts {
        pending.extend_from_slice(part);
        loop {
            let asks = pending.starts_with(b"R") && pending.get(5..9) == Some(&[0, 0, 0, 3]);
            match login.step(&pending, &mut out) {
                Ok((taken, welcome)) => {
                    asked += usize::from(asks && taken > 0);
                    pending.drain(..taken);
                    if let Some(welcome) = welcome {
                        end = Some(Ok(welcome));
                        break 'parts;
                    }
                    if taken == 0 {
                        break;
                    }
                }
                Err(error) => {
                    end = Some(Err(error.to_string()));
                    break 'parts;
                }
            }
        }
        assert!(pending.len() <= BUFFER, "{} waited for", pending.len());
    }
    let told = out
        .windows(TOKEN.len())
        .filter(|window| *window == TOKEN.as_bytes())
        .count();
    assert_eq!(told, asked, "the secret in clear, and requests for it");
    Course {
        // Behind its end, nothing of the stream is the login's.
        left: if end.is_some() { 0 } else { pending.len() },
        end,
        answered: out.len(),
    }
}
