//! Lays environment and flags over the file, and remembers where each value came from.

use std::collections::BTreeMap;

use config::{Config as Merger, Environment, Map, Source, Value, ValueKind};
use telemetry::document::{Node, NodeValue, Problems, nearest, parse_tree};
use telemetry::problem::Problem;
use telemetry::text::Text;

use super::read::texts;
use super::secret::redacted;

/// What problems of the environment name as their file.
pub const ENVIRONMENT: &str = "environment";
/// What problems of `--set` name as their file.
pub const FLAGS: &str = "--set";

/// Sections that may be a list: an override names the index, as in `TIANLU__UPLINKS__0__TOPIC`.
const LISTS: [&str; 3] = ["mqtt", "uplinks", "notifiers"];
/// Keys whose value is a list; in an override the elements are separated by commas.
const LIST_VALUES: [&str; 2] = ["topics", "dirs"];
/// Bounds the memory that a mistyped index can take.
const MOST_INDEX: usize = 64;

/// What is laid over the file: first the environment, then the flags.
#[derive(Debug, Clone, Default)]
pub struct Layers {
    /// The environment; only `TIANLU__SECTION__KEY` counts, and an empty value counts as unset.
    pub environment: BTreeMap<String, String>,
    /// `section.key` and value, in order.
    pub flags: Vec<(String, String)>,
}

impl Layers {
    /// Takes the environment of this process. Names or values that are not Unicode are left out.
    #[must_use]
    pub fn of_process(flags: Vec<(String, String)>) -> Self {
        let unicode = std::env::vars_os()
            .filter_map(|(k, v)| Some((k.into_string().ok()?, v.into_string().ok()?)));
        Self {
            environment: unicode.filter(|(name, _)| name.starts_with("TIANLU__")).collect(),
            flags,
        }
    }
}

/// The merged tree.
#[derive(Debug)]
pub(super) struct Merged {
    pub(super) tree: BTreeMap<String, Node>,
    pub(super) places: Places,
}

/// Reads the file and lays the layers over it; notes what cannot be read or placed.
pub(super) fn merge(file: &str, text: &str, layers: &Layers, problems: &Problems) -> Merged {
    let written = parse_tree(file, text, problems);
    let mut overrides = environment(&layers.environment);
    overrides.extend(layers.flags.iter().map(|(key, value)| (key.clone(), value.clone(), FLAGS)));
    let mut lists: BTreeMap<&str, Shape> =
        LISTS.iter().map(|list| (*list, Shape::of(written.get(*list)))).collect();
    // `config` reads a name as a path: `"mqtt.url" = …` would stand for the table `mqtt`, or for the list of that
    // name, as it happens. Such a name is none of ours, and is only told.
    let is_plain = |key: &str| !key.contains(['.', '[', ']']);
    let named = written.iter().filter(|(key, _)| is_plain(key));
    let layer = Layer(named.map(|(key, node)| (key.clone(), value(node))).collect());
    let mut builder = Merger::builder().add_source(layer);
    let mut places = Places { written, overrides: BTreeMap::new() };
    for (key, value, place) in overrides {
        match locate(&key, &mut lists) {
            Ok(path) => {
                let value = Value::new(Some(&place.to_owned()), parsed(&path, value));
                builder = builder.add_source(Layer(Map::from_iter([(path.clone(), value)])));
                places.overrides.insert(path, place);
            }
            Err(found) => {
                let (what, remedy) = *found;
                problems.add(Problem {
                    file: place.to_owned(),
                    line: None,
                    key,
                    value: String::new(),
                    what,
                    remedy,
                });
            }
        }
    }
    // Every layer is in memory, so that nothing can fail; what is written would serve if it did.
    let merged = builder.build().ok().and_then(|merged| merged.collect().ok());
    let mut tree = merged
        .map_or_else(|| places.written.clone(), |merged| nodes(merged, Some(&places.written)));
    let others = places.written.iter().filter(|(key, _)| !is_plain(key));
    tree.extend(others.map(|(key, node)| (key.clone(), node.clone())));
    Merged { tree, places }
}

fn environment(variables: &BTreeMap<String, String>) -> Vec<(String, String, &'static str)> {
    let variables: Map<String, String> =
        variables.iter().map(|(k, v)| (k.clone(), v.clone())).collect();
    let source = Environment::with_prefix("TIANLU")
        .separator("__")
        .ignore_empty(true)
        .source(Some(variables));
    // Text was asked for, so that nothing can fail.
    let found: BTreeMap<String, Value> = source.collect().unwrap_or_default().into_iter().collect();
    found
        .into_iter()
        .filter_map(|(key, value)| Some((key, value.into_string().ok()?, ENVIRONMENT)))
        .collect()
}

/// One layer of the merge.
#[derive(Debug, Clone)]
struct Layer(Map<String, Value>);

impl Source for Layer {
    fn clone_into_box(&self) -> Box<dyn Source + Send + Sync> {
        Box::new(self.clone())
    }

    fn collect(&self) -> Result<Map<String, Value>, config::ConfigError> {
        Ok(self.0.clone())
    }
}

/// How a section that may be a list stands in the file.
enum Shape {
    Absent,
    Table,
    List(usize),
}

impl Shape {
    fn of(node: Option<&Node>) -> Self {
        match node.map(|node| &node.value) {
            Some(NodeValue::Table(_)) => Self::Table,
            Some(NodeValue::Array(items)) => Self::List(items.len()),
            _ => Self::Absent,
        }
    }
}

/// Turns `uplinks.0.topic` into the path of the value: `uplinks[0].topic`.
fn locate(key: &str, lists: &mut BTreeMap<&str, Shape>) -> Result<String, Box<(Text, Text)>> {
    let Some((section, rest)) = key.split_once('.') else { return Ok(key.to_owned()) };
    let Some(shape) = lists.get_mut(section) else { return Ok(key.to_owned()) };
    let index =
        rest.split_once('.').and_then(|(index, rest)| Some((index.parse::<usize>().ok()?, rest)));
    match (index, &shape) {
        (Some((0, rest)), Shape::Table) => Ok(format!("{section}.{rest}")),
        (Some((index, rest)), Shape::List(_) | Shape::Absent) if index < MOST_INDEX => {
            if let Shape::Absent = shape {
                *shape = Shape::List(index + 1);
            }
            Ok(format!("{section}[{index}].{rest}"))
        }
        (Some(_), _) => {
            let args: [(&str, &dyn std::fmt::Display); 1] = [("section", &section)];
            Err(Box::new(texts("tianlu.layer.index", &args)))
        }
        (None, Shape::List(1)) => Ok(format!("{section}[0].{rest}")),
        (None, Shape::List(count)) if *count > 1 => {
            let upper = format!("{}__0__{}", section.to_uppercase(), rest.to_uppercase());
            let args: [(&str, &dyn std::fmt::Display); 3] =
                [("section", &section), ("count", count), ("example", &upper)];
            Err(Box::new(texts("tianlu.layer.which", &args)))
        }
        (None, _) => Ok(key.to_owned()),
    }
}

fn parsed(path: &str, value: String) -> ValueKind {
    let last = path.rsplit('.').next().unwrap_or(path);
    if LIST_VALUES.contains(&last) {
        let items = value.split(',').map(str::trim).filter(|item| !item.is_empty());
        return ValueKind::Array(
            items.map(|item| Value::new(None, ValueKind::String(item.to_owned()))).collect(),
        );
    }
    ValueKind::String(value)
}

fn values(tree: &BTreeMap<String, Node>) -> Map<String, Value> {
    tree.iter().map(|(key, node)| (key.clone(), value(node))).collect()
}

fn value(node: &Node) -> Value {
    let kind = match &node.value {
        NodeValue::Text(text) | NodeValue::Datetime(text) => ValueKind::String(text.clone()),
        NodeValue::Integer(number) => ValueKind::I64(*number),
        NodeValue::Float(number) => ValueKind::Float(*number),
        NodeValue::Truth(truth) => ValueKind::Boolean(*truth),
        NodeValue::Array(items) => ValueKind::Array(items.iter().map(value).collect()),
        NodeValue::Table(table) => ValueKind::Table(values(table)),
    };
    Value::new(None, kind)
}

/// Turns merged values back into nodes; the lines are those of the same path in the file.
fn nodes(
    merged: Map<String, Value>,
    written: Option<&BTreeMap<String, Node>>,
) -> BTreeMap<String, Node> {
    let one = |(key, value): (String, Value)| {
        let at = written.and_then(|written| written.get(&key));
        let node = node(value.kind, at);
        (key, node)
    };
    merged.into_iter().map(one).collect()
}

fn node(kind: ValueKind, written: Option<&Node>) -> Node {
    let value = match kind {
        ValueKind::Boolean(truth) => NodeValue::Truth(truth),
        ValueKind::I64(number) => NodeValue::Integer(number),
        ValueKind::Float(number) => NodeValue::Float(number),
        ValueKind::String(text) => NodeValue::Text(text),
        ValueKind::I128(_) | ValueKind::U64(_) | ValueKind::U128(_) => {
            NodeValue::Text(kind.to_string())
        }
        // What an override of a later element skipped.
        ValueKind::Nil => NodeValue::Table(BTreeMap::new()),
        ValueKind::Table(table) => {
            let below = written.and_then(|node| {
                if let NodeValue::Table(below) = &node.value { Some(below) } else { None }
            });
            NodeValue::Table(nodes(table, below))
        }
        ValueKind::Array(items) => {
            let below: &[Node] = match written.map(|node| &node.value) {
                Some(NodeValue::Array(below)) => below,
                _ => &[],
            };
            let items = items.into_iter().enumerate();
            NodeValue::Array(items.map(|(index, item)| node(item.kind, below.get(index))).collect())
        }
    };
    Node { line: written.and_then(|node| node.line), value }
}

/// Where values came from.
#[derive(Debug)]
pub(super) struct Places {
    written: BTreeMap<String, Node>,
    overrides: BTreeMap<String, &'static str>,
}

impl Places {
    /// Names the place a problem belongs to, and hides what may be secret in its value.
    pub(super) fn settle(&self, mut problem: Problem, file: &str) -> Problem {
        if problem.file == file {
            if let Some(place) = self.place(&problem.key) {
                problem.file = place.to_owned();
                problem.line = None;
            }
            problem.value = if may_be_secret(&problem.key) {
                mask(&problem.value)
            } else {
                redacted(&problem.value)
            };
        }
        problem
    }

    fn place(&self, key: &str) -> Option<&'static str> {
        if key.is_empty() {
            return None;
        }
        if let Some(place) = self.overrides.get(key) {
            return Some(place);
        }
        // A section that stands only in an override, such as one with a mistyped name.
        let is_written =
            key.split(['.', '[']).next().is_some_and(|section| self.written.contains_key(section));
        let below =
            |path: &str| path.strip_prefix(key).is_some_and(|rest| rest.starts_with(['.', '[']));
        let mut overrides = self.overrides.iter();
        if is_written {
            None
        } else {
            overrides.find(|(path, _)| below(path)).map(|(_, place)| *place)
        }
    }
}

fn mask(value: &str) -> String {
    if value.is_empty() { String::new() } else { "***".to_owned() }
}

/// Says whether somebody may have written a secret under this key, even a mistyped one.
fn may_be_secret(key: &str) -> bool {
    let last = key.rsplit('.').next().unwrap_or(key);
    if last.ends_with("_file") {
        return false;
    }
    let words = ["password", "token", "secret", "passwd", "passphrase", "credentials", "api_key"];
    words.iter().any(|word| last.contains(word)) || nearest(last, &words).is_some()
}
