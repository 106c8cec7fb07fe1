//! Links between the Markdown pages of the repository: files and headings that they name.
//!
//! Headings become anchors as GitHub makes them. Links to other sites are not looked at.

use pulldown_cmark::{Event, Options, Parser, Tag, TagEnd};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs;
use std::path::{Component, Path, PathBuf};

/// A page's links and the anchors that others may link to.
struct Page {
    links: Vec<String>,
    anchors: BTreeSet<String>,
}

impl Page {
    fn read(path: &Path) -> Self {
        let text = fs::read_to_string(path).expect("it can be read");
        let mut page = Self {
            links: vec![],
            anchors: BTreeSet::new(),
        };
        let mut taken = HashMap::new();
        let mut heading = None;
        for event in Parser::new_ext(&text, Options::ENABLE_TABLES) {
            match event {
                Event::Start(Tag::Link { dest_url, .. } | Tag::Image { dest_url, .. }) => {
                    page.links.push(dest_url.to_string());
                }
                Event::Start(Tag::Heading { .. }) => heading = Some(String::new()),
                Event::Text(text) | Event::Code(text) => {
                    if let Some(heading) = &mut heading {
                        heading.push_str(&text);
                    }
                }
                Event::End(TagEnd::Heading(_)) => {
                    let anchor = anchor(&heading.take().unwrap_or_default());
                    let count = taken.entry(anchor.clone()).or_insert(0);
                    page.anchors.insert(match count {
                        0 => anchor,
                        _ => format!("{anchor}-{count}"),
                    });
                    *count += 1;
                }
                _ => {}
            }
        }
        page
    }
}

fn anchor(heading: &str) -> String {
    let kept = |c: &char| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_');
    let lower = heading.to_lowercase();
    lower
        .chars()
        .filter(kept)
        .collect::<String>()
        .replace(' ', "-")
}

/// Finds every page below a directory, except in build directories and hidden ones.
fn pages(directory: &Path, found: &mut BTreeMap<PathBuf, Page>) {
    for entry in fs::read_dir(directory).expect("it can be read") {
        let path = entry.expect("it can be read").path();
        let name = path
            .file_name()
            .and_then(|name| name.to_str())
            .unwrap_or("");
        let hidden = name.starts_with('.') && name != ".github";
        if path.is_dir() && !hidden && !matches!(name, "target" | "node_modules") {
            pages(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "md") {
            found.insert(path.clone(), Page::read(&path));
        }
    }
}

/// Removes `.` and `..` without asking the file system.
fn normalized(path: &Path) -> PathBuf {
    let mut clean = PathBuf::new();
    for component in path.components() {
        match component {
            Component::CurDir => {}
            Component::ParentDir => drop(clean.pop()),
            other => clean.push(other),
        }
    }
    clean
}

/// Returns each broken link, with its page and the reason.
pub(crate) fn broken(root: &Path) -> Vec<String> {
    let mut all = BTreeMap::new();
    pages(root, &mut all);
    let mut broken = vec![];
    for (path, page) in &all {
        for link in &page.links {
            if link.contains("://") || link.starts_with("mailto:") {
                continue;
            }
            let (file, anchor) = link.split_once('#').unwrap_or((link, ""));
            // Links of the site's table of contents are seen from the root, where its script puts
            // it.
            let from = if path.ends_with("docs/site/SUMMARY.md") {
                root
            } else {
                path.parent().unwrap_or(root)
            };
            let target = match file {
                "" => path.clone(),
                file => normalized(&from.join(file)),
            };
            let shown = path.strip_prefix(root).unwrap_or(path).display();
            if !target.exists() {
                broken.push(format!("{shown}: {link}: no such file"));
            } else if let Some(page) = all.get(&target).filter(|_| !anchor.is_empty())
                && !page.anchors.contains(anchor)
            {
                broken.push(format!("{shown}: {link}: no such heading"));
            }
        }
    }
    broken
}

/// Returns the pages of `docs/` that the site's table of contents lacks.
pub(crate) fn unlisted(root: &Path) -> Vec<String> {
    let listed = Page::read(&root.join("docs/site/SUMMARY.md")).links;
    let mut all = BTreeMap::new();
    pages(&root.join("docs"), &mut all);
    all.keys()
        .filter_map(|path| Some(path.strip_prefix(root).ok()?.display().to_string()))
        .filter(|page| !listed.contains(page) && page != "docs/site/SUMMARY.md")
        .collect()
}
