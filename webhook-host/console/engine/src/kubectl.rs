//! The lines that `kubectl apply -f service.yaml` prints for a Service.
//!
//! `tests/kubectl/refusals.json` holds what a real kubectl printed of the refusals of a real API
//! server; tests compare both with this.

use sallyport_core::check::{Applied, Problem, Rejection};

/// The name of the file with the manifests, as the command line names it.
const FILE: &str = "service.yaml";

/// The lines for one Service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Printed {
    /// Standard output and standard error together.
    pub text: String,
    /// True if they are those of the real programs, word by word; false where the API server's
    /// words are not known, and Sallyport's own stand in their place.
    pub is_verbatim: bool,
}

/// Returns the lines for one Service.
pub fn printed(applied: &Applied) -> Printed {
    let (_, name) = applied.service.split_once('/').unwrap_or_default();
    if let Some(rejection) = &applied.rejection {
        return rejected(rejection, name, applied.old.is_some());
    }
    let response = &applied.response;
    let warnings = response.warnings.iter();
    let mut lines: Vec<_> = warnings.map(|text| format!("Warning: {text}")).collect();
    let is_update = applied.old.is_some();
    lines.push(match &response.denial {
        None => {
            let done = if is_update { "configured" } else { "created" };
            format!("service/{name} {done}")
        }
        Some(denial) => {
            let doing = if is_update { "patching" } else { "creating" };
            format!(
                "Error from server ({:?}): error when {doing} {FILE:?}: admission webhook \
                 \"validate.sallyport.dev\" denied the request: {}",
                denial.reason, denial.message
            )
        }
    });
    Printed {
        text: lines.join("\n"),
        is_verbatim: true,
    }
}

fn rejected(rejection: &Rejection, name: &str, is_update: bool) -> Printed {
    let problems = rejection.problems();
    let mut is_verbatim = problems.iter().all(|problem| problem.is_verbatim);
    let doing = if is_update { "patching" } else { "creating" };
    let server = |reason: &str, text: &str| {
        format!("Error from server ({reason}): error when {doing} {FILE:?}: {text}")
    };
    let text = match rejection {
        Rejection::Invalid(problems) => {
            is_verbatim &= problems.len() == 1 || problems.iter().all(is_ordered);
            invalid(name, problems)
        }
        Rejection::BadRequest(problem) => {
            // kubectl sends an update as a patch, whose errors have other words.
            is_verbatim &= !is_update;
            let text = match problem.is_verbatim {
                true => problem.text.clone(),
                false => line(problem),
            };
            // kubectl reads the metadata itself.
            if problem.field.starts_with("metadata.") && text.starts_with("json: ") {
                format!("error: unable to decode {FILE:?}: {text}")
            } else {
                let head = "Service in version \"v1\" cannot be handled as a Service";
                server("BadRequest", &format!("{head}: {text}"))
            }
        }
        Rejection::InternalError(problem) => {
            is_verbatim &= !is_update;
            let text = format!("Internal error occurred: {}", problem.text);
            server("InternalError", &text)
        }
    };
    Printed { text, is_verbatim }
}

fn invalid(name: &str, problems: &[Problem]) -> String {
    let head = format!("The Service {name:?} is invalid: ");
    let lines: Vec<_> = problems.iter().map(line).collect();
    match lines.as_slice() {
        [only] => format!("{head}{only}"),
        several => format!("{head}\n* {}", several.join("\n* ")),
    }
}

/// Returns true for the fields of which it is known in which order an API server names them.
fn is_ordered(problem: &Problem) -> bool {
    let field = &problem.field;
    field.starts_with("metadata.") || field.starts_with("spec.ports") || field == "spec.type"
}

/// Returns `field: text`.
pub(crate) fn line(problem: &Problem) -> String {
    format!("{}: {}", problem.field, problem.text)
}
