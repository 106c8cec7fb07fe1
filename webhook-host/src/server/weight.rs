//! What reading a body takes in memory, before it is read.
//!
//! As a tree a JSON text takes up to a hundred times its bytes, and hardly anything bounds that: an API server hands on what clients
//! send. So `handlers` asks here for the weight of every body that is not small, and turns away what weighs too much.

/// What a mapping takes (a node of a `BTreeMap`), a list, and each further member or item of either: about, in bytes.
const MAPPING: usize = 640;
const LIST: usize = 128;
const FURTHER: usize = 96;

/// Bytes of memory that a tree of the text takes, beside those of its strings. Of what is no JSON, any number.
pub(super) fn of(text: &[u8]) -> usize {
    let (mut weight, mut begun) = (0, 0);
    let mut rest = text.iter();
    while let Some(byte) = rest.next() {
        match byte {
            b' ' | b'\t' | b'\r' | b'\n' => continue,
            // What is empty takes nothing.
            b'}' | b']' => begun = 0,
            _ => weight += std::mem::take(&mut begun),
        }
        match byte {
            b'{' => begun = MAPPING,
            b'[' => begun = LIST,
            b',' => weight += FURTHER,
            b'"' => skip_string(&mut rest),
            _ => {}
        }
    }
    weight
}

/// To the end of a string that has begun.
fn skip_string(rest: &mut std::slice::Iter<'_, u8>) {
    while let Some(byte) = rest.next() {
        match byte {
            b'"' => return,
            b'\\' => drop(rest.next()),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_holds_something_weighs_and_strings_do_not() {
        for (text, expected) in [
            (r#"{"a":{},"b":[ ],"c":"{[,\",{"}"#, MAPPING + 2 * FURTHER),
            (r#"[{"":{"":1}}]"#, LIST + 2 * MAPPING),
            ("{ \"a\" : [\n1, 2 ] }", MAPPING + LIST + FURTHER),
            (r#""an end that is missing \"#, 0),
            ("", 0),
        ] {
            assert_eq!(of(text.as_bytes()), expected, "{text}");
        }
    }
}
