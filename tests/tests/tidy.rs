//! What the architecture promises about the sources, held to the sources.
#![allow(clippy::unwrap_used)]

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

use plumbline_tests::program::root;
use serde_json::Value;
use syn::spanned::Spanned;
use syn::visit::{self, Visit};

const MOST_LINES_OF_A_FILE: usize = 600;
const MOST_LINES_OF_A_FUNCTION: usize = 70;
/// Tests hold tables of cases, which are read by the row.
const MOST_LINES_OF_A_TEST_FILE: usize = 850;
const MOST_LINES_OF_A_TEST: usize = 170;

/// Crates of rules, which must not reach for a clock, a socket, a database or a device.
const PURE: [&str; 7] = [
    "plumbline-access",
    "plumbline-market",
    "plumbline-oracle",
    "plumbline-governance",
    "plumbline-training-core",
    "plumbline-audit",
    "plumbline-transparency",
];

/// What the pure crates must not depend on, however far away.
const IMPURE: [&str; 5] = ["tokio", "actix", "diesel", "iroh", "candle"];

/// Packages with their normal dependencies, as cargo resolves them.
struct Graph {
    /// Folder of each of our own packages, by name.
    members: BTreeMap<String, PathBuf>,
    /// Names of direct normal (and build) dependencies, by package id.
    edges: BTreeMap<String, Vec<String>>,
    names: BTreeMap<String, String>,
}

impl Graph {
    fn load() -> Self {
        let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        // Only what is built here: crates of other platforms need not have been fetched.
        let host = host();
        let args = [
            "metadata",
            "--format-version",
            "1",
            "--offline",
            "--locked",
            "--filter-platform",
            &host,
        ];
        let output = Command::new(cargo)
            .args(args)
            .current_dir(root())
            .output()
            .unwrap();
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
        let metadata: Value = serde_json::from_slice(&output.stdout).unwrap();
        let of = |value: &Value| value.as_str().unwrap().to_owned();
        let packages = metadata["packages"].as_array().unwrap();
        let names: BTreeMap<_, _> = packages
            .iter()
            .map(|one| (of(&one["id"]), of(&one["name"])))
            .collect();
        let ours: BTreeSet<String> = metadata["workspace_members"]
            .as_array()
            .unwrap()
            .iter()
            .map(of)
            .collect();
        let members = packages
            .iter()
            .filter(|one| ours.contains(&of(&one["id"])))
            .map(|one| {
                let manifest = PathBuf::from(of(&one["manifest_path"]));
                (of(&one["name"]), manifest.parent().unwrap().to_owned())
            });
        let edges = metadata["resolve"]["nodes"]
            .as_array()
            .unwrap()
            .iter()
            .map(|node| {
                let shipped = |dep: &&Value| {
                    dep["dep_kinds"]
                        .as_array()
                        .unwrap()
                        .iter()
                        .any(|kind| kind["kind"] != "dev")
                };
                let deps = node["deps"]
                    .as_array()
                    .unwrap()
                    .iter()
                    .filter(shipped)
                    .map(|dep| of(&dep["pkg"]));
                (of(&node["id"]), deps.collect())
            });
        Self {
            members: members.collect(),
            edges: edges.collect(),
            names,
        }
    }

    fn id(&self, name: &str) -> String {
        let ours = |id: &&String| {
            self.names[*id] == name && (id.starts_with("path+") || id.contains("(path+"))
        };
        self.names
            .keys()
            .find(ours)
            .unwrap_or_else(|| panic!("no package {name}"))
            .clone()
    }

    fn direct(&self, id: &str) -> Vec<&str> {
        self.edges[id]
            .iter()
            .map(|id| self.names[id].as_str())
            .collect()
    }

    /// Everything that is linked because of a package, with how it came in.
    fn reach(&self, name: &str) -> BTreeMap<String, String> {
        let mut reached = BTreeMap::new();
        let mut open = vec![(self.id(name), name.to_owned())];
        while let Some((id, way)) = open.pop() {
            for next in &self.edges[&id] {
                let name = &self.names[next];
                let way = format!("{way} → {name}");
                if reached.insert(name.clone(), way.clone()).is_none() {
                    open.push((next.clone(), way));
                }
            }
        }
        reached
    }
}

/// The platform that this test was built on, as rustc names it.
fn host() -> String {
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let output = Command::new(rustc)
        .arg("-vV")
        .current_dir(root())
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    text.lines()
        .find_map(|line| line.strip_prefix("host: "))
        .unwrap()
        .to_owned()
}

fn is_of(name: &str, family: &str) -> bool {
    name == family
        || name
            .strip_prefix(family)
            .is_some_and(|rest| rest.starts_with(['-', '_']))
}

#[test]
fn the_pure_crates_stay_pure() {
    let graph = Graph::load();
    for pure in PURE {
        for (name, way) in graph.reach(pure) {
            let wrong = IMPURE.iter().find(|family| is_of(&name, family));
            assert!(wrong.is_none(), "{pure} must not reach {name}: {way}");
        }
    }
}

#[test]
fn each_adapter_has_its_library_to_itself() {
    let graph = Graph::load();
    for (family, owner) in [("diesel", "plumbline-store"), ("actix", "plumbline-web")] {
        for name in graph.members.keys().filter(|name| *name != owner) {
            let direct = graph
                .direct(&graph.id(name))
                .into_iter()
                .find(|dep| is_of(dep, family))
                .map(str::to_owned);
            assert_eq!(direct, None, "only {owner} knows {family}, not {name}");
        }
    }
}

#[test]
fn crates_depend_inward() {
    let graph = Graph::load();
    for name in graph.members.keys() {
        assert!(
            !graph.reach(name).contains_key(name),
            "{name} depends on itself"
        );
    }
    for pure in PURE {
        let outward: Vec<_> = graph
            .direct(&graph.id(pure))
            .into_iter()
            .filter(|dep| dep.starts_with("plumbline"))
            .collect();
        assert!(
            outward.is_empty(),
            "{pure} meets others only through plain values, not {outward:?}"
        );
    }
}

#[test]
fn the_map_shows_every_crate() {
    let map = std::fs::read_to_string(root().join("ARCHITECTURE.md"))
        .expect("ARCHITECTURE.md is the map");
    for (name, folder) in Graph::load().members {
        let path = folder
            .strip_prefix(root())
            .unwrap()
            .to_string_lossy()
            .into_owned();
        assert!(
            map.contains(&format!("{path}/")),
            "ARCHITECTURE.md does not show {path}/ ({name})"
        );
    }
}

/// Every Rust file of the workspace's members, with its path in the repository.
fn sources() -> Vec<(String, String)> {
    let mut found = Vec::new();
    for folder in Graph::load().members.into_values() {
        collect(&folder, &mut found);
    }
    found.sort();
    found.dedup();
    assert!(found.len() > 200, "only {} files", found.len());
    found
}

fn collect(folder: &Path, found: &mut Vec<(String, String)>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if path.is_dir() {
            if !matches!(name.as_str(), "target" | ".git" | "node_modules" | "data") {
                collect(&path, found);
            }
        } else if name.ends_with(".rs") {
            let shown = path
                .strip_prefix(root())
                .unwrap()
                .to_string_lossy()
                .into_owned();
            found.push((shown, std::fs::read_to_string(&path).unwrap()));
        }
    }
}

/// Whether a file lies where only tests, examples and benchmarks do.
fn is_for_tests_by_place(path: &str) -> bool {
    ["tests/", "examples/", "benches/"]
        .iter()
        .any(|place| path.starts_with(place) || path.contains(&format!("/{place}")))
}

/// Paths, without `.rs`, of the modules that are declared `#[cfg(test)] mod name;`.
fn test_modules(files: &[(String, String)]) -> BTreeSet<String> {
    let mut modules = BTreeSet::new();
    for (path, text) in files {
        let stem = path.trim_end_matches(".rs");
        // `lib.rs`, `main.rs` and `mod.rs` have their modules beside them, others in a folder of their name.
        let folder = match stem.rsplit_once('/') {
            Some((folder, "lib" | "main" | "mod")) => folder,
            _ => stem,
        };
        for item in syn::parse_file(text).unwrap().items {
            if let syn::Item::Mod(module) = item
                && module.content.is_none()
                && is_for_tests(&module.attrs)
            {
                let named = module
                    .attrs
                    .iter()
                    .find(|attribute| attribute.path().is_ident("path"));
                let file = named.and_then(|attribute| {
                    match &attribute.meta.require_name_value().unwrap().value {
                        syn::Expr::Lit(syn::ExprLit {
                            lit: syn::Lit::Str(file),
                            ..
                        }) => Some(file.value()),
                        _ => None,
                    }
                });
                let beside = stem.rsplit_once('/').map_or("", |(folder, _)| folder);
                modules.insert(match file {
                    Some(file) => format!("{beside}/{}", file.trim_end_matches(".rs")),
                    None => format!("{folder}/{}", module.ident),
                });
            }
        }
    }
    modules
}

fn fail_with(what: &str, faults: &[String]) {
    assert!(faults.is_empty(), "{what}:\n  {}", faults.join("\n  "));
}

#[test]
fn files_and_functions_fit_on_a_few_screens() {
    let mut faults = Vec::new();
    for (path, text) in sources() {
        let lines = text.lines().count();
        let most = if is_test(&path) {
            MOST_LINES_OF_A_TEST_FILE
        } else {
            MOST_LINES_OF_A_FILE
        };
        if lines > most {
            faults.push(format!("{path}: {lines} lines"));
        }
        let mut functions = Functions {
            path: &path,
            faults: &mut faults,
        };
        functions
            .visit_file(&syn::parse_file(&text).unwrap_or_else(|error| panic!("{path}: {error}")));
    }
    fail_with("too long", &faults);
}

/// Whether a file holds nothing but tests.
fn is_test(path: &str) -> bool {
    path.contains("/tests/") || path.ends_with("tests.rs")
}

struct Functions<'a> {
    path: &'a str,
    faults: &'a mut Vec<String>,
}

impl Functions<'_> {
    /// A function's lines, from its first word to its closing brace; comments above it do not count.
    fn measure(&mut self, signature: &syn::Signature, body: &syn::Block) {
        let (start, end) = (signature.span().start().line, body.span().end().line);
        let lines = end - start + 1;
        let most = if is_test(self.path) {
            MOST_LINES_OF_A_TEST
        } else {
            MOST_LINES_OF_A_FUNCTION
        };
        if lines > most {
            self.faults.push(format!(
                "{}:{start}: fn {} has {lines} lines",
                self.path, signature.ident
            ));
        }
    }
}

impl<'ast> Visit<'ast> for Functions<'_> {
    fn visit_item_fn(&mut self, node: &'ast syn::ItemFn) {
        self.measure(&node.sig, &node.block);
        visit::visit_item_fn(self, node);
    }
    fn visit_impl_item_fn(&mut self, node: &'ast syn::ImplItemFn) {
        self.measure(&node.sig, &node.block);
        visit::visit_impl_item_fn(self, node);
    }
    fn visit_trait_item_fn(&mut self, node: &'ast syn::TraitItemFn) {
        if let Some(body) = &node.default {
            self.measure(&node.sig, body);
        }
        visit::visit_trait_item_fn(self, node);
    }
}

#[test]
fn nothing_panics_by_unwrap_outside_tests() {
    let mut faults = Vec::new();
    let files = sources();
    let modules = test_modules(&files);
    let of_tests = |path: &str| {
        let within = |module: &String| {
            path.strip_prefix(module.as_str())
                .is_some_and(|rest| rest.starts_with(['.', '/']))
        };
        is_for_tests_by_place(path) || modules.iter().any(within)
    };
    for (path, text) in files.iter().filter(|(path, _)| !of_tests(path)) {
        let mut calls = Unwraps {
            path,
            faults: &mut faults,
        };
        calls.visit_file(&syn::parse_file(text).unwrap());
    }
    fail_with("unwrap outside tests", &faults);
}

struct Unwraps<'a> {
    path: &'a str,
    faults: &'a mut Vec<String>,
}

fn is_for_tests(attributes: &[syn::Attribute]) -> bool {
    attributes.iter().any(|attribute| {
        let is_cfg = attribute.path().is_ident("cfg")
            && attribute
                .meta
                .require_list()
                .is_ok_and(|list| list.tokens.to_string().contains("test"));
        is_cfg || attribute.path().is_ident("test")
    })
}

impl<'ast> Visit<'ast> for Unwraps<'_> {
    fn visit_item_mod(&mut self, node: &'ast syn::ItemMod) {
        if !is_for_tests(&node.attrs) {
            visit::visit_item_mod(self, node);
        }
    }
    fn visit_item_fn(&mut self, node: &'ast syn::ItemFn) {
        if !is_for_tests(&node.attrs) {
            visit::visit_item_fn(self, node);
        }
    }
    fn visit_item_impl(&mut self, node: &'ast syn::ItemImpl) {
        if !is_for_tests(&node.attrs) {
            visit::visit_item_impl(self, node);
        }
    }
    fn visit_expr_method_call(&mut self, node: &'ast syn::ExprMethodCall) {
        if node.method == "unwrap" && node.args.is_empty() {
            self.faults
                .push(format!("{}:{}", self.path, node.method.span().start().line));
        }
        visit::visit_expr_method_call(self, node);
    }
}

#[test]
fn nothing_is_left_for_later() {
    // Put together here, so that this file does not hold what it looks for.
    let marks: Vec<String> = [
        ["TO", "DO"],
        ["FIX", "ME"],
        ["XX", "X:"],
        ["todo", "!("],
        ["unimplemented", "!("],
        ["dbg", "!("],
        ["#[ig", "nore"],
    ]
    .iter()
    .map(|parts| parts.concat())
    .collect();
    let mut faults = Vec::new();
    for (path, text) in sources() {
        for (number, line) in text.lines().enumerate() {
            if let Some(mark) = marks.iter().find(|mark| line.contains(mark.as_str())) {
                faults.push(format!("{path}:{}: {mark}", number + 1));
            }
        }
    }
    fail_with("left for later", &faults);
}

#[test]
fn every_crate_says_what_it_is_for_and_what_it_does_not_do() {
    let mut faults = Vec::new();
    for folder in Graph::load().members.into_values() {
        let path = folder.join("src/lib.rs");
        let Ok(text) = std::fs::read_to_string(&path) else {
            continue;
        };
        let header: Vec<&str> = text
            .lines()
            .take_while(|line| line.starts_with("//!"))
            .collect();
        let says = header
            .iter()
            .any(|line| line.to_lowercase().contains("invariant"));
        if header.is_empty() || !says {
            faults.push(format!(
                "{}: no //! header with an invariant",
                path.display()
            ));
        }
    }
    fail_with("headers", &faults);
}
