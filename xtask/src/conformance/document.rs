//! The tables of `docs/conformance.md`. Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

/// The heading of the list of what no test shows.
const NOT_SHOWN: &str = "Not shown yet";

/// Starts of lines that list ids without a table: those that don't bind this server.
const LISTS: [&str; 2] = ["Client only: ", "Without object: "];

/// A statement of one version of MQTT; ids of two versions may be the same.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Key {
    /// `5.0` or `3.1.1`.
    pub(super) version: String,
    id: String,
}

impl Key {
    pub(super) fn new(version: &str, id: &str) -> Self {
        Self { version: version.to_owned(), id: id.to_owned() }
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of MQTT {}", self.id, self.version)
    }
}

/// What a row says of its statement.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Statement {
    /// The statement of 5.0 with this id says the same.
    SameAs(String),
    /// These files hold it.
    Held { modules: Vec<String>, evidence: Evidence },
}

/// What shows a statement.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Evidence {
    /// Files, each with a test in it.
    Tests(Vec<(String, String)>),
    /// No test: `untested` or `missing`.
    None(String),
}

/// All tables.
#[derive(Debug, Default)]
pub(super) struct Document {
    pub(super) statements: BTreeMap<Key, Statement>,
    /// What no test shows, with `untested` or `missing`.
    pub(super) not_shown: BTreeMap<Key, String>,
    /// Statements that don't bind this server.
    not_bound: BTreeSet<Key>,
}

impl Document {
    pub(super) fn is_shown(&self, statement: &Statement) -> bool {
        let same = match statement {
            Statement::SameAs(id) => self.statements.get(&Key::new("5.0", id)),
            Statement::Held { .. } => Some(statement),
        };
        matches!(same, Some(Statement::Held { evidence: Evidence::Tests(_), .. }))
    }

    /// How many statements of a version are named, those included that don't bind this server.
    pub(super) fn named(&self, version: &str) -> usize {
        let keys = self.statements.keys().chain(&self.not_bound);
        keys.filter(|key| key.version == version).count()
    }

    /// Statements that stand nowhere, though others of their section before and behind them do.
    pub(super) fn gaps(&self) -> Vec<Key> {
        let mut sections: BTreeMap<(&str, &str), BTreeSet<u32>> = BTreeMap::new();
        for key in self.statements.keys().chain(&self.not_bound) {
            let Some((section, number)) = key.id.rsplit_once('-') else { continue };
            let numbers = sections.entry((&key.version, section)).or_default();
            numbers.extend(number.parse::<u32>());
        }
        let mut gaps = Vec::new();
        for ((version, section), numbers) in sections {
            let (Some(&first), Some(&last)) = (numbers.first(), numbers.last()) else { continue };
            let absent = (first..last).filter(|number| !numbers.contains(number));
            gaps.extend(absent.map(|number| Key::new(version, &format!("{section}-{number}"))));
        }
        gaps
    }

    fn has(&self, key: &Key) -> bool {
        self.statements.contains_key(key) || self.not_bound.contains(key)
    }
}

/// Where in the document a line stands.
enum Section {
    Text,
    Version(String),
    NotShown,
}

/// Reads the tables; the second part is what can't be read, each with what to change.
pub(super) fn parse(text: &str) -> (Document, Vec<String>) {
    let (mut document, mut breaches) = (Document::default(), Vec::new());
    let mut section = Section::Text;
    for (number, line) in text.lines().enumerate() {
        if let Some(heading) = line.strip_prefix("## ") {
            section = match heading.strip_prefix("MQTT ") {
                Some(version) => Section::Version(version.to_owned()),
                None if heading == NOT_SHOWN => Section::NotShown,
                None => Section::Text,
            };
            continue;
        }
        let result = match &section {
            Section::Text => Ok(()),
            Section::Version(version) => statement_line(&mut document, version, line),
            Section::NotShown => not_shown_line(&mut document, line),
        };
        breaches.extend(result.err().map(|breach| format!("line {}: {breach}", number + 1)));
    }
    (document, breaches)
}

fn statement_line(document: &mut Document, version: &str, line: &str) -> Result<(), String> {
    if let Some(list) = LISTS.iter().find_map(|start| line.strip_prefix(start)) {
        for id in list.split_whitespace().filter(|word| word.starts_with("MQTT-")) {
            let key = Key::new(version, checked(id.trim_end_matches([',', ';', ':', '.']))?);
            if document.has(&key) {
                return Err(format!("{key} stands here a second time: remove one"));
            }
            document.not_bound.insert(key);
        }
        return Ok(());
    }
    let Some(cells) = cells(line) else { return Ok(()) };
    let statement = match &cells[..] {
        [_, same] => Statement::SameAs(checked(same)?.to_owned()),
        [_, summary, modules, tests] => {
            if summary.is_empty() || modules.is_empty() {
                return Err("a summary and a module are needed".to_owned());
            }
            Statement::Held { modules: quoted(modules)?, evidence: evidence(tests)? }
        }
        _ => return Err("a row has an id and the 5.0 id, or id, summary, module, test".to_owned()),
    };
    let key = Key::new(version, checked(cells[0])?);
    if document.has(&key) {
        return Err(format!("{key} stands here a second time: remove one"));
    }
    document.statements.insert(key, statement);
    Ok(())
}

fn not_shown_line(document: &mut Document, line: &str) -> Result<(), String> {
    let Some(cells) = cells(line) else { return Ok(()) };
    let [id, version, state, reason] = cells[..] else {
        return Err("a row has an id, a version, a state and a reason".to_owned());
    };
    if reason.is_empty() {
        return Err(format!("{id} needs a reason"));
    }
    let key = Key::new(version, checked(id)?);
    match document.not_shown.insert(key, state_of(state)?.to_owned()) {
        None => Ok(()),
        Some(_) => Err(format!("{id} stands here a second time: remove one")),
    }
}

/// The cells of a row whose first one is an id.
fn cells(line: &str) -> Option<Vec<&str>> {
    let cells = line.strip_prefix('|')?.trim_end().strip_suffix('|')?;
    let cells: Vec<&str> = cells.split('|').map(str::trim).collect();
    cells[0].starts_with("MQTT-").then_some(cells)
}

/// `MQTT-3.1.2-4`: chapter, section, subsection, number.
fn checked(id: &str) -> Result<&str, String> {
    let is_number = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
    let is_id = || {
        let (section, number) = id.strip_prefix("MQTT-")?.split_once('-')?;
        let parts: Vec<&str> = section.split('.').collect();
        Some(
            parts.len() == 3
                && parts.into_iter().all(is_number)
                && is_number(number)
                && number.len() <= 2,
        )
    };
    if is_id() == Some(true) { Ok(id) } else { Err(format!("{id:?} is no id of a statement")) }
}

fn evidence(cell: &str) -> Result<Evidence, String> {
    if let Some(state) = cell.strip_prefix('-') {
        return Ok(Evidence::None(state_of(state.trim())?.to_owned()));
    }
    let tests = quoted(cell)?.into_iter().map(|test| match test.rsplit_once("::") {
        Some((path, name)) => Ok((path.to_owned(), name.to_owned())),
        None => Err(format!("`{test}` is no test: write `path::name`")),
    });
    Ok(Evidence::Tests(tests.collect::<Result<_, _>>()?))
}

fn state_of(word: &str) -> Result<&str, String> {
    match word {
        "untested" | "missing" => Ok(word),
        _ => Err(format!("{word:?} is neither untested nor missing")),
    }
}

/// Parts between backticks, with commas between them.
fn quoted(cell: &str) -> Result<Vec<String>, String> {
    let parts = cell.split(", ").map(|part| {
        let part = part.strip_prefix('`').and_then(|part| part.strip_suffix('`'));
        part.filter(|part| !part.is_empty()).map(str::to_owned)
    });
    let parts: Option<Vec<String>> = parts.collect();
    parts.ok_or_else(|| format!("{cell:?}: put each path between backticks"))
}
