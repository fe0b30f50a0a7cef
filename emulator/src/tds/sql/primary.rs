//! The smallest parts of expressions: literals, variables, columns, calls, CASE, subqueries.

use rusqlite::types::Value;

use super::lexer::Token;
use super::operators::{common, comparison};
use super::piece::Piece;
use super::translator::{Translator, literal, quote};
use crate::tds::error::ServerError;
use crate::tds::wire::kind::{Kind, Length};

/// Digits that a REAL keeps.
const REAL_DIGITS: usize = 15;

impl Translator<'_> {
    pub(super) fn primary(&mut self) -> Result<Piece, ServerError> {
        match self.tokens.peek() {
            Some(Token::Number(number)) => {
                self.tokens.next();
                Ok(number_literal(number))
            }
            Some(Token::Text(text)) => {
                self.tokens.next();
                let units = text.encode_utf16().count();
                if text.contains('\0') {
                    return Ok(self.bind(Some(Kind::unicode(units)), Value::Text(text.clone())));
                }
                Ok(Piece::new(literal(text), Kind::unicode(units)))
            }
            Some(Token::Blob(bytes)) => {
                self.tokens.next();
                let length = match u16::try_from(bytes.len()) {
                    Ok(length) if length <= 8_000 => Length::Varying(length.max(1)),
                    _ => Length::Max,
                };
                Ok(self.bind(Some(Kind::Binary(length)), Value::Blob(bytes.clone())))
            }
            Some(Token::Variable(name)) => {
                let (kind, value) = self
                    .session
                    .variable(name)
                    .map_err(|error| error.at(self.tokens.line()))?;
                self.tokens.next();
                Ok(self.bind(Some(kind), value))
            }
            Some(Token::Global(name)) => {
                let (kind, value) = self.session.global(name)?;
                self.tokens.next();
                Ok(self.bind(Some(kind), value))
            }
            Some(Token::Symbol("(")) => self.parentheses(),
            Some(Token::Word(word)) => match word.to_ascii_lowercase().as_str() {
                "null" => {
                    self.tokens.next();
                    Ok(Piece::new("NULL", None))
                }
                "case" => self.case(),
                "exists" => {
                    self.tokens.next();
                    self.tokens.expect_symbol("(")?;
                    let query = self.query()?;
                    self.tokens.expect_symbol(")")?;
                    Ok(Piece::new(format!("EXISTS ({})", query.sql), Kind::Bit))
                }
                _ => self.named(),
            },
            Some(Token::Quoted(_)) => self.named(),
            _ => Err(self.tokens.unexpected()),
        }
    }

    fn parentheses(&mut self) -> Result<Piece, ServerError> {
        self.tokens.expect_symbol("(")?;
        if self.tokens.is("select") {
            let query = self.query()?;
            self.tokens.expect_symbol(")")?;
            let kind = query.columns.first().and_then(|column| column.kind);
            return Ok(Piece::new(format!("({})", query.sql), kind));
        }
        let piece = self.expression()?;
        self.tokens.expect_symbol(")")?;
        Ok(Piece {
            sql: format!("({})", piece.sql),
            name: None,
            ..piece
        })
    }

    /// CASE in both forms.
    fn case(&mut self) -> Result<Piece, ServerError> {
        self.tokens.expect("case")?;
        let subject = if self.tokens.is("when") {
            None
        } else {
            Some(self.expression()?)
        };
        let mut sql = "CASE".to_owned();
        let mut results = Vec::new();
        while self.tokens.take("when") {
            let condition = self.expression()?;
            let condition = match &subject {
                Some(subject) => comparison("=", subject, &condition),
                None => condition,
            };
            self.tokens.expect("then")?;
            let result = self.expression()?;
            sql.push_str(&format!(" WHEN {} THEN {}", condition.sql, result.sql));
            results.push(result);
        }
        if self.tokens.take("else") {
            let result = self.expression()?;
            sql.push_str(&format!(" ELSE {}", result.sql));
            results.push(result);
        }
        self.tokens.expect("end")?;
        if results.is_empty() {
            return Err(self.tokens.unexpected());
        }
        sql.push_str(" END");
        Ok(mixed(sql, &results))
    }

    /// A call or a column.
    fn named(&mut self) -> Result<Piece, ServerError> {
        let line = self.tokens.line();
        let names = self.tokens.names()?;
        if self.tokens.is_symbol("(") {
            return self.call(&names).map_err(|error| error.at(line));
        }
        let (name, table) = match names.as_slice() {
            [name] => (name, None),
            [.., table, name] => (name, Some(table.as_str())),
            [] => return Err(self.tokens.unexpected()),
        };
        if table.is_none()
            && let Some(piece) = self.bare_call(name)?
        {
            return Ok(piece);
        }
        let known = self.column(table, name);
        if known.is_none() && self.scopes.iter().all(Vec::is_empty) {
            let text = format!("Invalid column name '{name}'.");
            return Err(ServerError::new(207, 16, text).at(line));
        }
        let sql = match table {
            Some(table) => format!("{}.{}", quote(table), quote(name)),
            None => quote(name),
        };
        Ok(Piece::new(sql, known.flatten()).named(name.clone()))
    }
}

/// Alternatives of several types: each is converted to the common one if that is a text or a time.
pub(super) fn mixed(sql: String, results: &[Piece]) -> Piece {
    let kind = common(results.iter().map(|result| result.kind));
    let mut piece = Piece::new(sql, kind);
    piece.is_textual_number = results.iter().any(|result| result.is_textual_number);
    piece
}

fn number_literal(number: &str) -> Piece {
    if number.contains(['e', 'E']) {
        return Piece::new(number, Kind::Float);
    }
    if number.parse::<i32>().is_ok() {
        return Piece::new(number, Kind::Int);
    }
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let whole = whole.trim_start_matches('0');
    let digits = whole.len() + fraction.len();
    let precision = u8::try_from(digits.clamp(1, 38)).unwrap_or(38);
    let scale = u8::try_from(fraction.len()).unwrap_or(38).min(precision);
    let kind = Kind::Decimal { precision, scale };
    if number.parse::<i64>().is_ok() {
        return Piece::new(number, kind);
    }
    if digits <= REAL_DIGITS {
        let sql = if whole.is_empty() {
            format!("0.{fraction}0")
        } else {
            format!("{whole}.{fraction}0")
        };
        return Piece::new(sql, kind);
    }
    let mut piece = Piece::new(literal(number), kind);
    piece.is_textual_number = true;
    piece
}
