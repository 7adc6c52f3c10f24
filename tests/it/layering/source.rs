//! Just enough of Rust's grammar to find every path that a source names.
//!
//! Comments, strings and characters are dropped; `use` trees are unfolded; `crate`, `self`, `super` and
//! `bulla` are resolved to a place in the program. Never guesses: what it cannot resolve, it reports.

/// A source file, by its path from the package's root.
pub(super) struct Source {
    pub(super) path: String,
    pub(super) text: String,
}

/// A path that a source names.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Named {
    /// Its segments; for a path inside the program, from the crate's root, without `crate`.
    pub(super) segments: Vec<String>,
    pub(super) inside: bool,
    /// The first word as it stands in the source.
    pub(super) begins: String,
    pub(super) in_use: bool,
    pub(super) in_test: bool,
    pub(super) line: usize,
}

#[derive(Clone, Debug, PartialEq)]
enum Token {
    Word(String),
    Colons,
    Sign(char),
}

impl Source {
    pub(super) fn new(path: &str, text: &str) -> Self {
        Self { path: path.to_owned(), text: text.to_owned() }
    }

    /// The module that the file is, from the crate's root: `src/store/sqlite/mod.rs` is
    /// `[store, sqlite]`.
    pub(super) fn module(&self) -> Vec<String> {
        let path = self.path.strip_prefix("client/").unwrap_or(&self.path);
        let path = path.strip_prefix("src/").unwrap_or(path);
        let path = path.strip_suffix(".rs").unwrap_or(path);
        let mut module: Vec<String> = path.split('/').map(str::to_owned).collect();
        if ["mod", "lib", "main"].contains(&module.last().unwrap().as_str()) {
            module.pop();
        }
        module
    }

    /// The modules that the file declares under `#[cfg(test)]`, whose files are test code.
    pub(super) fn test_modules(&self) -> Vec<Vec<String>> {
        let tokens: Vec<Token> = tokens(&self.text).into_iter().map(|(token, _)| token).collect();
        let mut found = Vec::new();
        for at in 0..tokens.len() {
            if let Some(after) = cfg_test(&tokens, at)
                && word(&tokens, after) == Some("mod")
                && tokens.get(after + 2) == Some(&Token::Sign(';'))
            {
                let mut module = self.module();
                module.push(word(&tokens, after + 1).unwrap().to_owned());
                found.push(module);
            }
        }
        found
    }

    /// The names of the modules that the file declares.
    pub(super) fn declared(&self) -> Vec<String> {
        let tokens: Vec<Token> = tokens(&self.text).into_iter().map(|(token, _)| token).collect();
        let declared = tokens.windows(3).filter_map(|three| match three {
            [Token::Word(first), Token::Word(name), Token::Sign('{' | ';')] if first == "mod" => {
                Some(name.clone())
            }
            _ => None,
        });
        declared.collect()
    }

    /// Every path in the file. `all_test` when the whole file is test code.
    pub(super) fn names(&self, all_test: bool) -> Vec<Named> {
        let (tokens, lines): (Vec<Token>, Vec<usize>) = tokens(&self.text).into_iter().unzip();
        let mut walk =
            Walk { tokens: &tokens, module: self.module(), depth: 0, inline: vec![], test: None };
        let mut found = Vec::new();
        let mut at = 0;
        while at < tokens.len() {
            if let Some(after) = cfg_test(&tokens, at) {
                walk.test = walk.test.or(Some((walk.depth, after)));
                at = after;
                continue;
            }
            let in_test = all_test || walk.test.is_some();
            let (paths, after) = walk.step(at);
            let in_use = starts_a_use(&tokens, at);
            for path in paths {
                if path.len() > 1 || in_use {
                    found.push(walk.resolve(path, in_use, in_test, lines[at]));
                }
            }
            at = after;
        }
        found
    }
}

/// Where the walk is: how deep in brackets, in which inline modules, and in which test item.
struct Walk<'a> {
    tokens: &'a [Token],
    module: Vec<String>,
    depth: usize,
    inline: Vec<(String, usize)>,
    /// The depth at which an item under `#[cfg(test)]` began, and the token that begins it.
    test: Option<(usize, usize)>,
}

impl Walk<'_> {
    /// Takes one token, or one whole path.
    fn step(&mut self, at: usize) -> (Vec<Vec<String>>, usize) {
        match &self.tokens[at] {
            Token::Sign('{') => {
                if at >= 2
                    && word(self.tokens, at - 2) == Some("mod")
                    && let Some(name) = word(self.tokens, at - 1)
                {
                    self.inline.push((name.to_owned(), self.depth));
                }
                self.depth += 1;
            }
            Token::Sign('}') => {
                self.depth = self.depth.saturating_sub(1);
                if self.inline.last().is_some_and(|(_, depth)| *depth == self.depth) {
                    self.inline.pop();
                }
                self.end_test(at);
            }
            Token::Sign('(' | '[') => self.depth += 1,
            Token::Sign(')' | ']') => {
                self.depth = self.depth.saturating_sub(1);
                if self.test.is_some_and(|(depth, _)| depth > self.depth) {
                    self.test = None;
                }
            }
            Token::Sign(';' | ',') => self.end_test(at),
            Token::Colons if at > 0 && self.tokens[at - 1] == Token::Sign('>') => {
                return (vec![], at + 2);
            }
            Token::Word(first) if !KEYWORDS.contains(&first.as_str()) => {
                let mut paths = Vec::new();
                let after = tree(self.tokens, at, &[], &mut paths);
                return (paths, after);
            }
            Token::Word(_) | Token::Colons | Token::Sign(_) => {}
        }
        (vec![], at + 1)
    }

    fn end_test(&mut self, at: usize) {
        if self.test.is_some_and(|(depth, began)| depth >= self.depth && at >= began) {
            self.test = None;
        }
    }

    fn resolve(&self, path: Vec<String>, in_use: bool, in_test: bool, line: usize) -> Named {
        let mut here = self.module.clone();
        here.extend(self.inline.iter().map(|(name, _)| name.clone()));
        let mut rest = path.as_slice();
        let inside = match path[0].as_str() {
            "crate" | "bulla" => {
                here.clear();
                rest = &rest[1..];
                true
            }
            "self" | "super" => {
                while let Some(first) = rest.first() {
                    match first.as_str() {
                        "self" => {}
                        "super" => drop(here.pop()),
                        _ => break,
                    }
                    rest = &rest[1..];
                }
                true
            }
            _ => {
                here.clear();
                false
            }
        };
        here.extend(rest.iter().cloned());
        Named { segments: here, inside, begins: path[0].clone(), in_use, in_test, line }
    }
}

/// Unfolds a path, or a `use` tree, that begins at `at`; says where it ends.
fn tree(tokens: &[Token], at: usize, prefix: &[String], out: &mut Vec<Vec<String>>) -> usize {
    let mut path = prefix.to_vec();
    let mut at = at;
    loop {
        match tokens.get(at) {
            Some(Token::Word(name)) => {
                // `self` at the end of a tree is the module before it.
                if name != "self" || path.is_empty() {
                    path.push(name.clone());
                }
                at += 1;
            }
            Some(Token::Sign('*')) if !path.is_empty() => {
                path.push("*".to_owned());
                out.push(path);
                return at + 1;
            }
            Some(Token::Sign('{')) if !path.is_empty() => {
                at += 1;
                while let Some(token) = tokens.get(at) {
                    match token {
                        Token::Sign('}') => return at + 1,
                        Token::Word(_) => {
                            let after = tree(tokens, at, &path, out);
                            at = after;
                            if word(tokens, at) == Some("as") {
                                at += 2;
                            }
                        }
                        Token::Sign('*') => {
                            let mut all = path.clone();
                            all.push("*".to_owned());
                            out.push(all);
                            at += 1;
                        }
                        _ => at += 1,
                    }
                }
                return at;
            }
            // A turbofish, or the end: what stands there is looked at by itself.
            _ => break,
        }
        if tokens.get(at) != Some(&Token::Colons) {
            break;
        }
        at += 1;
    }
    out.push(path);
    at
}

/// The token after `#[cfg(test)]` and the attributes that follow it, if it stands at `at`.
fn cfg_test(tokens: &[Token], at: usize) -> Option<usize> {
    let test = ["#", "[", "cfg", "(", "test", ")", "]"];
    for (offset, wanted) in test.iter().enumerate() {
        let same = match tokens.get(at + offset)? {
            Token::Word(name) => name == wanted,
            Token::Sign(sign) => wanted.chars().eq([*sign]),
            Token::Colons => false,
        };
        if !same {
            return None;
        }
    }
    Some(at + test.len())
}

/// Whether the path at `at` stands in a `use` or an `extern crate`.
fn starts_a_use(tokens: &[Token], at: usize) -> bool {
    let Some(before) = at.checked_sub(1) else { return false };
    match &tokens[before] {
        Token::Word(name) if name == "use" => true,
        Token::Word(name) if name == "crate" => {
            before > 0 && word(tokens, before - 1) == Some("extern")
        }
        Token::Colons => before > 0 && word(tokens, before - 1) == Some("use"),
        _ => false,
    }
}

fn word(tokens: &[Token], at: usize) -> Option<&str> {
    match tokens.get(at)? {
        Token::Word(name) => Some(name),
        Token::Colons | Token::Sign(_) => None,
    }
}

/// Words, `::` and signs with their lines, without comments and literals.
fn tokens(text: &str) -> Vec<(Token, usize)> {
    let chars: Vec<char> = text.chars().collect();
    let next = |at: usize| chars.get(at).copied().unwrap_or('\0');
    let mut found = Vec::new();
    let (mut at, mut line) = (0, 1);
    while at < chars.len() {
        let began = at;
        let c = chars[at];
        if c == '/' && next(at + 1) == '/' {
            while at < chars.len() && chars[at] != '\n' {
                at += 1;
            }
        } else if c == '/' && next(at + 1) == '*' {
            at = after_block_comment(&chars, at);
        } else if c == '"' {
            at = after_string(&chars, at + 1);
        } else if c == '\'' {
            at = after_quote(&chars, at);
        } else if c.is_alphanumeric() || c == '_' {
            while next(at).is_alphanumeric() || next(at) == '_' {
                at += 1;
            }
            let name: String = chars[began..at].iter().collect();
            let raw = ["r", "br", "cr"].contains(&name.as_str());
            let hashes = chars[at..].iter().take_while(|c| **c == '#').count();
            if raw && next(at + hashes) == '"' {
                at = after_raw_string(&chars, at + hashes + 1, hashes);
            } else if name == "r" && hashes == 1 {
                // A raw word: what follows is the word.
                at += 1;
            } else if ["b", "c"].contains(&name.as_str()) && next(at) == '"' {
                at = after_string(&chars, at + 1);
            } else if name == "b" && next(at) == '\'' {
                at = after_quote(&chars, at);
            } else if !name.starts_with(|c: char| c.is_ascii_digit()) {
                found.push((Token::Word(name), line));
            }
        } else if c == ':' && next(at + 1) == ':' {
            found.push((Token::Colons, line));
            at += 2;
        } else {
            if !c.is_whitespace() {
                found.push((Token::Sign(c), line));
            }
            at += 1;
        }
        line += chars[began..at].iter().filter(|c| **c == '\n').count();
    }
    found
}

fn after_block_comment(chars: &[char], mut at: usize) -> usize {
    let mut depth = 0;
    while at + 1 < chars.len() {
        match (chars[at], chars[at + 1]) {
            ('/', '*') => (depth, at) = (depth + 1, at + 2),
            ('*', '/') => (depth, at) = (depth - 1, at + 2),
            _ => at += 1,
        }
        if depth == 0 {
            return at;
        }
    }
    chars.len()
}

fn after_string(chars: &[char], mut at: usize) -> usize {
    while at < chars.len() {
        match chars[at] {
            '\\' => at += 2,
            '"' => return at + 1,
            _ => at += 1,
        }
    }
    chars.len()
}

fn after_raw_string(chars: &[char], mut at: usize, hashes: usize) -> usize {
    while at < chars.len() {
        let closing = chars[at + 1..].iter().take_while(|c| **c == '#').count();
        if chars[at] == '"' && closing >= hashes {
            return at + 1 + hashes;
        }
        at += 1;
    }
    chars.len()
}

/// A character, or a lifetime.
fn after_quote(chars: &[char], at: usize) -> usize {
    match (chars.get(at + 1), chars.get(at + 2)) {
        (Some('\\'), _) => {
            let closing = chars[at + 3..].iter().position(|c| *c == '\'');
            closing.map_or(chars.len(), |offset| at + 3 + offset + 1)
        }
        (Some(_), Some('\'')) => at + 3,
        _ => at + 1,
    }
}

/// Words that begin no path. (`crate`, `self`, `super` and `Self` do.)
const KEYWORDS: [&str; 36] = [
    "as", "async", "await", "break", "const", "continue", "dyn", "else", "enum", "extern", "fn",
    "for", "if", "impl", "in", "let", "loop", "match", "mod", "move", "mut", "pub", "ref",
    "return", "static", "struct", "trait", "type", "union", "unsafe", "use", "where", "while",
    "yield", "true", "false",
];
