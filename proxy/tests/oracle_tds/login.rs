//! LOGIN7 (MS-TDS 2.2.6.4), as the smallest driver sends it.

use crate::requests::utf16;

/// TDS 7.4.
const VERSION: u32 = 0x7400_0004;
/// Where the data behind the offsets begins.
const DATA: u16 = 94;

/// Asks for packets of 4,096 bytes, for nothing else.
pub(crate) fn login7(user: &str, password: &str, database: &str) -> Vec<u8> {
    let mut fixed = Vec::new();
    fixed.extend(VERSION.to_le_bytes());
    fixed.extend(4096_u32.to_le_bytes());
    fixed.extend([0; 12]);
    // fUseDB, fSetLang, fODBC: as ODBC says it.
    fixed.extend([0xe0, 0x03, 0, 0]);
    fixed.extend([0; 8]);
    let hidden: Vec<u8> = utf16(password)
        .into_iter()
        .map(|byte| byte.rotate_left(4) ^ 0xa5)
        .collect();
    let mut pairs = Vec::new();
    let mut data: Vec<u8> = Vec::new();
    let fields = [
        utf16("oracle"),
        utf16(user),
        hidden,
        utf16("script"),
        utf16("127.0.0.1"),
        Vec::new(),
        utf16("raw"),
        Vec::new(),
        utf16(database),
    ];
    for field in fields {
        let at = DATA + u16::try_from(data.len()).expect("short");
        pairs.extend(at.to_le_bytes());
        pairs.extend(u16::try_from(field.len() / 2).expect("short").to_le_bytes());
        data.extend(field);
    }
    // ClientID; SSPI, file, new password: none; SSPILong.
    pairs.extend([0; 6 + 3 * 4 + 4]);
    let length = 4 + fixed.len() + pairs.len() + data.len();
    let length = u32::try_from(length).expect("short").to_le_bytes();
    [length.to_vec(), fixed, pairs, data].concat()
}
