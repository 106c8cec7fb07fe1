//! An estimate of the memory that a JSON text takes as a tree, made before it is parsed.
//!
//! A tree takes up to a hundred times the bytes of its text, and an API server passes on what
//! clients send. So `handlers` estimates every body that is not small, and refuses those that would
//! take too much.

/// The approximate bytes of an object with its first member (a node of a `BTreeMap`), and of an
/// array with its first item.
const OBJECT: usize = 640;
const ARRAY: usize = 128;

/// The bytes of each further item; of a further member that fits into the last `BTreeMap` node (two
/// allocations); and of a member that needs another node. Ascending keys leave nodes half full.
const ITEM: usize = 96;
const MEMBER: usize = 64;
const MEMBER_IN_NEW_NODE: usize = 176;

/// The capacity of a `BTreeMap` node.
const NODE_CAPACITY: u8 = 11;

/// Returns the estimated bytes of the tree, without those of its strings. For text that is not
/// JSON, the result means nothing.
pub(super) fn tree_bytes(text: &[u8]) -> usize {
    let (mut weight, mut opened) = (0, 0);
    // For each open level the number of its members, or 0 for an array. The depth wraps around at
    // 256, and serde_json parses 128 levels at most.
    let (mut members, mut depth) = ([0; 256], 0_u8);
    let mut rest = text.iter();
    while let Some(byte) = rest.next() {
        match byte {
            b' ' | b'\t' | b'\r' | b'\n' => continue,
            // Empty objects and arrays take nothing.
            b'}' | b']' => opened = 0,
            _ => weight += std::mem::take(&mut opened),
        }
        match byte {
            b'{' | b'[' => {
                depth = depth.wrapping_add(1);
                (opened, members[usize::from(depth)]) = if *byte == b'{' {
                    (OBJECT, 1)
                } else {
                    (ARRAY, 0)
                };
            }
            b'}' | b']' => depth = depth.wrapping_sub(1),
            b',' => match &mut members[usize::from(depth)] {
                0 => weight += ITEM,
                NODE_CAPACITY.. => weight += MEMBER_IN_NEW_NODE,
                few => {
                    *few += 1;
                    weight += MEMBER;
                }
            },
            b'"' => skip_string(&mut rest),
            _ => {}
        }
    }
    weight
}

/// Skips to the end of a string whose opening quote was read.
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
            (r#"{"a":{},"b":[ ],"c":"{[,\",{"}"#, OBJECT + 2 * MEMBER),
            (r#"[{"":{"":1}}]"#, ARRAY + 2 * OBJECT),
            ("{ \"a\" : [\n1, 2 ] }", OBJECT + ARRAY + ITEM),
            (
                r#"[{"a":1,"b":[1,2]},{"a":1}]"#,
                ARRAY + OBJECT + MEMBER + ARRAY + ITEM + ITEM + OBJECT,
            ),
            (r#""an end that is missing \"#, 0),
            ("", 0),
        ] {
            assert_eq!(tree_bytes(text.as_bytes()), expected, "{text}");
        }
    }

    #[test]
    fn members_beyond_a_node_weigh_more() {
        let members = |count: usize| format!("{{{}}}", vec![r#""":1"#; count].join(","));
        assert_eq!(tree_bytes(members(11).as_bytes()), OBJECT + 10 * MEMBER);
        assert_eq!(
            tree_bytes(members(14).as_bytes()),
            OBJECT + 10 * MEMBER + 3 * MEMBER_IN_NEW_NODE
        );
    }

    #[test]
    fn a_service_with_many_ports_is_light_enough() {
        let port = "{\"name\":\"port-30000\",\"protocol\":\"TCP\",\"port\":30000,\
            \"targetPort\":\"port-30000\",\"nodePort\":30000}";
        let fields =
            r#"{".":{},"f:name":{},"f:nodePort":{},"f:port":{},"f:protocol":{},"f:targetPort":{}}"#;
        let ports = vec![port; 5000].join(",");
        let owned = vec![format!(r#""k:":{fields}"#); 5000].join(",");
        let service = format!(
            r#"{{"metadata":{{"managedFields":{{{owned}}}}},"spec":{{"ports":[{ports}]}}}}"#
        );
        assert_eq!((2 * tree_bytes(service.as_bytes())) >> 20, 20);
    }

    #[test]
    fn depth_without_end_is_weighed() {
        let deep = "[".repeat(1000);
        assert_eq!(tree_bytes(deep.as_bytes()), 999 * ARRAY);
        assert_eq!(tree_bytes("]".repeat(1000).as_bytes()), 0);
    }
}
