//! Reads tokens by the grammar of the module above, straight into the flat program.

use super::lexer::{Spanned, Token};
use super::{COMPARISONS_MAX, Comparison, Condition, ConditionError, DEPTH_MAX, Expected, Op};

/// Reads a whole condition.
pub(super) fn parse(tokens: &[Spanned]) -> Result<Condition, ConditionError> {
    let out = Condition { comparisons: Vec::new(), ops: Vec::new() };
    let mut parser = Parser { rest: tokens, depth: 0, out };
    parser.either()?;
    if parser.accept(&Token::End) {
        Ok(parser.out)
    } else {
        Err(parser.unexpected(Expected::Joint))
    }
}

struct Parser<'a> {
    rest: &'a [Spanned],
    depth: usize,
    out: Condition,
}

impl Parser<'_> {
    fn either(&mut self) -> Result<(), ConditionError> {
        self.both()?;
        while self.accept(&Token::Or) {
            self.both()?;
            self.out.ops.push(Op::Or);
        }
        Ok(())
    }

    fn both(&mut self) -> Result<(), ConditionError> {
        self.part()?;
        while self.accept(&Token::And) {
            self.part()?;
            self.out.ops.push(Op::And);
        }
        Ok(())
    }

    fn part(&mut self) -> Result<(), ConditionError> {
        let column = self.column();
        if !self.accept(&Token::Open) {
            return self.comparison();
        }
        self.depth += 1;
        if self.depth > DEPTH_MAX {
            return Err(ConditionError::TooDeep { column });
        }
        self.either()?;
        if !self.accept(&Token::Close) {
            return Err(self.unexpected(Expected::Close));
        }
        self.depth -= 1;
        Ok(())
    }

    fn comparison(&mut self) -> Result<(), ConditionError> {
        let column = self.column();
        let Some(Token::Name(property)) = self.token().cloned() else {
            return Err(self.unexpected(Expected::Property));
        };
        self.advance();
        let Some(Token::Compare(operator)) = self.token().cloned() else {
            return Err(self.unexpected(Expected::Operator));
        };
        self.advance();
        let limit = self.limit()?;
        if self.out.comparisons.len() == COMPARISONS_MAX {
            return Err(ConditionError::TooMany { column });
        }
        self.out.comparisons.push(Comparison { property, operator, limit, column });
        self.out.ops.push(Op::Test);
        Ok(())
    }

    fn limit(&mut self) -> Result<f64, ConditionError> {
        let negative = self.accept(&Token::Minus);
        let number = match self.token() {
            Some(Token::Number(number)) => *number,
            Some(Token::Name(word)) if &**word == "true" && !negative => 1.0,
            Some(Token::Name(word)) if &**word == "false" && !negative => 0.0,
            _ => return Err(self.unexpected(Expected::Limit)),
        };
        self.advance();
        // `-0` and `0` are one limit, and one meaning.
        Ok(if negative && number > 0.0 { -number } else { number })
    }

    fn token(&self) -> Option<&Token> {
        self.rest.first().map(|spanned| &spanned.token)
    }

    fn column(&self) -> u32 {
        self.rest.first().map_or(1, |spanned| spanned.column)
    }

    fn advance(&mut self) {
        self.rest = self.rest.split_first().map_or(self.rest, |(_, rest)| rest);
    }

    fn accept(&mut self, wanted: &Token) -> bool {
        let is_there = self.token() == Some(wanted);
        if is_there {
            self.advance();
        }
        is_there
    }

    fn unexpected(&self, expected: Expected) -> ConditionError {
        let found = self.token().map(Token::written).unwrap_or_default();
        ConditionError::Unexpected { column: self.column(), expected, found }
    }
}
