//! Reading filters: a tokenizer and a parser by recursive descent.
//!
//! ```text
//! any        = all ("or" all)*
//! all        = one ("and" one)*
//! one        = "not" one | "(" any ")" | field condition?
//! condition  = comparison value | "not"? "in" list | "all" list | "contains" string | "starts" "with" string
//!            | "is" "not"? "missing"
//! list       = "[" (value ("," value)*)? "]"
//! ```

use std::str::FromStr;

use super::{Comparison, Field, Filter, Number, Value};
use crate::error::{Error, Result};

/// The words of the language, which are no names unless they are in backquotes.
const WORDS: [&str; 6] = ["and", "or", "not", "in", "true", "false"];

/// The most levels of parentheses and `not`: more than a person writes, few enough for the stack.
const MAX_DEPTH: usize = 100;

pub(super) fn is_plain_name(name: &str) -> bool {
    name.starts_with(begins_name) && name.chars().all(goes_on_in_name) && !WORDS.contains(&name)
}

fn begins_name(c: char) -> bool {
    c.is_alphabetic() || c == '_'
}

fn goes_on_in_name(c: char) -> bool {
    c.is_alphanumeric() || c == '_' || c == '-'
}

#[derive(Debug, Clone, PartialEq)]
enum Token {
    /// One of [`WORDS`] or of `( ) [ ] , .`.
    Sign(&'static str),
    Compare(Comparison),
    Name(String),
    Value(Value),
    End,
}

impl FromStr for Filter {
    type Err = Error;

    /// Reads a filter.
    ///
    /// # Errors
    /// [`Error::InvalidFilter`], with the place, what was expected there, and what is there.
    fn from_str(text: &str) -> Result<Filter> {
        let mut parser = Parser { text, token: Token::End, start: 0, end: 0, depth: 0 };
        parser.advance()?;
        let filter = parser.any()?;
        match parser.token {
            Token::End => Ok(filter),
            _ => Err(parser.expected("`and`, `or` or the end")),
        }
    }
}

struct Parser<'t> {
    text: &'t str,
    /// The current token, and where it begins and ends.
    token: Token,
    start: usize,
    end: usize,
    depth: usize,
}

impl Parser<'_> {
    fn any(&mut self) -> Result<Filter> {
        self.list("or", Parser::all, Filter::Or)
    }

    fn all(&mut self) -> Result<Filter> {
        self.list("and", Parser::one, Filter::And)
    }

    fn list(
        &mut self,
        word: &'static str,
        part: fn(&mut Self) -> Result<Filter>,
        whole: fn(Vec<Filter>) -> Filter,
    ) -> Result<Filter> {
        let first = part(self)?;
        if self.token != Token::Sign(word) {
            return Ok(first);
        }
        let mut parts = vec![first];
        while self.take(word)? {
            parts.push(part(self)?);
        }
        Ok(whole(parts))
    }

    fn one(&mut self) -> Result<Filter> {
        if self.depth == MAX_DEPTH {
            return Err(self.expected("at most 100 parentheses and `not` in one another"));
        }
        self.depth += 1;
        let filter = if self.take("not")? {
            Filter::Not(Box::new(self.one()?))
        } else if self.take("(")? {
            let inner = self.any()?;
            if !self.take(")")? {
                return Err(self.expected("`and`, `or` or `)`"));
            }
            inner
        } else {
            let field = self.field("a field, `not` or `(`")?;
            self.condition(field)?
        };
        self.depth -= 1;
        Ok(filter)
    }

    fn field(&mut self, expected: &'static str) -> Result<Field> {
        let mut path = Vec::new();
        loop {
            let Token::Name(name) = &mut self.token else {
                return Err(self.expected(if path.is_empty() { expected } else { "the name of a field" }));
            };
            path.push(std::mem::take(name));
            self.advance()?;
            if !self.take(".")? {
                return Ok(Field(path));
            }
        }
    }

    fn condition(&mut self, field: Field) -> Result<Filter> {
        match self.token {
            Token::Compare(comparison) => {
                self.advance()?;
                Ok(Filter::Compare(field, comparison, self.value()?))
            }
            Token::Sign("in") => Ok(Filter::In(field, self.values()?)),
            Token::Sign("not") => {
                self.advance()?;
                if self.token != Token::Sign("in") {
                    return Err(self.expected("`in`"));
                }
                Ok(Filter::Not(Box::new(Filter::In(field, self.values()?))))
            }
            Token::End | Token::Sign("and" | "or" | ")") => {
                Ok(Filter::Compare(field, Comparison::Equal, Value::Bool(true)))
            }
            // These words are names elsewhere.
            _ if self.is_name("all") => Ok(Filter::All(field, self.values()?)),
            _ if self.is_name("contains") => {
                self.advance()?;
                Ok(Filter::Contains(field, self.string_value()?))
            }
            _ if self.is_name("starts") => {
                self.advance()?;
                if !self.is_name("with") {
                    return Err(self.expected("`with`"));
                }
                self.advance()?;
                Ok(Filter::StartsWith(field, self.string_value()?))
            }
            _ if self.is_name("is") => {
                self.advance()?;
                let is_there = self.take("not")?;
                if !self.is_name("missing") {
                    return Err(self.expected("`missing`"));
                }
                self.advance()?;
                let missing = Filter::Missing(field);
                Ok(if is_there { Filter::Not(Box::new(missing)) } else { missing })
            }
            _ => Err(self.expected(
                "==, !=, <, <=, >, >=, `in`, `all`, `contains`, `starts with`, `is missing`, `and`, `or` or the end",
            )),
        }
    }

    fn is_name(&self, name: &str) -> bool {
        matches!(&self.token, Token::Name(found) if found == name)
    }

    fn string_value(&mut self) -> Result<String> {
        match self.token {
            Token::Value(Value::String(_)) => {}
            _ => return Err(self.expected("a string in double quotes")),
        }
        match self.value()? {
            Value::String(string) => Ok(string),
            _ => Err(self.expected("a string in double quotes")),
        }
    }

    /// `in` or `all`, and what follows.
    fn values(&mut self) -> Result<Vec<Value>> {
        self.advance()?;
        if !self.take("[")? {
            return Err(self.expected("a list such as [\"a\", \"b\"]"));
        }
        let mut values = Vec::new();
        if self.take("]")? {
            return Ok(values);
        }
        loop {
            values.push(self.value()?);
            if self.take("]")? {
                return Ok(values);
            }
            if !self.take(",")? {
                return Err(self.expected("`,` or `]`"));
            }
        }
    }

    fn value(&mut self) -> Result<Value> {
        let value = match &self.token {
            Token::Value(value) => value.clone(),
            Token::Sign("true") => Value::Bool(true),
            Token::Sign("false") => Value::Bool(false),
            _ => return Err(self.expected("a string in double quotes, a number, true or false")),
        };
        self.advance()?;
        Ok(value)
    }

    /// Goes past a sign, if it is the current token.
    fn take(&mut self, sign: &'static str) -> Result<bool> {
        let is_it = self.token == Token::Sign(sign);
        if is_it {
            self.advance()?;
        }
        Ok(is_it)
    }

    fn advance(&mut self) -> Result<()> {
        let rest = &self.text[self.end..];
        self.start = self.text.len() - rest.trim_start().len();
        let rest = &self.text[self.start..];
        let (token, len) = match rest.chars().next() {
            None => (Token::End, 0),
            Some(c) if begins_name(c) => {
                let len = rest.find(|c| !goes_on_in_name(c)).unwrap_or(rest.len());
                let token = match WORDS.iter().find(|word| **word == &rest[..len]) {
                    Some(word) => Token::Sign(word),
                    None => Token::Name(rest[..len].to_owned()),
                };
                (token, len)
            }
            Some('`') => self.quoted_name(rest)?,
            Some('"') => self.string(rest)?,
            Some(c) if c.is_ascii_digit() || c == '-' => self.number(rest)?,
            Some(_) => self.sign(rest)?,
        };
        self.token = token;
        self.end = self.start + len;
        Ok(())
    }

    /// A name in backquotes; two stand for one in it.
    fn quoted_name(&mut self, rest: &str) -> Result<(Token, usize)> {
        let mut name = String::new();
        let mut at = 1;
        while let Some(len) = rest[at..].find('`') {
            name.push_str(&rest[at..at + len]);
            at += len + 1;
            if !rest[at..].starts_with('`') {
                return Ok((Token::Name(name), at));
            }
            name.push('`');
            at += 1;
        }
        Err(self.error("a name that ends with a backquote", rest))
    }

    fn string(&mut self, rest: &str) -> Result<(Token, usize)> {
        let mut is_escaped = false;
        let closing = rest[1..].bytes().position(|byte| {
            let closes = byte == b'"' && !is_escaped;
            is_escaped = byte == b'\\' && !is_escaped;
            closes
        });
        let Some(closing) = closing else {
            return Err(self.error("a string that ends with a double quote", rest));
        };
        let len = closing + 2;
        match serde_json::from_str(&rest[..len]) {
            Ok(string) => Ok((Token::Value(Value::String(string)), len)),
            Err(_) => Err(self.error("a string with JSON's escapes", &rest[..len])),
        }
    }

    fn number(&mut self, rest: &str) -> Result<(Token, usize)> {
        let is_part = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '+' | '-' | '_');
        let len = rest.find(|c| !is_part(c)).unwrap_or(rest.len());
        let number = serde_json::from_str::<serde_json::Number>(&rest[..len]);
        match number.ok().as_ref().and_then(Number::from_json) {
            Some(number) => Ok((Token::Value(Value::Number(number)), len)),
            None => Err(self.error("a number such as -1.5e3", &rest[..len])),
        }
    }

    fn sign(&mut self, rest: &str) -> Result<(Token, usize)> {
        if let Some((comparison, name)) = Comparison::ALL.iter().find(|(_, name)| rest.starts_with(name)) {
            return Ok((Token::Compare(*comparison), name.len()));
        }
        match ["(", ")", "[", "]", ",", "."].into_iter().find(|sign| rest.starts_with(sign)) {
            Some(sign) => Ok((Token::Sign(sign), 1)),
            None => Err(self.error("a field, a value, a comparison such as ==, or a parenthesis", rest)),
        }
    }

    /// The current token is another one than expected.
    fn expected(&self, expected: &'static str) -> Error {
        self.error(expected, &self.text[self.start..self.end])
    }

    fn error(&self, expected: &'static str, found: &str) -> Error {
        const SHOWN: usize = 30;
        let mut shown: String = found.chars().take(SHOWN).collect();
        if found.chars().nth(SHOWN).is_some() {
            shown.push_str("...");
        }
        Error::InvalidFilter {
            column: self.text[..self.start].chars().count() + 1,
            expected,
            found: if found.is_empty() { "the end".into() } else { format!("`{shown}`") },
        }
    }
}
