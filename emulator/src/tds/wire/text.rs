//! Code page 1252, the bytes of char and varchar in the server's collation.

/// 0x80 to 0x9f; holes stay what they are in Latin 1.
const UPPER: [char; 32] = [
    '€', '\u{81}', '‚', 'ƒ', '„', '…', '†', '‡', 'ˆ', '‰', 'Š', '‹', 'Œ', '\u{8d}', 'Ž', '\u{8f}',
    '\u{90}', '‘', '’', '“', '”', '•', '–', '—', '˜', '™', 'š', '›', 'œ', '\u{9d}', 'ž', 'Ÿ',
];

/// What the code page does not have becomes `?`, as on SQL Server.
pub(super) fn encode(text: &str) -> Vec<u8> {
    text.chars().map(byte).collect()
}

pub(super) fn decode(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| character(*byte)).collect()
}

fn byte(c: char) -> u8 {
    if let Some(at) = UPPER.iter().position(|known| *known == c) {
        return u8::try_from(at + 0x80).unwrap_or(b'?');
    }
    match u8::try_from(u32::from(c)) {
        Ok(byte) if !(0x80..0xa0).contains(&byte) => byte,
        _ => b'?',
    }
}

fn character(byte: u8) -> char {
    let upper = usize::from(byte).checked_sub(0x80);
    upper
        .and_then(|at| UPPER.get(at).copied())
        .unwrap_or_else(|| char::from(byte))
}
