//! The child's side: it gives up its rights, reads one job, does it, replies and exits.

use super::VARIABLE;
use super::confinement::confine;
use super::limits::Limits;
use super::messages::{Job, Outcome, Reply, read_header, write_header};
use crate::engine::preinit;
use sallyport_core::policy::LoadError;
use std::io::{self, Read as _, Write as _};

/// The exit code of a child that could not reply.
const EXIT_FAILED: i32 = 2;

/// Returns true in a process that was started to compile.
pub(super) fn is_child() -> bool {
    std::env::var_os(VARIABLE).is_some()
}

/// Does the job on standard input and exits, if this process was started to compile. Returns
/// otherwise.
pub(super) fn run() {
    let Some(limits) = std::env::var_os(VARIABLE) else {
        return;
    };
    let limits = limits.to_str().and_then(Limits::parse);
    let done = limits
        .ok_or_else(|| io::Error::other("no limits"))
        .and_then(work);
    std::process::exit(if done.is_ok() { 0 } else { EXIT_FAILED });
}

fn work(limits: Limits) -> io::Result<()> {
    let unconfined = confine(limits).err();
    let (mut stdin, mut stdout) = (io::stdin().lock(), io::stdout().lock());
    let job: Job<'_> = read_header(&mut stdin)?;
    let mut component = vec![];
    stdin.read_to_end(&mut component)?;
    let request = preinit::CompileRequest {
        bytes: &component,
        name: &job.name,
        settings: &job.settings,
        settings_type: job.settings_type.as_deref(),
        memory: job.memory,
        snapshot: job.snapshot,
        load_time: job.load_time,
    };
    let (made, compilations) = preinit::make(&request, job.slot, job.threads);
    let (result, log, code) = match made {
        Ok(made) => {
            let outcome = Outcome {
                no_snapshot: made.compiled.no_snapshot,
                cacheable: made.cacheable,
            };
            (Ok(outcome), made.log, made.compiled.code)
        }
        Err(error) => (Err(LoadError::into_problems(error)), vec![], vec![]),
    };
    write_header(
        &mut stdout,
        &Reply {
            compilations,
            log,
            unconfined,
            result,
        },
    )?;
    stdout.write_all(&code)?;
    stdout.flush()
}
