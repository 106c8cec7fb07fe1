//! A page's console blocks, run as a reader would run them.
//!
//! A line that begins with `$ ` is a command; a here-document or a backslash continues it. The
//! lines below are what it prints, standard error included. A line `...` stands for any lines, and
//! `…` within a line for any characters. A command that serves or watches is left running once it
//! has printed what the page shows.

use crate::SALLYPORT;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// The time for one command on a busy machine. Compiling takes the longest.
const TIMEOUT: Duration = Duration::from_secs(600);

/// The interval at which a running command is looked at.
const LOOK: Duration = Duration::from_millis(100);

/// A command with the output that the page shows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// The command, as a shell takes it.
    pub command: String,
    /// The lines of its output, with wildcards.
    pub output: Vec<String>,
}

/// Returns the commands of a page.
#[must_use]
pub fn steps(page: &str) -> Vec<Step> {
    let blocks = page.split("```console\n").skip(1);
    let blocks = blocks.filter_map(|rest| Some(rest.split_once("\n```")?.0));
    blocks.flat_map(of_block).collect()
}

fn of_block(block: &str) -> Vec<Step> {
    let mut steps = Vec::<Step>::new();
    let (mut is_document, mut goes_on) = (false, false);
    for line in block.lines() {
        match steps.last_mut() {
            Some(step) if is_document || goes_on => {
                step.command.push('\n');
                step.command.push_str(line);
                is_document &= line != "EOF";
            }
            _ if line.starts_with("$ ") => {
                is_document = line.contains("<<'EOF'");
                steps.push(Step {
                    command: line[2..].to_owned(),
                    output: vec![],
                });
            }
            Some(step) => step.output.push(line.to_owned()),
            None => panic!("a block begins with a command: {line}"),
        }
        goes_on = !is_document && line.ends_with('\\');
    }
    steps
}

impl Step {
    /// Returns true if the command does not end by itself.
    fn runs_on(&self) -> bool {
        self.command.contains(" --watch") || self.command.starts_with("sallyport serve ")
    }

    fn is_as_shown(&self, printed: &str) -> bool {
        let printed: Vec<_> = printed.lines().map(str::trim_end).collect();
        matches(&self.output, &printed)
    }
}

/// Compares lines with what a page shows of them.
fn matches(shown: &[String], printed: &[&str]) -> bool {
    match shown.split_first() {
        None => printed.iter().all(|line| line.is_empty()),
        Some((first, rest)) if first == "..." => {
            (0..=printed.len()).any(|skipped| matches(rest, &printed[skipped..]))
        }
        Some((first, rest)) => printed
            .split_first()
            .is_some_and(|(line, printed)| line_matches(first, line) && matches(rest, printed)),
    }
}

fn line_matches(shown: &str, line: &str) -> bool {
    let mut parts = shown.trim_end().split('…');
    let first = parts.next().unwrap_or_default();
    let Some(mut rest) = line.strip_prefix(first) else {
        return false;
    };
    let mut is_open = false;
    for part in parts {
        let Some(at) = rest.find(part) else {
            return false;
        };
        rest = &rest[at + part.len()..];
        is_open = part.is_empty();
    }
    is_open || rest.is_empty()
}

/// A reader's shell.
pub struct Reader {
    directory: PathBuf,
    path: String,
    variables: Vec<(String, String)>,
    /// Commands that run on; they end with the reader.
    running: Vec<Running>,
}

struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Reader {
    /// Creates a shell in a directory, with the program under test as `sallyport`.
    ///
    /// # Panics
    ///
    /// When the directory can't be written.
    #[must_use]
    pub fn new(directory: &Path) -> Self {
        let programs = directory.join("bin");
        std::fs::create_dir_all(&programs).expect("a directory");
        let program = std::path::absolute(&*SALLYPORT).expect("a path");
        std::os::unix::fs::symlink(program, programs.join("sallyport")).expect("a link");
        let path = std::env::var("PATH").unwrap_or_default();
        Self {
            directory: directory.to_owned(),
            path: format!("{}:{path}", programs.display()),
            variables: vec![],
            running: vec![],
        }
    }

    /// Adds a directory of programs, which are found before others.
    pub fn add_programs(&mut self, directory: &Path) {
        self.path = format!("{}:{}", directory.display(), self.path);
    }

    /// Sets a variable of the environment.
    pub fn set(&mut self, name: &str, value: &Path) {
        let value = value.display().to_string();
        self.variables.push((name.to_owned(), value));
    }

    /// Returns the directory that the reader is in.
    #[must_use]
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// Takes the reader to another directory.
    pub fn go_to(&mut self, directory: PathBuf) {
        self.directory = directory;
    }

    /// Runs a command.
    ///
    /// # Panics
    ///
    /// When it prints something else than the page shows, or does not end.
    pub fn run(&mut self, step: &Step) {
        if let Some(into) = step.command.strip_prefix("cd ") {
            self.directory.push(into);
            return;
        }
        let file = tempfile::NamedTempFile::new().expect("a file");
        let printed = || std::fs::read_to_string(file.path()).unwrap_or_default();
        let mut running = Running(self.spawn(step, &file));
        let began = Instant::now();
        loop {
            let has_ended = running.0.try_wait().expect("a child").is_some();
            let printed = printed();
            if step.runs_on() && !has_ended && step.is_as_shown(&printed) {
                self.running.push(running);
                return;
            }
            if has_ended || began.elapsed() > TIMEOUT {
                assert!(
                    has_ended && !step.runs_on() && step.is_as_shown(&printed),
                    "$ {}\nprints\n{printed}\ninstead of\n{}",
                    step.command,
                    step.output.join("\n")
                );
                return;
            }
            std::thread::sleep(LOOK);
        }
    }

    /// Starts a command, whose output goes to a file.
    fn spawn(&self, step: &Step, file: &tempfile::NamedTempFile) -> Child {
        let output = || Stdio::from(file.reopen().expect("a handle"));
        // `exec` replaces the shell, so that ending this process ends the command itself.
        let exec = if step.runs_on() { "exec " } else { "" };
        let mut command = Command::new("sh");
        command
            .args(["-c", &format!("exec 2>&1; {exec}{}", step.command)])
            .current_dir(&self.directory)
            .env("PATH", &self.path)
            .envs(self.variables.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .stdout(output());
        // Variables of the cargo that runs the test, and of a make that runs cargo.
        for (name, _) in std::env::vars_os() {
            let is_the_callers = name.to_str().is_some_and(|name| {
                name.starts_with("CARGO_PKG_")
                    || name.starts_with("MAKE")
                    || [
                        "CARGO_MANIFEST_DIR",
                        "CARGO_ENCODED_RUSTFLAGS",
                        "MFLAGS",
                        "RUSTFLAGS",
                    ]
                    .contains(&name)
            });
            if is_the_callers {
                command.env_remove(name);
            }
        }
        command.spawn().expect("a shell")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAGE: &str = "text\n```console\n$ cat > a <<'EOF'\n$ no command\nEOF\n\
                        $ one \\\n  two\nout\n...\nend …s\n```\n```yaml\n$ none\n```\n";

    #[test]
    fn commands_go_on_and_the_rest_is_output() {
        let steps = steps(PAGE);
        let commands: Vec<_> = steps.iter().map(|step| step.command.as_str()).collect();
        assert_eq!(
            commands,
            ["cat > a <<'EOF'\n$ no command\nEOF", "one \\\n  two"]
        );
        assert_eq!(steps[1].output, ["out", "...", "end …s"]);
    }

    #[test]
    fn wildcards_stand_for_anything_and_nothing_else_does() {
        let step = &steps(PAGE)[1];
        for (printed, expected) in [
            ("out\nend 5 s\n", true),
            ("out\na\nb\nend s\n\n", true),
            ("out\n", false),
            ("a\nout\nend s\n", false),
            ("out\nend s\nmore\n", false),
            ("out\nend s.\n", false),
        ] {
            assert_eq!(step.is_as_shown(printed), expected, "{printed}");
        }
    }
}
