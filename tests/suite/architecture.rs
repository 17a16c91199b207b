//! The sources keep to the table in the crate documentation: every file has its line there, imports run down it and never up, and what
//! is built on the public interface uses nothing else. Read from the text: fast, and without a compiler's help.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// Built on the public interface alone. The tool and the Python package are crates of their own: there the compiler sees to it.
const PUBLIC_ONLY: &str = "integration";

#[test]
fn every_file_has_its_line_in_the_table_and_every_line_its_files() {
    let layout = Layout::of(&read(&source().join("lib.rs")));
    let modules: BTreeSet<String> = files(&source())
        .iter()
        .filter_map(|path| module_of(path))
        .collect();
    let lines: BTreeSet<String> = layout.rank.keys().cloned().collect();
    let missing: Vec<_> = modules.difference(&lines).collect();
    assert!(missing.is_empty(), "not in the table: {missing:?}");
    let without_files: Vec<_> = lines
        .iter()
        .filter(|name| !exists(&source().join(name)))
        .collect();
    assert!(without_files.is_empty(), "no such file: {without_files:?}");
}

#[test]
fn imports_run_down_the_table() {
    let layout = Layout::of(&read(&source().join("lib.rs")));
    let mut wrong = Vec::new();
    for path in files(&source()) {
        let Some(module) = module_of(&path) else {
            continue;
        };
        // The tool's `crate` is its own.
        let is_apart = |part: &str| part == "tests" || part == "bin";
        let mut parts = path
            .components()
            .filter_map(|part| part.as_os_str().to_str());
        if parts.any(is_apart) || path.ends_with("tests.rs") {
            continue;
        }
        let depth = depth_of(&path);
        let complaints = layout.complaints(&module, depth, &read(&path));
        wrong.extend(complaints.into_iter().map(|c| (path.clone(), c)));
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn documents_name_files_that_exist() {
    let mut missing = Vec::new();
    let mut named = 0;
    for document in ["CONTRIBUTING.md", "docs/architecture.md"] {
        let text = read(&root().join(document));
        for path in text.split('`').skip(1).step_by(2) {
            let is_path = ["src/", "tests/", "docs/", "benches/", "examples/", ".ci/"]
                .iter()
                .any(|start| path.starts_with(start));
            if !is_path || path.contains(['*', ' ', '<']) {
                continue;
            }
            named += 1;
            if !exists(&root().join(path)) {
                missing.push(format!("{document}: {path}"));
            }
        }
    }
    assert!(missing.is_empty(), "{missing:#?}");
    assert!(named > 20, "only {named} paths were recognized");
}

/// Every warning has its line in the guide, and every setting its own.
#[test]
fn guides_name_every_warning_and_every_setting() {
    let named = |file: &str, from: &str| -> Vec<String> {
        let code = code_of(&read(&source().join(file)));
        let body = code.split(from).nth(1).expect("the definition");
        let body = body.split("\n}").next().unwrap_or(body);
        let fields = body.lines().filter_map(|l| l.strip_prefix("    "));
        let fields = fields.map(|l| l.strip_prefix("pub ").unwrap_or(l));
        let fields = fields.filter(|l| l.starts_with(char::is_alphabetic));
        fields.map(identifier).collect()
    };
    let mut missing = Vec::new();
    let mut check = |guide: &str, words: &[String]| {
        assert!(words.len() > 2, "{guide}: only {words:?}");
        let text = read(&root().join(guide));
        let is_there =
            |w: &String| text.contains(&format!("`{w}`")) || text.contains(&format!(".{w}`"));
        missing.extend(
            words
                .iter()
                .filter(|w| !is_there(w))
                .map(|w| format!("{guide}: {w}")),
        );
    };
    check("docs/untrusted.md", &named("kink.rs", "pub enum Warning {"));
    for settings in [
        "SolveSettings",
        "RefineSettings",
        "LinearSettings",
        "Settings",
    ] {
        let fields = named("settings.rs", &format!("pub struct {settings} {{"));
        let nested = ["solve", "refine", "linear"];
        let fields: Vec<String> = fields
            .into_iter()
            .filter(|f| !nested.contains(&f.as_str()))
            .collect();
        check("docs/choosing.md", &fields);
    }
    check(
        "docs/choosing.md",
        &named("layer/settings.rs", "pub struct LayerSettings {"),
    );
    assert!(missing.is_empty(), "{missing:#?}");
}

/// The reading itself, on a small crate with one mistake of each kind.
#[test]
fn mistakes_are_seen() {
    let layout = Layout::of(
        "//! | `error` | errors |\n//! | `cone`, `svec` | cones |\n//! | `program/` | the problem |\n\
         //! | `integration/` | tensors |\n\
         mod program;\npub mod svec;\npub use program::{\n    Cone, // a comment\n    ConeProgram as Program,\n};\n",
    );
    assert_eq!(layout.rank["svec"], layout.rank["cone"]);
    let of = |module: &str, depth: usize, code: &str| layout.complaints(module, depth, code).len();
    for down in [
        "use crate::{\n    error::{Error, Result},\n    cone,\n};",
        "use crate::svec::smat;",
        "/// See [`crate::program`].\nfn f() -> crate::error::Result<()> {}",
        "#[cfg(test)]\nmod tests {\n    use crate::program::ConeProgram;\n}",
    ] {
        assert_eq!(of("cone", 1, down), 0, "{down}");
    }
    for up in [
        "use crate::program::ConeProgram;",
        "use crate::Cone;",
        "use crate::{error::Error, program::{self, Csc}};",
        "fn f(p: &crate::program::ConeProgram) {}",
        "use super::program::ConeProgram;",
        "use crate::nowhere::At;",
    ] {
        assert_eq!(of("cone", 1, up), 1, "{up}");
    }
    assert_eq!(of("program", 2, "use super::pattern;"), 0);
    assert_eq!(of("program", 2, "use super::super::integration;"), 1);
    assert_eq!(
        of("integration", 2, "use crate::{Cone, Program, svec};"),
        0,
        "the public interface"
    );
    assert_eq!(of("integration", 2, "use crate::program::Cone;"), 1);
    assert_eq!(of("integration", 2, "use crate::error::Error;"), 1);
}

/// The table of the crate documentation, and what the crate makes public.
struct Layout {
    /// The row of each module.
    rank: BTreeMap<String, usize>,
    /// Public names, each with the module it comes from.
    public: BTreeMap<String, String>,
}

impl Layout {
    fn of(lib: &str) -> Self {
        let mut rank = BTreeMap::new();
        let rows = lib.lines().filter_map(|line| line.strip_prefix("//! | `"));
        for (row, line) in rows.enumerate() {
            let first = line.split('|').next().unwrap_or(line);
            for name in first.split('`').step_by(2) {
                rank.insert(name.trim_end_matches('/').to_string(), row);
            }
        }
        rank.retain(|name, _| !name.trim().is_empty());
        let mut public = BTreeMap::new();
        let code = code_of(lib);
        for statement in code.split(';') {
            let statement = statement.trim();
            if let Some((_, module)) = statement.split_once("pub mod ") {
                public.insert(module.to_string(), module.to_string());
            }
            let Some((_, path)) = statement.split_once("pub use ") else {
                continue;
            };
            let Some((module, items)) = path.split_once("::") else {
                continue;
            };
            for item in items.trim_matches(['{', '}', '\n', ' ']).split(',') {
                let name = item.split_whitespace().last().unwrap_or_default();
                public.insert(name.to_string(), module.to_string());
            }
        }
        Self { rank, public }
    }

    /// What a file of a module imports and may not.
    fn complaints(&self, module: &str, depth: usize, text: &str) -> Vec<String> {
        let code = code_of(text);
        let mut complaints = Vec::new();
        for name in imports(&code) {
            if module == PUBLIC_ONLY && name != PUBLIC_ONLY && !self.public.contains_key(&name) {
                complaints.push(format!("crate::{name} is not public"));
                continue;
            }
            let source = self.public.get(&name).unwrap_or(&name);
            match (self.rank.get(module), self.rank.get(source)) {
                (Some(own), Some(other)) if other <= own => {}
                (Some(_), Some(_)) => complaints.push(format!("{module} imports {source} upward")),
                _ => complaints.push(format!("crate::{name} is not in the table")),
            }
        }
        if code.contains(&"super::".repeat(depth)) {
            complaints.push("`super` reaches the crate's root: say `crate`".to_string());
        }
        complaints
    }
}

/// Without comments and inline tests.
fn code_of(text: &str) -> String {
    let text = text
        .split("#[cfg(test)]\nmod tests {")
        .next()
        .unwrap_or(text);
    let lines = text.lines().map(|l| l.split("//").next().unwrap_or(l));
    lines.collect::<Vec<_>>().join("\n")
}

/// The first name after every `crate::`, in `use` and elsewhere.
fn imports(code: &str) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for (at, found) in code.match_indices("crate::") {
        let is_whole = !code[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_');
        if !is_whole {
            continue;
        }
        let rest = &code[at + found.len()..];
        if !rest.starts_with('{') {
            names.insert(identifier(rest));
            continue;
        }
        let (mut level, mut is_start) = (0, false);
        for (i, c) in rest.char_indices() {
            match c {
                '{' => level += 1,
                '}' => level -= 1,
                _ => {}
            }
            if level == 0 {
                break;
            }
            if is_start && level == 1 && (c.is_alphabetic() || c == '_') {
                names.insert(identifier(&rest[i..]));
                is_start = false;
            }
            is_start |= level == 1 && matches!(c, '{' | ',');
        }
    }
    names
}

fn identifier(text: &str) -> String {
    let is_part = |c: &char| c.is_alphanumeric() || *c == '_';
    text.chars().take_while(is_part).collect()
}

/// The table's name of a file's module; none for the crate's root and for the tool, a crate of its own.
fn module_of(path: &Path) -> Option<String> {
    let inside = path.strip_prefix(source()).ok()?;
    let first = inside.components().next()?.as_os_str().to_str()?;
    match first {
        "lib.rs" => None,
        "bin" => {
            let tool = inside.components().nth(1)?.as_os_str().to_str()?;
            Some(format!("bin/{tool}")).filter(|_| inside.ends_with("main.rs"))
        }
        _ => Some(first.trim_end_matches(".rs").to_string()),
    }
}

/// How many `super` reach the crate's root.
fn depth_of(path: &Path) -> usize {
    let inside = path
        .strip_prefix(source())
        .map_or(0, |p| p.components().count());
    if path.ends_with("mod.rs") {
        inside - 1
    } else {
        inside
    }
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).expect("a folder of sources") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            found.extend(files(&path));
        } else if path.extension().is_some_and(|e| e == "rs") {
            found.push(path);
        }
    }
    found.sort();
    found
}

fn exists(path: &Path) -> bool {
    path.exists() || path.with_extension("rs").exists()
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn source() -> PathBuf {
    root().join("src")
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}
