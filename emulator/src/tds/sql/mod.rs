//! T-SQL: text into tokens, tokens into statements, statements into SQLite's language.

pub(super) mod convert;
pub(super) mod expression;
pub(super) mod functions;
pub(super) mod lexer;
pub(super) mod like;
pub(super) mod operators;
pub(super) mod parser;
pub(super) mod piece;
pub(super) mod primary;
pub(super) mod query;
pub(super) mod sources;
pub(super) mod tokens;
pub(super) mod translator;
pub(super) mod type_numbers;
