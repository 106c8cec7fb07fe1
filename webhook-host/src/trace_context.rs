//! The trace that a request belongs to, by its header `traceparent` (W3C Trace Context, level 1).
//!
//! An API server sends the header when its tracing is on (`--tracing-config-file`). A malformed
//! header is ignored, as the specification demands.

use std::fmt;

/// The request header.
pub(crate) const TRACEPARENT: &str = "traceparent";

/// The flag of a span that its caller records.
const SAMPLED: u128 = 1;

/// A trace and the span in it that called the host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct TraceContext {
    pub(crate) trace_id: TraceId,
    pub(crate) parent: SpanId,
    /// True if the caller records its span.
    pub(crate) is_sampled: bool,
}

/// The id of a trace, never 0. Displays as 32 hexadecimal digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct TraceId(pub(crate) u128);

/// The id of a span, never 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct SpanId(pub(crate) u64);

impl TraceContext {
    /// Reads `VERSION-TRACE-PARENT-FLAGS`, hexadecimal and in lower case. A version after `00` may
    /// have more parts.
    pub(crate) fn parse(header: &str) -> Option<Self> {
        let mut parts = header.split('-');
        let [version, trace, parent, flags] = [(); 4].map(|()| parts.next());
        let version = hex(version?, 2)?;
        let is_ended = parts.next().is_none();
        if version == 0xff || (version == 0 && !is_ended) {
            return None;
        }
        let (trace_id, parent) = (hex(trace?, 32)?, hex(parent?, 16)?);
        let flags = hex(flags?, 2)?;
        let parent = u64::try_from(parent).ok()?;
        (trace_id != 0 && parent != 0).then_some(Self {
            trace_id: TraceId(trace_id),
            parent: SpanId(parent),
            is_sampled: flags & SAMPLED != 0,
        })
    }
}

fn hex(text: &str, digits: usize) -> Option<u128> {
    let is_hex = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
    let is_valid = text.len() == digits && text.bytes().all(is_hex);
    is_valid.then(|| u128::from_str_radix(text, 16).ok())?
}

impl fmt::Display for TraceId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{:032x}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";

    #[test]
    fn a_valid_header_names_the_trace_and_the_caller() {
        for (header, is_sampled) in [
            (format!("00-{TRACE}-b7ad6b7169203331-01"), true),
            (format!("00-{TRACE}-b7ad6b7169203331-03"), true),
            (format!("00-{TRACE}-b7ad6b7169203331-00"), false),
            (format!("cc-{TRACE}-b7ad6b7169203331-00-later"), false),
        ] {
            let found = TraceContext::parse(&header).expect("valid");
            assert_eq!(found.trace_id.to_string(), TRACE);
            assert_eq!(found.parent, SpanId(0xb7ad_6b71_6920_3331));
            assert_eq!(found.is_sampled, is_sampled, "{header}");
        }
    }

    #[test]
    fn a_malformed_header_is_none() {
        for header in [
            String::new(),
            format!("00-{TRACE}"),
            format!("ff-{TRACE}-b7ad6b7169203331-01"),
            format!("00-{TRACE}-b7ad6b7169203331-01-more"),
            format!("00-{TRACE}-0000000000000000-01"),
            format!("00-{}-b7ad6b7169203331-01", "0".repeat(32)),
            format!("00-{}-b7ad6b7169203331-01", TRACE.to_uppercase()),
            format!("00-+{}-b7ad6b7169203331-01", &TRACE[1..]),
        ] {
            assert_eq!(TraceContext::parse(&header), None, "{header}");
        }
    }
}
