//! The ways in which an update exposes more, and the rules of which it then keeps no violation.
//! `docs/rules.md` prints them, and the property tests hold the policies to them.

/// A way of exposing more.
#[derive(Debug)]
pub struct Way {
    /// The parts that the update adds.
    pub adds: &'static str,
    /// The rules of which it keeps no violation then.
    pub rules: &'static [&'static str],
}

/// Every way.
pub const WAYS: [Way; 12] = [
    Way {
        adds: "a type that exposes more",
        rules: &[
            "S01", "S02", "S07", "S08", "S09", "S10", "S15", "S19", "S20",
        ],
    },
    Way {
        adds: "a port",
        rules: &[
            "S01", "S03", "S04", "S05", "S06", "S07", "S08", "S09", "S10", "S12", "S13", "S15",
            "S17", "S19",
        ],
    },
    Way {
        adds: "another target port",
        rules: &[
            "S01", "S02", "S03", "S04", "S05", "S06", "S07", "S08", "S09", "S10", "S12", "S13",
            "S15", "S17", "S19", "S20",
        ],
    },
    Way {
        adds: "other Pods: another selector, or Pods that are not ready",
        rules: &[
            "S01", "S02", "S03", "S04", "S05", "S06", "S07", "S08", "S10", "S12", "S13", "S15",
            "S17", "S19", "S20",
        ],
    },
    Way {
        adds: "a node port",
        rules: &["S01", "S03", "S06", "S07", "S12", "S15", "S19", "S20"],
    },
    Way {
        adds: "every node (`externalTrafficPolicy: Cluster`)",
        rules: &[
            "S01", "S02", "S03", "S06", "S07", "S08", "S12", "S15", "S19", "S20",
        ],
    },
    Way {
        adds: "an external IP",
        rules: &[
            "S01", "S03", "S07", "S08", "S10", "S12", "S15", "S19", "S20",
        ],
    },
    Way {
        adds: "an IP family",
        rules: &[
            "S01", "S02", "S03", "S04", "S05", "S06", "S07", "S08", "S10", "S12", "S13", "S15",
            "S17", "S19", "S20",
        ],
    },
    Way {
        adds: "clients that the source ranges did not admit",
        rules: &[
            "S01", "S03", "S04", "S05", "S06", "S07", "S12", "S13", "S15", "S17", "S19", "S20",
        ],
    },
    Way {
        adds: "a load balancer that is less certainly internal",
        rules: &[
            "S01", "S03", "S04", "S05", "S06", "S07", "S10", "S12", "S13", "S15", "S17", "S19",
            "S20",
        ],
    },
    Way {
        adds: "another class or address of load balancer",
        rules: &[
            "S01", "S03", "S04", "S05", "S06", "S07", "S12", "S13", "S15", "S19", "S20",
        ],
    },
    Way {
        adds: "another value of an annotation that bears on who reaches it",
        rules: &[
            "S01", "S03", "S04", "S05", "S06", "S07", "S10", "S12", "S15", "S17", "S19", "S20",
        ],
    },
];
