//! Files under 500 lines without tests, functions under 70, HTTP handlers under 25, every file with a module doc.

use syn::spanned::Spanned;
use syn::visit::Visit;

use crate::sources::{Source, is_cfg_test, product_sources};

const FILE_MAX_LINES: usize = 500;
const FUNCTION_MAX_LINES: usize = 70;
const HANDLER_MAX_LINES: usize = 25;

struct Functions<'a> {
    source: &'a Source,
    max: usize,
    too_long: Vec<String>,
}

impl Functions<'_> {
    fn check(&mut self, name: &syn::Ident, block: &syn::Block) {
        let lines = block.span().end().line - block.span().start().line + 1;
        if lines > self.max {
            self.too_long.push(format!(
                "{}:{}: fn {name} has {lines} lines",
                self.source.name(),
                block.span().start().line
            ));
        }
    }
}

impl<'ast> Visit<'ast> for Functions<'_> {
    fn visit_item_mod(&mut self, module: &'ast syn::ItemMod) {
        if !is_cfg_test(&module.attrs) {
            syn::visit::visit_item_mod(self, module);
        }
    }
    fn visit_item_fn(&mut self, function: &'ast syn::ItemFn) {
        self.check(&function.sig.ident, &function.block);
        syn::visit::visit_item_fn(self, function);
    }
    fn visit_impl_item_fn(&mut self, function: &'ast syn::ImplItemFn) {
        self.check(&function.sig.ident, &function.block);
        syn::visit::visit_impl_item_fn(self, function);
    }
}

fn too_long(max: usize, of: impl Fn(&Source) -> bool) -> Vec<String> {
    let mut found = Vec::new();
    for source in product_sources()
        .iter()
        .filter(|source| !source.is_test() && of(source))
    {
        let mut functions = Functions {
            source,
            max,
            too_long: Vec::new(),
        };
        functions.visit_file(&source.file);
        found.append(&mut functions.too_long);
    }
    found
}

#[test]
fn files_are_short() {
    let long: Vec<_> = product_sources()
        .iter()
        .filter(|source| !source.is_test() && source.lines_without_tests() > FILE_MAX_LINES)
        .map(|source| format!("{}: {} lines", source.name(), source.lines_without_tests()))
        .collect();
    assert!(long.is_empty(), "split these by meaning:\n{}", long.join("\n"));
}

#[test]
fn functions_are_short() {
    let long = too_long(FUNCTION_MAX_LINES, |_| true);
    assert!(
        long.is_empty(),
        "give the parts names of their own:\n{}",
        long.join("\n")
    );
}

#[test]
fn handlers_are_boring() {
    let long = too_long(HANDLER_MAX_LINES, |source| source.name().contains("web/src/handlers"));
    assert!(
        long.is_empty(),
        "a handler decodes, calls one verb, encodes:\n{}",
        long.join("\n")
    );
}

#[test]
fn every_file_says_what_it_is_for() {
    let silent: Vec<_> = product_sources()
        .iter()
        .filter(|source| !source.is_test() && !source.text.trim_start().starts_with("//!"))
        .map(Source::name)
        .collect();
    assert!(
        silent.is_empty(),
        "begin these with a module doc (//!):\n{}",
        silent.join("\n")
    );
}

#[test]
fn the_rule_sees_a_long_function() {
    let text = format!("//! x\nfn long() {{\n{}}}\n", "let _ = 1;\n".repeat(FUNCTION_MAX_LINES));
    let source = Source {
        path: "x.rs".into(),
        file: syn::parse_file(&text).expect("valid"),
        text,
    };
    let mut functions = Functions {
        source: &source,
        max: FUNCTION_MAX_LINES,
        too_long: Vec::new(),
    };
    functions.visit_file(&source.file);
    assert_eq!(functions.too_long.len(), 1);
}
