//! Expressions and predicates, by precedence.

use super::operators::{arithmetic, comparison};
use super::piece::Piece;
use super::translator::Translator;
use crate::tds::error::ServerError;
use crate::tds::sql::lexer::Token;
use crate::tds::wire::kind::Kind;

const COMPARISONS: [&str; 9] = ["=", "<>", "!=", "<=", ">=", "!<", "!>", "<", ">"];

impl Translator<'_> {
    /// A value or a predicate.
    pub(in crate::tds) fn expression(&mut self) -> Result<Piece, ServerError> {
        self.descend()?;
        let piece = self.alternatives();
        self.rise();
        piece
    }

    fn alternatives(&mut self) -> Result<Piece, ServerError> {
        let mut left = self.conjunction()?;
        while self.tokens.take("or") {
            let right = self.conjunction()?;
            left = Piece::new(format!("({} OR {})", left.sql, right.sql), Kind::Bit);
        }
        Ok(left)
    }

    fn conjunction(&mut self) -> Result<Piece, ServerError> {
        let mut left = self.negation()?;
        while self.tokens.take("and") {
            let right = self.negation()?;
            left = Piece::new(format!("({} AND {})", left.sql, right.sql), Kind::Bit);
        }
        Ok(left)
    }

    fn negation(&mut self) -> Result<Piece, ServerError> {
        if !self.tokens.take("not") {
            return self.predicate();
        }
        self.descend()?;
        let piece = self.negation();
        self.rise();
        Ok(Piece::new(format!("(NOT {})", piece?.sql), Kind::Bit))
    }

    fn predicate(&mut self) -> Result<Piece, ServerError> {
        let left = self.sum()?;
        if let Some(symbol) = COMPARISONS
            .iter()
            .find(|symbol| self.tokens.is_symbol(symbol))
        {
            self.tokens.next();
            if self.tokens.is_any(&["any", "all", "some"]) {
                return Err(ServerError::unsupported(
                    "ANY, ALL and SOME behind a comparison",
                ));
            }
            let right = self.sum()?;
            return Ok(comparison(symbol, &left, &right));
        }
        if self.tokens.take("is") {
            let not = if self.tokens.take("not") { "NOT " } else { "" };
            self.tokens.expect("null")?;
            return Ok(Piece::new(
                format!("({} IS {not}NULL)", left.sql),
                Kind::Bit,
            ));
        }
        let not = if self.tokens.is("not")
            && ["in", "between", "like"]
                .iter()
                .any(|word| self.tokens.is_at(1, word))
        {
            self.tokens.next();
            "NOT "
        } else {
            ""
        };
        if self.tokens.take("in") {
            return self.membership(&left, not);
        }
        if self.tokens.take("between") {
            let low = self.sum()?;
            self.tokens.expect("and")?;
            let high = self.sum()?;
            let low = comparison(">=", &left, &low).sql;
            let high = comparison("<=", &left, &high).sql;
            return Ok(Piece::new(format!("({not}({low} AND {high}))"), Kind::Bit));
        }
        if self.tokens.take("like") {
            let pattern = self.sum()?;
            let escape = if self.tokens.take("escape") {
                self.sum()?.sql
            } else {
                "NULL".to_owned()
            };
            let sql = format!("({not}tsql_like({}, {}, {escape}))", left.sql, pattern.sql);
            return Ok(Piece::new(sql, Kind::Bit));
        }
        Ok(left)
    }

    fn membership(&mut self, left: &Piece, not: &str) -> Result<Piece, ServerError> {
        self.tokens.expect_symbol("(")?;
        if self.tokens.is("select") {
            let query = self.query()?;
            self.tokens.expect_symbol(")")?;
            let sql = format!("({} {not}IN ({}))", left.sql, query.sql);
            return Ok(Piece::new(sql, Kind::Bit));
        }
        // An OR of comparisons: each item is balanced with the left side on its own.
        let mut items = Vec::new();
        loop {
            let item = self.expression()?;
            items.push(comparison("=", left, &item).sql);
            if !self.tokens.symbol(",") {
                break;
            }
        }
        self.tokens.expect_symbol(")")?;
        let sql = format!("({not}({}))", items.join(" OR "));
        Ok(Piece::new(sql, Kind::Bit))
    }

    /// An expression without predicates.
    pub(in crate::tds) fn sum(&mut self) -> Result<Piece, ServerError> {
        let mut left = self.product()?;
        while let Some(symbol) = ["+", "-", "&", "|", "^"]
            .iter()
            .find(|symbol| self.tokens.is_symbol(symbol))
        {
            self.tokens.next();
            let right = self.product()?;
            left = arithmetic(symbol, &left, &right);
        }
        Ok(left)
    }

    fn product(&mut self) -> Result<Piece, ServerError> {
        let mut left = self.signed()?;
        while let Some(symbol) = ["*", "/", "%"]
            .iter()
            .find(|symbol| self.tokens.is_symbol(symbol))
        {
            self.tokens.next();
            let right = self.signed()?;
            left = arithmetic(symbol, &left, &right);
        }
        Ok(left)
    }

    fn signed(&mut self) -> Result<Piece, ServerError> {
        let Some(symbol) = ["-", "+", "~"]
            .iter()
            .find(|symbol| self.tokens.is_symbol(symbol))
        else {
            let piece = self.primary()?;
            return self.collated(piece);
        };
        self.tokens.next();
        self.descend()?;
        let piece = self.signed();
        self.rise();
        let piece = piece?;
        Ok(match *symbol {
            "+" => piece,
            // SQLite's CAST keeps a long number's digits only as text.
            "-" if piece.sql.starts_with('\'') && piece.is_textual_number => Piece {
                sql: format!("'-{}", piece.sql.trim_start_matches('\'')),
                ..piece
            },
            symbol => Piece::new(format!("({symbol} {})", piece.numeric()), piece.kind),
        })
    }

    /// COLLATE: names with `_CS_` or `_BIN` tell small letters from large ones.
    fn collated(&mut self, piece: Piece) -> Result<Piece, ServerError> {
        if !self.tokens.take("collate") {
            return Ok(piece);
        }
        let name = match self.tokens.next() {
            Some(Token::Word(name)) => name.to_ascii_uppercase(),
            _ => return Err(self.tokens.unexpected()),
        };
        let ours = if name.contains("_CS_") || name.contains("_BIN") {
            "BINARY"
        } else {
            "NOCASE"
        };
        Ok(Piece {
            sql: format!("({} COLLATE {ours})", piece.sql),
            ..piece
        })
    }
}
