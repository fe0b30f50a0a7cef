//! Sets of hints: what every wire protocol does with its own.

/// The operations of a set of hints, a type with one number whose bits are the hints.
macro_rules! hints {
    ($set:ident) => {
        impl $set {
            /// Whether nothing was hinted at.
            #[must_use]
            pub fn is_empty(self) -> bool {
                self.0 == 0
            }

            /// Whether any hint of `other` is in this set.
            #[must_use]
            pub fn any(self, other: Self) -> bool {
                self.0 & other.0 != 0
            }

            /// The hints of both.
            #[must_use]
            pub const fn with(self, other: Self) -> Self {
                Self(self.0 | other.0)
            }

            /// The hints that are in both.
            #[must_use]
            pub const fn only(self, other: Self) -> Self {
                Self(self.0 & other.0)
            }

            /// This set without the hints of `other`.
            #[must_use]
            pub const fn without(self, other: Self) -> Self {
                Self(self.0 & !other.0)
            }
        }

        impl std::ops::BitOrAssign for $set {
            fn bitor_assign(&mut self, other: Self) {
                *self = self.with(other);
            }
        }

        impl std::ops::BitOr for $set {
            type Output = Self;
            fn bitor(self, other: Self) -> Self {
                self.with(other)
            }
        }
    };
}

pub(crate) use hints;
