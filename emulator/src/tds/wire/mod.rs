//! The bytes of TDS as a server reads and writes them (MS-TDS 2.2), without I/O except in `link`
//! and `tls`. Written from the specification alone; the proxy's codec is another one on purpose.

pub(super) mod bulk;
pub(super) mod bytes;
pub(super) mod features;
pub(super) mod headers;
pub(super) mod kind;
pub(super) mod link;
pub(super) mod login7;
pub(super) mod packet;
pub(super) mod prelogin;
pub(super) mod rpc;
pub(super) mod temporal;
pub(super) mod text;
pub(super) mod tls;
pub(super) mod tokens;
pub(super) mod transaction;
pub(super) mod type_info;
pub(super) mod values;
pub(super) mod version;
