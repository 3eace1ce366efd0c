//! Cuts the text of a condition into tokens, each with its column.

use std::iter::Peekable;
use std::str::Chars;

use telemetry::problem::excerpt;

use super::{ConditionError, Operator};

#[derive(Debug, Clone, PartialEq)]
pub(super) enum Token {
    Name(Box<str>),
    Number(f64),
    Compare(Operator),
    And,
    Or,
    Open,
    Close,
    Minus,
    End,
}

impl Token {
    /// Returns the token for an error text; empty at the end.
    pub(super) fn written(&self) -> Box<str> {
        match self {
            Self::Name(name) => excerpt(name).into(),
            Self::Number(number) => number.to_string().into(),
            Self::Compare(operator) => operator.as_str().into(),
            Self::And => "&&".into(),
            Self::Or => "||".into(),
            Self::Open => "(".into(),
            Self::Close => ")".into(),
            Self::Minus => "-".into(),
            Self::End => "".into(),
        }
    }
}

#[derive(Debug)]
pub(super) struct Spanned {
    pub(super) token: Token,
    pub(super) column: u32,
}

/// Returns the tokens; the last is always `End`.
pub(super) fn tokens(text: &str) -> Result<Vec<Spanned>, ConditionError> {
    let mut lexer = Lexer { chars: text.chars().peekable(), column: 1 };
    let mut out = Vec::new();
    loop {
        lexer.take_while(char::is_whitespace);
        let column = lexer.column;
        let token = lexer.token()?;
        let is_end = token == Token::End;
        out.push(Spanned { token, column });
        if is_end {
            return Ok(out);
        }
    }
}

struct Lexer<'a> {
    chars: Peekable<Chars<'a>>,
    column: u32,
}

impl Lexer<'_> {
    fn token(&mut self) -> Result<Token, ConditionError> {
        let column = self.column;
        let Some(first) = self.chars.peek().copied() else { return Ok(Token::End) };
        if first.is_alphabetic() || first == '_' {
            return Ok(Token::Name(self.take_while(is_of_name).into()));
        }
        if first.is_ascii_digit() || first == '.' {
            return self.number();
        }
        self.next();
        Ok(match first {
            '(' => Token::Open,
            ')' => Token::Close,
            '-' => Token::Minus,
            '<' if self.accept('=') => Token::Compare(Operator::LessOrEqual),
            '<' => Token::Compare(Operator::Less),
            '>' if self.accept('=') => Token::Compare(Operator::GreaterOrEqual),
            '>' => Token::Compare(Operator::Greater),
            '=' if self.accept('=') => Token::Compare(Operator::Equal),
            '!' if self.accept('=') => Token::Compare(Operator::NotEqual),
            '&' if self.accept('&') => Token::And,
            '|' if self.accept('|') => Token::Or,
            _ => return Err(ConditionError::Unknown { column, found: first.to_string().into() }),
        })
    }

    fn number(&mut self) -> Result<Token, ConditionError> {
        let column = self.column;
        let mut written = self.take_while(|c| c.is_ascii_digit() || c == '.');
        if let Some(exponent) = self.chars.next_if(|c| matches!(c, 'e' | 'E')) {
            self.column = self.column.saturating_add(1);
            written.push(exponent);
            if let Some(sign) = self.chars.next_if(|c| matches!(c, '+' | '-')) {
                self.column = self.column.saturating_add(1);
                written.push(sign);
            }
        }
        // Takes a unit along that was written behind the number, so that the error shows the whole word.
        written.push_str(&self.take_while(|c| is_of_name(c) || c == '.'));
        match written.parse::<f64>() {
            Ok(number) if number.is_finite() => Ok(Token::Number(number)),
            _ => Err(ConditionError::NotANumber { column, found: excerpt(&written).into() }),
        }
    }

    fn next(&mut self) {
        if self.chars.next().is_some() {
            self.column = self.column.saturating_add(1);
        }
    }

    fn accept(&mut self, wanted: char) -> bool {
        let is_there = self.chars.peek() == Some(&wanted);
        if is_there {
            self.next();
        }
        is_there
    }

    fn take_while(&mut self, belongs: impl Fn(char) -> bool) -> String {
        let mut out = String::new();
        while let Some(c) = self.chars.next_if(|c| belongs(*c)) {
            self.column = self.column.saturating_add(1);
            out.push(c);
        }
        out
    }
}

/// A property may be named in any script; the marks of CEL stay free for growth.
fn is_of_name(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}
