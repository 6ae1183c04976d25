//! Sizes and processor shares as people write them on a command line: `512M`, `2GiB`, `1.5`.

/// The text is no quantity of the kind that is wanted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not {wanted}")]
pub struct NotAQuantity {
    /// What was written.
    pub text: String,
    /// What would do.
    pub wanted: &'static str,
}

const BYTES_WANTED: &str = "a size such as 1048576, 512M, 1.5GiB or 2GB";
const CPUS_WANTED: &str = "a number of processors such as 2, 0.5 or 250m";

/// Reads a size in bytes. `K`, `M`, `G`, `T`, also written `KiB` and so on, are powers of 1024; `KB`, `MB`, `GB`, `TB` are powers of 1000; case
/// does not matter. A fraction is allowed before a unit and is rounded down to whole bytes.
pub fn parse_bytes(text: &str) -> Result<u64, NotAQuantity> {
    let refuse = || NotAQuantity { text: text.to_owned(), wanted: BYTES_WANTED };
    let unit_at = text.find(|c: char| c.is_ascii_alphabetic()).unwrap_or(text.len());
    let (number, unit) = text.split_at(unit_at);
    let factor: u128 = match unit.to_ascii_lowercase().as_str() {
        "" | "b" => 1,
        "k" | "ki" | "kib" => 1 << 10,
        "m" | "mi" | "mib" => 1 << 20,
        "g" | "gi" | "gib" => 1 << 30,
        "t" | "ti" | "tib" => 1 << 40,
        "kb" => 1000,
        "mb" => 1000 * 1000,
        "gb" => 1000 * 1000 * 1000,
        "tb" => 1000 * 1000 * 1000 * 1000,
        _ => return Err(refuse()),
    };
    let (value, scale) = decimal(number.trim_end()).ok_or_else(refuse)?;
    if factor == 1 && scale != 1 {
        return Err(refuse());
    }
    let bytes = value.checked_mul(factor).ok_or_else(refuse)? / scale;
    u64::try_from(bytes).map_err(|_| refuse())
}

/// Reads a number of processors as thousandths: `1.5` and `1500m` are 1500. At most three decimals.
pub fn parse_cpus(text: &str) -> Result<u32, NotAQuantity> {
    let refuse = || NotAQuantity { text: text.to_owned(), wanted: CPUS_WANTED };
    let (number, factor) = match text.strip_suffix('m') {
        Some(millis) => (millis, 1),
        None => (text, 1000),
    };
    let (value, scale) = decimal(number).ok_or_else(refuse)?;
    let scaled = value.checked_mul(factor).ok_or_else(refuse)?;
    if scaled % scale != 0 {
        return Err(refuse());
    }
    u32::try_from(scaled / scale).map_err(|_| refuse())
}

/// Digits with at most nine decimals as a whole number and the power of ten it is to be divided by.
fn decimal(text: &str) -> Option<(u128, u128)> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let digits = |part: &str| part.bytes().all(|b| b.is_ascii_digit());
    let dotted = text.contains('.');
    if whole.is_empty() || whole.len() > 20 || fraction.len() > 9 || dotted == fraction.is_empty() {
        return None;
    }
    if !digits(whole) || !digits(fraction) {
        return None;
    }
    let scale = 10u128.pow(u32::try_from(fraction.len()).ok()?);
    let fraction = if fraction.is_empty() { 0 } else { fraction.parse::<u128>().ok()? };
    Some((whole.parse::<u128>().ok()? * scale + fraction, scale))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// GV-1
    #[test]
    fn sizes_are_read_as_people_write_them() {
        let check = |text: &str, bytes: Option<u64>| assert_eq!(parse_bytes(text).ok(), bytes, "{text:?}");
        check("0", Some(0));
        check("1048576", Some(1 << 20));
        check("512M", Some(512 << 20));
        check("512m", Some(512 << 20));
        check("2GiB", Some(2 << 30));
        check("2 GiB", Some(2 << 30));
        check("1.5G", Some(3 << 29));
        check("2GB", Some(2_000_000_000));
        check("18446744073709551615", Some(u64::MAX));
        for bad in [
            "",
            "M",
            "-1",
            "1.5",
            "1.",
            ".5M",
            "1,5M",
            "1MM",
            "1e3",
            "0x10",
            "99999999T",
            "1 2",
            "１M",
            "18446744073709551616",
        ] {
            check(bad, None);
        }
    }

    /// GV-1
    #[test]
    fn processors_are_read_as_people_write_them() {
        let check = |text: &str, millis: Option<u32>| assert_eq!(parse_cpus(text).ok(), millis, "{text:?}");
        check("1", Some(1000));
        check("1.5", Some(1500));
        check("0.05", Some(50));
        check("250m", Some(250));
        for bad in ["", "m", "-1", "1.0005", "0.5m", "1.", "one", "4294968", "inf"] {
            check(bad, None);
        }
    }

    proptest! {
        #[test]
        fn any_text_is_a_quantity_or_an_error_without_a_panic(text in ".{0,40}", digits in "[0-9.]{0,40}[a-zA-Z]{0,3}") {
            let _ = (parse_bytes(&text), parse_cpus(&text), parse_bytes(&digits), parse_cpus(&digits));
        }
    }
}
