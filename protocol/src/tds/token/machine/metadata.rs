//! What says how values look: COLMETADATA and its kin (MS-TDS 2.2.7.4).

use super::{LONGEST_FIELD, LONGEST_KEPT, Machine, Step, Stepped, Window};
use crate::tds::token::layout::{Names, Purpose, Value, is_int, type_info};

impl Machine {
    /// FEATUREEXTACK, and the flags and type of a RETURNVALUE.
    pub(super) fn head(&mut self, step: Step, window: &mut Window<'_>) -> Stepped {
        if step == Step::ReturnType {
            let Some([_, flags, kind]) = self.field::<3>(window) else {
                return Stepped::Again;
            };
            self.push(&[Step::Single]);
            if self.layout.column_encryption && flags & ENCRYPTED != 0 {
                // The user type.
                self.push(&[Step::Skip(4), Step::Encrypted]);
            }
            return self.then(&[Step::Type(kind, Purpose::Single)]);
        }
        match window.rest().first() {
            None => Stepped::Again,
            Some(0xff) if self.carried == 0 => {
                window.at += 1;
                self.then(&[Step::TellKept])
            }
            Some(_) => {
                let Some(field) = self.field::<5>(window) else {
                    return Stepped::Again;
                };
                let [_, length @ ..] = field;
                if self.kept.len() + field.len() > LONGEST_KEPT {
                    return Stepped::Lost;
                }
                self.kept.extend_from_slice(&field);
                self.then(&[Step::Keep(u32::from_le_bytes(length)), Step::Feature])
            }
        }
    }

    /// One column of COLMETADATA: user type, flags, type.
    pub(super) fn column(&mut self, window: &mut Window<'_>, left: u16) -> Stepped {
        let Some(left) = left.checked_sub(1) else {
            return Stepped::More;
        };
        let field = match self.layout.old {
            true => self
                .field::<5>(window)
                .map(|[_, _, a, b, kind]| [a, b, kind]),
            false => self
                .field::<7>(window)
                .map(|[_, _, _, _, a, b, kind]| [a, b, kind]),
        };
        let Some([_, flags, kind]) = field else {
            return Stepped::Again;
        };
        self.push(&[Step::ByteText, Step::Columns(left)]);
        if self.layout.column_encryption && flags & ENCRYPTED != 0 {
            // Ordinal and user type.
            self.push(&[Step::Skip(6), Step::Encrypted]);
        }
        self.then(&[Step::Type(kind, Purpose::Column)])
    }

    pub(super) fn key_value(&mut self, left: u8) -> Stepped {
        if let Some(left) = left.checked_sub(1) {
            self.push(&[
                Step::WordBytes,
                Step::ByteText,
                Step::WordText,
                Step::ByteText,
                Step::KeyValues(left),
            ]);
        }
        Stepped::More
    }

    /// Bytes of one property of a sensitive column.
    pub(super) fn property(&self) -> usize {
        match self.layout.data_classification {
            0 | 1 => 4,
            _ => 8,
        }
    }

    pub(super) fn sensitive(&mut self, window: &mut Window<'_>, left: u16) -> Stepped {
        let Some(left) = left.checked_sub(1) else {
            return Stepped::More;
        };
        match self.field::<2>(window) {
            Some(field) => self.then(&[
                Step::Properties(u16::from_le_bytes(field)),
                Step::Sensitive(left),
            ]),
            None => Stepped::Again,
        }
    }

    /// What follows the byte of a type (2.2.5.6).
    pub(super) fn type_of(
        &mut self,
        window: &mut Window<'_>,
        kind: u8,
        purpose: Purpose,
    ) -> Stepped {
        let Some(info) = type_info(kind, purpose) else {
            return Stepped::Lost;
        };
        let length = usize::from(info.length);
        let mut bytes = [0; LONGEST_FIELD];
        match window.rest().get(..length) {
            Some(here) if self.carried == 0 => {
                window.at += length;
                if let Some(place) = bytes.get_mut(..length) {
                    place.copy_from_slice(here);
                }
            }
            _ => match self.carry_on(window, length) {
                Some(()) => bytes = self.carry,
                None => return Stepped::Again,
            },
        }
        let [first, second, ..] = bytes;
        let value = match info.may_be_max && first == 0xff && second == 0xff {
            true => Value::Plp,
            false => info.value,
        };
        match purpose {
            Purpose::Column => self.columns.push(value),
            Purpose::Single | Purpose::Parameter => {
                self.single = value;
                self.is_int = is_int(kind, first);
            }
            Purpose::Hidden => {}
        }
        match info.names {
            Names::Udt if purpose == Purpose::Parameter => {
                self.then(&[Step::ByteText, Step::ByteText, Step::ByteText])
            }
            Names::Udt => self.then(&[
                Step::ByteText,
                Step::ByteText,
                Step::ByteText,
                Step::WordText,
            ]),
            Names::Schema if first == 1 => {
                self.then(&[Step::ByteText, Step::ByteText, Step::WordText])
            }
            Names::Table if purpose == Purpose::Column && self.layout.old => {
                self.then(&[Step::WordText])
            }
            Names::Table if purpose == Purpose::Column => self.then(&[Step::Table]),
            Names::TableType => self.then(&[Step::ByteText, Step::ByteText, Step::ByteText]),
            Names::None | Names::Schema | Names::Table => Stepped::More,
        }
    }
}

/// Bit of the second byte of a column's flags: fEncrypted.
const ENCRYPTED: u8 = 0x08;
