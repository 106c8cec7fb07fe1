//! The messages through the pipes: a [`Job`] in, a [`Reply`] out, each in JSON after its length.

use crate::engine::state::Line;
use sallyport_core::policy::Problem;
use sallyport_core::settings::Record;
use sallyport_core::units::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::borrow::Cow;
use std::io::{self, Read, Write};
use std::time::Duration;

/// The largest compiled code in bytes: three times that of a component with a JavaScript engine.
pub(super) const MAX_CODE: u64 = 128 << 20;

/// The largest job or reply in bytes, without component and code. A ServicePolicy has 1.5 MiB at
/// most.
const MAX_HEADER: u32 = 16 << 20;

/// A job. The component's bytes follow.
#[derive(Clone, Serialize, Deserialize)]
pub(super) struct Job<'a> {
    pub(super) name: Cow<'a, str>,
    /// The manifest's settings.
    pub(super) settings: Cow<'a, Map<String, Value>>,
    /// The type of the settings; `None` when it has none.
    pub(super) settings_type: Option<Cow<'a, Record>>,
    /// The policy's memory limit, in bytes.
    pub(super) memory: usize,
    /// True if the settings are to be baked in.
    pub(super) snapshot: bool,
    /// The time for one guest function.
    pub(super) load_time: Duration,
    /// The largest memory limit of any policy: the size of the pool's slots.
    pub(super) slot: Bytes,
    /// The number of threads that compile.
    pub(super) threads: usize,
}

/// The reply to a job. Without an error, the compiled code follows.
#[derive(Serialize, Deserialize)]
pub(super) struct Reply {
    pub(super) compilations: u64,
    /// The lines that `configure` logged.
    pub(super) log: Vec<Line>,
    /// The rights that the child could not give up, if any.
    pub(super) unconfined: Option<String>,
    pub(super) result: Result<Outcome, Vec<Problem>>,
}

/// The facts about the compiled code.
#[derive(Serialize, Deserialize)]
pub(super) struct Outcome {
    pub(super) no_snapshot: Option<String>,
    pub(super) cacheable: bool,
}

pub(super) fn write_header(to: &mut impl Write, header: &impl Serialize) -> io::Result<()> {
    let text = serde_json::to_vec(header)?;
    let length = u32::try_from(text.len())
        .ok()
        .filter(|length| *length <= MAX_HEADER);
    let length = length.ok_or_else(|| io::Error::other(format!("more than {MAX_HEADER} bytes")))?;
    to.write_all(&length.to_le_bytes())?;
    to.write_all(&text)
}

pub(super) fn read_header<T: for<'a> Deserialize<'a>>(from: &mut impl Read) -> io::Result<T> {
    let mut length = [0; 4];
    from.read_exact(&mut length)?;
    let length = u32::from_le_bytes(length);
    if length > MAX_HEADER {
        return Err(io::Error::other(format!("more than {MAX_HEADER} bytes")));
    }
    let mut text = vec![];
    from.take(length.into()).read_to_end(&mut text)?;
    Ok(serde_json::from_slice(&text)?)
}
