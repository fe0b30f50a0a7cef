//! Hot path: no allocation per row. Rows, column by column.

use super::{Machine, Step, Stepped, Window};
use crate::tds::token::layout::Value;

impl Machine {
    pub(super) fn bitmap(&mut self, window: &mut Window<'_>) -> Stepped {
        let missing = self
            .columns
            .len()
            .div_ceil(8)
            .saturating_sub(self.nulls.len());
        let rest = window.rest();
        let here = rest.get(..missing.min(rest.len())).unwrap_or_default();
        self.nulls.extend_from_slice(here);
        window.at += here.len();
        if here.len() < missing {
            return Stepped::Again;
        }
        Stepped::More
    }

    /// A row begins; with `sparse`, one with a bitmap of its NULLs.
    pub(in crate::tds::token) fn begin_row(&mut self, sparse: bool) {
        self.nulls.clear();
        self.push(&[Step::Row(0)]);
        if sparse {
            self.push(&[Step::Bitmap]);
        }
    }

    /// The columns of a row, as long as each is here whole.
    #[inline]
    pub(super) fn row(&mut self, window: &mut Window<'_>, from: u16) -> Stepped {
        let mut rest = window.rest();
        let mut column = usize::from(from);
        let mut stuck = None;
        for &value in self.columns.get(column..).unwrap_or_default() {
            let at = column;
            column += 1;
            if is_null(&self.nulls, at) {
                continue;
            }
            match length(value, rest).and_then(|length| rest.get(length..)) {
                Some(behind) => rest = behind,
                None => {
                    stuck = Some(value);
                    break;
                }
            }
        }
        window.at = window.input.len() - rest.len();
        if let Some(value) = stuck {
            let next = u16::try_from(column).unwrap_or(u16::MAX);
            self.push(&[Step::Value(value), Step::Row(next)]);
        }
        Stepped::More
    }
}

#[inline]
fn is_null(nulls: &[u8], column: usize) -> bool {
    nulls
        .get(column / 8)
        .is_some_and(|byte| byte >> (column % 8) & 1 == 1)
}

/// The whole length of a value of which the beginning is here, if it can be seen at once.
#[inline]
fn length(value: Value, rest: &[u8]) -> Option<usize> {
    match (value, rest) {
        (Value::Fixed(count), _) => Some(usize::from(count)),
        (Value::Short, [count, ..]) => Some(1 + usize::from(*count)),
        (Value::Medium, [0xff, 0xff, ..]) => Some(2),
        (Value::Medium, [a, b, ..]) => Some(2 + usize::from(u16::from_le_bytes([*a, *b]))),
        (Value::Text, [0, ..]) => Some(1),
        (Value::Plp, [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, ..]) => Some(8),
        _ => None,
    }
}
