//! The functions that expressions may call: those of cel-go's standard library and of the
//! libraries that Kubernetes 1.36 gives to admission policies, with their overloads.
//!
//! A signature is text: `string.(string, int) string` is a member of strings that takes a string
//! and an int. Single capital letters are type parameters. The order is cel-go's, since the first
//! overload that fits decides about the type of the result.

use crate::types::{Mapping, Opaque, Type};
use alloc::boxed::Box;
use alloc::vec::Vec;

macro_rules! functions {
    ($($variant:ident $name:literal [$($signature:literal),* $(,)?],)*) => {
        /// A function, whatever its overloads.
        #[derive(Clone, Copy, PartialEq, Eq, Debug)]
        pub(crate) enum Function {
            $(#[doc = $name] $variant,)*
        }

        pub(crate) const FUNCTIONS: &[Declaration] = &[$(Declaration {
            name: $name,
            function: Function::$variant,
            signatures: &[$($signature),*],
        },)*];
    };
}

/// A function with its signatures.
pub(crate) struct Declaration {
    pub(crate) name: &'static str,
    pub(crate) function: Function,
    pub(crate) signatures: &'static [&'static str],
}

functions! {
    Not "!_" ["(bool) bool"],
    Negate "-_" ["(double) double", "(int) int"],
    Equals "_==_" ["(A, A) bool"],
    NotEquals "_!=_" ["(A, A) bool"],
    Add "_+_" [
        "(bytes, bytes) bytes", "(double, double) double", "(duration, duration) duration",
        "(duration, timestamp) timestamp", "(timestamp, duration) timestamp", "(int, int) int",
        "([A], [A]) [A]", "(string, string) string", "(uint, uint) uint",
    ],
    Subtract "_-_" [
        "(double, double) double", "(duration, duration) duration", "(int, int) int",
        "(timestamp, duration) timestamp", "(timestamp, timestamp) duration", "(uint, uint) uint",
    ],
    Multiply "_*_" ["(double, double) double", "(int, int) int", "(uint, uint) uint"],
    Divide "_/_" ["(double, double) double", "(int, int) int", "(uint, uint) uint"],
    Modulo "_%_" ["(int, int) int", "(uint, uint) uint"],
    Less "_<_" [
        "(bool, bool) bool", "(int, int) bool", "(int, double) bool", "(int, uint) bool",
        "(uint, uint) bool", "(uint, double) bool", "(uint, int) bool", "(double, double) bool",
        "(double, int) bool", "(double, uint) bool", "(string, string) bool",
        "(bytes, bytes) bool", "(timestamp, timestamp) bool", "(duration, duration) bool",
    ],
    LessEquals "_<=_" [
        "(bool, bool) bool", "(int, int) bool", "(int, double) bool", "(int, uint) bool",
        "(uint, uint) bool", "(uint, double) bool", "(uint, int) bool", "(double, double) bool",
        "(double, int) bool", "(double, uint) bool", "(string, string) bool",
        "(bytes, bytes) bool", "(timestamp, timestamp) bool", "(duration, duration) bool",
    ],
    Greater "_>_" [
        "(bool, bool) bool", "(int, int) bool", "(int, double) bool", "(int, uint) bool",
        "(uint, uint) bool", "(uint, double) bool", "(uint, int) bool", "(double, double) bool",
        "(double, int) bool", "(double, uint) bool", "(string, string) bool",
        "(bytes, bytes) bool", "(timestamp, timestamp) bool", "(duration, duration) bool",
    ],
    GreaterEquals "_>=_" [
        "(bool, bool) bool", "(int, int) bool", "(int, double) bool", "(int, uint) bool",
        "(uint, uint) bool", "(uint, double) bool", "(uint, int) bool", "(double, double) bool",
        "(double, int) bool", "(double, uint) bool", "(string, string) bool",
        "(bytes, bytes) bool", "(timestamp, timestamp) bool", "(duration, duration) bool",
    ],
    Index "_[_]" [
        "([A], int) A", "({A: B}, A) B", "(?[V], int) ?V", "(?{K: V}, K) ?V",
    ],
    OptionalIndex "_[?_]" [
        "([V], int) ?V", "(?[V], int) ?V", "({K: V}, K) ?V", "(?{K: V}, K) ?V",
    ],
    In "@in" ["(A, [A]) bool", "(A, {A: B}) bool"],
    Conditional "_?_:_" ["(bool, A, A) A"],
    Size "size" [
        "(bytes) int", "bytes.() int", "([A]) int", "[A].() int", "({A: B}) int", "{A: B}.() int",
        "(string) int", "string.() int",
    ],
    TypeOf "type" ["(A) type(A)"],
    Bool "bool" ["(bool) bool", "(string) bool"],
    Bytes "bytes" ["(bytes) bytes", "(string) bytes"],
    Double "double" ["(double) double", "(int) double", "(string) double", "(uint) double"],
    Duration "duration" ["(duration) duration", "(string) duration"],
    Dyn "dyn" ["(A) dyn"],
    Int "int" [
        "(int) int", "(double) int", "(duration) int", "(string) int", "(timestamp) int",
        "(uint) int",
    ],
    String "string" [
        "(string) string", "(bool) string", "(bytes) string", "(double) string",
        "(duration) string", "(int) string", "(timestamp) string", "(uint) string",
        "(ip) string", "(cidr) string",
    ],
    Timestamp "timestamp" ["(timestamp) timestamp", "(int) timestamp", "(string) timestamp"],
    Uint "uint" ["(uint) uint", "(double) uint", "(int) uint", "(string) uint"],

    Contains "contains" ["string.(string) bool"],
    EndsWith "endsWith" ["string.(string) bool"],
    StartsWith "startsWith" ["string.(string) bool"],
    Matches "matches" ["(string, string) bool", "string.(string) bool"],
    CharAt "charAt" ["string.(int) string"],
    IndexOf "indexOf" [
        "string.(string) int", "string.(string, int) int", "[A].(A) int",
    ],
    LastIndexOf "lastIndexOf" [
        "string.(string) int", "string.(string, int) int", "[A].(A) int",
    ],
    LowerAscii "lowerAscii" ["string.() string"],
    UpperAscii "upperAscii" ["string.() string"],
    Replace "replace" [
        "string.(string, string) string", "string.(string, string, int) string",
    ],
    Split "split" ["string.(string) [string]", "string.(string, int) [string]"],
    Substring "substring" ["string.(int) string", "string.(int, int) string"],
    Trim "trim" ["string.() string"],
    Format "format" ["string.([dyn]) string"],
    Quote "strings.quote" ["(string) string"],
    Join "join" ["[string].() string", "[string].(string) string"],
    Find "find" ["string.(string) string"],
    FindAll "findAll" ["string.(string) [string]", "string.(string, int) [string]"],

    GetFullYear "getFullYear" ["timestamp.() int", "timestamp.(string) int"],
    GetMonth "getMonth" ["timestamp.() int", "timestamp.(string) int"],
    GetDayOfYear "getDayOfYear" ["timestamp.() int", "timestamp.(string) int"],
    GetDayOfMonth "getDayOfMonth" ["timestamp.() int", "timestamp.(string) int"],
    GetDate "getDate" ["timestamp.() int", "timestamp.(string) int"],
    GetDayOfWeek "getDayOfWeek" ["timestamp.() int", "timestamp.(string) int"],
    GetHours "getHours" ["timestamp.() int", "timestamp.(string) int", "duration.() int"],
    GetMinutes "getMinutes" ["timestamp.() int", "timestamp.(string) int", "duration.() int"],
    GetSeconds "getSeconds" ["timestamp.() int", "timestamp.(string) int", "duration.() int"],
    GetMilliseconds "getMilliseconds" [
        "timestamp.() int", "timestamp.(string) int", "duration.() int",
    ],

    OptionalOf "optional.of" ["(V) ?V"],
    OptionalOfNonZero "optional.ofNonZeroValue" ["(V) ?V"],
    OptionalNone "optional.none" ["() ?V"],
    OptionalUnwrap "optional.unwrap" ["([?V]) [V]"],
    UnwrapOpt "unwrapOpt" ["[?V].() [V]"],
    HasValue "hasValue" ["?V.() bool"],
    OptionalValue "value" ["?V.() V"],
    Or "or" ["?V.(?V) ?V"],
    OrValue "orValue" ["?V.(V) V"],
    First "first" ["[V].() ?V"],
    Last "last" ["[V].() ?V"],

    IsSorted "isSorted" [
        "[int].() bool", "[uint].() bool", "[double].() bool", "[bool].() bool",
        "[duration].() bool", "[timestamp].() bool", "[string].() bool", "[bytes].() bool",
    ],
    Sum "sum" ["[int].() int", "[uint].() uint", "[double].() double", "[duration].() duration"],
    Max "max" [
        "[int].() int", "[uint].() uint", "[double].() double", "[bool].() bool",
        "[duration].() duration", "[timestamp].() timestamp", "[string].() string",
        "[bytes].() bytes",
    ],
    Min "min" [
        "[int].() int", "[uint].() uint", "[double].() double", "[bool].() bool",
        "[duration].() duration", "[timestamp].() timestamp", "[string].() string",
        "[bytes].() bytes",
    ],
    Slice "slice" ["[T].(int, int) [T]"],
    Flatten "flatten" ["[[T]].() [T]", "[dyn].(int) [dyn]"],
    Sort "sort" [
        "[int].() [int]", "[uint].() [uint]", "[double].() [double]", "[bool].() [bool]",
        "[duration].() [duration]", "[timestamp].() [timestamp]", "[string].() [string]",
        "[bytes].() [bytes]",
    ],
    SortByKeys "@sortByAssociatedKeys" [
        "[T].([int]) [T]", "[T].([uint]) [T]", "[T].([double]) [T]", "[T].([bool]) [T]",
        "[T].([duration]) [T]", "[T].([timestamp]) [T]", "[T].([string]) [T]",
        "[T].([bytes]) [T]",
    ],
    Range "lists.range" ["(int) [int]"],
    Reverse "reverse" ["[T].() [T]"],
    Distinct "distinct" ["[T].() [T]"],
    SetsContains "sets.contains" ["([T], [T]) bool"],
    SetsEquivalent "sets.equivalent" ["([T], [T]) bool"],
    SetsIntersects "sets.intersects" ["([T], [T]) bool"],

    Ip "ip" ["(string) ip", "cidr.() ip"],
    IsIp "isIP" ["(string) bool"],
    IsCanonical "ip.isCanonical" ["(string) bool"],
    Family "family" ["ip.() int"],
    IsUnspecified "isUnspecified" ["ip.() bool"],
    IsLoopback "isLoopback" ["ip.() bool"],
    IsLinkLocalMulticast "isLinkLocalMulticast" ["ip.() bool"],
    IsLinkLocalUnicast "isLinkLocalUnicast" ["ip.() bool"],
    IsGlobalUnicast "isGlobalUnicast" ["ip.() bool"],
    Cidr "cidr" ["(string) cidr"],
    IsCidr "isCIDR" ["(string) bool"],
    ContainsIp "containsIP" ["cidr.(string) bool", "cidr.(ip) bool"],
    ContainsCidr "containsCIDR" ["cidr.(string) bool", "cidr.(cidr) bool"],
    PrefixLength "prefixLength" ["cidr.() int"],
    Masked "masked" ["cidr.() cidr"],

    Url "url" ["(string) url"],
    IsUrl "isURL" ["(string) bool"],
    GetScheme "getScheme" ["url.() string"],
    GetHost "getHost" ["url.() string"],
    GetHostname "getHostname" ["url.() string"],
    GetPort "getPort" ["url.() string"],
    GetEscapedPath "getEscapedPath" ["url.() string"],
    GetQuery "getQuery" ["url.() {string: [string]}"],

    Quantity "quantity" ["(string) quantity"],
    IsQuantity "isQuantity" ["(string) bool"],
    Sign "sign" ["(quantity) int"],
    IsGreaterThan "isGreaterThan" ["quantity.(quantity) bool", "semver.(semver) bool"],
    IsLessThan "isLessThan" ["quantity.(quantity) bool", "semver.(semver) bool"],
    CompareTo "compareTo" ["quantity.(quantity) int", "semver.(semver) int"],
    AsApproximateFloat "asApproximateFloat" ["quantity.() double"],
    AsInteger "asInteger" ["quantity.() int"],
    IsInteger "isInteger" ["quantity.() bool"],
    QuantityAdd "add" ["quantity.(quantity) quantity", "quantity.(int) quantity"],
    QuantitySub "sub" ["quantity.(quantity) quantity", "quantity.(int) quantity"],

    Semver "semver" ["(string) semver", "(string, bool) semver"],
    IsSemver "isSemver" ["(string) bool", "(string, bool) bool"],
    Major "major" ["semver.() int"],
    Minor "minor" ["semver.() int"],
    Patch "patch" ["semver.() int"],

    FormatNamed "format.named" ["(string) ?format"],
    FormatDns1123Label "format.dns1123Label" ["() format"],
    FormatDns1123Subdomain "format.dns1123Subdomain" ["() format"],
    FormatDns1035Label "format.dns1035Label" ["() format"],
    FormatQualifiedName "format.qualifiedName" ["() format"],
    FormatDns1123LabelPrefix "format.dns1123LabelPrefix" ["() format"],
    FormatDns1123SubdomainPrefix "format.dns1123SubdomainPrefix" ["() format"],
    FormatDns1035LabelPrefix "format.dns1035LabelPrefix" ["() format"],
    FormatLabelValue "format.labelValue" ["() format"],
    FormatUri "format.uri" ["() format"],
    FormatUuid "format.uuid" ["() format"],
    FormatByte "format.byte" ["() format"],
    FormatDate "format.date" ["() format"],
    FormatDatetime "format.datetime" ["() format"],
    Validate "validate" ["format.(string) ?[string]"],

    EscapeKey "jsonpatch.escapeKey" ["(string) string"],
}

/// Libraries of CEL that admission policies of Kubernetes don't have.
const MISSING: &[(&str, &str)] = &[
    ("math.", "the math library"),
    ("base64.", "the encoders library"),
    ("json.", "the encoders library"),
    ("cel.bind", "the bindings library; use `variables`"),
    ("cel.block", "the bindings library; use `variables`"),
    ("proto.", "the protobuf library"),
    (
        "regex.",
        "cel-go's regex library; use find, findAll and matches",
    ),
    (
        "includes",
        "`includes`, which Kubernetes has from 1.37 on; use `in`",
    ),
];

/// Returns a reason why a function that isn't declared can't be had.
pub(crate) fn missing(name: &str) -> Option<&'static str> {
    let missing = MISSING
        .iter()
        .find(|(prefix, _)| name == *prefix || prefix.ends_with('.') && name.starts_with(prefix));
    missing.map(|(_, library)| *library)
}

/// Returns the declaration of a function.
pub(crate) fn find(name: &str) -> Option<&'static Declaration> {
    FUNCTIONS.iter().find(|found| found.name == name)
}

/// A signature with types.
pub(crate) struct Signature {
    pub(crate) is_member: bool,
    /// With the target of a member before the others.
    pub(crate) arguments: Vec<Type>,
    pub(crate) result: Type,
}

impl Signature {
    /// Reads a signature, and puts fresh variables in place of its parameters.
    pub(crate) fn read(text: &str, mapping: &mut Mapping) -> Self {
        let mut reader = Reader {
            rest: text,
            variables: Vec::new(),
            mapping,
        };
        let mut arguments = Vec::new();
        let is_member = !reader.rest.starts_with('(');
        if is_member {
            arguments.push(reader.read());
            reader.skip(".");
        }
        reader.skip("(");
        while !reader.skip(")") {
            arguments.push(reader.read());
            reader.skip(", ");
        }
        reader.skip(" ");
        Self {
            is_member,
            arguments,
            result: reader.read(),
        }
    }
}

struct Reader<'s, 'm> {
    rest: &'s str,
    variables: Vec<(char, Type)>,
    mapping: &'m mut Mapping,
}

impl Reader<'_, '_> {
    fn skip(&mut self, text: &str) -> bool {
        let rest = self.rest.strip_prefix(text);
        self.rest = rest.unwrap_or(self.rest);
        rest.is_some()
    }

    fn read(&mut self) -> Type {
        if self.skip("[") {
            let element = self.read();
            self.skip("]");
            return Type::list(element);
        }
        if self.skip("{") {
            let key = self.read();
            self.skip(": ");
            let value = self.read();
            self.skip("}");
            return Type::map(key, value);
        }
        if self.skip("?") {
            return Type::optional(self.read());
        }
        if self.skip("type(") {
            let of = self.read();
            self.skip(")");
            return Type::Type(Box::new(of));
        }
        let end = self
            .rest
            .find(|c: char| !c.is_ascii_alphanumeric())
            .unwrap_or(self.rest.len());
        let (word, rest) = self.rest.split_at(end);
        self.rest = rest;
        match word {
            "bool" => Type::Bool,
            "int" => Type::Int,
            "uint" => Type::Uint,
            "double" => Type::Double,
            "string" => Type::String,
            "bytes" => Type::Bytes,
            "timestamp" => Type::Timestamp,
            "duration" => Type::Duration,
            "ip" => Type::Opaque(Opaque::Ip),
            "cidr" => Type::Opaque(Opaque::Cidr),
            "url" => Type::Opaque(Opaque::Url),
            "quantity" => Type::Opaque(Opaque::Quantity),
            "semver" => Type::Opaque(Opaque::Semver),
            "format" => Type::Opaque(Opaque::Format),
            word => self.variable(word),
        }
    }

    /// Returns the variable of a parameter; `dyn` for everything that is none.
    fn variable(&mut self, word: &str) -> Type {
        let Some(name) = word.chars().next().filter(char::is_ascii_uppercase) else {
            return Type::Dyn;
        };
        if let Some((_, found)) = self.variables.iter().find(|(known, _)| *known == name) {
            return found.clone();
        }
        let fresh = self.mapping.fresh();
        self.variables.push((name, fresh.clone()));
        fresh
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::String;

    #[test]
    fn every_signature_reads_as_it_is_written() {
        for declaration in FUNCTIONS {
            for text in declaration.signatures {
                let mut mapping = Mapping::default();
                let mut reader = Reader {
                    rest: text,
                    variables: Vec::new(),
                    mapping: &mut mapping,
                };
                if !reader.rest.starts_with('(') {
                    reader.read();
                    assert!(reader.skip("."), "{text}");
                }
                assert!(reader.skip("("), "{text}");
                while !reader.skip(")") {
                    assert!(!reader.rest.is_empty(), "{text}");
                    reader.read();
                    reader.skip(", ");
                }
                assert!(reader.skip(" "), "{text}");
                let result = reader.read();
                assert_eq!(reader.rest, "", "{text}");
                // `dyn` is also what an unknown word would be read as.
                let is_dyn = result == Type::Dyn || result == Type::list(Type::Dyn);
                assert_eq!(
                    is_dyn,
                    text.ends_with("dyn") || text.ends_with("[dyn]"),
                    "{text}"
                );
            }
        }
    }

    #[test]
    fn names_are_declared_once() {
        let mut names: Vec<_> = FUNCTIONS.iter().map(|found| found.name).collect();
        names.sort_unstable();
        let count = names.len();
        names.dedup();
        assert_eq!(names.len(), count);
        assert_eq!(missing("math.greatest"), Some("the math library"));
        assert_eq!(missing(&String::from("size")), None);
    }
}
