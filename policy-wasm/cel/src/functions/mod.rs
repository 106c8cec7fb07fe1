//! The functions, by the values that they are called with.
//!
//! The checker has seen that some overload may fit. Values that it couldn't know decide here; what
//! fits none is an error in cel-go's words.

pub(crate) mod arithmetic;
pub(crate) mod convert;
pub(crate) mod format;
pub(crate) mod lists;
pub(crate) mod net;
mod netip;
pub(crate) mod printf;
pub(crate) mod quantity;
pub(crate) mod semver;
pub(crate) mod strings;
pub(crate) mod text;
pub(crate) mod time;
pub(crate) mod url;

use crate::budget::Budget;
use crate::error::EvalError;
use crate::regex::Regex;
use crate::shared::Shared;
use crate::signatures::Function;
use crate::value::{Map, Str, Value, key_text, lookup_steps};
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::cmp::Ordering;
use format::NamedFormat;
use net::{Cidr, Kind};
use quantity::Quantity;
use semver::Version;
use time::Part;

type Result<T> = core::result::Result<T, EvalError>;

/// Calls a function.
pub(crate) fn call<'a>(
    function: Function,
    name: &str,
    arguments: &[Value<'a>],
    budget: &Budget,
) -> Result<Value<'a>> {
    let called = operator(function, arguments, budget)
        .or_else(|| convert::call(function, arguments, budget))
        .or_else(|| string_function(function, arguments, budget))
        .or_else(|| list_function(function, arguments, budget))
        .or_else(|| time_function(function, arguments))
        .or_else(|| optional_function(function, arguments, budget))
        .or_else(|| net_function(function, arguments, budget))
        .or_else(|| library_function(function, arguments, budget));
    called.unwrap_or_else(|| Err(no_such_overload(function, name, arguments)))
}

/// Makes the error of a call that no overload fits.
fn no_such_overload(function: Function, name: &str, arguments: &[Value<'_>]) -> EvalError {
    match function {
        Function::Contains
        | Function::StartsWith
        | Function::EndsWith
        | Function::In
        | Function::Not => EvalError::no_such_overload(),
        Function::Size => EvalError::of("no such overload: size"),
        Function::Matches if matches!(arguments.first(), Some(Value::String(_))) => {
            EvalError::no_such_overload()
        }
        Function::Matches => EvalError::of("no such overload: matches"),
        _ => {
            let types: Vec<_> = arguments.iter().map(Value::type_name).collect();
            EvalError::of(format!("no such overload: {name}({})", types.join(", ")))
        }
    }
}

fn operator<'a>(
    function: Function,
    arguments: &[Value<'a>],
    budget: &Budget,
) -> Option<Result<Value<'a>>> {
    use Function as F;
    let [a, rest @ ..] = arguments else {
        return None;
    };
    let b = || rest.first();
    Some(match (function, b()) {
        (F::Equals, Some(b)) => a.equals(b, budget).map(Value::Bool),
        // As in cel-go, values that can't be compared are not equal.
        (F::NotEquals, Some(b)) => lists::is_equal(a, b, budget).map(|equal| Value::Bool(!equal)),
        (F::Less, Some(b)) => order(a, b, "_<_", Ordering::is_lt, budget),
        (F::LessEquals, Some(b)) => order(a, b, "_<=_", Ordering::is_le, budget),
        (F::Greater, Some(b)) => order(a, b, "_>_", Ordering::is_gt, budget),
        (F::GreaterEquals, Some(b)) => order(a, b, "_>=_", Ordering::is_ge, budget),
        (F::In, Some(Value::List(list))) => lists::contains(list, a, budget).map(Value::Bool),
        (F::In, Some(Value::Map(map))) => budget
            .spend(lookup_steps(map.len(), key_text(a)))
            .map(|()| Value::Bool(map.find(a).is_some())),
        (F::Add, Some(b)) => arithmetic::add(a, b, budget),
        (F::Subtract, Some(b)) => arithmetic::sub(a, b),
        (F::Multiply, Some(b)) => arithmetic::mul(a, b),
        (F::Divide, Some(b)) => arithmetic::div(a, b),
        (F::Modulo, Some(b)) => arithmetic::rem(a, b),
        (F::Negate, None) => arithmetic::negate(a),
        (F::Not, None) => match a {
            Value::Bool(value) => Ok(Value::Bool(!value)),
            _ => return None,
        },
        _ => return None,
    })
}

fn order<'a>(
    a: &Value<'_>,
    b: &Value<'_>,
    operator: &str,
    wanted: fn(Ordering) -> bool,
    budget: &Budget,
) -> Result<Value<'a>> {
    if !a.is_comparable() {
        return Err(EvalError::of(format!("no such overload: {operator}")));
    }
    a.spend_order(b, budget)?;
    a.compare(b).map(|order| Value::Bool(wanted(order)))
}

fn string_function<'a>(
    function: Function,
    arguments: &[Value<'a>],
    budget: &Budget,
) -> Option<Result<Value<'a>>> {
    use Function as F;
    let [Value::String(text), rest @ ..] = arguments else {
        return join(function, arguments, budget);
    };
    if let Err(error) = budget.spend_bytes(text.len()) {
        return Some(Err(error));
    }
    Some(match (function, rest) {
        (F::Contains, [Value::String(part)]) => {
            // A search may take the product of both lengths in the worst case of some texts.
            budget
                .spend_bytes(part.len())
                .map(|()| Value::Bool(text.contains(&**part)))
        }
        (F::StartsWith, [Value::String(part)]) => Ok(Value::Bool(text.starts_with(&**part))),
        (F::EndsWith, [Value::String(part)]) => Ok(Value::Bool(text.ends_with(&**part))),
        (F::Matches | F::Find | F::FindAll, [Value::String(pattern), limit @ ..]) => {
            dynamic_search(function, pattern, &arguments[0], limit.first(), budget)
        }
        (F::Size, []) => Ok(Value::Int(strings::size(text))),
        (F::CharAt, [Value::Int(index)]) => strings::char_at(text, *index).map(Value::from),
        (F::IndexOf, [Value::String(part)]) => strings::index_of(text, part, 0).map(Value::Int),
        (F::IndexOf, [Value::String(part), Value::Int(from)]) => {
            strings::index_of(text, part, *from).map(Value::Int)
        }
        (F::LastIndexOf, [Value::String(part)]) => {
            strings::last_index_of(text, part, None).map(Value::Int)
        }
        (F::LastIndexOf, [Value::String(part), Value::Int(to)]) => {
            strings::last_index_of(text, part, Some(*to)).map(Value::Int)
        }
        (F::LowerAscii, []) => Ok(text.to_ascii_lowercase().into()),
        (F::UpperAscii, []) => Ok(text.to_ascii_uppercase().into()),
        (F::Replace, [Value::String(old), Value::String(new)]) => {
            strings::replace(text, old, new, -1, budget).map(Value::from)
        }
        (F::Replace, [Value::String(old), Value::String(new), Value::Int(limit)]) => {
            strings::replace(text, old, new, *limit, budget).map(Value::from)
        }
        (F::Split, [Value::String(separator)]) => split(text, separator, -1, budget),
        (F::Split, [Value::String(separator), Value::Int(limit)]) => {
            split(text, separator, *limit, budget)
        }
        (F::Substring, [Value::Int(start)]) => strings::substring(text, *start, None).map(owned),
        (F::Substring, [Value::Int(start), Value::Int(end)]) => {
            strings::substring(text, *start, Some(*end)).map(owned)
        }
        (F::Trim, []) => Ok(owned(strings::trim(text))),
        (F::Format, [Value::List(list)]) => printf::format(text, list, budget).map(Value::from),
        (F::Quote, []) => Ok(strings::quote(text).into()),
        (F::EscapeKey, []) => Ok(strings::escape_key(text).into()),
        _ => return None,
    })
}

fn owned<'a>(text: &str) -> Value<'a> {
    Value::String(Str::Shared(text.into()))
}

fn join<'a>(
    function: Function,
    arguments: &[Value<'a>],
    budget: &Budget,
) -> Option<Result<Value<'a>>> {
    Some(match (function, arguments) {
        (Function::Join, [Value::List(list)]) => strings::join(list, "", budget).map(Value::from),
        (Function::Join, [Value::List(list), Value::String(separator)]) => {
            strings::join(list, separator, budget).map(Value::from)
        }
        _ => return None,
    })
}

fn split<'a>(text: &str, separator: &str, limit: i64, budget: &Budget) -> Result<Value<'a>> {
    let parts = strings::split(text, separator, limit);
    // Each part is a value and a text of its own.
    budget.spend_bytes(parts.len() * (size_of::<Value<'_>>() + 16))?;
    Ok(parts.into_iter().map(owned).collect::<Vec<_>>().into())
}

/// Compiles a pattern that is no constant, and searches for it.
fn dynamic_search<'a>(
    function: Function,
    pattern: &str,
    text: &Value<'a>,
    limit: Option<&Value<'a>>,
    budget: &Budget,
) -> Result<Value<'a>> {
    budget.spend(50 + pattern.len() as u64 * 4)?;
    let regex = Regex::new(pattern).map_err(|problem| {
        EvalError::of(if function == Function::Matches {
            problem
        } else {
            format!("Illegal regex: {problem}")
        })
    })?;
    budget.spend_bytes(regex.size())?;
    search(function, &regex, text, limit, budget)
}

/// Searches for a pattern: `matches`, `find` and `findAll`.
pub(crate) fn search<'a>(
    function: Function,
    regex: &Regex,
    text: &Value<'a>,
    limit: Option<&Value<'a>>,
    budget: &Budget,
) -> Result<Value<'a>> {
    let Value::String(text) = text else {
        return Err(match function {
            Function::Matches => EvalError::of("no such overload: matches"),
            Function::Find => EvalError::of(format!(
                "no such overload: find({}, string)",
                text.type_name()
            )),
            _ => EvalError::of(format!(
                "no such overload: findAll({}, string)",
                text.type_name()
            )),
        });
    };
    match function {
        Function::Matches => regex.is_match(text, budget).map(Value::Bool),
        Function::Find => {
            let found = regex.find_at(text, 0, budget)?;
            Ok(owned(found.map_or("", |(start, end)| &text[start..end])))
        }
        _ => {
            let limit = match limit {
                None => -1,
                Some(Value::Int(limit)) => *limit,
                Some(_) => return Err(EvalError::no_such_overload()),
            };
            find_all(regex, text, limit, budget)
        }
    }
}

fn find_all<'a>(regex: &Regex, text: &str, limit: i64, budget: &Budget) -> Result<Value<'a>> {
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    let mut found = Vec::new();
    let mut at = 0;
    let mut last_end = None;
    while found.len() < limit {
        let Some((start, end)) = regex.find_at(text, at, budget)? else {
            break;
        };
        // An empty match right behind another one doesn't count.
        if start < end || last_end != Some(start) {
            budget.spend_bytes(end - start + size_of::<Value<'_>>() + 16)?;
            found.push(owned(&text[start..end]));
        }
        last_end = Some(end);
        at = if start < end {
            end
        } else {
            match text[end..].chars().next() {
                Some(c) => end + c.len_utf8(),
                None => break,
            }
        };
    }
    Ok(found.into())
}

fn list_function<'a>(
    function: Function,
    arguments: &[Value<'a>],
    budget: &Budget,
) -> Option<Result<Value<'a>>> {
    use Function as F;
    let (list, rest) = match arguments {
        [Value::List(list), rest @ ..] => (list, rest),
        [Value::Map(map)] if function == F::Size => {
            return Some(Ok(Value::Int(map.len() as i64)));
        }
        [Value::Bytes(bytes)] if function == F::Size => {
            return Some(Ok(Value::Int(bytes.len() as i64)));
        }
        _ => return None,
    };
    let some = |value: Option<Value<'a>>| Ok(Value::Optional(value.map(Shared::new)));
    Some(match (function, rest) {
        (F::Size, []) => Ok(Value::Int(list.len() as i64)),
        (F::IndexOf, [value]) => lists::index_of(list, value, false, budget).map(Value::Int),
        (F::LastIndexOf, [value]) => lists::index_of(list, value, true, budget).map(Value::Int),
        (F::IsSorted, []) => lists::is_sorted(list, budget).map(Value::Bool),
        (F::Sum, []) => lists::sum(list, budget),
        (F::Min, []) => lists::extreme("min", list, Ordering::Less, budget),
        (F::Max, []) => lists::extreme("max", list, Ordering::Greater, budget),
        (F::Slice, [Value::Int(start), Value::Int(end)]) => {
            lists::slice(list, *start, *end, budget)
        }
        (F::Flatten, []) => lists::flatten(list, 1, budget),
        (F::Flatten, [Value::Int(depth)]) => lists::flatten(list, *depth, budget),
        (F::Sort, []) => lists::sort_by(list, list, budget),
        (F::SortByKeys, [Value::List(keys)]) => lists::sort_by(list, keys, budget),
        (F::Reverse, []) => lists::reverse(list, budget),
        (F::Distinct, []) => lists::distinct(list, budget),
        (F::SetsContains, [Value::List(other)]) => {
            lists::contains_all(list, other, budget).map(Value::Bool)
        }
        (F::SetsIntersects, [Value::List(other)]) => {
            lists::intersects(list, other, budget).map(Value::Bool)
        }
        (F::SetsEquivalent, [Value::List(other)]) => lists::contains_all(list, other, budget)
            .and_then(|all| Ok(all && lists::contains_all(other, list, budget)?))
            .map(Value::Bool),
        (F::First, []) => some(list.get(0)),
        (F::Last, []) => some(list.len().checked_sub(1).and_then(|last| list.get(last))),
        (F::OptionalUnwrap | F::UnwrapOpt, []) => unwrap(list, budget),
        _ => return None,
    })
}

fn unwrap<'a>(list: &crate::value::List<'a>, budget: &Budget) -> Result<Value<'a>> {
    let mut values = Vec::new();
    list.each(&mut |element| {
        budget.spend_bytes(size_of::<Value<'_>>())?;
        match element {
            Value::Optional(value) => values.extend(value.map(|value| (*value).clone())),
            other => {
                return Err(EvalError::of(format!(
                    "value {} is not optional",
                    printf::shown(&other)
                )));
            }
        }
        Ok(())
    })?;
    Ok(values.into())
}

/// Returns the part of a time that a function reads, if it is such a function.
pub(crate) fn part_of(function: Function) -> Option<Part> {
    Some(match function {
        Function::GetFullYear => Part::FullYear,
        Function::GetMonth => Part::Month,
        Function::GetDayOfYear => Part::DayOfYear,
        Function::GetDayOfMonth => Part::DayOfMonth,
        Function::GetDate => Part::Date,
        Function::GetDayOfWeek => Part::DayOfWeek,
        Function::GetHours => Part::Hours,
        Function::GetMinutes => Part::Minutes,
        Function::GetSeconds => Part::Seconds,
        Function::GetMilliseconds => Part::Milliseconds,
        _ => return None,
    })
}

fn time_function<'a>(function: Function, arguments: &[Value<'a>]) -> Option<Result<Value<'a>>> {
    let part = part_of(function)?;
    match arguments {
        [Value::Timestamp(time)] => Some(time.part(part, None).map(Value::Int)),
        [Value::Timestamp(time), Value::String(zone)] => {
            Some(time.part(part, Some(zone)).map(Value::Int))
        }
        [Value::Duration(nanos)] => {
            time::duration_part(*nanos, part).map(|part| Ok(Value::Int(part)))
        }
        _ => None,
    }
}

fn optional_function<'a>(
    function: Function,
    arguments: &[Value<'a>],
    budget: &Budget,
) -> Option<Result<Value<'a>>> {
    use Function as F;
    Some(match (function, arguments) {
        (F::OptionalNone, []) => Ok(Value::Optional(None)),
        (F::OptionalOf, [value]) => Ok(Value::some(value.clone())),
        (F::OptionalOfNonZero, [value]) => Ok(if value.is_zero() {
            Value::Optional(None)
        } else {
            Value::some(value.clone())
        }),
        (F::HasValue, [Value::Optional(value)]) => Ok(Value::Bool(value.is_some())),
        (F::OptionalValue, [Value::Optional(value)]) => match value {
            Some(value) => Ok((**value).clone()),
            None => Err(EvalError::of("optional.none() dereference")),
        },
        (F::Range, [Value::Int(end)]) => lists::range(*end, budget),
        _ => return None,
    })
}

fn net_function<'a>(
    function: Function,
    arguments: &[Value<'a>],
    budget: &Budget,
) -> Option<Result<Value<'a>>> {
    use Function as F;
    let kind = match function {
        F::IsUnspecified => Some(Kind::Unspecified),
        F::IsLoopback => Some(Kind::Loopback),
        F::IsLinkLocalMulticast => Some(Kind::LinkLocalMulticast),
        F::IsLinkLocalUnicast => Some(Kind::LinkLocalUnicast),
        F::IsGlobalUnicast => Some(Kind::GlobalUnicast),
        _ => None,
    };
    if let (Some(kind), [Value::Ip(address)]) = (kind, arguments) {
        return Some(Ok(Value::Bool(net::is(*address, kind))));
    }
    if let Err(error) = budget.spend(2) {
        return Some(Err(error));
    }
    Some(match (function, arguments) {
        (F::Ip, [Value::String(text)]) => net::parse_ip(text).map(Value::Ip),
        (F::Ip, [Value::Cidr(block)]) => Ok(Value::Ip(block.address())),
        (F::IsIp, [Value::String(text)]) => Ok(Value::Bool(net::parse_ip(text).is_ok())),
        (F::IsCanonical, [Value::String(text)]) => {
            net::parse_ip(text).map(|address| Value::Bool(net::ip_text(address) == **text))
        }
        (F::Family, [Value::Ip(address)]) => Ok(Value::Int(if address.is_ipv4() { 4 } else { 6 })),
        (F::Cidr, [Value::String(text)]) => Cidr::parse(text).map(Value::Cidr),
        (F::IsCidr, [Value::String(text)]) => Ok(Value::Bool(Cidr::parse(text).is_ok())),
        (F::ContainsIp, [Value::Cidr(block), Value::Ip(address)]) => {
            Ok(Value::Bool(block.contains(*address)))
        }
        (F::ContainsIp, [Value::Cidr(block), Value::String(text)]) => net::parse_ip(text)
            // As in Kubernetes, a text that is no address hides its own error.
            .map_err(|_| EvalError::no_such_overload())
            .map(|address| Value::Bool(block.contains(address))),
        (F::ContainsCidr, [Value::Cidr(block), Value::Cidr(other)]) => {
            Ok(Value::Bool(block.contains_block(*other)))
        }
        (F::ContainsCidr, [Value::Cidr(block), Value::String(text)]) => {
            Cidr::parse(text).map(|other| Value::Bool(block.contains_block(other)))
        }
        (F::PrefixLength, [Value::Cidr(block)]) => Ok(Value::Int(i64::from(block.bits()))),
        (F::Masked, [Value::Cidr(block)]) => Ok(Value::Cidr(block.masked())),
        _ => return None,
    })
}

fn library_function<'a>(
    function: Function,
    arguments: &[Value<'a>],
    budget: &Budget,
) -> Option<Result<Value<'a>>> {
    use Function as F;
    let text = match arguments {
        [Value::String(text), ..] => Some(&**text),
        [_, Value::String(text)] => Some(&**text),
        _ => None,
    };
    if let Err(error) = budget.spend_bytes(text.map_or(0, str::len) * 2) {
        return Some(Err(error));
    }
    Some(match (function, arguments) {
        (F::Url, [Value::String(text)]) => {
            url::Url::parse(text).map(|url| Value::Url(Shared::new(url)))
        }
        (F::IsUrl, [Value::String(text)]) => Ok(Value::Bool(url::validate(text).is_ok())),
        (F::GetScheme, [Value::Url(url)]) => part(url.scheme(), budget),
        (F::GetHost, [Value::Url(url)]) => part(url.host(), budget),
        (F::GetHostname, [Value::Url(url)]) => part(url.hostname(), budget),
        (F::GetPort, [Value::Url(url)]) => part(url.port(), budget),
        (F::GetEscapedPath, [Value::Url(url)]) => part(url.escaped_path(), budget),
        (F::GetQuery, [Value::Url(url)]) => query(url, budget),
        (F::Quantity, [Value::String(text)]) => {
            Quantity::parse(text).map(|quantity| Value::Quantity(Shared::new(quantity)))
        }
        (F::IsQuantity, [Value::String(text)]) => Ok(Value::Bool(Quantity::parse(text).is_ok())),
        (_, [Value::Quantity(a), rest @ ..]) => {
            return quantity_function(function, a, rest, budget);
        }
        (F::Semver, [Value::String(text)]) => version(text, false),
        (F::Semver, [Value::String(text), Value::Bool(normalize)]) => version(text, *normalize),
        (F::IsSemver, [Value::String(text)]) => Ok(Value::Bool(version(text, false).is_ok())),
        (F::IsSemver, [Value::String(text), Value::Bool(normalize)]) => {
            Ok(Value::Bool(version(text, *normalize).is_ok()))
        }
        (F::Major, [Value::Semver(version)]) => Ok(Value::Int(version.number(0))),
        (F::Minor, [Value::Semver(version)]) => Ok(Value::Int(version.number(1))),
        (F::Patch, [Value::Semver(version)]) => Ok(Value::Int(version.number(2))),
        (F::IsGreaterThan, [Value::Semver(a), Value::Semver(b)]) => {
            Ok(Value::Bool(a.order(b).is_gt()))
        }
        (F::IsLessThan, [Value::Semver(a), Value::Semver(b)]) => {
            Ok(Value::Bool(a.order(b).is_lt()))
        }
        (F::CompareTo, [Value::Semver(a), Value::Semver(b)]) => Ok(Value::Int(a.order(b) as i64)),
        (F::FormatNamed, [Value::String(name)]) => {
            let found = NamedFormat::named(name).map(Value::Format);
            Ok(Value::Optional(found.map(Shared::new)))
        }
        (F::Validate, [Value::Format(format), Value::String(text)]) => {
            let problems = format.problems(text);
            Ok(Value::Optional((!problems.is_empty()).then(|| {
                let problems = problems.into_iter().map(Value::from);
                Shared::new(problems.collect::<Vec<_>>().into())
            })))
        }
        (_, []) => Ok(Value::Format(named_format(function)?)),
        _ => return None,
    })
}

fn named_format(function: Function) -> Option<NamedFormat> {
    use Function as F;
    Some(match function {
        F::FormatDns1123Label => NamedFormat::Dns1123Label,
        F::FormatDns1123Subdomain => NamedFormat::Dns1123Subdomain,
        F::FormatDns1035Label => NamedFormat::Dns1035Label,
        F::FormatQualifiedName => NamedFormat::QualifiedName,
        F::FormatDns1123LabelPrefix => NamedFormat::Dns1123LabelPrefix,
        F::FormatDns1123SubdomainPrefix => NamedFormat::Dns1123SubdomainPrefix,
        F::FormatDns1035LabelPrefix => NamedFormat::Dns1035LabelPrefix,
        F::FormatLabelValue => NamedFormat::LabelValue,
        F::FormatUri => NamedFormat::Uri,
        F::FormatUuid => NamedFormat::Uuid,
        F::FormatByte => NamedFormat::Byte,
        F::FormatDate => NamedFormat::Date,
        F::FormatDatetime => NamedFormat::Datetime,
        _ => return None,
    })
}

fn version<'a>(text: &str, normalize: bool) -> Result<Value<'a>> {
    let version = if normalize {
        Version::parse_tolerant(text)
    } else {
        Version::parse(text)
    };
    version.map(|version| Value::Semver(Shared::new(version)))
}

fn quantity_function<'a>(
    function: Function,
    a: &Quantity,
    rest: &[Value<'a>],
    budget: &Budget,
) -> Option<Result<Value<'a>>> {
    use Function as F;
    let digits = a.size()
        + match rest {
            [Value::Quantity(b)] => b.size(),
            _ => 0,
        };
    if let Err(error) = budget.spend(4 + digits as u64 / 2) {
        return Some(Err(error));
    }
    let quantity = |result: Result<Quantity>| result.map(|sum| Value::Quantity(Shared::new(sum)));
    Some(match (function, rest) {
        (F::Sign, []) => Ok(Value::Int(a.sign())),
        (F::AsInteger, []) => a
            .as_integer()
            .map(Value::Int)
            .ok_or_else(|| EvalError::of("cannot convert value to integer")),
        (F::IsInteger, []) => Ok(Value::Bool(a.as_integer().is_some())),
        (F::AsApproximateFloat, []) => Ok(Value::Double(a.as_double())),
        (F::IsGreaterThan, [Value::Quantity(b)]) => Ok(Value::Bool(a.order(b).is_gt())),
        (F::IsLessThan, [Value::Quantity(b)]) => Ok(Value::Bool(a.order(b).is_lt())),
        (F::CompareTo, [Value::Quantity(b)]) => Ok(Value::Int(a.order(b) as i64)),
        (F::QuantityAdd, [Value::Quantity(b)]) => quantity(a.add(b)),
        (F::QuantityAdd, [Value::Int(b)]) => quantity(a.add(&Quantity::from(*b))),
        (F::QuantitySub, [Value::Quantity(b)]) => quantity(a.sub(b)),
        (F::QuantitySub, [Value::Int(b)]) => quantity(a.sub(&Quantity::from(*b))),
        _ => return None,
    })
}

/// Copies a part of a URL.
fn part<'a>(text: &str, budget: &Budget) -> Result<Value<'a>> {
    budget.spend_bytes(text.len())?;
    Ok(owned(text))
}

fn query<'a>(url: &url::Url, budget: &Budget) -> Result<Value<'a>> {
    let texts = |values: Vec<String>| -> Value<'a> {
        values
            .into_iter()
            .map(Value::from)
            .collect::<Vec<_>>()
            .into()
    };
    let entries = url.query(budget)?.into_iter();
    let entries = entries.map(|(key, values)| (Value::from(key), texts(values)));
    Ok(Value::Map(Map::Entries(Shared::new(entries.collect()))))
}
