//! A source file as the laws see it: code without comments and literals, its place in the
//! module tree, the paths that it names.

/// A file's code.
pub(super) struct Source<'a> {
    /// Path from the root.
    pub(super) file: &'a str,
    /// The crate's folder.
    pub(super) krate: &'a str,
    /// Where in the crate it is: `["pool", "lease"]`; empty outside `src`, and for its root.
    pub(super) module: Vec<&'a str>,
    /// Whether it holds tests only.
    pub(super) is_test: bool,
    /// As it was read.
    pub(super) text: &'a str,
    /// The same with blanks for comments and literals.
    pub(super) code: String,
    /// Where in `code` the tests at the end of the file begin, or its end.
    pub(super) tests_at: usize,
}

impl<'a> Source<'a> {
    pub(super) fn new(file: &'a str, text: &'a str) -> Self {
        let code = code_only(text);
        let tests_at = test_module(&code).unwrap_or(code.len());
        let mut parts = file.split('/');
        let krate = parts.next().unwrap_or_default();
        let inside: Vec<&str> = parts.collect();
        let (is_source, module) = match inside.split_first() {
            Some((&"src", rest)) => (true, module_path(rest)),
            _ => (false, Vec::new()),
        };
        let is_test = !is_source || module.contains(&"tests");
        Self {
            file,
            krate,
            module,
            is_test,
            text,
            code,
            tests_at,
        }
    }

    /// The line of a place in the code.
    pub(super) fn line(&self, at: usize) -> usize {
        let before = self.code.get(..at).unwrap_or_default();
        before.matches('\n').count() + 1
    }

    /// Whether the module is `path` or below it.
    pub(super) fn is_in(&self, path: &[&str]) -> bool {
        self.module.starts_with(path)
    }
}

/// `["pool", "lease.rs"]` is `["pool", "lease"]`; `mod.rs`, `lib.rs` and `main.rs` are their
/// folder.
fn module_path<'a>(parts: &[&'a str]) -> Vec<&'a str> {
    let mut path = parts.to_vec();
    if let Some(last) = path.pop() {
        match last.strip_suffix(".rs") {
            Some("mod" | "lib" | "main") | None => {}
            Some(name) => path.push(name),
        }
    }
    path
}

/// Where `#[cfg(test)]` stands before an inline module, which ends a file by custom.
fn test_module(code: &str) -> Option<usize> {
    let mut from = 0;
    while let Some(found) = code.get(from..)?.find("#[cfg(test)]") {
        let at = from + found;
        let rest = code.get(at + "#[cfg(test)]".len()..)?.trim_start();
        if rest.starts_with("mod ") {
            return Some(at);
        }
        from = at + 1;
    }
    None
}

/// The text with every byte of comments, strings and characters made a blank; line ends stay.
pub(super) fn code_only(text: &str) -> String {
    let mut code = String::with_capacity(text.len());
    let mut rest = text;
    let mut word = false; // whether the last character could be of an identifier
    while let Some(first) = rest.chars().next() {
        let length = literal(rest, word).unwrap_or(0);
        if length > 0 {
            let (skipped, behind) = rest.split_at(length);
            code.extend(skipped.chars().map(|c| if c == '\n' { '\n' } else { ' ' }));
            rest = behind;
            word = false;
        } else {
            code.push(first);
            word = first.is_alphanumeric() || first == '_';
            rest = &rest[first.len_utf8()..];
        }
    }
    code
}

/// The length of the comment or literal at the start of `rest`.
fn literal(rest: &str, after_word: bool) -> Option<usize> {
    if rest.starts_with("//") {
        return Some(rest.find('\n').unwrap_or(rest.len()));
    }
    if rest.starts_with("/*") {
        return Some(block_comment(rest));
    }
    if rest.starts_with('"') {
        return Some(quoted(rest, '"'));
    }
    if rest.starts_with('\'') {
        return character(rest);
    }
    let raw = rest.strip_prefix('b').unwrap_or(rest).strip_prefix('r')?;
    if after_word {
        return None;
    }
    let hashes = raw.len() - raw.trim_start_matches('#').len();
    raw.get(hashes..)?.strip_prefix('"')?;
    let end = format!("\"{}", "#".repeat(hashes));
    let begin = rest.len() - raw.len() + hashes + 1;
    let length = rest.get(begin..)?.find(&end)?;
    Some(begin + length + end.len())
}

/// Comments nest.
fn block_comment(rest: &str) -> usize {
    let mut depth = 0;
    let mut at = 0;
    while at < rest.len() {
        let here = rest.get(at..).unwrap_or_default();
        if here.starts_with("/*") {
            depth += 1;
            at += 2;
        } else if here.starts_with("*/") {
            depth -= 1;
            at += 2;
        } else {
            at += here.chars().next().map_or(1, char::len_utf8);
        }
        if depth == 0 {
            return at;
        }
    }
    rest.len()
}

/// From a quote to the next that no backslash precedes.
fn quoted(rest: &str, quote: char) -> usize {
    let mut escaped = false;
    for (at, c) in rest.char_indices().skip(1) {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            _ if c == quote => return at + 1,
            _ => {}
        }
    }
    rest.len()
}

/// `'x'` and `'\n'` are characters, `'a` is a lifetime.
fn character(rest: &str) -> Option<usize> {
    let mut characters = rest.char_indices().skip(1);
    match characters.next()? {
        (_, '\\') => Some(quoted(rest, '\'')),
        _ => match characters.next()? {
            (at, '\'') => Some(at + 1),
            _ => None,
        },
    }
}
