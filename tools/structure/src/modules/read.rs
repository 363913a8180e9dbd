//! A crate's files as modules: what each declares, imports and names.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use proc_macro2::{Delimiter, TokenStream, TokenTree};

/// What one module says. An inline `mod x { … }` is a module of the tree, but counts as part of its file.
#[derive(Debug, Default)]
pub(super) struct Module {
    /// The module of the file that it stands in.
    pub file: String,
    /// Names that its items declare.
    pub items: BTreeSet<String>,
    /// Names that a `use` binds, with the path as written.
    pub imports: BTreeMap<String, Import>,
    /// Paths whose every name is imported.
    pub globs: Vec<Vec<String>>,
    /// Paths that occur outside `use`, single names included.
    pub paths: BTreeSet<Vec<String>>,
}

/// One name of a `use`.
#[derive(Debug)]
pub(super) struct Import {
    /// The path as written.
    pub path: Vec<String>,
    /// Whether others see it from here.
    pub exported: bool,
}

/// All modules of a crate by their path, which starts with `crate`.
pub(super) type Modules = BTreeMap<String, Module>;

const ITEMS: [&str; 9] = [
    "struct",
    "enum",
    "union",
    "trait",
    "fn",
    "type",
    "const",
    "static",
    "macro_rules",
];

/// Reads the crate whose root file is given.
pub(super) fn crate_at(root: &Path) -> io::Result<Modules> {
    let mut reader = Reader {
        modules: Modules::new(),
    };
    let folder = root.parent().unwrap_or(Path::new(""));
    reader.file(root, folder, "crate")?;
    Ok(reader.modules)
}

struct Reader {
    modules: Modules,
}

/// Where a module's text stands.
#[derive(Clone, Copy)]
struct Place<'a> {
    /// The module's path.
    path: &'a str,
    /// The path of its file's module.
    file: &'a str,
    /// The folder of its child modules' files.
    folder: &'a Path,
}

impl Reader {
    fn file(&mut self, path: &Path, folder: &Path, module: &str) -> io::Result<()> {
        let invalid = |e: String| {
            io::Error::new(
                io::ErrorKind::InvalidData,
                format!("{}: {e}", path.display()),
            )
        };
        let text = std::fs::read_to_string(path)
            .map_err(|e| io::Error::new(e.kind(), format!("{}: {e}", path.display())))?;
        let tokens = TokenStream::from_str(&text).map_err(|e| invalid(e.to_string()))?;
        self.module(
            tokens,
            Place {
                path: module,
                file: module,
                folder,
            },
        )
    }

    fn module(&mut self, tokens: TokenStream, place: Place<'_>) -> io::Result<()> {
        let tokens: Vec<TokenTree> = tokens.into_iter().collect();
        let mut module = Module {
            file: place.file.to_owned(),
            ..Module::default()
        };
        let mut at = 0;
        while at < tokens.len() {
            let item = Item::at(&tokens, at);
            at = item.end;
            if item.for_tests {
                continue;
            }
            match item.keyword.as_deref() {
                Some("mod") => self.child(&item, place)?,
                Some("use") => import(&item.tokens[1..], &mut Vec::new(), item.public, &mut module),
                keyword => {
                    if keyword.is_some_and(|k| ITEMS.contains(&k)) {
                        module.items.extend(item.name());
                    }
                    names(item.tokens, &mut module);
                }
            }
        }
        self.modules.insert(place.path.to_owned(), module);
        Ok(())
    }

    fn child(&mut self, item: &Item<'_>, place: Place<'_>) -> io::Result<()> {
        let Some(name) = item.name() else {
            return Ok(());
        };
        let path = format!("{}::{name}", place.path);
        let folder = place.folder.join(&name);
        if let Some(TokenTree::Group(body)) = item.tokens.last() {
            let inline = Place {
                path: &path,
                file: place.file,
                folder: &folder,
            };
            return self.module(body.stream(), inline);
        }
        let beside = place.folder.join(format!("{name}.rs"));
        let file: PathBuf = match (&item.file, beside.exists()) {
            (Some(named), _) => place.folder.join(named),
            (None, true) => beside,
            (None, false) => folder.join("mod.rs"),
        };
        self.file(&file, &folder, &path)
    }
}

/// One item of a module, its attributes and visibility taken off.
struct Item<'a> {
    tokens: &'a [TokenTree],
    keyword: Option<String>,
    public: bool,
    for_tests: bool,
    /// What `#[path = "…"]` names.
    file: Option<String>,
    end: usize,
}

impl<'a> Item<'a> {
    fn at(tokens: &'a [TokenTree], start: usize) -> Self {
        let (mut at, mut for_tests, mut public, mut file) = (start, false, false, None);
        while let Some(attribute) = attribute(&tokens[at..]) {
            let text = attribute.tokens.to_string().replace(' ', "");
            for_tests |= text == "cfg(test)" || text.starts_with("cfg(all(test,");
            file = text
                .strip_prefix("path=")
                .map(|p| p.trim_matches('"').to_owned())
                .or(file);
            at += attribute.length;
        }
        if word(tokens.get(at)).as_deref() == Some("pub") {
            public = true;
            at += 1
                + usize::from(
                    matches!(tokens.get(at + 1), Some(TokenTree::Group(g)) if g.delimiter() == Delimiter::Parenthesis),
                );
        }
        // What may stand before the word that says what the item is.
        let mut first = at;
        while matches!(
            word(tokens.get(first)).as_deref(),
            Some("unsafe" | "async" | "extern")
        ) || (word(tokens.get(first)).as_deref() == Some("const")
            && word(tokens.get(first + 1)).as_deref() == Some("fn"))
        {
            first += 1;
        }
        let keyword = word(tokens.get(first));
        let ends_with_brace = !matches!(
            keyword.as_deref(),
            Some("use" | "const" | "static" | "type" | "let")
        );
        let end = (first..tokens.len())
            .find(|&i| match &tokens[i] {
                TokenTree::Punct(p) => p.as_char() == ';',
                TokenTree::Group(g) => ends_with_brace && g.delimiter() == Delimiter::Brace,
                _ => false,
            })
            .unwrap_or(tokens.len() - 1);
        Self {
            tokens: &tokens[first.min(end)..=end],
            keyword,
            public,
            for_tests,
            file,
            end: end + 1,
        }
    }

    fn name(&self) -> Option<String> {
        self.tokens[1..].iter().find_map(|t| word(Some(t)))
    }
}

struct Attribute {
    tokens: TokenStream,
    length: usize,
}

/// The attribute that starts here, `#[…]` or `#![…]`.
fn attribute(tokens: &[TokenTree]) -> Option<Attribute> {
    let is = |token: Option<&TokenTree>, c: char| matches!(token, Some(TokenTree::Punct(p)) if p.as_char() == c);
    if !is(tokens.first(), '#') {
        return None;
    }
    let length = if is(tokens.get(1), '!') { 3 } else { 2 };
    match tokens.get(length - 1) {
        Some(TokenTree::Group(group)) => Some(Attribute {
            tokens: group.stream(),
            length,
        }),
        _ => None,
    }
}

fn word(token: Option<&TokenTree>) -> Option<String> {
    match token {
        Some(TokenTree::Ident(word)) => Some(word.to_string()),
        _ => None,
    }
}

/// Takes in the tree of a `use`, whose part before this one is `prefix`.
fn import(tree: &[TokenTree], prefix: &mut Vec<String>, exported: bool, module: &mut Module) {
    for branch in
        tree.split(|t| matches!(t, TokenTree::Punct(p) if matches!(p.as_char(), ',' | ';')))
    {
        let length = prefix.len();
        let mut renamed = None;
        let mut at = 0;
        while at < branch.len() {
            match &branch[at] {
                TokenTree::Ident(word) if word == "as" => {
                    renamed = self::word(branch.get(at + 1));
                    at += 1;
                }
                TokenTree::Ident(word)
                    if word == "self" && prefix.len() > length + usize::from(length == 0) => {}
                TokenTree::Ident(word) => prefix.push(word.to_string()),
                TokenTree::Punct(p) if p.as_char() == '*' => module.globs.push(prefix.clone()),
                TokenTree::Group(group) => {
                    let inner: Vec<TokenTree> = group.stream().into_iter().collect();
                    import(&inner, prefix, exported, module);
                }
                _ => {}
            }
            at += 1;
        }
        let leaf = matches!(branch.last(), Some(TokenTree::Ident(_)));
        if leaf {
            let mut path = prefix.clone();
            if path.len() > 1 && path.last().is_some_and(|w| w == "self") {
                path.pop();
            }
            if let Some(name) = renamed.or_else(|| path.last().cloned()) {
                module.imports.insert(name, Import { path, exported });
            }
        }
        prefix.truncate(length);
    }
}

/// Takes in every path of some tokens: names joined by `::`, and names alone.
fn names(tokens: &[TokenTree], module: &mut Module) {
    let colons = |i: usize| {
        matches!((tokens.get(i), tokens.get(i + 1)), (Some(TokenTree::Punct(a)), Some(TokenTree::Punct(b)))
            if a.as_char() == ':' && b.as_char() == ':')
    };
    let mut at = 0;
    while at < tokens.len() {
        match &tokens[at] {
            TokenTree::Ident(first) => {
                let field =
                    at > 0 && matches!(&tokens[at - 1], TokenTree::Punct(p) if p.as_char() == '.');
                let mut path = vec![first.to_string()];
                at += 1;
                while colons(at)
                    && let Some(next) = word(tokens.get(at + 2))
                {
                    path.push(next);
                    at += 3;
                }
                if !field {
                    module.paths.insert(path);
                }
            }
            TokenTree::Group(group) => {
                let inner: Vec<TokenTree> = group.stream().into_iter().collect();
                within(&inner, module);
                at += 1;
            }
            _ => at += 1,
        }
    }
}

/// Like [`names`], inside braces: there `use` may stand, and items for tests.
fn within(tokens: &[TokenTree], module: &mut Module) {
    let mut rest = tokens;
    while let Some(start) = rest
        .iter()
        .position(|t| matches!(t, TokenTree::Ident(word) if word == "use"))
    {
        let length = rest[start..]
            .iter()
            .position(|t| matches!(t, TokenTree::Punct(p) if p.as_char() == ';'));
        let Some(length) = length else { break };
        names(&rest[..start], module);
        import(
            &rest[start + 1..=start + length],
            &mut Vec::new(),
            false,
            module,
        );
        rest = &rest[start + length + 1..];
    }
    names(rest, module);
}
