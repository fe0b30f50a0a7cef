//! LOGIN7: a client's, read; and ours for a server, written (MS-TDS 2.2.6.4).

use super::legacy::Dialect;
use super::packet::{self, Kind};
use super::reader::{Reader, push_utf16, put, units, utf16};

/// The longest LOGIN7, in bytes of its packets.
pub const LONGEST: usize = 128 * 1024 - 1;

/// TDS 7.4, as LOGIN7 has it.
pub const VERSION_7_4: u32 = 0x7400_0004;
/// TDS 7.3 with the types of SQL Server 2008 and NBCROW.
pub const VERSION_7_3B: u32 = 0x730b_0003;

/// The features of FeatureExt that are known here.
pub mod feature {
    /// The server tells of changes in the session's state.
    pub const SESSION_RECOVERY: u8 = 0x01;
    /// A token.
    pub const FED_AUTH: u8 = 0x02;
    /// Always Encrypted.
    pub const COLUMN_ENCRYPTION: u8 = 0x04;
    /// Labels of sensitive columns.
    pub const DATA_CLASSIFICATION: u8 = 0x09;
    /// UTF-8 collations.
    pub const UTF8: u8 = 0x0a;
    /// The type json.
    pub const JSON: u8 = 0x0d;
    /// The type vector.
    pub const VECTOR: u8 = 0x0e;
    /// Redirection with a database.
    pub const ENHANCED_ROUTING: u8 = 0x0f;

    /// Whether what the server says looks different with the feature, so that all clients of a
    /// backend must have asked for it in the same way.
    #[must_use]
    pub fn is_shared(id: u8) -> bool {
        matches!(
            id,
            COLUMN_ENCRYPTION | DATA_CLASSIFICATION | UTF8 | JSON | VECTOR
        )
    }
}

/// A feature that was asked for, or granted.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Feature {
    /// See [`feature`].
    pub id: u8,
    /// What comes with it.
    pub data: Box<[u8]>,
}

/// What must be equal for two clients to share a backend. Their versions need not be: 7.3B and 7.4
/// differ in nothing that a server says, as long as no feature is granted that was not asked for,
/// and older ones are translated.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct Options {
    /// OptionFlags1: whether USE is reported, and whether database and language must exist.
    pub flags1: u8,
    /// OptionFlags2: ODBC's settings.
    pub flags2: u8,
    /// TypeFlags: OLE DB's settings, and whether only reading is meant.
    pub type_flags: u8,
    /// OptionFlags3: binary XML.
    pub flags3: u8,
    /// The language of messages and dates; empty for the login's own.
    pub language: Box<str>,
    /// The features of [`feature::is_shared`], by number.
    pub features: Vec<Feature>,
}

/// A client's LOGIN7.
#[derive(Clone, PartialEq, Eq)]
pub struct ClientLogin {
    /// What backends must have in common to serve it.
    pub options: Options,
    /// The TDS version: see [`VERSION_7_4`].
    pub version: u32,
    /// The packet size that it asks for; 0 for the server's choice.
    pub packet_size: u32,
    /// The process of the client.
    pub process: u32,
    /// The name of its machine.
    pub host_name: String,
    /// The user. Means nothing here, except what the caller makes of it.
    pub user_name: String,
    /// The application.
    pub app_name: String,
    /// The server that it wants.
    pub server_name: String,
    /// The library.
    pub library: String,
    /// The database; empty for the login's own.
    pub database: String,
    /// The features that it asks for, in its order. The data of FEDAUTH (a token) is left out.
    pub features: Vec<Feature>,
}

/// Without the user's name: some applications put secrets there.
impl std::fmt::Debug for ClientLogin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ClientLogin")
            .field("options", &self.options)
            .field("version", &self.version)
            .field("app_name", &self.app_name)
            .field("database", &self.database)
            .finish_non_exhaustive()
    }
}

/// A login that can't be served.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LoginRefusal {
    /// Fields that don't end, or too many bytes.
    #[error("the login packet is structurally invalid: {0}")]
    Layout(&'static str),
    /// A version that is older than what is translated, or not known.
    #[error(
        "the client speaks TDS version 0x{0:08x}: one from 7.1 (0x71000000) to 7.4 (0x74000004) is \
         needed"
    )]
    Version(u32),
    /// Integrated authentication.
    #[error(
        "the client asks for integrated authentication (SSPI, Kerberos), which is not served here"
    )]
    Integrated,
    /// The wish to change the password.
    #[error("the client asks for a change of its password, which is not served here")]
    ChangePassword,
    /// AttachDBFile.
    #[error("the client asks to attach a database file, which is not served here")]
    AttachFile,
    /// A user instance of SQL Server Express.
    #[error("the client asks for a user instance, which is not served here")]
    UserInstance,
}

impl LoginRefusal {
    /// The error number that SQL Server would answer with.
    #[must_use]
    pub fn number(&self) -> i32 {
        match self {
            Self::Layout(_) | Self::Version(_) => 17832,
            Self::Integrated => 18452,
            Self::ChangePassword | Self::AttachFile | Self::UserInstance => 18456,
        }
    }
}

/// The version in the body of a LOGIN7, whatever else is in there.
#[must_use]
pub fn version(body: &[u8]) -> Option<u32> {
    Reader::new(body.get(4..)?).u32()
}

impl ClientLogin {
    /// Reads the body of a LOGIN7.
    ///
    /// # Errors
    /// [`LoginRefusal`] for what no client sends, and for what is not served.
    pub fn read(body: &[u8]) -> Result<Self, LoginRefusal> {
        let fixed = Fixed::read(body).ok_or(LoginRefusal::Layout("the fixed part"))?;
        let dialect = Dialect::of(fixed.version);
        if dialect.is_none() && !matches!(fixed.version, VERSION_7_4 | VERSION_7_3B) {
            return Err(LoginRefusal::Version(fixed.version));
        }
        let fixed = fixed.meant_by(dialect);
        if fixed.flags2 & INTEGRATED != 0 {
            return Err(LoginRefusal::Integrated);
        }
        if fixed.flags3 & CHANGE_PASSWORD != 0 {
            return Err(LoginRefusal::ChangePassword);
        }
        if fixed.flags3 & USER_INSTANCE != 0 {
            return Err(LoginRefusal::UserInstance);
        }
        let text = |field: Field, what| fixed.text(body, field).ok_or(LoginRefusal::Layout(what));
        if !text(ATTACH_FILE, "the name of a file")?.is_empty() {
            return Err(LoginRefusal::AttachFile);
        }
        let features = features(body, &fixed)?;
        let mut shared: Vec<Feature> = features
            .iter()
            .filter(|feature| feature::is_shared(feature.id))
            .cloned()
            .collect();
        shared.sort_by_key(|feature| feature.id);
        Ok(Self {
            options: Options {
                flags1: fixed.flags1 & (USE_DB | INIT_DB_FATAL | SET_LANGUAGE),
                flags2: fixed.flags2 & ODBC,
                type_flags: fixed.type_flags & (OLE_DB | READ_ONLY),
                flags3: fixed.flags3 & BINARY_XML,
                language: text(LANGUAGE, "the language")?.into(),
                features: shared,
            },
            version: fixed.version,
            packet_size: fixed.packet_size,
            process: fixed.process,
            host_name: text(HOST_NAME, "the machine's name")?,
            user_name: text(USER_NAME, "the user's name")?,
            app_name: text(APP_NAME, "the application's name")?,
            server_name: text(SERVER_NAME, "the server's name")?,
            library: text(LIBRARY, "the library's name")?,
            database: text(DATABASE, "the database's name")?,
            features,
        })
    }

    /// Whether the client asked for a feature.
    #[must_use]
    pub fn asked_for(&self, id: u8) -> bool {
        self.features.iter().any(|feature| feature.id == id)
    }

    /// The version as LOGINACK has it, which is not always the same number (2.2.7.14).
    #[must_use]
    pub fn acknowledged_version(&self) -> [u8; 4] {
        match Dialect::of(self.version) {
            Some(Dialect::V71) => [7, 1, 0, 0],
            _ => self.version.to_be_bytes(),
        }
    }
}

impl Options {
    /// Whether the client asked for a feature of [`feature::is_shared`].
    #[must_use]
    pub fn asked_for(&self, id: u8) -> bool {
        self.features.iter().any(|feature| feature.id == id)
    }
}

/// A field of text: the place of its offset and count, and the most characters.
#[derive(Clone, Copy)]
struct Field {
    at: usize,
    most: usize,
}

const fn field(at: usize) -> Field {
    Field { at, most: 128 }
}

const HOST_NAME: Field = field(36);
const USER_NAME: Field = field(40);
const PASSWORD: Field = field(44);
const APP_NAME: Field = field(48);
const SERVER_NAME: Field = field(52);
const EXTENSION: usize = 56;
const LIBRARY: Field = field(60);
const LANGUAGE: Field = field(64);
const DATABASE: Field = field(68);
const SSPI: usize = 78;
const ATTACH_FILE: Field = Field { at: 82, most: 260 };
const NEW_PASSWORD: Field = field(86);
/// Bytes of the fixed part from TDS 7.2 on.
const FIXED: usize = 94;

const USE_DB: u8 = 0x20;
const INIT_DB_FATAL: u8 = 0x40;
const SET_LANGUAGE: u8 = 0x80;
const ODBC: u8 = 0x02;
const INTEGRATED: u8 = 0x80;
const OLE_DB: u8 = 0x10;
const READ_ONLY: u8 = 0x20;
const CHANGE_PASSWORD: u8 = 0x01;
const BINARY_XML: u8 = 0x02;
const USER_INSTANCE: u8 = 0x04;
const UNKNOWN_COLLATION: u8 = 0x08;
const HAS_EXTENSION: u8 = 0x10;

/// Most features that a client may ask for.
const MOST_FEATURES: usize = 32;
/// Most bytes that a feature of ours or a client may come with, but for a token.
const LONGEST_FEATURE: usize = 4096;
const END_OF_FEATURES: u8 = 0xff;

struct Fixed {
    version: u32,
    packet_size: u32,
    process: u32,
    flags1: u8,
    flags2: u8,
    type_flags: u8,
    flags3: u8,
}

impl Fixed {
    fn read(body: &[u8]) -> Option<Self> {
        let mut reader = Reader::new(body);
        let length = usize::try_from(reader.u32()?).ok()?;
        if length > body.len() || length > LONGEST {
            return None;
        }
        let version = reader.u32()?;
        let packet_size = reader.u32()?;
        reader.u32()?;
        let process = reader.u32()?;
        reader.u32()?;
        Some(Self {
            version,
            packet_size,
            process,
            flags1: reader.u8()?,
            flags2: reader.u8()?,
            type_flags: reader.u8()?,
            flags3: reader.u8()?,
        })
    }

    /// Without what the version has no meaning for: fOLEDB, binary XML and user instances came
    /// with 7.2, intents with 7.4, and so did extensions.
    fn meant_by(mut self, dialect: Option<Dialect>) -> Self {
        match dialect {
            None => {}
            Some(dialect) if dialect.is_narrow() => {
                self.type_flags = 0;
                self.flags3 = 0;
            }
            Some(_) => {
                self.type_flags &= !READ_ONLY;
                self.flags3 &= !HAS_EXTENSION;
            }
        }
        self
    }

    fn text(&self, body: &[u8], field: Field) -> Option<String> {
        let (offset, count) = place(body, field.at)?;
        // An offset without characters may point anywhere.
        if count == 0 {
            return Some(String::new());
        }
        if count > field.most {
            return None;
        }
        body.get(offset..offset + 2 * count).map(utf16)
    }
}

fn place(body: &[u8], at: usize) -> Option<(usize, usize)> {
    let mut reader = Reader::new(body.get(at..)?);
    Some((usize::from(reader.u16()?), usize::from(reader.u16()?)))
}

/// FeatureExt: the extension is the offset of a list that ends with 0xff.
fn features(body: &[u8], fixed: &Fixed) -> Result<Vec<Feature>, LoginRefusal> {
    let mut features = Vec::new();
    if fixed.flags3 & HAS_EXTENSION == 0 {
        return Ok(features);
    }
    let list = place(body, EXTENSION)
        .filter(|&(_, count)| count >= 4)
        .and_then(|(offset, _)| Reader::new(body.get(offset..)?).u32())
        .and_then(|offset| body.get(usize::try_from(offset).ok()?..))
        .ok_or(LoginRefusal::Layout("the extension"))?;
    let malformed = || LoginRefusal::Layout("a feature");
    let mut reader = Reader::new(list);
    loop {
        let id = reader.u8().ok_or_else(malformed)?;
        if id == END_OF_FEATURES {
            return Ok(features);
        }
        let length = reader.u32().and_then(|length| usize::try_from(length).ok());
        let data = reader
            .bytes(length.ok_or_else(malformed)?)
            .ok_or_else(malformed)?;
        let data = match id {
            feature::FED_AUTH => &[],
            _ if data.len() > LONGEST_FEATURE => return Err(malformed()),
            _ => data,
        };
        if features.len() >= MOST_FEATURES {
            return Err(malformed());
        }
        features.push(Feature {
            id,
            data: data.into(),
        });
    }
}

/// What proves who we are.
#[derive(Clone, Copy)]
pub enum Secret<'a> {
    /// An Entra access token.
    Token(&'a str),
    /// A login of SQL Server's own.
    Password {
        /// Its name.
        user: &'a str,
        /// Its password.
        password: &'a str,
    },
}

/// The LOGIN7 that we send to a server. TLS protects what it says.
#[derive(Clone, Copy)]
pub struct UpstreamLogin<'a> {
    /// What the clients to come have in common.
    pub options: &'a Options,
    /// The database; users of an Entra identity have to name theirs.
    pub database: &'a str,
    /// The server as it is known to its gateway: never empty.
    pub server_name: &'a str,
    /// What the server's lists say is the application.
    pub app_name: &'a str,
    /// And the machine.
    pub host_name: &'a str,
    /// The packet size to ask for, in bytes.
    pub packet_size: u32,
    /// What the server's PRELOGIN said of FEDAUTHREQUIRED: it has to come back.
    pub fed_auth_echo: bool,
    /// Whether the server shall tell of changes in the session's state.
    pub session_recovery: bool,
}

impl UpstreamLogin<'_> {
    /// Appends the packets. The secret is in them, in `out` and nowhere else if it has room for
    /// [`UpstreamLogin::room`] more bytes: the caller wipes it.
    pub fn encode(&self, secret: Secret<'_>, out: &mut Vec<u8>) {
        let start = out.len();
        self.body(secret, out);
        packet::split_in_place(out, start, Kind::Login, packet::DEFAULT);
    }

    /// The bytes that [`UpstreamLogin::encode`] may need.
    #[must_use]
    pub fn room(&self, secret: Secret<'_>) -> usize {
        let secret = match secret {
            Secret::Token(token) => token.len(),
            Secret::Password { user, password } => user.len() + password.len(),
        };
        let features: usize = self.options.features.iter().map(|f| f.data.len() + 5).sum();
        let texts = [
            self.database,
            self.server_name,
            self.app_name,
            self.host_name,
        ];
        let texts: usize = texts.iter().map(|text| text.len()).sum();
        let body = 2 * (secret + texts + self.options.language.len()) + features + 512;
        body + body.div_ceil(packet::DEFAULT - packet::HEADER) * packet::HEADER
    }

    fn body(&self, secret: Secret<'_>, out: &mut Vec<u8>) {
        let start = out.len();
        out.resize(start + FIXED, 0);
        let options = self.options;
        put(out, start + 4, &VERSION_7_4.to_le_bytes());
        put(out, start + 8, &self.packet_size.to_le_bytes());
        let flags = [
            options.flags1,
            options.flags2,
            options.type_flags,
            options.flags3 | UNKNOWN_COLLATION | HAS_EXTENSION,
        ];
        put(out, start + 24, &flags);
        let (user, password) = match secret {
            Secret::Token(_) => ("", ""),
            Secret::Password { user, password } => (user, password),
        };
        text(out, start, HOST_NAME, self.host_name);
        text(out, start, USER_NAME, user);
        let at = out.len();
        text(out, start, PASSWORD, password);
        obfuscate(out.get_mut(at..).unwrap_or_default());
        text(out, start, APP_NAME, self.app_name);
        text(out, start, SERVER_NAME, self.server_name);
        let extension = out.len();
        put_place(out, start, EXTENSION, 4);
        out.extend_from_slice(&[0; 4]);
        text(out, start, LIBRARY, "entrapool");
        text(out, start, LANGUAGE, &options.language);
        text(out, start, DATABASE, self.database);
        for empty in [SSPI, ATTACH_FILE.at, NEW_PASSWORD.at] {
            put_place(out, start, empty, 0);
        }
        let offset = u32::try_from(out.len() - start).unwrap_or(u32::MAX);
        put(out, extension, &offset.to_le_bytes());
        self.features(secret, out);
        let length = u32::try_from(out.len() - start).unwrap_or(u32::MAX);
        put(out, start, &length.to_le_bytes());
    }

    fn features(&self, secret: Secret<'_>, out: &mut Vec<u8>) {
        if self.session_recovery {
            feature_with(out, feature::SESSION_RECOVERY, |_| {});
        }
        if let Secret::Token(token) = secret {
            feature_with(out, feature::FED_AUTH, |out| {
                out.push(SECURITY_TOKEN << 1 | u8::from(self.fed_auth_echo));
                let length = u32::try_from(2 * units(token)).unwrap_or(u32::MAX);
                out.extend_from_slice(&length.to_le_bytes());
                push_utf16(out, token);
            });
        }
        for feature in &self.options.features {
            feature_with(out, feature.id, |out| out.extend_from_slice(&feature.data));
        }
        feature_with(out, feature::ENHANCED_ROUTING, |_| {});
        out.push(END_OF_FEATURES);
    }
}

/// bFedAuthLibrary: the client has its token already.
const SECURITY_TOKEN: u8 = 1;

fn feature_with(out: &mut Vec<u8>, id: u8, data: impl FnOnce(&mut Vec<u8>)) {
    out.push(id);
    let at = out.len();
    out.extend_from_slice(&[0; 4]);
    data(out);
    let length = u32::try_from(out.len() - at - 4).unwrap_or(u32::MAX);
    put(out, at, &length.to_le_bytes());
}

/// The offset of what will be appended next, and its count.
fn put_place(out: &mut [u8], start: usize, at: usize, count: usize) {
    let offset = u16::try_from(out.len() - start).unwrap_or(u16::MAX);
    let count = u16::try_from(count).unwrap_or(u16::MAX);
    put(out, start + at, &offset.to_le_bytes());
    put(out, start + at + 2, &count.to_le_bytes());
}

/// Appends a text of at most as many characters as its field may have.
fn text(out: &mut Vec<u8>, start: usize, field: Field, value: &str) {
    let at = out.len();
    let mut left = field.most;
    for character in value.chars() {
        let Some(after) = left.checked_sub(character.len_utf16()) else {
            break;
        };
        left = after;
        push_utf16(out, character.encode_utf8(&mut [0; 4]));
    }
    let count = (out.len() - at) / 2;
    let offset = u16::try_from(at - start).unwrap_or(u16::MAX);
    put(out, start + field.at, &offset.to_le_bytes());
    let count = u16::try_from(count).unwrap_or(u16::MAX);
    put(out, start + field.at + 2, &count.to_le_bytes());
}

/// A password is not readable at first sight: nibbles swapped, XOR with 0xA5.
fn obfuscate(bytes: &mut [u8]) {
    for byte in bytes {
        *byte = byte.rotate_left(4) ^ 0xa5;
    }
}

#[cfg(test)]
#[path = "login7/tests.rs"]
mod tests;
