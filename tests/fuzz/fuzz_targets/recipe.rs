//! Password recipes: any text is refused or is a recipe that can be run on anything.
#![no_main]

use libfuzzer_sys::fuzz_target;
use seawall_domain::recipe::Recipe;

fuzz_target!(|texts: (&str, &str, &str)| {
    let (recipe, hash, salt) = texts;
    // The slow schemes cost whatever the stored record asks for; their shape is checked, their cost is not fuzzed.
    if let Ok(recipe) = Recipe::parse(recipe) {
        if recipe.check_shape(hash).is_ok() && recipe.as_str().contains('(') {
            let _ = recipe.check("password", hash, salt, "pepper");
        }
    }
});
