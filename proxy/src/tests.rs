//! What is true of the crate as a whole: the page of errors in the operator's book.

mod errors;
mod log;
pub(crate) mod told;
