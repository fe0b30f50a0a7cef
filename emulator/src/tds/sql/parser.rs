//! Tokens into statements. Plain statements stay runs of tokens, which are understood when they
//! run: only then is it known which tables and variables there are.

use super::lexer::{Lexed, Token};
use super::tokens::Tokens;
use crate::tds::error::ServerError;

/// Blocks in blocks; SQL Server's limit is 32 for calls, ours for nesting.
const MAX_DEPTH: usize = 32;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::tds) enum Statement {
    Plain(Vec<Lexed>),
    Block(Vec<Self>),
    If {
        condition: Vec<Lexed>,
        then: Box<Self>,
        otherwise: Option<Box<Self>>,
    },
    While {
        condition: Vec<Lexed>,
        body: Box<Self>,
    },
    Try {
        body: Vec<Self>,
        catch: Vec<Self>,
    },
}

/// What a statement can begin with.
const STARTS: [&str; 45] = [
    "select",
    "insert",
    "update",
    "delete",
    "truncate",
    "create",
    "alter",
    "drop",
    "declare",
    "set",
    "if",
    "while",
    "begin",
    "exec",
    "execute",
    "print",
    "raiserror",
    "throw",
    "waitfor",
    "commit",
    "rollback",
    "save",
    "use",
    "return",
    "break",
    "continue",
    "open",
    "fetch",
    "close",
    "deallocate",
    "dbcc",
    "revert",
    "with",
    "merge",
    "grant",
    "revoke",
    "deny",
    "goto",
    "kill",
    "checkpoint",
    "reconfigure",
    "backup",
    "restore",
    "else",
    "end",
];

pub(in crate::tds) fn parse(tokens: &[Lexed]) -> Result<Vec<Statement>, ServerError> {
    let mut parser = Parser {
        tokens: Tokens::new(tokens),
        depth: 0,
    };
    let mut statements = parser.first_as_call()?;
    while !parser.tokens.is_empty() {
        if let Some(statement) = parser.statement()? {
            statements.push(statement);
        }
    }
    Ok(statements)
}

struct Parser<'a> {
    tokens: Tokens<'a>,
    depth: usize,
}

impl Parser<'_> {
    /// The first statement of a batch may call a procedure without EXEC.
    fn first_as_call(&mut self) -> Result<Vec<Statement>, ServerError> {
        while self.tokens.symbol(";") {}
        let is_call = match self.tokens.peek() {
            Some(Token::Word(word)) => !is_start(word),
            Some(Token::Quoted(_)) => true,
            _ => false,
        };
        if !is_call {
            return Ok(Vec::new());
        }
        let line = self.tokens.line();
        let exec = Lexed {
            token: Token::Word("exec".to_owned()),
            line,
            from: 0,
        };
        let mut call = vec![exec];
        call.extend(self.run()?);
        Ok(vec![Statement::Plain(call)])
    }

    /// `None`: a semicolon.
    fn statement(&mut self) -> Result<Option<Statement>, ServerError> {
        if self.tokens.symbol(";") {
            return Ok(None);
        }
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            let text = "Some part of your SQL statement is nested too deeply.";
            return Err(ServerError::new(191, 15, text).at(self.tokens.line()));
        }
        let statement = self.one();
        self.depth -= 1;
        statement.map(Some)
    }

    fn one(&mut self) -> Result<Statement, ServerError> {
        let tokens = &mut self.tokens;
        if tokens.is("begin") {
            if tokens.is_at(1, "try") {
                tokens.go_to(tokens.at() + 2);
                return self.try_block();
            }
            let is_transaction = ["tran", "transaction", "distributed"]
                .iter()
                .any(|word| tokens.is_at(1, word));
            if !is_transaction {
                tokens.take("begin");
                return self.block("end").map(Statement::Block);
            }
        }
        if tokens.take("if") {
            let condition = self.condition()?;
            let then = Box::new(self.body()?);
            let otherwise = self.otherwise()?;
            return Ok(Statement::If {
                condition,
                then,
                otherwise,
            });
        }
        if tokens.take("while") {
            let condition = self.condition()?;
            let body = Box::new(self.body()?);
            return Ok(Statement::While { condition, body });
        }
        match tokens.peek() {
            Some(Token::Word(word)) if is_start(word) && !tokens.is_any(&["else", "end"]) => {
                let run = self.run()?;
                Ok(Statement::Plain(run))
            }
            _ => Err(tokens.unexpected()),
        }
    }

    /// The statement behind a condition.
    fn body(&mut self) -> Result<Statement, ServerError> {
        if self.tokens.is_empty() {
            return Err(self.tokens.unexpected());
        }
        loop {
            if let Some(statement) = self.statement()? {
                return Ok(statement);
            }
        }
    }

    fn otherwise(&mut self) -> Result<Option<Box<Statement>>, ServerError> {
        let here = self.tokens.at();
        while self.tokens.symbol(";") {}
        if self.tokens.take("else") {
            return self.body().map(|body| Some(Box::new(body)));
        }
        self.tokens.go_to(here);
        Ok(None)
    }

    fn block(&mut self, end: &str) -> Result<Vec<Statement>, ServerError> {
        let mut statements = Vec::new();
        loop {
            if self.tokens.take(end) {
                return Ok(statements);
            }
            if self.tokens.is_empty() {
                return Err(self.tokens.unexpected());
            }
            statements.extend(self.statement()?);
        }
    }

    fn try_block(&mut self) -> Result<Statement, ServerError> {
        let body = self.block("end")?;
        self.tokens.expect("try")?;
        while self.tokens.symbol(";") {}
        self.tokens.expect("begin")?;
        self.tokens.expect("catch")?;
        let catch = self.block("end")?;
        self.tokens.expect("catch")?;
        Ok(Statement::Try { body, catch })
    }

    /// Up to the start of a statement, outside of parentheses and CASE.
    fn condition(&mut self) -> Result<Vec<Lexed>, ServerError> {
        let from = self.tokens.at();
        let mut depth = Depth::default();
        while let Some(token) = self.tokens.peek() {
            let begins = matches!(token, Token::Word(word) if is_start(word));
            if depth.is_out() && begins {
                break;
            }
            depth.note(token);
            self.tokens.next();
        }
        if self.tokens.at() == from || self.tokens.is_empty() {
            return Err(self.tokens.unexpected());
        }
        Ok(self.tokens.slice(from, self.tokens.at()).to_vec())
    }

    /// One plain statement.
    fn run(&mut self) -> Result<Vec<Lexed>, ServerError> {
        let from = self.tokens.at();
        if self.takes_all() {
            while self.tokens.next().is_some() {}
            return Ok(self.tokens.slice(from, self.tokens.at()).to_vec());
        }
        let mut depth = Depth::default();
        let mut state = Head::of(&self.tokens);
        let mut previous: Option<&Token> = None;
        while let Some(token) = self.tokens.peek() {
            if depth.is_out() {
                if self.tokens.is_symbol(";") {
                    break;
                }
                if let Token::Word(word) = token
                    && previous.is_some()
                    && is_start(word)
                    && !state.goes_on(word, previous, self.tokens)
                {
                    break;
                }
            }
            if depth.is_out() {
                state.note(token);
            }
            depth.note(token);
            previous = Some(token);
            self.tokens.next();
        }
        let run = self.tokens.slice(from, self.tokens.at()).to_vec();
        self.tokens.symbol(";");
        Ok(run)
    }

    /// CREATE PROCEDURE and its like take the rest of the batch.
    fn takes_all(&self) -> bool {
        let tokens = &self.tokens;
        let at = if tokens.is("create") && tokens.is_at(1, "or") && tokens.is_at(2, "alter") {
            3
        } else if tokens.is_any(&["create", "alter"]) {
            1
        } else {
            return false;
        };
        ["proc", "procedure", "trigger", "function", "view"]
            .iter()
            .any(|word| tokens.is_at(at, word))
    }
}

/// Parentheses and CASE … END.
#[derive(Debug, Default)]
struct Depth {
    parentheses: usize,
    cases: usize,
}

impl Depth {
    fn is_out(&self) -> bool {
        self.parentheses == 0 && self.cases == 0
    }

    fn note(&mut self, token: &Token) {
        match token {
            Token::Symbol("(") => self.parentheses += 1,
            Token::Symbol(")") => self.parentheses = self.parentheses.saturating_sub(1),
            Token::Word(word) if word.eq_ignore_ascii_case("case") => self.cases += 1,
            Token::Word(word) if self.cases > 0 && word.eq_ignore_ascii_case("end") => {
                self.cases -= 1;
            }
            _ => {}
        }
    }
}

/// What a statement began with, to tell its own keywords from the next statement's.
#[derive(Debug)]
struct Head {
    first: String,
    /// INSERT has not had its source yet; WITH has not had its statement yet.
    is_open: bool,
    /// UPDATE has not had its SET yet.
    awaits_set: bool,
    is_cursor: bool,
}

impl Head {
    fn of(tokens: &Tokens<'_>) -> Self {
        let first = match tokens.peek() {
            Some(Token::Word(word)) => word.to_ascii_lowercase(),
            _ => String::new(),
        };
        let is_cursor = first == "declare"
            && (tokens.is_at(2, "cursor")
                || tokens.is_at(2, "insensitive")
                || tokens.is_at(2, "scroll"));
        Self {
            is_open: matches!(first.as_str(), "insert" | "with") || is_cursor,
            awaits_set: first == "update",
            is_cursor,
            first,
        }
    }

    /// VALUES is all that an INSERT needs.
    fn note(&mut self, token: &Token) {
        if self.first == "insert"
            && matches!(token, Token::Word(word) if word.eq_ignore_ascii_case("values"))
        {
            self.is_open = false;
        }
    }

    /// Whether a word that could begin a statement belongs to this one.
    fn goes_on(&mut self, word: &str, previous: Option<&Token>, tokens: Tokens<'_>) -> bool {
        let word = word.to_ascii_lowercase();
        let after = |words: &[&str]| matches!(previous, Some(Token::Word(before)) if words.iter().any(|known| before.eq_ignore_ascii_case(known)));
        if matches!(previous, Some(Token::Symbol(".")))
            || after(&["as"]) && word != "begin" && !matches!(word.as_str(), "select" | "with")
        {
            return true;
        }
        match word.as_str() {
            "select" if after(&["union", "all", "except", "intersect"]) => true,
            "select" | "exec" | "execute" if self.is_open => {
                self.is_open = false;
                // Behind WITH, INSERT and a cursor's FOR.
                true
            }
            "insert" | "update" | "delete" | "merge" if self.is_open && self.first == "with" => {
                self.is_open = word == "insert";
                self.awaits_set = word == "update";
                self.first = word;
                true
            }
            "set" if self.awaits_set => {
                self.awaits_set = false;
                true
            }
            // INSERT … WITH (TABLOCK); FROM t WITH (NOLOCK); WITH RECOMPILE.
            "with" => {
                matches!(tokens.peek_at(1), Some(Token::Symbol("(")))
                    || tokens.is_at(1, "ties")
                    || after(&["from"])
                    || self.first == "raiserror"
                    || self.first == "exec"
                    || self.first == "execute"
                    || self.first == "dbcc"
            }
            // OFFSET … ROWS FETCH NEXT.
            "fetch" => after(&["rows", "row"]),
            "update" => self.is_cursor && after(&["for"]),
            // SET XACT_ABORT … has no such words; ALTER TABLE … DROP, ADD … does.
            "drop" | "alter" | "set" | "with_" => self.first == "alter",
            "execute" | "exec" => self.first == "grant" || self.first == "insert" && after(&[")"]),
            "use" => after(&["option"]),
            "if" => self.first == "drop",
            // COMMIT TRAN, BEGIN TRAN and others are followed by names, never by these words.
            _ => false,
        }
    }
}

fn is_start(word: &str) -> bool {
    STARTS.iter().any(|start| word.eq_ignore_ascii_case(start))
}

#[cfg(test)]
mod tests {
    use super::super::lexer::lex;
    use super::*;

    fn count(text: &str) -> usize {
        parse(&lex(text, true).unwrap()).unwrap().len()
    }

    #[test]
    fn statements_end_without_semicolons() {
        for (text, expected) in [
            ("select 1 select 2", 2),
            ("insert into t select 1 insert t values (1) select 3", 3),
            ("update t set a = 1 set nocount on", 2),
            ("with x as (select 1 a) select * from x delete from t", 2),
            ("select case when 1=1 then 2 end a select 3", 2),
            (
                "if 1=1 select 1 else begin select 2 select 3 end select 4",
                2,
            ),
            ("select 1 union all select 2", 1),
            ("declare c cursor for select 1 open c fetch next from c", 3),
            ("begin try select 1 end try begin catch throw end catch", 1),
            (
                "select a from t order by a offset 1 rows fetch next 2 rows only",
                1,
            ),
            ("drop table if exists t create table t (a int)", 2),
            ("sp_who select 1", 2),
            ("create procedure p as select 1 select 2", 1),
            ("set implicit_transactions on begin tran commit tran", 3),
            ("if @@trancount > 0 commit tran;", 1),
        ] {
            assert_eq!(count(text), expected, "{text}");
        }
    }

    #[test]
    fn broken_control_flow_is_refused() {
        for text in [
            "if 1=1",
            "begin select 1",
            "end",
            "1",
            "while",
            "else select 1",
        ] {
            assert!(parse(&lex(text, true).unwrap()).is_err(), "{text}");
        }
    }
}
