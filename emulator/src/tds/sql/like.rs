//! LIKE with T-SQL's patterns: `%`, `_`, `[a-c]`, `[^a-c]`, an escape character.

/// Without case, as the server's collation says.
pub(in crate::tds) fn matches(text: &str, pattern: &str, escape: Option<char>) -> bool {
    let text: Vec<char> = text.to_lowercase().chars().collect();
    let escape = escape.and_then(|c| c.to_lowercase().next());
    let parts = compile(&pattern.to_lowercase(), escape);
    // Greedy with one point to come back to: linear in practice, never exponential.
    let (mut at, mut part) = (0, 0);
    let mut retry: Option<(usize, usize)> = None;
    while at < text.len() {
        match parts.get(part) {
            Some(Part::Any) => {
                retry = Some((at, part));
                part += 1;
                continue;
            }
            Some(one) if text.get(at).is_some_and(|c| one.fits(*c)) => {
                at += 1;
                part += 1;
                continue;
            }
            _ => {}
        }
        match retry {
            Some((from, any)) => {
                retry = Some((from + 1, any));
                at = from + 1;
                part = any + 1;
            }
            None => return false,
        }
    }
    parts
        .get(part..)
        .unwrap_or_default()
        .iter()
        .all(|part| matches!(part, Part::Any))
}

enum Part {
    Any,
    One,
    Literal(char),
    Set {
        negated: bool,
        ranges: Vec<(char, char)>,
    },
}

impl Part {
    fn fits(&self, c: char) -> bool {
        match self {
            Self::Any => false,
            Self::One => true,
            Self::Literal(literal) => *literal == c,
            Self::Set { negated, ranges } => {
                ranges.iter().any(|(from, to)| (*from..=*to).contains(&c)) != *negated
            }
        }
    }
}

fn compile(pattern: &str, escape: Option<char>) -> Vec<Part> {
    let mut parts = Vec::new();
    let mut characters = pattern.chars().peekable();
    while let Some(c) = characters.next() {
        parts.push(match c {
            c if Some(c) == escape => Part::Literal(characters.next().unwrap_or(c)),
            '%' => Part::Any,
            '_' => Part::One,
            '[' => {
                let inside: String = characters.by_ref().take_while(|c| *c != ']').collect();
                set(&inside)
            }
            c => Part::Literal(c),
        });
    }
    parts
}

fn set(inside: &str) -> Part {
    let (negated, inside) = match inside.strip_prefix('^') {
        Some(rest) => (true, rest),
        None => (false, inside),
    };
    let characters: Vec<char> = inside.chars().collect();
    let mut ranges = Vec::new();
    let mut at = 0;
    while let Some(from) = characters.get(at) {
        match (characters.get(at + 1), characters.get(at + 2)) {
            (Some('-'), Some(to)) => {
                ranges.push((*from, *to));
                at += 3;
            }
            _ => {
                ranges.push((*from, *from));
                at += 1;
            }
        }
    }
    Part::Set { negated, ranges }
}

#[cfg(test)]
mod tests {
    use super::matches;

    #[test]
    fn patterns() {
        for (text, pattern, expected) in [
            ("abc", "A%", true),
            ("abc", "%b%", true),
            ("abc", "a_c", true),
            ("abc", "a[b-d]c", true),
            ("abc", "a[^b]c", false),
            ("abc", "ab", false),
            ("", "%", true),
            ("a%c", "a!%c", true),
            ("abc", "a!%c", false),
        ] {
            assert_eq!(
                matches(text, pattern, Some('!')),
                expected,
                "{text} {pattern}"
            );
        }
    }
}
