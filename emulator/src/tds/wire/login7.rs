//! LOGIN7 (MS-TDS 2.2.6.4): who logs in, to what, with what wishes.

use super::bytes::{Malformed, Reader, utf16};
use super::features::{self, Asked};

/// The largest LOGIN7 (MS-TDS 2.2.6.4: 128K-1).
pub(in crate::tds) const LARGEST: usize = 128 * 1024 - 1;
/// Most characters in a text of LOGIN7.
const LONGEST: usize = 128;

/// The message, with its texts. Holds a password and a token: no Debug of them.
#[derive(Clone)]
pub(in crate::tds) struct Login7 {
    pub(in crate::tds) version: u32,
    pub(in crate::tds) packet_size: u32,
    pub(in crate::tds) flags2: u8,
    pub(in crate::tds) type_flags: u8,
    pub(in crate::tds) flags3: u8,
    pub(in crate::tds) host: String,
    pub(in crate::tds) user: String,
    pub(in crate::tds) password: String,
    pub(in crate::tds) app: String,
    pub(in crate::tds) server: String,
    pub(in crate::tds) language: String,
    pub(in crate::tds) database: String,
    pub(in crate::tds) attach_file: String,
    pub(in crate::tds) has_sspi: bool,
    pub(in crate::tds) features: Vec<Asked>,
}

impl std::fmt::Debug for Login7 {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Login7")
            .field("version", &self.version)
            .field("app", &self.app)
            .field("server", &self.server)
            .field("database", &self.database)
            .finish_non_exhaustive()
    }
}

impl Login7 {
    /// OptionFlags2: fODBC.
    pub(in crate::tds) fn is_odbc(&self) -> bool {
        self.flags2 & 0x02 != 0
    }

    /// OptionFlags2: fIntSecurity, or an SSPI blob.
    pub(in crate::tds) fn is_integrated(&self) -> bool {
        self.flags2 & 0x80 != 0 || self.has_sspi
    }

    /// OptionFlags3: fChangePassword, fUserInstance.
    pub(in crate::tds) fn is_beyond_us(&self) -> bool {
        self.flags3 & 0x05 != 0 || !self.attach_file.is_empty()
    }

    pub(in crate::tds) fn feature(&self, id: u8) -> Option<&Asked> {
        self.features.iter().find(|asked| asked.id == id)
    }

    pub(in crate::tds) fn read(message: &[u8]) -> Result<Self, Malformed> {
        let malformed = Malformed("LOGIN7");
        let mut fixed = Reader::new(message, "LOGIN7");
        if fixed.length()? != message.len() {
            return Err(malformed);
        }
        let version = fixed.u32()?;
        let packet_size = fixed.u32()?;
        fixed.take(12)?;
        fixed.u8()?;
        let flags2 = fixed.u8()?;
        let type_flags = fixed.u8()?;
        let flags3 = fixed.u8()?;
        fixed.take(8)?;
        let fields = Fields {
            message,
            data_from: if version < 0x7200_0000 { 86 } else { 94 },
        };
        let host = fields.text(&mut fixed)?;
        let user = fields.text(&mut fixed)?;
        let password = fields.password(&mut fixed)?;
        let app = fields.text(&mut fixed)?;
        let server = fields.text(&mut fixed)?;
        let extension = fields.bytes(&mut fixed, 1)?;
        fields.text(&mut fixed)?;
        let language = fields.text(&mut fixed)?;
        let database = fields.text(&mut fixed)?;
        fixed.take(6)?;
        let sspi = fields.bytes(&mut fixed, 1)?;
        let attach_file = fields.bytes(&mut fixed, 2)?;
        let features = if flags3 & 0x10 != 0 {
            features::read(fields.extension(extension)?)?
        } else {
            Vec::new()
        };
        Ok(Self {
            version,
            packet_size,
            flags2,
            type_flags,
            flags3,
            host,
            user,
            password,
            app,
            server,
            language,
            database,
            attach_file: utf16(attach_file).ok_or(malformed)?,
            has_sspi: !sspi.is_empty(),
            features,
        })
    }
}

/// The part that (offset, count) pairs point into.
struct Fields<'a> {
    message: &'a [u8],
    data_from: usize,
}

impl<'a> Fields<'a> {
    fn bytes(&self, pairs: &mut Reader<'_>, unit: usize) -> Result<&'a [u8], Malformed> {
        let from = usize::from(pairs.u16()?);
        let length = usize::from(pairs.u16()?) * unit;
        if length == 0 {
            return Ok(&[]);
        }
        if from < self.data_from {
            return Err(Malformed("offset in LOGIN7"));
        }
        let found = self.message.get(from..from + length);
        found.ok_or(Malformed("offset in LOGIN7"))
    }

    fn text(&self, pairs: &mut Reader<'_>) -> Result<String, Malformed> {
        let bytes = self.bytes(pairs, 2)?;
        if bytes.len() > LONGEST * 2 {
            return Err(Malformed("LOGIN7: a text of more than 128 characters"));
        }
        utf16(bytes).ok_or(Malformed("text in LOGIN7"))
    }

    /// Each byte was XORed with 0xA5 after its halves had been swapped.
    fn password(&self, pairs: &mut Reader<'_>) -> Result<String, Malformed> {
        let bytes = self.bytes(pairs, 2)?;
        if bytes.len() > LONGEST * 2 {
            return Err(Malformed("LOGIN7: a password of more than 128 characters"));
        }
        let clear: Vec<u8> = bytes
            .iter()
            .map(|byte| (byte ^ 0xa5).rotate_left(4))
            .collect();
        utf16(&clear).ok_or(Malformed("password in LOGIN7"))
    }

    /// The pair points to a number that is the offset of the features.
    fn extension(&self, pointer: &[u8]) -> Result<&'a [u8], Malformed> {
        let malformed = Malformed("feature extension of LOGIN7");
        let from = Reader::new(pointer, "feature extension of LOGIN7").length()?;
        if from < self.data_from {
            return Err(malformed);
        }
        self.message.get(from..).ok_or(malformed)
    }
}
