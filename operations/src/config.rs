//! One TOML file, read against the list of keys that a program knows.
//!
//! A program lists its [`Key`]s once. [`File::parse`] holds a file against that list and reports every mistake at once, each with its
//! line, what was found, what is expected and, for a key that nobody knows, the one that was probably meant. Only a file without
//! mistakes becomes the program's own type.

use std::fmt;
use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::logging::is_level;
use crate::machine::others_may_use;

/// Largest configuration file in bytes.
pub const FILE_BYTES_MAX: u64 = 64 * 1024;

/// A key that a program knows.
#[derive(Debug, Clone, Copy)]
pub struct Key {
    /// Its name with its section, such as `web.listen`.
    pub name: &'static str,
    /// What it may be.
    pub kind: Kind,
    /// Whether it must be there.
    pub required: bool,
}

/// What the value of a key may be. All values but counts are texts: an address, a path and a name look alike to an editor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Any text but the empty one; in words, what it stands for.
    Text(&'static str),
    /// An IP address and port to listen on, with an example.
    Listen(&'static str),
    /// A host and port to connect to, with an example.
    HostAndPort(&'static str),
    /// One of these words.
    Choice(&'static [&'static str]),
    /// A log level or log filters.
    LogLevel,
    /// A whole number, at least the first and at most the second.
    Count(i64, i64),
}

/// The keys of the `[log]` section, the same in every program.
pub const LOG_KEYS: [Key; 2] = [
    Key { name: "log.format", kind: Kind::Choice(&["text", "json"]), required: false },
    Key { name: "log.level", kind: Kind::LogLevel, required: false },
];

/// Why there is no configuration. The sentences say what to do.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// There is no such file.
    #[error("there is no configuration file {}: give its path with --config", .0.display())]
    Missing(PathBuf),
    /// The file is there, but not for this user.
    #[error(
        "the configuration file {} cannot be read by this user: chown it to the user that runs the program, or run as that user", .0.display()
    )]
    Unreadable(PathBuf),
    /// The path is a folder, a device or something else that holds no text.
    #[error("{} is no file: give the path of the configuration file with --config", .0.display())]
    NoFile(PathBuf),
    /// Reading broke off.
    #[error("the configuration file {} cannot be read ({source}): check the disk that it is on", .path.display())]
    Read {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The file is absurdly large.
    #[error("{} is larger than {FILE_BYTES_MAX} bytes, so it is no configuration file: give the right path with --config", .0.display())]
    TooLarge(PathBuf),
    /// The file is no text.
    #[error("the configuration file {} is not UTF-8 text: save it as UTF-8", .0.display())]
    NotText(PathBuf),
    /// The file holds a secret and others may read it.
    #[error("the configuration file {} holds a password and others may read it: run `chmod 600` on it, and consider the password known", .0.display())]
    WorldReadable(PathBuf),
    /// What the file says is wrong.
    #[error("the configuration file {} is wrong:\n{}", .path.display(), lines(.mistakes))]
    Mistakes {
        /// Which file.
        path: PathBuf,
        /// All that is wrong, in the order of the file.
        mistakes: Vec<Mistake>,
    },
}

/// Something wrong in a configuration file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mistake {
    /// The line, from 1; none for what is missing.
    pub line: Option<usize>,
    /// What is wrong and what to do.
    pub sentence: String,
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            Some(line) => write!(f, "line {line}: {}", self.sentence),
            None => f.write_str(&self.sentence),
        }
    }
}

fn lines(mistakes: &[Mistake]) -> String {
    mistakes.iter().map(|mistake| format!("  {mistake}")).collect::<Vec<_>>().join("\n")
}

/// The text of a configuration file.
#[derive(Debug)]
pub struct File {
    path: PathBuf,
    text: String,
    others_may_read: bool,
}

impl File {
    /// Reads a file of a bounded size.
    ///
    /// # Errors
    /// A file that is missing, unreadable, too large, or no text.
    pub fn read(path: &Path) -> Result<Self, ConfigError> {
        let fail = |source: io::Error| unreadable(path, source);
        let facts = fs::metadata(path).map_err(fail)?;
        if !facts.is_file() {
            return Err(ConfigError::NoFile(path.to_owned()));
        }
        let mut bytes = Vec::new();
        fs::File::open(path).map_err(fail)?.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes).map_err(fail)?;
        if bytes.len() as u64 > FILE_BYTES_MAX {
            return Err(ConfigError::TooLarge(path.to_owned()));
        }
        let text = String::from_utf8(bytes).map_err(|_| ConfigError::NotText(path.to_owned()))?;
        // Editors on Windows begin a text with a mark that TOML does not know.
        let text = text.strip_prefix('\u{FEFF}').map(str::to_owned).unwrap_or(text);
        Ok(Self { path: path.to_owned(), text, others_may_read: others_may_use(&facts) })
    }

    /// Holds the file against the keys that are known, and makes a program's own type of it.
    ///
    /// # Errors
    /// Every mistake in it.
    pub fn parse<T: DeserializeOwned>(&self, keys: &[Key]) -> Result<T, ConfigError> {
        let mistakes = mistakes(&self.text, keys);
        if !mistakes.is_empty() {
            return Err(ConfigError::Mistakes { path: self.path.clone(), mistakes });
        }
        toml::from_str(&self.text).map_err(|error| {
            let line = error.span().map(|span| line_at(&self.text, span.start));
            self.mistake(Mistake { line, sentence: error.message().to_owned() })
        })
    }

    /// Refuses a file that holds a secret and that others may read.
    ///
    /// # Errors
    /// When they may.
    pub fn refuse_readers(&self) -> Result<(), ConfigError> {
        if self.others_may_read { Err(ConfigError::WorldReadable(self.path.clone())) } else { Ok(()) }
    }

    /// A mistake that only the program itself can see.
    pub fn mistake(&self, mistake: Mistake) -> ConfigError {
        ConfigError::Mistakes { path: self.path.clone(), mistakes: vec![mistake] }
    }
}

fn unreadable(path: &Path, source: io::Error) -> ConfigError {
    match source.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => ConfigError::Missing(path.to_owned()),
        io::ErrorKind::PermissionDenied => ConfigError::Unreadable(path.to_owned()),
        _ => ConfigError::Read { path: path.to_owned(), source },
    }
}

/// Every mistake in a text, in its order; what is missing comes last.
pub fn mistakes(text: &str, keys: &[Key]) -> Vec<Mistake> {
    let table = match DeTable::parse(text) {
        Ok(table) => table,
        Err(error) => {
            let line = error.span().map(|span| line_at(text, span.start));
            return vec![Mistake { line, sentence: format!("this is no TOML: {}", error.message()) }];
        }
    };
    let mut reader = Reader { text, keys, mistakes: Vec::new(), found: Vec::new() };
    reader.read_table("", table.get_ref());
    reader.mistakes.sort_by_key(|mistake| mistake.line);
    for key in keys.iter().filter(|key| key.required && !reader.found.contains(&key.name)) {
        let sentence = format!("`{}` is missing: add it, {}", key.name, expected(key.kind));
        reader.mistakes.push(Mistake { line: None, sentence });
    }
    reader.mistakes
}

struct Reader<'a> {
    text: &'a str,
    keys: &'a [Key],
    mistakes: Vec<Mistake>,
    found: Vec<&'static str>,
}

impl Reader<'_> {
    fn read_table(&mut self, section: &str, table: &DeTable<'_>) {
        for (key, value) in table {
            let name = if section.is_empty() { key.get_ref().to_string() } else { format!("{section}.{}", key.get_ref()) };
            let line = line_at(self.text, key.span().start);
            let is_section = self.keys.iter().any(|known| known.name.starts_with(&format!("{name}.")));
            match (self.keys.iter().find(|known| known.name == name), value.get_ref()) {
                (Some(known), _) => {
                    self.found.push(known.name);
                    self.read_value(known, value);
                }
                (None, DeValue::Table(inner)) if is_section => self.read_table(&name, inner),
                (None, other) if is_section => {
                    let sentence = format!("`{name}` is {}, but it is the name of a section: write [{name}]", kind_of(other));
                    self.mistake(line, sentence);
                }
                (None, _) => {
                    let sentence = match nearest(&name, self.keys) {
                        Some(meant) => format!("there is no key `{name}`: did you mean `{meant}`?"),
                        None => format!("there is no key `{name}`: remove it"),
                    };
                    self.mistake(line, sentence);
                }
            }
        }
    }

    fn read_value(&mut self, key: &Key, value: &Spanned<DeValue<'_>>) {
        let line = line_at(self.text, value.span().start);
        if let (Kind::Count(least, most), DeValue::Integer(number)) = (key.kind, value.get_ref()) {
            let digits = number.as_str();
            if number.radix() != 10 || !digits.parse::<i64>().is_ok_and(|n| (least..=most).contains(&n)) {
                self.mistake(line, format!("`{}` is {digits}, but should be {}", key.name, expected(key.kind)));
            }
            return;
        }
        let DeValue::String(text) = value.get_ref() else {
            let sentence = format!("`{}` is {}, but should be {}", key.name, kind_of(value.get_ref()), expected(key.kind));
            return self.mistake(line, sentence);
        };
        if !fits(key.kind, text) {
            self.mistake(line, format!("`{}` is {text:?}, but should be {}", key.name, expected(key.kind)));
        }
    }

    fn mistake(&mut self, line: usize, sentence: String) {
        self.mistakes.push(Mistake { line: Some(line), sentence });
    }
}

/// An example file with every setting in force that is commented out in it: `#key = value` and `#[section]` are settings, `# words` are words.
pub fn uncommented(example: &str) -> String {
    let line = |line: &str| {
        let setting = line.strip_prefix('#').filter(|rest| rest.starts_with(|c: char| c.is_ascii_lowercase() || c == '['));
        format!("{}\n", setting.unwrap_or(line))
    };
    example.lines().map(line).collect()
}

/// The keys that an example file does not show, commented out or not.
pub fn not_shown(example: &str, keys: &[Key]) -> Vec<&'static str> {
    let table: toml::Table = uncommented(example).parse().unwrap_or_default();
    let table = toml::Value::Table(table);
    let is_shown = |key: &&Key| key.name.split('.').try_fold(&table, |at, part| at.get(part)).is_some();
    keys.iter().filter(|key| !is_shown(key)).map(|key| key.name).collect()
}

/// Whether a text is what a key may be.
pub fn fits(kind: Kind, text: &str) -> bool {
    match kind {
        Kind::Text(_) => !text.trim().is_empty(),
        Kind::Listen(_) => text.parse::<std::net::SocketAddr>().is_ok(),
        Kind::HostAndPort(_) => is_host_and_port(text),
        Kind::Choice(words) => words.contains(&text),
        Kind::LogLevel => is_level(text),
        Kind::Count(..) => false,
    }
}

/// Whether a text is a host without spaces and a port from 1.
pub fn is_host_and_port(text: &str) -> bool {
    let Some((host, port)) = text.rsplit_once(':') else { return false };
    let bare = host.strip_prefix('[').map_or(host, |h| h.strip_suffix(']').unwrap_or(""));
    let fits = !bare.is_empty() && bare.len() <= 253 && !bare.contains(|c: char| c.is_whitespace() || c == '/' || c == '@');
    fits && port.bytes().all(|b| b.is_ascii_digit()) && port.parse::<u16>().is_ok_and(|port| port > 0)
}

/// What a key may be, in words.
pub fn expected(kind: Kind) -> String {
    match kind {
        Kind::Text(what) => format!("a text in quotes: {what}"),
        Kind::Listen(example) => format!("an IP address and port in quotes, such as \"{example}\""),
        Kind::HostAndPort(example) => format!("a host and port in quotes, such as \"{example}\""),
        Kind::Choice(words) => {
            format!("one of {}", words.iter().map(|word| format!("\"{word}\"")).collect::<Vec<_>>().join(", "))
        }
        Kind::LogLevel => "a level such as \"info\", or filters such as \"info,quinn=debug\"".to_owned(),
        Kind::Count(least, most) => format!("a whole number from {least} to {most}, without quotes"),
    }
}

fn kind_of(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "a text",
        DeValue::Integer(_) | DeValue::Float(_) => "a number",
        DeValue::Boolean(_) => "true or false",
        DeValue::Datetime(_) => "a date",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a section",
    }
}

/// The known key or section that a name was probably meant to be.
fn nearest(name: &str, keys: &[Key]) -> Option<String> {
    let last = |name: &str| name.rsplit('.').next().unwrap_or_default().to_owned();
    let sections = keys.iter().filter_map(|key| key.name.rsplit_once('.')).map(|(section, _)| section);
    let names = keys.iter().map(|key| key.name).chain(sections);
    let distance = |known: &str| {
        let whole = strsim::damerau_levenshtein(name, known);
        // The right word in the wrong section, or in none.
        if last(name) == last(known) { whole.min(1) } else { whole }
    };
    let (best, distance) = names.map(|known| (known, distance(known))).min_by_key(|(_, distance)| *distance)?;
    (distance <= 1 + name.len() / 4).then(|| best.to_owned())
}

fn line_at(text: &str, at: usize) -> usize {
    1 + text.bytes().take(at).filter(|byte| *byte == b'\n').count()
}

#[cfg(test)]
mod tests;
