//! What reading a body takes in memory, before it is read.
//!
//! As a tree a JSON text takes up to a hundred times its bytes, and hardly anything bounds that: an
//! API server hands on what clients send. So `handlers` asks here for the weight of every body that
//! is not small, and turns away what weighs too much.

/// About what a mapping takes (a node of a `BTreeMap`, with its first member), in bytes, and a list
/// with its first item.
const MAPPING: usize = 640;
const LIST: usize = 128;

/// What each further item takes; a member for which there is room in the node (two allocations);
/// and one that needs further nodes, which keys in ascending order fill by half.
const ITEM: usize = 96;
const MEMBER: usize = 64;
const FURTHER: usize = 176;

/// Members of a node.
const NODE: u8 = 11;

/// Bytes of memory that a tree of the text takes, beside those of its strings. Of what is no JSON,
/// any number.
pub(super) fn of(text: &[u8]) -> usize {
    let (mut weight, mut begun) = (0, 0);
    // Of each open level its members so far, or 0 where it is a list. The depth wraps around at
    // 256, and a tree has 128 at most.
    let (mut members, mut depth) = ([0; 256], 0_u8);
    let mut rest = text.iter();
    while let Some(byte) = rest.next() {
        match byte {
            b' ' | b'\t' | b'\r' | b'\n' => continue,
            // What is empty takes nothing.
            b'}' | b']' => begun = 0,
            _ => weight += std::mem::take(&mut begun),
        }
        match byte {
            b'{' | b'[' => {
                depth = depth.wrapping_add(1);
                (begun, members[usize::from(depth)]) = if *byte == b'{' {
                    (MAPPING, 1)
                } else {
                    (LIST, 0)
                };
            }
            b'}' | b']' => depth = depth.wrapping_sub(1),
            b',' => match &mut members[usize::from(depth)] {
                0 => weight += ITEM,
                NODE.. => weight += FURTHER,
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
            (r#"{"a":{},"b":[ ],"c":"{[,\",{"}"#, MAPPING + 2 * MEMBER),
            (r#"[{"":{"":1}}]"#, LIST + 2 * MAPPING),
            ("{ \"a\" : [\n1, 2 ] }", MAPPING + LIST + ITEM),
            (
                r#"[{"a":1,"b":[1,2]},{"a":1}]"#,
                LIST + MAPPING + MEMBER + LIST + ITEM + ITEM + MAPPING,
            ),
            (r#""an end that is missing \"#, 0),
            ("", 0),
        ] {
            assert_eq!(of(text.as_bytes()), expected, "{text}");
        }
    }

    #[test]
    fn members_beyond_a_node_weigh_more() {
        let members = |count: usize| format!("{{{}}}", vec![r#""":1"#; count].join(","));
        assert_eq!(of(members(11).as_bytes()), MAPPING + 10 * MEMBER);
        assert_eq!(
            of(members(14).as_bytes()),
            MAPPING + 10 * MEMBER + 3 * FURTHER
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
        assert_eq!((2 * of(service.as_bytes())) >> 20, 20);
    }

    #[test]
    fn depth_without_end_is_weighed() {
        let deep = "[".repeat(1000);
        assert_eq!(of(deep.as_bytes()), 999 * LIST);
        assert_eq!(of("]".repeat(1000).as_bytes()), 0);
    }
}
