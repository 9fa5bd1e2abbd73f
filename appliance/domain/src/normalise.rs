//! What players type, brought into the one form that is stored and looked up, with the limits of each field.

use caseless::Caseless;
use unicode_normalization::UnicodeNormalization;

use crate::codes::FIELD_INVALID;
use crate::error::Error;

/// Fewest code points of a username.
pub const USERNAME_MIN_CHARS: usize = 3;
/// Most code points of a username.
pub const USERNAME_MAX_CHARS: usize = 64;
/// Longest text that is looked at as a username, in bytes; one code point may grow under normalisation.
pub const USERNAME_INPUT_MAX_BYTES: usize = 1024;
/// Shortest password that may be set, in bytes. Old passwords that are shorter still log in.
pub const PASSWORD_MIN_BYTES: usize = 6;
/// Longest password, in bytes.
pub const PASSWORD_MAX_BYTES: usize = 128;
/// Longest install id, in bytes.
pub const INSTALL_ID_MAX_BYTES: usize = 128;
/// Longest name of a realm, game, package or key, in code points.
pub const NAME_MAX_CHARS: usize = 64;

/// An error that names the field and the rule it breaks.
pub(crate) fn field_error(field: &str, rule: &str) -> Error {
    FIELD_INVALID
        .because(format!("`{field}` {rule}."))
        .with("field", field)
        .with("rule", rule)
}

/// A username: what is shown, and what is looked up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Username {
    /// Normalised by NFKC, case kept.
    pub display: String,
    /// Normalised by NFKC and full case folding.
    pub key: String,
}

/// The form in which names are compared: NFKC around full case folding, so that a second run changes nothing.
pub(crate) fn fold(text: &str) -> String {
    if text.is_ascii() {
        return text.to_ascii_lowercase();
    }
    text.nfkc().default_case_fold().nfkc().collect()
}

/// Characters that no eye can see and that would let two different names look the same.
fn is_invisible(c: char) -> bool {
    matches!(c, '\u{ad}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
}

/// Checks and normalises a username.
pub(crate) fn username(text: &str) -> Result<Username, Error> {
    let refuse = |rule: &str| Err(field_error("username", rule));
    if text.len() > USERNAME_INPUT_MAX_BYTES {
        return refuse("has 3 to 64 code points");
    }
    let key = fold(text);
    let count = key.chars().count();
    if !(USERNAME_MIN_CHARS..=USERNAME_MAX_CHARS).contains(&count) {
        return refuse("has 3 to 64 code points");
    }
    if text
        .chars()
        .chain(key.chars())
        .any(|c| c.is_control() || is_invisible(c))
    {
        return refuse("has no control or invisible characters");
    }
    if key.starts_with(char::is_whitespace) || key.ends_with(char::is_whitespace) {
        return refuse("does not begin or end with a space");
    }
    let display = if text.is_ascii() {
        text.to_owned()
    } else {
        text.nfkc().collect()
    };
    Ok(Username { display, key })
}

/// A name that was imported although it breaks today's rule: bounded, otherwise as it was. `None` when it is empty or
/// longer than 255 bytes.
pub(crate) fn alias(text: &str) -> Option<String> {
    (1..=255)
        .contains(&text.len())
        .then(|| fold(text))
        .filter(|key| key.len() <= USERNAME_INPUT_MAX_BYTES)
}

/// A password that is being set.
pub(crate) fn new_password(text: &str, field: &str) -> Result<(), Error> {
    if (PASSWORD_MIN_BYTES..=PASSWORD_MAX_BYTES).contains(&text.len()) {
        return Ok(());
    }
    Err(field_error(field, "has 6 to 128 bytes"))
}

/// A password that is being checked: old platforms allowed shorter ones.
pub(crate) fn old_password(text: &str, field: &str) -> Result<(), Error> {
    if (1..=PASSWORD_MAX_BYTES).contains(&text.len()) {
        return Ok(());
    }
    Err(field_error(field, "has 1 to 128 bytes"))
}

/// An install id: visible, bounded, otherwise opaque.
pub(crate) fn install_id(text: &str) -> Result<(), Error> {
    if (1..=INSTALL_ID_MAX_BYTES).contains(&text.len()) && !text.chars().any(char::is_control) {
        return Ok(());
    }
    Err(field_error(
        "client.device.install_id",
        "has 1 to 128 bytes and no control characters",
    ))
}

/// A name an operator gives: trimmed, 1-64 code points, no control characters.
pub(crate) fn name(text: &str, field: &str) -> Result<String, Error> {
    let text = text.trim();
    let count = text.chars().take(NAME_MAX_CHARS + 1).count();
    if count == 0 || count > NAME_MAX_CHARS || text.chars().any(char::is_control) {
        return Err(field_error(field, "has 1 to 64 characters and no control characters"));
    }
    Ok(text.to_owned())
}

/// A phone number in E.164. Numbers of 11 digits that begin with 1 and name no country are Chinese mobile numbers,
/// which is how every platform of the market stores them.
pub(crate) fn phone(text: &str) -> Option<String> {
    if text.len() > 64 {
        return None;
    }
    let digits: String = text
        .chars()
        .filter(|c| !matches!(c, ' ' | '-' | '(' | ')' | '.'))
        .collect();
    let (international, digits) = match digits.strip_prefix('+').or_else(|| digits.strip_prefix("00")) {
        Some(rest) => (true, rest),
        None => (false, digits.as_str()),
    };
    if !digits.bytes().all(|b| b.is_ascii_digit()) || !(6..=15).contains(&digits.len()) || digits.starts_with('0') {
        return None;
    }
    match (international, digits.len()) {
        (true, _) => Some(format!("+{digits}")),
        (false, 11) if digits.starts_with('1') => Some(format!("+86{digits}")),
        (false, 13) if digits.starts_with("861") => Some(format!("+{digits}")),
        _ => None,
    }
}

/// A mail address in the form that is looked up: folded as a whole, since no provider tells case apart.
pub(crate) fn email(text: &str) -> Option<String> {
    let text = text.trim();
    let (local, domain) = text.rsplit_once('@')?;
    let plain = !text.chars().any(|c| c.is_control() || c.is_whitespace());
    let shaped = !local.is_empty() && domain.contains('.') && !domain.starts_with('.') && !domain.ends_with('.');
    (plain && shaped && text.len() <= 254).then(|| fold(text))
}

/// `ab…89`: enough to recognise, too little to call.
pub(crate) fn masked(text: &str) -> String {
    let chars: Vec<char> = text.chars().collect();
    let (head, tail) = if chars.len() >= 8 { (3, 2) } else { (1, 0) };
    let start: String = chars.iter().take(head).collect();
    let end: String = chars.iter().skip(chars.len().saturating_sub(tail)).collect();
    format!("{start}…{end}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn folding_twice_changes_nothing(text in "\\PC{0,40}") {
            let once = fold(&text);
            prop_assert_eq!(fold(&once), once);
        }

        #[test]
        fn a_username_s_key_is_its_own_key(text in "\\PC{0,70}") {
            if let Ok(name) = username(&text) {
                prop_assert_eq!(username(&name.key).unwrap().key, name.key.clone());
                prop_assert_eq!(username(&name.display).unwrap().key, name.key);
            }
        }

        #[test]
        fn nothing_panics(text in any::<String>()) {
            let _ = (username(&text), alias(&text), phone(&text), email(&text), install_id(&text), name(&text, "name"));
            let _ = masked(&text);
        }

        #[test]
        fn a_phone_s_form_is_its_own_form(text in "[+0-9 ()-]{0,20}") {
            if let Some(number) = phone(&text) {
                prop_assert_eq!(phone(&number), Some(number));
            }
        }
    }

    #[test]
    fn names_that_look_alike_are_one() {
        for (a, b) in [
            ("Alice", "alice"),
            ("ＡＬＩＣＥ", "alice"),
            ("Straße", "STRASSE"),
            ("ﬁne1", "FINE1"),
            ("张三丰", "张三丰"),
        ] {
            assert_eq!(username(a).unwrap().key, username(b).unwrap().key, "{a}");
        }
        assert_eq!(username("Alice").unwrap().display, "Alice");
    }

    #[test]
    fn names_outside_the_rule_are_refused_with_the_field() {
        let long = "x".repeat(65);
        let huge = "x".repeat(65_536);
        for bad in [
            "",
            "ab",
            &long,
            &huge,
            "a\0bc",
            "ab\ncd",
            "ab\u{200b}cd",
            " abc",
            "abc ",
            "ab\u{202e}c",
        ] {
            let error = username(bad).unwrap_err();
            assert_eq!(error.code, FIELD_INVALID);
            assert_eq!(
                error.params.get("field"),
                Some(&crate::error::Param::Text("username".into()))
            );
        }
        assert!(username(&"x".repeat(64)).is_ok());
        assert!(username("abc").is_ok());
    }

    #[test]
    fn passwords_have_their_limits() {
        assert!(new_password("12345", "password").is_err());
        assert!(new_password("123456", "password").is_ok());
        assert!(new_password(&"x".repeat(128), "password").is_ok());
        assert!(new_password(&"x".repeat(129), "password").is_err());
        assert!(old_password("1", "password").is_ok());
        assert!(old_password("", "password").is_err());
        assert!(old_password(&"x".repeat(129), "password").is_err());
    }

    #[test]
    fn phones_become_e164() {
        for (typed, stored) in [
            ("13800138000", Some("+8613800138000")),
            ("+86 138-0013-8000", Some("+8613800138000")),
            ("8613800138000", Some("+8613800138000")),
            ("0044 20 7946 0000", Some("+442079460000")),
            ("23800138000", None),
            ("12345", None),
            ("+0123456789", None),
            ("phone", None),
            ("", None),
        ] {
            assert_eq!(phone(typed).as_deref(), stored, "{typed}");
        }
    }

    #[test]
    fn mails_fold_and_must_have_a_shape() {
        assert_eq!(email(" Player@Example.COM ").as_deref(), Some("player@example.com"));
        for bad in ["", "@", "a@", "@b.c", "a b@c.d", "a@b", "a@.b", "a@b."] {
            assert_eq!(email(bad), None, "{bad}");
        }
    }

    #[test]
    fn masks_show_little() {
        assert_eq!(masked("+8613800138000"), "+86…00");
        assert_eq!(masked("short"), "s…");
        assert_eq!(masked(""), "…");
    }

    #[test]
    fn install_ids_and_names_are_bounded() {
        assert!(install_id("").is_err() && install_id(&"i".repeat(129)).is_err() && install_id("a\tb").is_err());
        assert!(install_id(&"i".repeat(128)).is_ok());
        assert_eq!(name("  Sea  ", "name").unwrap(), "Sea");
        assert!(name("   ", "name").is_err() && name(&"n".repeat(65), "name").is_err());
        assert!(alias("").is_none() && alias(&"n".repeat(256)).is_none());
        assert_eq!(alias("A").as_deref(), Some("a"));
    }
}
