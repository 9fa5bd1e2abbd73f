//! Known answers of every scheme, and a parser that never panics.

use proptest::prelude::*;

use super::*;
use crate::HashCost;

fn memory() -> HashMemory {
    HashMemory::for_cost(HashCost::default())
}

fn check(recipe: &str, password: &str, hash: &str, salt: &str, pepper: &str) -> Result<bool, &'static str> {
    Recipe::parse(recipe)
        .unwrap()
        .check(password, hash, salt, pepper, &mut memory())
}

/// Made with PHP's md5(), sha1() and hash(), and with coreutils.
const KNOWN: &[(&str, &str, &str, &str, &str)] = &[
    ("md5(password)", "123456", "e10adc3949ba59abbe56e057f20f883e", "", ""),
    ("MD5(password)", "123456", "E10ADC3949BA59ABBE56E057F20F883E", "", ""),
    (
        "upper(md5(password))",
        "123456",
        "e10adc3949ba59abbe56e057f20f883e",
        "",
        "",
    ),
    (
        "md5(md5(password))",
        "123456",
        "14e1b600b1fd579f47433b88e8d85291",
        "",
        "",
    ),
    (
        "sha1(password)",
        "123456",
        "7c4a8d09ca3762af61e59520943dc26494f8941b",
        "",
        "",
    ),
    (
        "sha256(password)",
        "123456",
        "8d969eef6ecad3c29a3a629280e686cf0c3f5d5a86aff3ca12020c923adc6c92",
        "",
        "",
    ),
    (
        "md5(password+salt)",
        "123",
        "e10adc3949ba59abbe56e057f20f883e",
        "456",
        "",
    ),
    (
        "md5( salt + password )",
        "456",
        "e10adc3949ba59abbe56e057f20f883e",
        "123",
        "",
    ),
    (
        "md5(salt+password+pepper)",
        "34",
        "e10adc3949ba59abbe56e057f20f883e",
        "12",
        "56",
    ),
    (
        "sha512(password)",
        "abc",
        "ddaf35a193617abacc417349ae20413112e6fa4e89a97ea20a9eeee64b55d39a2192992a274fc1a836ba3c23a3feebbd454d4423643ce80e2a9ac94fa54ca49f",
        "",
        "",
    ),
];

#[test]
fn known_answers_of_the_expression_recipes() {
    for (recipe, password, hash, salt, pepper) in KNOWN {
        assert_eq!(check(recipe, password, hash, salt, pepper), Ok(true), "{recipe}");
        assert_eq!(check(recipe, "wrong", hash, salt, pepper), Ok(false), "{recipe}");
    }
}

#[test]
fn inner_digests_are_lower_case_hex_unless_told_otherwise() {
    let inner = "e10adc3949ba59abbe56e057f20f883e";
    let nested = Recipe::parse("md5(md5(password)+salt)").unwrap();
    let plain = Recipe::parse("md5(password)").unwrap();
    let hash_of = |text: &str| match &plain.scheme {
        Scheme::Expression(expression) => expression.evaluate(&Inputs {
            password: text,
            salt: "",
            pepper: "",
        }),
        _ => unreachable!(),
    };
    assert_eq!(
        nested.check("123456", &hash_of(&format!("{inner}x7")), "x7", "", &mut memory()),
        Ok(true)
    );
    assert_eq!(
        check(
            "md5(upper(md5(password)))",
            "123456",
            &hash_of(&inner.to_uppercase()),
            "",
            ""
        ),
        Ok(true)
    );
}

#[test]
fn bcrypt_of_every_prefix() {
    // Vectors of the crypt_blowfish test programme.
    let tail = "05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW";
    for prefix in ["$2a$", "$2b$", "$2y$"] {
        assert_eq!(
            check("bcrypt", "U*U", &format!("{prefix}{tail}"), "", ""),
            Ok(true),
            "{prefix}"
        );
        assert_eq!(
            check("bcrypt", "U*V", &format!("{prefix}{tail}"), "", ""),
            Ok(false),
            "{prefix}"
        );
    }
}

#[test]
fn phpass_with_its_own_vector() {
    // The vector phpass ships with.
    let record = "$P$9IQRaTwmfeRo7ud9Fh4E2PdI0S3r.L0";
    assert_eq!(check("phpass", "test12345", record, "", ""), Ok(true));
    assert_eq!(check("phpass", "test12346", record, "", ""), Ok(false));
    assert_eq!(
        check("phpass", "test12345", &record.replacen("$P$", "$H$", 1), "", ""),
        Ok(true)
    );
}

#[test]
fn argon2_records_of_other_programmes() {
    // Vectors of the reference implementation's test.c (m = 2^8 and 2^16 blocks).
    let argon2i = "$argon2i$v=19$m=256,t=2,p=1$c29tZXNhbHQ$iekCn0Y3spW+sCcFanM2xBT63UP2sghkUoHLIUpWRS8";
    assert_eq!(check("argon2", "password", argon2i, "", ""), Ok(true));
    assert_eq!(check("argon2", "passwort", argon2i, "", ""), Ok(false));
    let argon2id = "$argon2id$v=19$m=256,t=2,p=1$c29tZXNhbHQ$nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4";
    assert_eq!(check("argon2id", "password", argon2id, "", ""), Ok(true));
}

#[test]
fn records_of_the_wrong_shape_are_unusable_not_wrong() {
    for (recipe, hash) in [
        ("md5(password)", "e10adc3949ba59abbe56e057f20f88"),
        ("md5(password)", "g10adc3949ba59abbe56e057f20f883e"),
        ("sha1(password)", "e10adc3949ba59abbe56e057f20f883e"),
        ("bcrypt", "$2a$05$short"),
        ("bcrypt", "$2a$31$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW"),
        ("phpass", "$P$9IQRaTwmfeRo7ud9Fh4E2PdI0S3r.L"),
        ("phpass", "$P$zIQRaTwmfeRo7ud9Fh4E2PdI0S3r.L0"),
        (
            "argon2",
            "$argon2id$v=19$m=4194304,t=2,p=1$c29tZXNhbHQ$nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4",
        ),
        ("argon2", "plain"),
    ] {
        assert!(check(recipe, "123456", hash, "", "").is_err(), "{recipe} {hash}");
    }
}

#[test]
fn what_is_no_recipe_is_said() {
    for bad in [
        "",
        "password",
        "md5",
        "md5()",
        "md5(password",
        "md5(password))",
        "md5(salt)",
        "crc32(password)",
        "md5(password+)",
        "md5(+password)",
        "password+md5(password)",
        "md5(password) x",
        "md5(пароль)",
    ] {
        assert!(Recipe::parse(bad).is_err(), "{bad}");
    }
    assert_eq!(Recipe::parse(&"md5(".repeat(100)), Err(RecipeError::TooLong));
    let deep = format!("{}password{}", "md5(".repeat(10), ")".repeat(10));
    assert_eq!(Recipe::parse(&deep), Err(RecipeError::TooDeep));
    let allowed = format!("{}password{}", "md5(".repeat(8), ")".repeat(8));
    assert!(Recipe::parse(&allowed).is_ok());
    let error = Recipe::parse("md5(passwort)").unwrap_err();
    assert!(error.to_string().ends_with("at character 5"), "{error}");
}

#[test]
fn a_recipe_knows_whether_it_needs_the_pepper() {
    assert!(Recipe::parse("md5(password+pepper)").unwrap().needs_pepper());
    assert!(!Recipe::parse("md5(password+salt)").unwrap().needs_pepper());
    assert!(!Recipe::parse("bcrypt").unwrap().needs_pepper());
    assert_eq!(
        Recipe::parse(" MD5(Password+Salt) ").unwrap().as_str(),
        "md5(password+salt)"
    );
}

proptest! {
    #[test]
    fn parsing_is_total(text in any::<String>()) {
        let _ = Recipe::parse(&text);
    }

    #[test]
    fn near_recipes_never_panic(text in "(md5|sha1|upper|password|salt|pepper|[(]|[)]|[+]| ){0,40}") {
        if let Ok(recipe) = Recipe::parse(&text) {
            prop_assert_eq!(Recipe::parse(recipe.as_str()), Ok(recipe));
        }
    }

    #[test]
    fn checking_never_panics(hash in any::<String>(), salt in any::<String>(), which in 0usize..6) {
        let recipe = ["md5(password)", "bcrypt", "phpass", "argon2", "sha512(salt+password)", "lower(sha1(password))"][which];
        let _ = check(recipe, "123456", &hash, &salt, "");
    }
}
