//! The expression language of recipes: a recursive-descent parser with bounded depth, and an evaluator.

use std::fmt::Write as _;

use md5::Md5;
use sha1::Sha1;
use sha2::{Digest, Sha256, Sha512};

/// Longest recipe, in bytes.
pub const RECIPE_MAX_BYTES: usize = 256;
/// Deepest nesting of functions.
pub const RECIPE_DEPTH_MAX: usize = 8;

/// Why a text is not a recipe.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RecipeError {
    /// Longer than [`RECIPE_MAX_BYTES`].
    #[error("recipe is longer than 256 bytes")]
    TooLong,
    /// Deeper than [`RECIPE_DEPTH_MAX`].
    #[error("recipe nests deeper than 8 functions")]
    TooDeep,
    /// Something else was expected at this byte.
    #[error("recipe: expected {expected} at character {at}")]
    Expected {
        /// What would have been right.
        expected: &'static str,
        /// Position from 1.
        at: usize,
    },
    /// The outermost function must be a digest, or the stored hash would be the password.
    #[error("recipe must be a digest, like md5(password)")]
    NoDigest,
    /// The password does not occur.
    #[error("recipe does not use the password")]
    NoPassword,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Function {
    Md5,
    Sha1,
    Sha256,
    Sha512,
    Upper,
    Lower,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Expression {
    Password,
    Salt,
    Pepper,
    Joined(Vec<Expression>),
    Call(Function, Box<Expression>),
}

/// What an expression is evaluated over.
pub(super) struct Inputs<'a> {
    pub password: &'a str,
    pub salt: &'a str,
    pub pepper: &'a str,
}

impl Expression {
    pub(super) fn evaluate(&self, inputs: &Inputs<'_>) -> String {
        match self {
            Self::Password => inputs.password.to_owned(),
            Self::Salt => inputs.salt.to_owned(),
            Self::Pepper => inputs.pepper.to_owned(),
            Self::Joined(parts) => parts.iter().map(|part| part.evaluate(inputs)).collect(),
            Self::Call(function, inner) => function.apply(&inner.evaluate(inputs)),
        }
    }

    pub(super) fn uses_pepper(&self) -> bool {
        self.uses(&Self::Pepper)
    }

    fn uses(&self, leaf: &Self) -> bool {
        match self {
            Self::Joined(parts) => parts.iter().any(|part| part.uses(leaf)),
            Self::Call(_, inner) => inner.uses(leaf),
            other => other == leaf,
        }
    }

    /// Length of the printed hash; zero when the outermost function is no digest.
    pub(super) fn hex_chars(&self) -> usize {
        match self {
            Self::Call(Function::Md5, _) => 32,
            Self::Call(Function::Sha1, _) => 40,
            Self::Call(Function::Sha256, _) => 64,
            Self::Call(Function::Sha512, _) => 128,
            Self::Call(Function::Upper | Function::Lower, inner) => inner.hex_chars(),
            _ => 0,
        }
    }
}

impl Function {
    fn apply(self, text: &str) -> String {
        match self {
            Self::Md5 => hex(&Md5::digest(text)),
            Self::Sha1 => hex(&Sha1::digest(text)),
            Self::Sha256 => hex(&Sha256::digest(text)),
            Self::Sha512 => hex(&Sha512::digest(text)),
            Self::Upper => text.to_ascii_uppercase(),
            Self::Lower => text.to_ascii_lowercase(),
        }
    }

    fn named(name: &str) -> Option<Self> {
        Some(match name {
            "md5" => Self::Md5,
            "sha1" => Self::Sha1,
            "sha256" => Self::Sha256,
            "sha512" => Self::Sha512,
            "upper" => Self::Upper,
            "lower" => Self::Lower,
            _ => return None,
        })
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes
        .iter()
        .fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
            let _ = write!(text, "{byte:02x}");
            text
        })
}

/// Parses an expression that must be a digest of something with the password in it.
pub(super) fn parse(text: &str) -> Result<Expression, RecipeError> {
    if text.len() > RECIPE_MAX_BYTES {
        return Err(RecipeError::TooLong);
    }
    let mut parser = Parser { text, at: 0 };
    let expression = parser.sum(0)?;
    parser.skip_spaces();
    if parser.at < text.len() {
        return Err(parser.expected("`+` or the end"));
    }
    if expression.hex_chars() == 0 {
        return Err(RecipeError::NoDigest);
    }
    if !expression.uses(&Expression::Password) {
        return Err(RecipeError::NoPassword);
    }
    Ok(expression)
}

struct Parser<'a> {
    text: &'a str,
    at: usize,
}

impl Parser<'_> {
    fn rest(&self) -> &str {
        self.text.get(self.at..).unwrap_or_default()
    }

    fn skip_spaces(&mut self) {
        self.at += self.rest().len() - self.rest().trim_start_matches(' ').len();
    }

    fn takes(&mut self, symbol: char) -> bool {
        self.skip_spaces();
        let there = self.rest().starts_with(symbol);
        self.at += if there { symbol.len_utf8() } else { 0 };
        there
    }

    fn expected(&self, expected: &'static str) -> RecipeError {
        RecipeError::Expected {
            expected,
            at: self.at + 1,
        }
    }

    fn sum(&mut self, depth: usize) -> Result<Expression, RecipeError> {
        let first = self.term(depth)?;
        let mut parts = vec![first];
        while self.takes('+') {
            parts.push(self.term(depth)?);
        }
        Ok(match (parts.pop(), parts.is_empty()) {
            (Some(only), true) => only,
            (Some(last), false) => {
                parts.push(last);
                Expression::Joined(parts)
            }
            (None, _) => return Err(self.expected("a term")),
        })
    }

    fn term(&mut self, depth: usize) -> Result<Expression, RecipeError> {
        if depth > RECIPE_DEPTH_MAX {
            return Err(RecipeError::TooDeep);
        }
        self.skip_spaces();
        let name_at = self.at;
        let length = self.rest().bytes().take_while(u8::is_ascii_alphanumeric).count();
        let name = self.rest().get(..length).unwrap_or_default().to_owned();
        self.at += length;
        match name.as_str() {
            "password" => return Ok(Expression::Password),
            "salt" => return Ok(Expression::Salt),
            "pepper" => return Ok(Expression::Pepper),
            _ => {}
        }
        let Some(function) = Function::named(&name) else {
            self.at = name_at;
            return Err(self.expected("password, salt, pepper, md5, sha1, sha256, sha512, upper or lower"));
        };
        if !self.takes('(') {
            return Err(self.expected("`(`"));
        }
        let inner = self.sum(depth + 1)?;
        if !self.takes(')') {
            return Err(self.expected("`)`"));
        }
        Ok(Expression::Call(function, Box::new(inner)))
    }
}
