//! Quantities (`1.5Gi`), as Kubernetes' `resource.Quantity` reads and adds them.
//!
//! A quantity is a decimal number of any length. Kubernetes keeps short ones in 64 bits, and only
//! those convert to integers; this module does the same. Invariant: `digits` have no leading
//! zeros, and are empty for zero.

use crate::error::EvalError;
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;
use core::cmp::Ordering;

/// The digits that fit into 64 bits.
const MAX_INT64_DIGITS: i64 = 18;
/// The longest number that addition makes. It bounds what `1e1000000` costs.
const MAX_DIGITS: i64 = 4096;

/// A quantity.
#[derive(Clone)]
pub struct Quantity(Amount);

#[derive(Clone)]
enum Amount {
    /// `value * 10^scale`.
    Short {
        value: i64,
        scale: i32,
    },
    Long(Decimal),
}

/// `digits * 10^exponent`.
#[derive(Clone)]
struct Decimal {
    negative: bool,
    digits: Vec<u8>,
    exponent: i64,
}

/// The parts of a quantity's text.
struct Parts<'a> {
    negative: bool,
    /// The number with its sign.
    value: &'a str,
    whole: &'a str,
    fraction: &'a str,
    suffix: &'a str,
}

#[derive(Clone, Copy)]
enum Suffix {
    Decimal(i64),
    Binary(u32),
}

impl Quantity {
    /// Reads a quantity.
    pub(crate) fn parse(text: &str) -> Result<Self, EvalError> {
        let parts = Parts::of(text)?;
        let suffix = Suffix::of(parts.suffix)
            .ok_or_else(|| EvalError::of("unable to parse quantity's suffix"))?;
        match parts.short(suffix)? {
            Some(short) => Ok(Self(short)),
            None => parts.long(suffix).map(|long| Self(Amount::Long(long))),
        }
    }

    /// Returns about how many digits each operation reads.
    pub(crate) fn size(&self) -> usize {
        match &self.0 {
            Amount::Short { .. } => MAX_INT64_DIGITS as usize,
            Amount::Long(decimal) => decimal.digits.len(),
        }
    }

    pub(crate) fn sign(&self) -> i64 {
        match &self.0 {
            Amount::Short { value, .. } => value.signum(),
            Amount::Long(decimal) if decimal.digits.is_empty() => 0,
            Amount::Long(decimal) => 1 - 2 * i64::from(decimal.negative),
        }
    }

    pub(crate) fn order(&self, other: &Self) -> Ordering {
        self.decimal().order(&other.decimal())
    }

    /// Returns the value as an integer, if Kubernetes keeps it as one.
    pub(crate) fn as_integer(&self) -> Option<i64> {
        match self.0 {
            Amount::Short { value, scale } => scaled(value, scale),
            Amount::Long(_) => None,
        }
    }

    pub(crate) fn as_double(&self) -> f64 {
        let (base, exponent) = match &self.0 {
            Amount::Short { value, scale } => (*value as f64, i64::from(*scale)),
            Amount::Long(decimal) => {
                let digits: String = decimal
                    .digits
                    .iter()
                    .map(|digit| char::from(b'0' + digit))
                    .collect();
                let base = digits.parse::<f64>().unwrap_or(0.0);
                (
                    if decimal.negative { -base } else { base },
                    decimal.exponent,
                )
            }
        };
        let power = alloc::format!("1e{exponent}").parse::<f64>();
        base * power.unwrap_or(0.0)
    }

    pub(crate) fn add(&self, other: &Self) -> Result<Self, EvalError> {
        if let (Amount::Short { value: a, scale: i }, Amount::Short { value: b, scale: j }) =
            (&self.0, &other.0)
            && let Some((value, scale)) = add_short((*a, *i), (*b, *j))
        {
            return Ok(Self(Amount::Short { value, scale }));
        }
        let sum = self.decimal().add(&other.decimal())?;
        Ok(Self(Amount::Long(sum)))
    }

    pub(crate) fn sub(&self, other: &Self) -> Result<Self, EvalError> {
        let negated = match &other.0 {
            Amount::Short { value, scale } if *value != i64::MIN => Self(Amount::Short {
                value: -value,
                scale: *scale,
            }),
            _ => {
                let mut decimal = other.decimal();
                decimal.negative = !decimal.negative;
                Self(Amount::Long(decimal))
            }
        };
        self.add(&negated)
    }

    fn decimal(&self) -> Decimal {
        match &self.0 {
            Amount::Short { value, scale } => Decimal {
                negative: *value < 0,
                digits: digits_of(value.unsigned_abs()),
                exponent: i64::from(*scale),
            },
            Amount::Long(decimal) => decimal.clone(),
        }
    }
}

impl From<i64> for Quantity {
    fn from(value: i64) -> Self {
        Self(Amount::Short { value, scale: 0 })
    }
}

fn scaled(value: i64, scale: i32) -> Option<i64> {
    let power = 10i64.checked_pow(u32::try_from(scale).ok()?)?;
    value.checked_mul(power)
}

fn add_short(a: (i64, i32), b: (i64, i32)) -> Option<(i64, i32)> {
    if b.0 == 0 {
        return Some(a);
    }
    if a.0 == 0 {
        return Some(b);
    }
    let scale = a.1.min(b.1);
    let sum = scaled(a.0, a.1 - scale)?.checked_add(scaled(b.0, b.1 - scale)?)?;
    Some((sum, scale))
}

impl<'a> Parts<'a> {
    fn of(text: &'a str) -> Result<Self, EvalError> {
        let wrong = || {
            EvalError::of(
                "quantities must match the regular expression \
                 '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'",
            )
        };
        if text.is_empty() {
            return Err(wrong());
        }
        let unsigned = text.strip_prefix(['-', '+']).unwrap_or(text);
        let number = unsigned.trim_start_matches('0');
        let (whole, rest) = split(number, |c| c.is_ascii_digit());
        let (fraction, rest) = match rest.strip_prefix('.') {
            Some(rest) => split(rest, |c| c.is_ascii_digit()),
            None => ("", rest),
        };
        let (_, tail) = split(rest, |c| "eEinumkKMGTP".contains(c));
        let tail = tail.strip_prefix(['-', '+']).unwrap_or(tail);
        if tail.contains(|c: char| !c.is_ascii_digit()) {
            return Err(wrong());
        }
        Ok(Self {
            negative: text.starts_with('-'),
            value: &text[..text.len() - rest.len()],
            whole: if whole.is_empty() { "0" } else { whole },
            fraction,
            suffix: rest,
        })
    }

    /// Reads what Kubernetes keeps in 64 bits.
    fn short(&self, suffix: Suffix) -> Result<Option<Amount>, EvalError> {
        let length = (self.whole.len() + self.fraction.len()) as i64;
        let (precision, exponent, factor) = match suffix {
            Suffix::Decimal(exponent) => (MAX_INT64_DIGITS - length, exponent, 1),
            Suffix::Binary(bits) if self.fraction.is_empty() => (
                14 - self.whole.len() as i64 - i64::from(bits * 3 / 10),
                0,
                1i64 << bits,
            ),
            Suffix::Binary(_) => return Ok(None),
        };
        let scale = exponent - self.fraction.len() as i64;
        let Ok(short_scale) = i32::try_from(scale) else {
            return Ok(None);
        };
        if precision < 0 || scale < -9 {
            return Ok(None);
        }
        let shifted = alloc::format!("{}{}", self.whole, self.fraction);
        let value: i64 = shifted.parse().map_err(|_| not_numeric())?;
        let value = value.checked_mul(factor);
        Ok(value.map(|value| Amount::Short {
            value: if self.negative { -value } else { value },
            scale: short_scale,
        }))
    }

    fn long(&self, suffix: Suffix) -> Result<Decimal, EvalError> {
        let number = self.value.trim_start_matches(['-', '+']);
        if !number.contains(|c: char| c.is_ascii_digit()) {
            return Err(not_numeric());
        }
        let digits = number.bytes().filter(|byte| *byte != b'.');
        let mut amount = Decimal {
            negative: self.negative,
            digits: digits.map(|byte| byte - b'0').collect(),
            exponent: -(self.fraction.len() as i64),
        };
        amount.trim();
        match suffix {
            Suffix::Decimal(exponent) => amount.exponent += exponent,
            Suffix::Binary(bits) => amount.multiply(1 << bits),
        }
        amount.round_up_to_nano();
        let most = Decimal {
            negative: false,
            digits: digits_of(i64::MAX as u64),
            exponent: 0,
        };
        if matches!(suffix, Suffix::Binary(_)) && amount.order_of_magnitudes(&most).is_gt() {
            amount = Decimal {
                negative: self.negative,
                ..most
            };
        }
        Ok(amount)
    }
}

fn not_numeric() -> EvalError {
    EvalError::of("unable to parse numeric part of quantity")
}

fn split(text: &str, mut belongs: impl FnMut(char) -> bool) -> (&str, &str) {
    text.split_at(text.find(|c: char| !belongs(c)).unwrap_or(text.len()))
}

impl Suffix {
    fn of(suffix: &str) -> Option<Self> {
        Some(match suffix {
            "n" => Self::Decimal(-9),
            "u" => Self::Decimal(-6),
            "m" => Self::Decimal(-3),
            "" => Self::Decimal(0),
            "k" => Self::Decimal(3),
            "M" => Self::Decimal(6),
            "G" => Self::Decimal(9),
            "T" => Self::Decimal(12),
            "P" => Self::Decimal(15),
            "E" => Self::Decimal(18),
            "Ki" => Self::Binary(10),
            "Mi" => Self::Binary(20),
            "Gi" => Self::Binary(30),
            "Ti" => Self::Binary(40),
            "Pi" => Self::Binary(50),
            "Ei" => Self::Binary(60),
            _ => {
                let exponent: i64 = suffix.strip_prefix(['e', 'E'])?.parse().ok()?;
                // Kubernetes cuts it to 32 bits.
                Self::Decimal(i64::from(exponent as i32))
            }
        })
    }
}

fn digits_of(mut number: u64) -> Vec<u8> {
    let mut digits = Vec::new();
    while number > 0 {
        digits.push((number % 10) as u8);
        number /= 10;
    }
    digits.reverse();
    digits
}

impl Decimal {
    fn trim(&mut self) {
        let zeros = self.digits.iter().take_while(|digit| **digit == 0).count();
        self.digits.drain(..zeros);
    }

    fn multiply(&mut self, factor: u64) {
        // Ten times the largest factor, 2^60, fits.
        let mut carry: u64 = 0;
        for digit in self.digits.iter_mut().rev() {
            let product = u64::from(*digit) * factor + carry;
            *digit = (product % 10) as u8;
            carry = product / 10;
        }
        let mut digits = digits_of(carry);
        digits.append(&mut self.digits);
        self.digits = digits;
        self.trim();
    }

    /// Rounds away from zero to a billionth.
    fn round_up_to_nano(&mut self) {
        let excess = (-9).cmp(&self.exponent);
        if excess.is_le() || self.digits.is_empty() {
            return;
        }
        let cut = usize::try_from(-9 - self.exponent).unwrap_or(usize::MAX);
        let kept = self.digits.len().saturating_sub(cut);
        let is_exact = cut <= self.digits.len() && self.digits[kept..].iter().all(|d| *d == 0);
        self.digits.truncate(kept);
        self.exponent = -9;
        if is_exact {
            return;
        }
        for digit in self.digits.iter_mut().rev() {
            if *digit < 9 {
                *digit += 1;
                return;
            }
            *digit = 0;
        }
        self.digits.insert(0, 1);
    }

    /// Returns the power of ten of the first digit.
    fn magnitude(&self) -> i64 {
        self.digits.len() as i64 + self.exponent
    }

    fn order(&self, other: &Self) -> Ordering {
        let sign = |decimal: &Self| match (decimal.digits.is_empty(), decimal.negative) {
            (true, _) => 0,
            (false, true) => -1,
            (false, false) => 1,
        };
        let signs = sign(self).cmp(&sign(other));
        if signs.is_ne() || sign(self) == 0 {
            return signs;
        }
        let order = self.order_of_magnitudes(other);
        if self.negative {
            order.reverse()
        } else {
            order
        }
    }

    /// Compares without the signs.
    fn order_of_magnitudes(&self, other: &Self) -> Ordering {
        if self.digits.is_empty() || other.digits.is_empty() {
            return other.digits.is_empty().cmp(&self.digits.is_empty());
        }
        let length = self.digits.len().max(other.digits.len());
        let digit = |decimal: &Self, at: usize| decimal.digits.get(at).copied().unwrap_or(0);
        self.magnitude().cmp(&other.magnitude()).then_with(|| {
            (0..length)
                .map(|at| digit(self, at).cmp(&digit(other, at)))
                .find(|order| order.is_ne())
                .unwrap_or(Ordering::Equal)
        })
    }

    fn add(&self, other: &Self) -> Result<Self, EvalError> {
        if self.digits.is_empty() || other.digits.is_empty() {
            let sum = if self.digits.is_empty() { other } else { self };
            return Ok(sum.clone());
        }
        let exponent = self.exponent.min(other.exponent);
        let length = self.magnitude().max(other.magnitude()) - exponent + 1;
        let length = Some(length).filter(|length| *length <= MAX_DIGITS);
        let length = length.ok_or_else(|| EvalError::of("quantity has too many digits"))? as usize;
        let a = self.aligned(exponent, length);
        let b = other.aligned(exponent, length);
        let mut sum = vec![0; length];
        let is_difference = self.negative != other.negative;
        let (larger, smaller, negative) = if is_difference && a < b {
            (b, a, other.negative)
        } else {
            (a, b, self.negative)
        };
        let mut carry = 0;
        for at in (0..length).rev() {
            let smaller = smaller[at] as i8;
            let digit = larger[at] as i8 + carry + if is_difference { -smaller } else { smaller };
            sum[at] = digit.rem_euclid(10) as u8;
            carry = digit.div_euclid(10);
        }
        let mut sum = Self {
            negative,
            digits: sum,
            exponent,
        };
        sum.trim();
        Ok(sum)
    }

    /// Returns the digits at an exponent, with zeros before them.
    fn aligned(&self, exponent: i64, length: usize) -> Vec<u8> {
        let behind = (self.exponent - exponent) as usize;
        let before = length - self.digits.len() - behind;
        let mut digits = vec![0; before];
        digits.extend_from_slice(&self.digits);
        digits.resize(length, 0);
        digits
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn quantity(text: &str) -> Quantity {
        Quantity::parse(text).expect("valid")
    }

    #[test]
    fn quantities_compare_by_value() {
        for (a, b, order) in [
            ("200M", "0.2G", Ordering::Equal),
            ("50M", "50Mi", Ordering::Less),
            ("50Mi", "50M", Ordering::Greater),
            ("-1", "1", Ordering::Less),
            ("-2", "-1", Ordering::Less),
            ("0", "-0", Ordering::Equal),
            ("1e3", "1k", Ordering::Equal),
            ("1.5Gi", "1610612736", Ordering::Equal),
            ("1E", "1e18", Ordering::Equal),
            ("0.0000000001", "1n", Ordering::Equal),
            ("9999999999999999999999999G", "1", Ordering::Greater),
            ("20Ei", "9223372036854775807", Ordering::Equal),
        ] {
            assert_eq!(quantity(a).order(&quantity(b)), order, "{a} {b}");
        }
    }

    #[test]
    fn sums_and_differences_are_exact() {
        for (a, b, sum) in [
            ("50k", "20k", "70k"),
            ("50k", "-20k", "30k"),
            ("20k", "-50k", "-30k"),
            ("1", "1n", "1000000001n"),
            ("9223372036854775807", "1", "9223372036854775808"),
            ("0.1", "-0.1", "0"),
            ("99999999999999999999", "1", "100000000000000000000"),
        ] {
            let found = quantity(a).add(&quantity(b)).expect("short");
            assert_eq!(found.order(&quantity(sum)), Ordering::Equal, "{a} {b}");
            let back = found.sub(&quantity(b)).expect("short");
            assert_eq!(back.order(&quantity(a)), Ordering::Equal, "{a} {b}");
        }
        assert!(quantity("1e1000000").add(&quantity("1")).is_err());
    }

    #[test]
    fn only_short_whole_quantities_are_integers() {
        assert_eq!(quantity("50k").as_integer(), Some(50_000));
        assert_eq!(quantity("1.5k").as_integer(), Some(1500));
        assert_eq!(quantity("1.0").as_integer(), None);
        assert_eq!(quantity("9999999999999999999999G").as_integer(), None);
        assert_eq!(quantity("1Mi").as_integer(), Some(1 << 20));
    }

    #[test]
    fn other_texts_are_refused() {
        for text in ["", "200K", "Three", "1,3G", "1.2.3", "1 k", "1Kim", "e3x"] {
            assert!(Quantity::parse(text).is_err(), "{text}");
        }
    }
}
