//! What an operator makes of two operands: its text and the type of its result.

use super::piece::Piece;
use crate::tds::wire::kind::{Family, Kind, Length};

/// `+ - * / % & | ^`.
pub(in crate::tds) fn arithmetic(symbol: &str, left: &Piece, right: &Piece) -> Piece {
    let (a, b) = (left.kind, right.kind);
    let is_text = |kind: Option<Kind>| kind.is_some_and(|kind| kind.family() == Family::Text);
    let is_binary = |kind: Option<Kind>| kind.is_some_and(|kind| kind.family() == Family::Binary);
    if symbol == "+" {
        if is_text(a) && (is_text(b) || b.is_none()) || is_text(b) && a.is_none() {
            return Piece::new(format!("({} || {})", left.sql, right.sql), joined(a, b));
        }
        if is_binary(a) && is_binary(b) {
            let sql = format!("tsql_join({}, {})", left.sql, right.sql);
            return Piece::new(sql, Kind::Binary(Length::Varying(8_000)));
        }
        if a.is_none() && b.is_none() {
            return Piece::new(format!("tsql_add({}, {})", left.sql, right.sql), None);
        }
    }
    if let Some(dated) = days(symbol, left, right) {
        return dated;
    }
    let kind = result(symbol, a, b);
    let operand = |piece: &Piece| match (piece.kind, kind) {
        (Some(from), Some(to)) if !from.is_numeric() => {
            format!("tsql_cast({}, '{to}')", piece.sql)
        }
        _ => piece.numeric(),
    };
    let (left, right) = (operand(left), operand(right));
    let sql = match symbol {
        "/" => format!("tsql_divide({left}, {right})"),
        "%" => format!("tsql_modulo({left}, {right})"),
        "^" => format!("(({left} | {right}) - ({left} & {right}))"),
        _ => format!("({left} {symbol} {right})"),
    };
    Piece::new(sql, kind)
}

/// Days added to a datetime.
fn days(symbol: &str, left: &Piece, right: &Piece) -> Option<Piece> {
    let kind = left.kind?;
    let adds = matches!(kind, Kind::DateTime | Kind::SmallDateTime) && right.kind?.is_numeric();
    let sign = match symbol {
        "+" => "",
        "-" => "-",
        _ => return None,
    };
    adds.then(|| {
        let sql = format!(
            "tsql_cast(tsql_dateadd('day', {sign}{}, {}), '{kind}')",
            right.numeric(),
            left.sql
        );
        Piece::new(sql, kind)
    })
}

fn result(symbol: &str, a: Option<Kind>, b: Option<Kind>) -> Option<Kind> {
    let (a, b) = (a.or(b)?, b.or(a)?);
    let numbers = [a, b].into_iter().filter(|kind| kind.is_numeric());
    let kind = numbers
        .max_by_key(|kind| kind.rank())
        .unwrap_or(Kind::Float);
    let Kind::Decimal { .. } = kind else {
        return Some(kind);
    };
    let digits = |kind: Kind| match kind {
        Kind::Decimal { precision, scale } => (precision, scale),
        Kind::TinyInt => (3, 0),
        Kind::SmallInt => (5, 0),
        Kind::BigInt => (19, 0),
        Kind::Money | Kind::SmallMoney => (19, 4),
        _ => (10, 0),
    };
    // Transact-SQL: precision, scale and length of results.
    let ((p1, s1), (p2, s2)) = (digits(a), digits(b));
    let (precision, scale) = match symbol {
        "*" => (p1 + p2 + 1, s1 + s2),
        "/" => {
            let scale = 6.max(s1 + p2 + 1);
            (p1 - s1 + s2 + scale, scale)
        }
        _ => {
            let scale = s1.max(s2);
            ((p1 - s1).max(p2 - s2) + scale + 1, scale)
        }
    };
    let over = precision.saturating_sub(38);
    Some(Kind::Decimal {
        precision: precision.min(38),
        scale: scale.saturating_sub(over).max(scale.min(6)).min(38),
    })
}

fn joined(a: Option<Kind>, b: Option<Kind>) -> Kind {
    let mut units = 0_u32;
    let mut unicode = false;
    for kind in [a, b].into_iter().flatten() {
        if let Kind::Text(length, charset) = kind {
            unicode |= charset == crate::tds::wire::kind::Charset::Unicode;
            units = match length {
                Length::Fixed(most) | Length::Varying(most) => units.saturating_add(most.into()),
                Length::Max => u32::MAX,
            };
        }
    }
    let (most, charset) = if unicode {
        (4_000, crate::tds::wire::kind::Charset::Unicode)
    } else {
        (8_000, crate::tds::wire::kind::Charset::Byte)
    };
    match u16::try_from(units) {
        Ok(units) => Kind::Text(Length::Varying(units.clamp(1, most)), charset),
        Err(_) => Kind::Text(Length::Max, charset),
    }
}

/// `= <> < <= > >=`: the operand of lower precedence is converted first.
pub(super) fn comparison(symbol: &str, left: &Piece, right: &Piece) -> Piece {
    let symbol = match symbol {
        "!=" => "<>",
        "!<" => ">=",
        "!>" => "<=",
        other => other,
    };
    let (left, right) = balanced(left, right);
    Piece::new(format!("({left} {symbol} {right})"), Kind::Bit)
}

/// Both as text of one kind, so that SQLite compares what T-SQL would.
fn balanced(left: &Piece, right: &Piece) -> (String, String) {
    let (Some(a), Some(b)) = (left.kind, right.kind) else {
        return (left.numeric(), right.numeric());
    };
    match (a.family(), b.family()) {
        // Without case, as the server's collation says.
        (Family::Text, Family::Text) => (left.sql.clone(), format!("{} COLLATE NOCASE", right.sql)),
        _ if a.is_numeric() && b.is_numeric() => (left.numeric(), right.numeric()),
        _ if a.rank() < b.rank() => (converted(left, b), right.numeric()),
        _ if a.rank() > b.rank() => (left.numeric(), converted(right, a)),
        _ => (left.sql.clone(), right.sql.clone()),
    }
}

fn converted(piece: &Piece, to: Kind) -> String {
    // An exact number is compared as a number, not as the text that CAST gives.
    let to = if to.is_exact() { Kind::Float } else { to };
    piece.cast(to)
}

/// The type of several alternatives (CASE, COALESCE, UNION).
pub(in crate::tds) fn common(kinds: impl IntoIterator<Item = Option<Kind>>) -> Option<Kind> {
    let mut best: Option<Kind> = None;
    for kind in kinds.into_iter().flatten() {
        best = Some(match best {
            None => kind,
            Some(known) => wider(known, kind),
        });
    }
    best
}

fn wider(a: Kind, b: Kind) -> Kind {
    match (a, b) {
        (
            Kind::Decimal {
                precision: p1,
                scale: s1,
            },
            Kind::Decimal {
                precision: p2,
                scale: s2,
            },
        ) => {
            let scale = s1.max(s2);
            Kind::Decimal {
                precision: ((p1 - s1).max(p2 - s2) + scale).min(38),
                scale,
            }
        }
        (Kind::Text(l1, c1), Kind::Text(l2, c2)) => {
            let charset = if a.rank() > b.rank() { c1 } else { c2 };
            Kind::Text(longer(l1, l2), charset)
        }
        (Kind::Binary(l1), Kind::Binary(l2)) => Kind::Binary(longer(l1, l2)),
        _ if a.rank() >= b.rank() => a,
        _ => b,
    }
}

fn longer(a: Length, b: Length) -> Length {
    match (a, b) {
        (Length::Fixed(x) | Length::Varying(x), Length::Fixed(y) | Length::Varying(y)) => {
            Length::Varying(x.max(y))
        }
        _ => Length::Max,
    }
}
