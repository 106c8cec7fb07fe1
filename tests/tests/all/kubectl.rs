//! Compares the objects that `check` reads with those that `kubectl` reads, on a corpus of odd
//! manifests and on files generated from it.
//!
//! `tests/kubectl/README.md` says where the expected answers come from. Without a kubectl,
//! generated files are left out, with a message.

use crate::host::root;
use sallyport_core::yaml;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

const SEED: u64 = 16;
const GENERATED: usize = 40;
/// Every tenth file of the corpus is compared with this machine's kubectl, and all of them if
/// KUBECTL_WHOLE_CORPUS is set. (The answers of one kubectl for all of them are recorded.)
const SAMPLE: usize = 10;
const OLDEST_MINOR: u32 = 27;
/// kubectl's message for a file without objects, which Sallyport accepts as empty.
const NO_OBJECTS: &str = "no objects passed to";
/// kubectl's message for metadata of a wrong type. `check` reads such an object and reports rule
/// S16.
const WRONG_METADATA: &str = "Go struct field metadataOnlyObject.metadata";

/// The objects of a file, or the reason why it can't be read.
type Reading = Result<Vec<Value>, String>;

fn sallyport(bytes: &[u8]) -> Reading {
    let text = std::str::from_utf8(bytes).map_err(|error| error.to_string())?;
    yaml::objects(text).map_err(|error| error.to_string())
}

pub(crate) struct Kubectl {
    pub(crate) program: PathBuf,
    version: String,
}

impl Kubectl {
    /// Returns the first kubectl that is new enough.
    pub(crate) fn find() -> Option<Self> {
        let given = std::env::var_os("SALLYPORT_KUBECTL").map(PathBuf::from);
        let candidates = given
            .into_iter()
            .chain([root().join("target/kubectl/kubectl"), "kubectl".into()]);
        let found = candidates.filter_map(Self::new).next();
        if found.is_none() {
            eprintln!(
                "SKIPPED: no kubectl of 1.{OLDEST_MINOR} or newer; scripts/kubectl.sh gets one"
            );
            assert!(
                std::env::var_os("SALLYPORT_REQUIRE_KUBECTL").is_none(),
                "SALLYPORT_REQUIRE_KUBECTL is set"
            );
        }
        found
    }

    fn new(program: PathBuf) -> Option<Self> {
        let output = Command::new(&program)
            .args(["version", "--client", "-o", "json"])
            .output()
            .ok()?;
        let answer: Value = serde_json::from_slice(&output.stdout).ok()?;
        let version = answer["clientVersion"]["gitVersion"].as_str()?.to_owned();
        let minor: u32 = version.split('.').nth(1)?.parse().ok()?;
        (minor >= OLDEST_MINOR).then_some(Self { program, version })
    }

    /// Reads a file as `kubectl apply` does, without a server.
    fn read(&self, file: &Path) -> Reading {
        let mut command = Command::new(&self.program);
        command
            .args([
                "patch",
                "--local",
                "--type=merge",
                "-p",
                "{}",
                "-o",
                "json",
                "-f",
            ])
            .arg(file);
        let output = command
            .env("KUBECONFIG", "/dev/null")
            .output()
            .expect("kubectl runs");
        let error = String::from_utf8_lossy(&output.stderr);
        match output.status.success() {
            true => Ok(serde_json::Deserializer::from_slice(&output.stdout)
                .into_iter()
                .collect::<Result<_, _>>()
                .expect("kubectl writes JSON")),
            false if error.contains(NO_OBJECTS) => Ok(vec![]),
            false => Err(error.trim().replace(&*file.to_string_lossy(), "FILE")),
        }
    }
}

/// Removes null members, which kubectl's output may or may not have, and unifies numbers.
fn normal(value: &Value) -> Value {
    match value {
        Value::Array(items) => items.iter().map(normal).collect(),
        Value::Object(map) => {
            let members = map.iter().filter(|(_, value)| !value.is_null());
            Value::Object(
                members
                    .map(|(key, value)| (key.clone(), normal(value)))
                    .collect::<Map<_, _>>(),
            )
        }
        Value::Number(number) if !number.is_i64() => json!(number.as_f64()),
        other => other.clone(),
    }
}

/// Returns the reason why two readings of a file are a fault. Refusing more than kubectl does is
/// none.
fn fault(ours: &Reading, theirs: &Reading) -> Option<String> {
    match (ours, theirs) {
        (Ok(ours), Ok(theirs)) => {
            let (ours, theirs) = (normal(&json!(ours)), normal(&json!(theirs)));
            (ours != theirs)
                .then(|| format!("read differently:\n  kubectl:   {theirs}\n  sallyport: {ours}"))
        }
        (Ok(_), Err(error)) if error.contains(WRONG_METADATA) => None,
        (Ok(ours), Err(error)) => Some(format!(
            "only sallyport reads it: {}\n  kubectl: {error}",
            json!(ours)
        )),
        (Err(_), _) => None,
    }
}

fn corpus() -> BTreeMap<String, Vec<u8>> {
    let directory = root().join("tests/kubectl/corpus");
    let entries = std::fs::read_dir(directory)
        .expect("a corpus")
        .map(|entry| entry.expect("an entry"));
    let file = |entry: std::fs::DirEntry| {
        let name = entry.file_name().into_string().expect("UTF-8");
        (name, std::fs::read(entry.path()).expect("readable"))
    };
    entries.map(file).collect()
}

fn answers() -> PathBuf {
    root().join("tests/kubectl/answers.json")
}

/// Reads files with kubectl, on all processors.
fn read_all(kubectl: &Kubectl, files: &BTreeMap<String, Vec<u8>>) -> BTreeMap<String, Reading> {
    let directory = tempfile::tempdir().expect("a directory");
    let names: Vec<_> = files.keys().collect();
    let read = |names: &[&String]| -> Vec<(String, Reading)> {
        let read = |name: &&String| {
            let file = directory.path().join(name);
            std::fs::write(&file, &files[*name]).expect("written");
            ((*name).clone(), kubectl.read(&file))
        };
        names.iter().map(read).collect()
    };
    let (left, right) = names.split_at(names.len() / 2);
    std::thread::scope(|scope| {
        let other = scope.spawn(|| read(right));
        let mut all = read(left);
        all.extend(other.join().expect("no panic"));
        all.into_iter().collect()
    })
}

fn faults(files: &BTreeMap<String, Vec<u8>>, theirs: &BTreeMap<String, Reading>) -> Vec<String> {
    let fault = |(name, bytes): (&String, &Vec<u8>)| {
        let fault = fault(&sallyport(bytes), &theirs[name])?;
        Some(format!(
            "{name}: {fault}\n  {:?}",
            String::from_utf8_lossy(bytes)
        ))
    };
    files.iter().filter_map(fault).collect()
}

/// Returns the corpus entry: `objects` or `refused`, and `here`: `same`, or `refused` with
/// Sallyport's reason.
fn answer(ours: &Reading, theirs: &Reading) -> Value {
    match (theirs, ours) {
        (Ok(objects), Ok(_)) => json!({"objects": objects, "here": "same"}),
        (Ok(objects), Err(error)) => json!({"objects": objects, "here": {"refused": error}}),
        (Err(error), _) => json!({"refused": error}),
    }
}

#[test]
fn every_file_of_the_corpus_is_read_as_kubectl_read_it() {
    let corpus = corpus();
    assert!(corpus.len() >= 400, "{} files", corpus.len());
    if std::env::var_os("WRITE_KUBECTL").is_some() {
        let kubectl = Kubectl::find().expect("a kubectl");
        let theirs = read_all(&kubectl, &corpus);
        let files: BTreeMap<_, _> = corpus
            .iter()
            .map(|(name, bytes)| (name, answer(&sallyport(bytes), &theirs[name])))
            .collect();
        let text = format!(
            "{:#}\n",
            json!({"kubectl": kubectl.version, "files": files})
        );
        std::fs::write(answers(), text).expect("written");
    }
    let text = std::fs::read_to_string(answers()).expect("answers");
    let recorded: Value = serde_json::from_str(&text).expect("JSON");
    let mut faults = vec![];
    for (name, bytes) in &corpus {
        let recorded = &recorded["files"][name];
        let theirs = match (&recorded["objects"], recorded["refused"].as_str()) {
            (Value::Array(objects), None) => Ok(objects.clone()),
            (Value::Null, Some(error)) => Err(error.to_owned()),
            _ => panic!("no answer for {name}; WRITE_KUBECTL=1 writes it"),
        };
        let ours = sallyport(bytes);
        faults.extend(fault(&ours, &theirs).map(|fault| format!("{name}: {fault}")));
        if theirs.is_ok() && answer(&ours, &theirs)["here"] != recorded["here"] {
            faults.push(format!(
                "{name}: recorded {}, now {ours:?}",
                recorded["here"]
            ));
        }
    }
    assert!(
        faults.is_empty(),
        "{} faults\n{}",
        faults.len(),
        faults.join("\n")
    );
}

#[test]
fn this_machines_kubectl_reads_the_corpus_alike() {
    let Some(kubectl) = Kubectl::find() else {
        return;
    };
    let step = match std::env::var_os("KUBECTL_WHOLE_CORPUS") {
        Some(_) => 1,
        None => SAMPLE,
    };
    let corpus = corpus().into_iter().step_by(step).collect();
    let faults = faults(&corpus, &read_all(&kubectl, &corpus));
    assert!(
        faults.is_empty(),
        "kubectl {}: {} faults\n{}",
        kubectl.version,
        faults.len(),
        faults.join("\n")
    );
}

#[test]
fn kubectl_reads_generated_files_alike() {
    let Some(kubectl) = Kubectl::find() else {
        return;
    };
    let number = |name: &str| {
        std::env::var(name)
            .ok()
            .map(|text| text.parse::<u64>().expect("a number"))
    };
    let seed = number("KUBECTL_SEED").unwrap_or(SEED);
    let count = number("KUBECTL_GENERATED")
        .map_or(GENERATED, |count| usize::try_from(count).expect("64 bits"));
    let seeds: Vec<_> = corpus()
        .into_values()
        .filter(|bytes| bytes.len() < 3000)
        .collect();
    let mut random = Random(seed);
    let files: BTreeMap<_, _> = (0..count)
        .map(|i| (format!("{i:05}.yaml"), mutated(&seeds, &mut random)))
        .collect();
    let theirs = read_all(&kubectl, &files);
    let faults = faults(&files, &theirs);
    assert!(
        faults.is_empty(),
        "seed {seed}, kubectl {}: {} faults\n{}",
        kubectl.version,
        faults.len(),
        faults.join("\n")
    );
    let both = files
        .iter()
        .filter(|(name, bytes)| theirs[*name].is_ok() && sallyport(bytes).is_ok())
        .count();
    assert!(
        both * 10 > count,
        "only {both} of {count} generated files are read by both"
    );
}

/// Knuth's multiplicative congruential generator, which generates the same files everywhere.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).expect("64 bits") % bound.max(1)
    }

    fn of<'a, T>(&mut self, all: &'a [T]) -> &'a T {
        &all[self.below(all.len())]
    }
}

const PIECES: [&str; 62] = [
    "\n",
    "\n  ",
    "\n    ",
    " ",
    "  ",
    "\t",
    ": ",
    ":",
    "- ",
    "-",
    "? ",
    "?",
    "# c",
    "#",
    "{",
    "}",
    "[",
    "]",
    ",",
    ", ",
    "\"",
    "'",
    "|",
    ">",
    "|-",
    ">+",
    "&a ",
    "*a",
    "!!str ",
    "!!int ",
    "! ",
    "!x ",
    "<<: ",
    "<<",
    "\n---\n",
    "\n...\n",
    "type: NodePort",
    "80",
    "0o17",
    "yes",
    "null",
    "~",
    "1_0",
    "\r",
    "\r\n",
    "\u{2028}",
    "\u{2029}",
    "\u{85}",
    "\u{a0}",
    "\\",
    "\\n",
    "\\u0041",
    "%",
    "@",
    "=",
    ".5",
    "1e3",
    "items: ",
    "kind: ",
    "''",
    "\u{7f}",
    "!,",
];

/// Generates a file from the corpus: a few pieces are added, removed, repeated or taken from
/// another file.
fn mutated(seeds: &[Vec<u8>], random: &mut Random) -> Vec<u8> {
    let mut bytes = random.of(seeds).clone();
    for _ in 0..=random.below(3) {
        // The head stays mostly whole, so that something remains to be read.
        let from = if random.below(5) == 0 {
            0
        } else {
            bytes.len().min(50)
        };
        let place = from + random.below(bytes.len() - from + 1);
        let end = bytes.len().min(place + 1 + random.below(8));
        let piece = match random.below(10) {
            0..=5 => random.of(&PIECES).as_bytes().to_vec(),
            6 => vec![],
            7 => bytes[place..end].to_vec(),
            _ => {
                let other = random.of(seeds);
                let start = random.below(other.len());
                other[start..other.len().min(start + 20)].to_vec()
            }
        };
        let end = if piece.is_empty() { end } else { place };
        bytes.splice(place..end, piece);
    }
    bytes
}
