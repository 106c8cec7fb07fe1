//! One YAML document into a tree, the way Go's yaml.v2 composes it.
//!
//! The grammar is libyaml's, of which Go's is a port. Merge keys (`<<`) act where they stand: they
//! replace members before them and are replaced by members after them. Beyond what `kubectl`
//! refuses, this refuses duplicate keys (`kubectl` takes the last one), content behind the
//! document's end (`kubectl` ignores it), and what the two grammars read differently.

use super::node::{Entry, Keys, Located, Node};
use super::scalar::Scalar;
use super::{MAX_DEPTH, MAX_REPEATED, YamlError};
use libyaml_safer::{
    Error, Event, EventData, MappingStyle, Mark, Parser, ScalarStyle, SequenceStyle,
};
use serde_json::Value;
use std::collections::HashMap;
use std::io::{BufReader, Cursor};
use std::sync::Arc;

const MERGE_TAG: &str = "tag:yaml.org,2002:merge";
/// A node in memory, beside its texts.
const NODE_SIZE: usize = 64;

/// State that the documents of a file share.
pub(super) struct Shared {
    pub(super) keys: Keys,
    /// Bytes that aliases may still repeat.
    budget: usize,
}

impl Default for Shared {
    fn default() -> Self {
        Self {
            keys: Keys::default(),
            budget: MAX_REPEATED,
        }
    }
}

/// Composes the first document of a text; `None` where it has none.
///
/// `first_line` is the line of the text's first line in its file, from 1.
///
/// # Errors
///
/// The first problem, with its line.
pub(super) fn compose(
    text: &str,
    first_line: usize,
    shared: &mut Shared,
) -> Result<Option<Located>, YamlError> {
    refuse_tags_before_commas(text, first_line)?;
    let events = Events::new(text, first_line);
    let mut composer = Composer {
        text,
        events,
        anchors: HashMap::new(),
        shared,
    };
    composer.events.next()?;
    let event = composer.events.next()?;
    match event.data {
        EventData::DocumentStart {
            version_directive, ..
        } => {
            if version_directive.is_some_and(|version| (version.major, version.minor) != (1, 1)) {
                return Err(composer.events.error(
                    event.start_mark,
                    "kubectl reads YAML 1.1 only; remove the directive",
                ));
            }
            let event = composer.events.next()?;
            let root = composer.node(
                event,
                Context {
                    depth: 0,
                    flow: false,
                },
            )?;
            composer.events.next()?;
            let end = composer.events.next()?;
            if !matches!(end.data, EventData::StreamEnd) {
                let problem = "kubectl ignores what follows the end of a document (...); begin the \
                    next one with ---";
                return Err(composer.events.error(end.start_mark, problem));
            }
            Ok(Some(root))
        }
        _ => Ok(None),
    }
}

/// Refuses a tag that a comma follows without a blank, as Go does: libyaml-safer 0.3 panics at it.
fn refuse_tags_before_commas(text: &str, first_line: usize) -> Result<(), YamlError> {
    let suspect = |word: &str| {
        word.find('!')
            .is_some_and(|place| word[place..].contains(','))
    };
    if !text.split_whitespace().any(suspect) {
        return Ok(());
    }
    let mut events = Events::new(&text.replace(',', " ,"), first_line);
    loop {
        let event = events.next()?;
        let tagged = match &event.data {
            EventData::Scalar { tag, .. }
            | EventData::SequenceStart { tag, .. }
            | EventData::MappingStart { tag, .. } => tag.is_some(),
            EventData::StreamEnd => return Ok(()),
            _ => false,
        };
        if tagged {
            let problem = "a tag, and elsewhere an exclamation mark before a comma, can't be read \
                in one document; \
                           remove the tag";
            return Err(events.error(event.start_mark, problem));
        }
    }
}

/// libyaml's events, with errors that name the line in the file.
struct Events {
    parser: Parser<BufReader<Cursor<String>>>,
    first_line: usize,
}

impl Events {
    fn new(text: &str, first_line: usize) -> Self {
        let mut parser = Parser::new();
        // kubectl does the same. libyaml-safer 0.3 panics at a block scalar or an escape that
        // nothing follows.
        let end = if text.ends_with('\n') { "" } else { "\n" };
        parser.set_input(BufReader::new(Cursor::new(format!("{text}{end}"))));
        Self { parser, first_line }
    }

    fn next(&mut self) -> Result<Event, YamlError> {
        self.parser.parse().map_err(|error| self.explain(&error))
    }

    fn explain(&self, error: &Error) -> YamlError {
        let line = error
            .problem_mark()
            .map_or(self.first_line, |mark| self.line(mark));
        let problem = match error.context() {
            Some(context) => format!("not valid YAML: {} {context}", error.problem()),
            None => format!("not valid YAML: {}", error.problem()),
        };
        YamlError { line, problem }
    }

    fn line(&self, mark: Mark) -> usize {
        self.first_line + usize::try_from(mark.line).unwrap_or(usize::MAX)
    }

    fn error(&self, mark: Mark, problem: impl Into<String>) -> YamlError {
        YamlError {
            line: self.line(mark),
            problem: problem.into(),
        }
    }
}

/// The position of a node in the text.
#[derive(Clone, Copy)]
struct Context {
    depth: usize,
    /// Within `{}` or `[]`.
    flow: bool,
}

impl Context {
    fn below(self, flow: bool) -> Self {
        Self {
            depth: self.depth + 1,
            flow,
        }
    }
}

struct Composer<'a> {
    text: &'a str,
    events: Events,
    /// `None` while the node is being composed: an alias within would repeat the node that holds
    /// it.
    anchors: HashMap<String, Option<Anchored>>,
    shared: &'a mut Shared,
}

struct Anchored {
    node: Located,
    size: usize,
}

impl Composer<'_> {
    fn node(&mut self, event: Event, context: Context) -> Result<Located, YamlError> {
        let mark = event.start_mark;
        if context.depth > MAX_DEPTH {
            return Err(self
                .events
                .error(mark, format!("nested deeper than {MAX_DEPTH} levels")));
        }
        let (anchor, node) = match event.data {
            EventData::Alias { anchor } => return self.alias(&anchor, mark),
            EventData::Scalar {
                anchor,
                tag,
                value,
                plain_implicit,
                style,
                ..
            } => {
                let plain = style == ScalarStyle::Plain;
                if plain && context.flow && value.contains('?') {
                    let problem =
                        format!("{value:?} has a question mark within {{}} or []; quote it");
                    return Err(self.events.error(mark, problem));
                }
                if style == ScalarStyle::DoubleQuoted && self.escapes_slash(mark, event.end_mark) {
                    return Err(self
                        .events
                        .error(mark, r"the escape \/, which kubectl refuses; write / alone"));
                }
                let scalar = Scalar {
                    tag: tag.as_deref(),
                    text: &value,
                    plain: plain_implicit,
                };
                let value = scalar
                    .resolve()
                    .map_err(|problem| self.events.error(mark, problem))?;
                (anchor, Node::Scalar(value))
            }
            EventData::SequenceStart { anchor, style, .. } => {
                self.open(anchor.as_deref());
                (
                    anchor,
                    self.list(context.below(style == SequenceStyle::Flow))?,
                )
            }
            EventData::MappingStart { anchor, style, .. } => {
                self.open(anchor.as_deref());
                (
                    anchor,
                    self.object(context.below(style == MappingStyle::Flow))?,
                )
            }
            _ => {
                return Err(self
                    .events
                    .error(mark, "not valid YAML: a value is missing"));
            }
        };
        let node = Located::new(self.events.line(mark), node);
        if let Some(name) = anchor {
            let size = size(&node);
            self.anchors.insert(
                name,
                Some(Anchored {
                    node: node.clone(),
                    size,
                }),
            );
        }
        Ok(node)
    }

    /// JSON has the escape `\/`, and so has libyaml, but not Go's YAML.
    fn escapes_slash(&self, start: Mark, end: Mark) -> bool {
        let place = |mark: Mark| usize::try_from(mark.index).unwrap_or(usize::MAX);
        let Some(quoted) = self.text.as_bytes().get(place(start)..place(end)) else {
            return true;
        };
        let mut bytes = quoted.iter();
        while let Some(byte) = bytes.next() {
            if *byte == b'\\' && bytes.next() == Some(&b'/') {
                return true;
            }
        }
        false
    }

    fn open(&mut self, anchor: Option<&str>) {
        if let Some(name) = anchor {
            self.anchors.insert(name.to_owned(), None);
        }
    }

    fn alias(&mut self, name: &str, mark: Mark) -> Result<Located, YamlError> {
        let fail = |problem| Err(self.events.error(mark, problem));
        let Some(anchored) = self.anchors.get(name) else {
            return fail(format!("the anchor &{name} is unknown"));
        };
        let Some(Anchored { node, size }) = anchored else {
            return fail(format!("the anchor &{name} contains itself"));
        };
        match self.shared.budget.checked_sub(*size) {
            Some(left) => self.shared.budget = left,
            None => {
                return fail(format!(
                    "aliases repeat too much (here *{name}, {size} bytes); write the values out"
                ));
            }
        }
        Ok(node.clone().at(self.events.line(mark)))
    }

    fn list(&mut self, context: Context) -> Result<Node, YamlError> {
        let mut items = vec![];
        loop {
            let event = self.events.next()?;
            if matches!(event.data, EventData::SequenceEnd) {
                return Ok(Node::List(items.into()));
            }
            items.push(self.node(event, context)?);
        }
    }

    fn object(&mut self, context: Context) -> Result<Node, YamlError> {
        let mut members = Members::default();
        loop {
            let event = self.events.next()?;
            let mark = event.start_mark;
            if matches!(event.data, EventData::MappingEnd) {
                return Ok(Node::Object(members.entries.into()));
            }
            if is_merge(&event.data) {
                let event = self.events.next()?;
                let aliased = matches!(event.data, EventData::Alias { .. });
                let value = self.node(event, context)?;
                self.merge(&mut members, value, aliased, mark)?;
                continue;
            }
            let key = self.node(event, context)?;
            let key = key_text(&key).map_err(|problem| self.events.error(mark, problem))?;
            let key = self.shared.keys.share(&key);
            let event = self.events.next()?;
            let value = self.node(event, context)?;
            if !members.set(&key, value) {
                return Err(self
                    .events
                    .error(mark, format!("the key {key:?} stands twice; keep one")));
            }
        }
    }

    /// Merges a list of objects, of which earlier ones take precedence. Go takes no alias of a
    /// list.
    fn merge(
        &self,
        members: &mut Members,
        value: Located,
        aliased: bool,
        mark: Mark,
    ) -> Result<(), YamlError> {
        let fail = || {
            Err(self.events.error(
                mark,
                "<< needs an object, an alias of one, or a list of them",
            ))
        };
        if value.is_object() {
            members.merge(value);
        } else if value.is_list() && !aliased {
            for item in value.items().iter().rev() {
                if !item.is_object() {
                    return fail();
                }
                members.merge(item.clone());
            }
        } else {
            return fail();
        }
        Ok(())
    }
}

/// Returns true if Go takes a key for a merge key: `<<` without quotes.
fn is_merge(event: &EventData) -> bool {
    match event {
        EventData::Scalar {
            value,
            tag,
            plain_implicit,
            ..
        } => value == "<<" && (*plain_implicit || tag.as_deref() == Some(MERGE_TAG)),
        _ => false,
    }
}

/// JSON's keys are texts: `kubectl` writes booleans and integers as such.
fn key_text(key: &Located) -> Result<String, String> {
    match key.scalar() {
        Some(Value::String(text)) => Ok(text.clone()),
        Some(Value::Bool(value)) => Ok(value.to_string()),
        Some(Value::Number(number)) if number.is_i64() => Ok(number.to_string()),
        Some(Value::Number(number)) => Err(format!("a key that is the number {number}; quote it")),
        Some(_) => Err("a key that is null; quote it".to_owned()),
        None => Err("a key that is an object or a list; a key must be a text".to_owned()),
    }
}

/// The members of an object that is being composed.
#[derive(Default)]
struct Members {
    entries: Vec<Entry>,
    /// For each key, its line and whether it was written here rather than merged.
    places: HashMap<Arc<str>, (usize, bool)>,
}

impl Members {
    /// Returns false if the key was written before.
    fn set(&mut self, key: &Arc<str>, value: Located) -> bool {
        match self.places.get_mut(key) {
            Some((_, true)) => return false,
            Some((place, written)) => {
                *written = true;
                self.entries[*place].1 = value;
            }
            None => {
                self.places
                    .insert(Arc::clone(key), (self.entries.len(), true));
                self.entries.push((Arc::clone(key), value));
            }
        }
        true
    }

    fn merge(&mut self, object: Located) {
        for (key, value) in object.into_entries() {
            match self.places.get(&key) {
                Some((place, _)) => self.entries[*place].1 = value,
                None => {
                    self.places
                        .insert(Arc::clone(&key), (self.entries.len(), false));
                    self.entries.push((key, value));
                }
            }
        }
    }
}

/// Bytes that a copy takes, roughly.
fn size(node: &Located) -> usize {
    let own = match node.scalar() {
        Some(Value::String(text)) => text.len(),
        _ => 0,
    };
    let members: usize = node
        .entries()
        .iter()
        .map(|(key, value)| key.len() + size(value))
        .sum();
    NODE_SIZE + own + members + node.items().iter().map(size).sum::<usize>()
}
