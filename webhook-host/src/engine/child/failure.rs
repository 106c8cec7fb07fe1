//! The ways in which a child fails, for people: the limit, and what to do.

use super::memory::{self, MIB};
use super::messages::MAX_CODE;
use sallyport_core::policy::LoadError;
use std::io;
use std::process::ExitStatus;

/// An error of a child process.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failure {
    #[error("the process that compiles it can't be started: {0}")]
    Start(#[source] io::Error),
    #[error(
        "there are {free} MiB of memory left, and compiling needs {least} MiB beside {} MiB that \
         stay free for reviews; raise the \
         memory limit of this process, or compile elsewhere and share --cache-dir",
        memory::RESERVE / MIB
    )]
    NoRoom { free: u64, least: u64 },
    #[error(
        "compiling it needs more than {0} MiB of memory; simplify its largest functions, or raise \
         the memory limit of this process"
    )]
    Memory(u64),
    #[error(
        "compiling it takes too long: it was ended after {0} s; simplify its largest functions"
    )]
    Time(u64),
    #[error("compiling it takes more than {0} s of processor time; simplify its largest functions")]
    Processor(u64),
    #[error(
        "compiling it crashed the compiler ({0}); simplify its largest functions, and please \
         report this"
    )]
    Crash(ExitStatus),
    #[error("its compiled code has more than {} MiB; link fewer dependencies into \
        it", MAX_CODE / MIB)]
    Code,
    #[error("the process that compiles it answered nothing that can be read: {0}")]
    Answer(String),
}

/// An error of a compilation.
pub(in crate::engine) enum CompileError {
    /// Compiling takes too much memory or time, as the text says.
    GivenUp(String),
    /// The component or its settings are invalid, or nothing can be compiled now.
    Refused(LoadError),
}

impl From<Failure> for CompileError {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Start(_) | Failure::NoRoom { .. } | Failure::Answer(_) => {
                Self::Refused(LoadError::component(failure.to_string()))
            }
            _ => Self::GivenUp(failure.to_string()),
        }
    }
}
