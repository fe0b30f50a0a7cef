//! TDS versions, and what differs between them for a server.

/// The version that a client asked for in LOGIN7; a newer one has all of an older one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Version {
    /// SQL Server 2000.
    V71,
    /// SQL Server 2005: ALL_HEADERS, long row counts, transaction descriptors.
    V72,
    /// SQL Server 2008: new dates.
    V73A,
    /// SQL Server 2008: NBCROW.
    V73B,
    /// SQL Server 2012: feature extensions.
    V74,
}

impl Version {
    /// By the number in LOGIN7. `None`: 7.0 or something unknown, which are refused.
    pub(in crate::tds) fn of(number: u32) -> Option<Self> {
        match number {
            0x7100_0000 | 0x7100_0001 => Some(Self::V71),
            0x7209_0002 => Some(Self::V72),
            0x730a_0003 => Some(Self::V73A),
            0x730b_0003 => Some(Self::V73B),
            0x7400_0004 => Some(Self::V74),
            _ => None,
        }
    }

    /// The four bytes of LOGINACK (MS-TDS 2.2.7.14), in the order of the wire.
    pub(in crate::tds) fn acknowledgement(self) -> [u8; 4] {
        match self {
            Self::V71 => [0x71, 0, 0, 1],
            Self::V72 => [0x72, 9, 0, 2],
            Self::V73A => [0x73, 0x0a, 0, 3],
            Self::V73B => [0x73, 0x0b, 0, 3],
            Self::V74 => [0x74, 0, 0, 4],
        }
    }

    /// ALL_HEADERS, 8-byte row counts, 4-byte line numbers and user types.
    pub(in crate::tds) fn is_wide(self) -> bool {
        self >= Self::V72
    }
}
