//! Parsers of annotation values. Each controller has its own, which a table row names.

/// A controller's parser of one annotation.
#[derive(Debug, Clone, Copy)]
pub enum Reads {
    /// One of these, exactly, is a yes. Everything else is a no.
    Exactly(&'static [&'static str]),
    /// One of these, exactly, is a yes, or a no. The controller refuses everything else.
    Either(&'static [&'static str], &'static [&'static str]),
    /// This text is a yes, without regard to case and to blanks around it. Everything else is a no.
    Folded(&'static str),
    /// Go's `strconv.ParseBool`. The controller refuses what does not parse.
    ParseBool,
    /// These texts are a no. Everything else is a yes.
    Not(&'static [&'static str]),
    /// A JSON object in which `"type"` is `"inner"`. Without a parser, only the plain spelling is a
    /// yes.
    Inner,
    /// A value that contains this text is a yes. Everything else is a no.
    Contains(&'static str),
}

/// The result of reading a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reading {
    /// The annotation has its effect.
    Yes,
    /// The annotation has no effect.
    No,
    /// The controller refuses the value and leaves the load balancer as it was, which no Service
    /// shows.
    Refused,
}

impl Reads {
    /// Any value but the empty one is a yes.
    pub const PRESENCE: Self = Self::Not(&[""]);

    /// Reads a value as the controller does.
    pub fn read(self, value: &str) -> Reading {
        let is_yes = match self {
            Self::Exactly(yes) => yes.contains(&value),
            Self::Either(yes, no) if !yes.contains(&value) && !no.contains(&value) => {
                return Reading::Refused;
            }
            Self::Either(yes, _) => yes.contains(&value),
            Self::Folded(yes) => value.trim_ascii().eq_ignore_ascii_case(yes),
            Self::ParseBool => match value {
                "1" | "t" | "T" | "TRUE" | "true" | "True" => true,
                "0" | "f" | "F" | "FALSE" | "false" | "False" => false,
                _ => return Reading::Refused,
            },
            Self::Not(no) => !no.contains(&value),
            Self::Inner => {
                holds(value, r#""type":"inner""#)
                    && !holds(value, r#""public""#)
                    && !holds(value, "\\")
            }
            Self::Contains(part) => holds(value, part),
        };
        if is_yes { Reading::Yes } else { Reading::No }
    }
}

/// Returns true if a text contains another one. `str::contains` is several times larger in a
/// component.
fn holds(text: &str, part: &str) -> bool {
    text.as_bytes()
        .windows(part.len())
        .any(|window| window == part.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parse_bool_is_gos() {
        for value in ["1", "t", "T", "TRUE", "true", "True"] {
            assert_eq!(Reads::ParseBool.read(value), Reading::Yes, "{value}");
        }
        for value in ["0", "f", "F", "FALSE", "false", "False"] {
            assert_eq!(Reads::ParseBool.read(value), Reading::No, "{value}");
        }
        for value in ["", "yes", "tRUE", " true", "true "] {
            assert_eq!(Reads::ParseBool.read(value), Reading::Refused, "{value}");
        }
    }

    #[test]
    fn each_parser_reads_as_it_says() {
        assert_eq!(Reads::Exactly(&["true"]).read("True"), Reading::No);
        assert_eq!(
            Reads::Either(&["internal"], &["internet-facing"]).read("Internal"),
            Reading::Refused
        );
        assert_eq!(
            Reads::Either(&["internal"], &["internet-facing"]).read("internet-facing"),
            Reading::No
        );
        assert_eq!(Reads::Folded("true").read(" TRUE\n"), Reading::Yes);
        assert_eq!(Reads::PRESENCE.read(""), Reading::No);
        assert_eq!(Reads::PRESENCE.read("x"), Reading::Yes);
        assert_eq!(
            Reads::Inner.read(r#"{"name":"n","type":"inner"}"#),
            Reading::Yes
        );
        assert_eq!(
            Reads::Inner.read(r#"{"type":"inner","type":"public"}"#),
            Reading::No
        );
        assert_eq!(
            Reads::Inner.read(r#"{"type":"inner","type":"\u0070ublic"}"#),
            Reading::No
        );
        assert_eq!(Reads::Contains("b=1").read("a=2,b=1"), Reading::Yes);
    }
}
