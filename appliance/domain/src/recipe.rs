//! Password recipes of old platforms, as data.
//!
//! A recipe is either one of the schemes whose record carries everything (`bcrypt`, `phpass`, `argon2`) or an
//! expression over `password`, `salt` and `pepper` joined by `+`, with `md5`, `sha1`, `sha256`, `sha512` (each prints
//! lower-case hex) and `upper` and `lower`, for example `md5(md5(password)+salt)`. Parsing is total: any text gives a
//! recipe or a reason, within 256 characters and 8 levels.

mod expression;
mod phpass;

use subtle::ConstantTimeEq;

use expression::{Expression, Inputs};
pub use expression::{RECIPE_DEPTH_MAX, RECIPE_MAX_BYTES, RecipeError};

use crate::password::{self, HashMemory};

/// Highest accepted cost of a foreign bcrypt record (2^15 rounds, about two seconds of one core).
pub const BCRYPT_COST_MAX: u32 = 15;

/// How an old platform made its hash of a password.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recipe {
    text: String,
    scheme: Scheme,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Scheme {
    Expression(Expression),
    Bcrypt,
    Phpass,
    Argon2,
}

impl Recipe {
    /// Reads a recipe.
    ///
    /// # Errors
    /// [`RecipeError`] says what is wrong and at which character.
    pub fn parse(text: &str) -> Result<Self, RecipeError> {
        let text = text.trim().to_ascii_lowercase();
        let scheme = match text.as_str() {
            "bcrypt" => Scheme::Bcrypt,
            "phpass" => Scheme::Phpass,
            "argon2" | "argon2i" | "argon2id" => Scheme::Argon2,
            expression => Scheme::Expression(expression::parse(expression)?),
        };
        Ok(Self { text, scheme })
    }

    /// Its text, in the normal form.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether checking needs the pepper.
    #[must_use]
    pub fn needs_pepper(&self) -> bool {
        matches!(&self.scheme, Scheme::Expression(expression) if expression.uses_pepper())
    }

    /// Whether `hash` can be a record of this recipe at all; the reason holds no secret.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn check_shape(&self, hash: &str) -> Result<(), &'static str> {
        match &self.scheme {
            Scheme::Expression(expression) if hash.len() != expression.hex_chars() => {
                Err("hash has another length than the recipe makes")
            }
            Scheme::Expression(_) if !hash.bytes().all(|b| b.is_ascii_hexdigit()) => Err("hash is not hexadecimal"),
            Scheme::Expression(_) => Ok(()),
            Scheme::Bcrypt => bcrypt_shape(hash),
            Scheme::Phpass => phpass::parse(hash).map(drop),
            Scheme::Argon2 => password::parse_phc(hash).map(drop),
        }
    }

    /// Whether `password` gives `hash`. Slow for the deliberate schemes: run it on the hash pool.
    ///
    /// # Errors
    /// The stored record cannot be used, and why; holds no secret.
    pub fn check(
        &self,
        password: &str,
        hash: &str,
        salt: &str,
        pepper: &str,
        memory: &mut HashMemory,
    ) -> Result<bool, &'static str> {
        self.check_shape(hash)?;
        match &self.scheme {
            Scheme::Expression(expression) => {
                let made = expression
                    .evaluate(&Inputs { password, salt, pepper })
                    .to_ascii_lowercase();
                Ok(made.as_bytes().ct_eq(hash.to_ascii_lowercase().as_bytes()).into())
            }
            Scheme::Bcrypt => bcrypt::verify(password, hash).map_err(|_| "bcrypt record is damaged"),
            Scheme::Phpass => phpass::check(password, hash),
            Scheme::Argon2 => password::check_phc(password, hash, memory),
        }
    }
}

fn bcrypt_shape(hash: &str) -> Result<(), &'static str> {
    let shaped = hash.len() == 60
        && ["$2a$", "$2b$", "$2x$", "$2y$"]
            .iter()
            .any(|prefix| hash.starts_with(prefix));
    let cost = hash.get(4..6).and_then(|digits| digits.parse::<u32>().ok());
    match cost {
        Some(cost) if shaped && (4..=BCRYPT_COST_MAX).contains(&cost) => Ok(()),
        Some(cost) if shaped && cost > BCRYPT_COST_MAX => Err("bcrypt cost is above 15"),
        _ => Err("hash is not a bcrypt record"),
    }
}

#[cfg(test)]
mod tests;
