//! Decimal numbers of a table, to the last bit what the standard library reads, at a few multiplications each.

use super::cells::is_missing;
use crate::tasks::LARGEST;

/// Most digits of which the whole number is one of 64 bits.
const DIGITS: usize = 19;

const POWERS: [u64; DIGITS + 1] = {
    let mut powers = [1; DIGITS + 1];
    let mut k = 1;
    while k < powers.len() {
        powers[k] = 10 * powers[k - 1];
        k += 1;
    }
    powers
};

/// 2^(64 + b) / 10^k rounded down, 2^b being the largest power of two up to 10^k: 64 bits, the first of them set. And the bits of 2^(1 - b).
const RECIPROCALS: [(u64, u64); DIGITS + 1] = {
    let mut reciprocals = [(u64::MAX, 1024 << 52); DIGITS + 1];
    let mut k = 1;
    while k < reciprocals.len() {
        let b = POWERS[k].ilog2();
        reciprocals[k] = (((1u128 << (64 + b)) / POWERS[k] as u128) as u64, (1024 - b as u64) << 52);
        k += 1;
    }
    reciprocals
};

/// A decimal number and where the next cell begins; the number itself only where it has at most 19 digits, as all have that were
/// printed to be read back.
#[inline(always)]
pub(super) fn plain_number(lines: &[u8], begin: usize) -> Option<(Option<f64>, usize)> {
    let negative = lines[begin] == b'-';
    let first = begin + usize::from(negative);
    let (units, count, places, at) = match long_fraction(lines, first) {
        Some(found) => found,
        None => any_number(lines, first)?,
    };
    if !matches!(lines.get(at)?, b',' | b'\n') {
        return None;
    }
    let value = ((1..=DIGITS).contains(&count)).then(|| quotient(units, places));
    Some((value.map(|value| f64::from_bits(value.to_bits() | u64::from(negative) << 63)), at + 1))
}

/// The digits as a whole number, how many count (zeros before the point do not, unless there is nothing else), how many stand after the point, and where
/// they end.
type Decimal = (u64, usize, usize, usize);

/// One digit, a point and eight places or more, as most doubles have that were printed to be read back: without a branch on how many they are, which is
/// different from one to the next.
#[inline(always)]
fn long_fraction(lines: &[u8], first: usize) -> Option<Decimal> {
    let text: &[u8; 26] = lines.get(first..)?.first_chunk()?;
    let whole = u64::from(text[0].wrapping_sub(b'0'));
    let (high, odd) = as_digits(text[2..].first_chunk()?);
    if whole >= 10 || text[1] != b'.' || odd != 0 {
        return None;
    }
    let ((middle, end), (low, after)) = (as_digits(text[10..].first_chunk()?), as_digits(text[18..].first_chunk()?));
    let more = end.trailing_zeros() / 8;
    let last = u32::from(end == 0) * (after.trailing_zeros() / 8);
    let units = (whole * POWERS[8] + eight_digits(high)) * POWERS[more as usize & 15] + up_to_eight_digits(middle, more);
    let units = units.wrapping_mul(POWERS[last as usize & 15]).wrapping_add(up_to_eight_digits(low, last));
    let places = 8 + (more + last) as usize;
    Some((units, places + usize::from(whole != 0), places, first + 2 + places))
}

/// Digits with a point among them or none.
#[inline(always)]
fn any_number(lines: &[u8], first: usize) -> Option<Decimal> {
    let (mut at, mut units) = (first, 0);
    let byte = digits(lines, &mut at, &mut units)?;
    let (whole, before) = (at - first, if units == 0 { 0 } else { at - first });
    if byte != b'.' {
        return Some((units, before.max(usize::from(whole > 0)), 0, at));
    }
    let point = at + 1;
    at = point;
    while let Some(text) = lines.get(at..).and_then(|rest| rest.first_chunk()) {
        let (digits, odd) = as_digits(text);
        if odd != 0 {
            break;
        }
        units = units.wrapping_mul(POWERS[8]).wrapping_add(eight_digits(digits));
        at += 8;
    }
    digits(lines, &mut at, &mut units)?;
    let places = at - point;
    Some((units, (before + places).max(usize::from(whole > 0)), places, at))
}

/// Appends the digits from here, and returns the byte after them.
#[inline(always)]
fn digits(lines: &[u8], at: &mut usize, units: &mut u64) -> Option<u8> {
    loop {
        let byte = *lines.get(*at)?;
        let digit = byte.wrapping_sub(b'0');
        if digit >= 10 {
            return Some(byte);
        }
        *units = units.wrapping_mul(10).wrapping_add(u64::from(digit));
        *at += 1;
    }
}

/// Eight bytes as digits, and a number with a bit set in the first that is none; bits after it mean nothing.
#[inline(always)]
fn as_digits(text: &[u8; 8]) -> (u64, u64) {
    let digits = u64::from_le_bytes(*text) ^ 0x3030_3030_3030_3030;
    (digits, (digits | digits.wrapping_add(0x7676_7676_7676_7676)) & 0x8080_8080_8080_8080)
}

/// The number that eight digits are (Lemire 2018).
#[inline(always)]
fn eight_digits(digits: u64) -> u64 {
    let pairs = digits.wrapping_mul(10 * 256 + 1) >> 8 & 0x00ff_00ff_00ff_00ff;
    let fours = pairs.wrapping_mul(100 * 65536 + 1) >> 16 & 0x0000_ffff_0000_ffff;
    fours.wrapping_mul((10_000 << 32) + 1) >> 32
}

/// The number that the first of them are: zeros take the places before.
#[inline(always)]
fn up_to_eight_digits(digits: u64, count: u32) -> u64 {
    let half = 4 * (8 - count);
    eight_digits(digits << half << half)
}

/// The double nearest to `units` / 10^`places`, of at most 19 places.
#[inline(always)]
fn quotient(units: u64, places: usize) -> f64 {
    // Asked by places alone, for whether the number is larger than 2^53 changes from one to the next where there are many.
    if places <= 8 {
        // Two doubles, whose quotient is rounded once (Clinger 1990).
        return if units <= 1 << 53 { units as f64 / POWERS[places] as f64 } else { exact_quotient(units, POWERS[places]) };
    }
    // The first 63 bits of the quotient, by the reciprocal: too small by less than 2 in the last of them. Wherever no halfway point between
    // doubles, a multiple of 2^9 here, can lie so near, they are rounded as all bits are (Lemire 2021).
    let zeros = units.leading_zeros();
    let (reciprocal, scale) = RECIPROCALS[places];
    let high = ((u128::from(units << (zeros & 63)) * u128::from(reciprocal)) >> 64) as u64;
    if high.wrapping_add(2) & 511 > 2 {
        return (high >> 1 | 1) as i64 as f64 * f64::from_bits(scale - (u64::from(zeros) << 52));
    }
    exact_quotient(units, POWERS[places])
}

/// The double nearest to `units` / `power`, by division.
#[cold]
fn exact_quotient(units: u64, power: u64) -> f64 {
    if units == 0 {
        return 0.0;
    }
    // At least 55 bits of the quotient, the last of them set where some are cut off: then its rounding is that of the whole.
    let shift = (55 + power.ilog2() as i32 - units.ilog2() as i32).max(0);
    let shifted = u128::from(units) << shift;
    let whole = shifted / u128::from(power);
    let nearest = (whole as u64 | u64::from(whole * u128::from(power) != shifted)) as f64;
    nearest * f64::from_bits((1023 - shift as u64) << 52)
}

/// The number of a cell, none where it is missing; nothing at all where it is neither.
pub(super) fn number(cell: &[u8]) -> Option<Option<f64>> {
    let text = std::str::from_utf8(cell).ok()?.trim();
    match text.parse::<f64>() {
        Ok(value) if value.abs() <= LARGEST => Some(Some(value)),
        _ => is_missing(text).then_some(None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_those_of_the_standard_library() {
        let mut state = 7u64;
        let mut random = || {
            state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            state >> 5
        };
        let mut texts: Vec<String> = [
            "0",
            "-0",
            "00.10",
            "5.",
            ".5",
            "9007199254740993",
            "0.9007199254740993",
            ".0009007199254740993",
            "9999999999999999999",
            "1.5e3",
            "0.0000000000000000",
            "0.0012345678901234567",
            "00000000000000000001.25",
            "18446744073709551615",
            "99999999999999999999",
        ]
        .map(String::from)
        .to_vec();
        for k in 0..200_000 {
            let digits = (random() % 10u64.pow(1 + (k % 18) as u32)).to_string();
            let point = random() as usize % (digits.len() + 1);
            texts.push(format!("{}{}.{}", ["", "-"][k % 2], &digits[..point], &digits[point..]));
            // Halfway between two doubles, or nearly so.
            texts.push(format!("{}", (random() % (1 << 40)) as f64 / f64::from(1 << 20) + 2f64.powi(-21)));
            texts.push(format!("{}", f64::from_bits((random() % (1 << 62)) | (1 << 61))));
        }
        for text in texts {
            let line = format!("{text},");
            let (found, end) = match plain_number(line.as_bytes(), 0) {
                Some((Some(value), end)) => (value, end),
                Some((None, end)) => (number(&line.as_bytes()[..end - 1]).unwrap_or_default().unwrap_or(f64::NAN), end),
                None => continue,
            };
            let expected: f64 = text.parse().unwrap_or(f64::NAN);
            assert!(
                expected.to_bits() == found.to_bits() || expected.is_nan() || expected.abs() > LARGEST,
                "{text}: {expected:e}, {found:e}"
            );
            assert_eq!(end, line.len());
        }
        for (text, first) in [(b"12345678", 8), (b"1234567,", 7), (b"123:5678", 3), (b",2345678", 0), (b"\xff2345678", 0)]
            .map(|(text, first)| (&text[..], first))
        {
            let (digits, odd) = as_digits(text.first_chunk().unwrap());
            assert_eq!(odd.trailing_zeros() / 8, first);
            assert!(odd != 0 || eight_digits(digits) == 12_345_678);
        }
    }
}
