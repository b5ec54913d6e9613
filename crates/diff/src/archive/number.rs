//! Numbers as headers hold them.

/// A number of a header's field: octal digits between blanks and zero bytes, or two's complement in big-endian order behind a
/// first bit that is set (GNU's "base-256"). None when it is neither or does not fit.
pub(super) fn parse(field: &[u8]) -> Option<i64> {
    match field.first() {
        Some(first) if first & 0x80 != 0 => binary(field),
        _ => octal(field),
    }
}

/// Octal digits. An empty field is zero.
pub(super) fn octal(field: &[u8]) -> Option<i64> {
    let blank = |b: &u8| *b == b' ' || *b == 0;
    let Some(start) = field.iter().position(|b| !blank(b)) else { return Some(0) };
    let end = field.iter().rposition(|b| !blank(b))? + 1;
    let digits = field.get(start..end)?.split(|b| *b == 0).next()?;
    digits.iter().try_fold(0i64, |n, b| match b {
        b'0'..=b'7' => n.checked_mul(8)?.checked_add(i64::from(b - b'0')),
        _ => None,
    })
}

fn binary(field: &[u8]) -> Option<i64> {
    let negative = field.first()? & 0x40 != 0;
    let mask = if negative { 0xff } else { 0 };
    let mut value = 0u64;
    for (i, byte) in field.iter().enumerate() {
        let byte = if i == 0 { (byte ^ mask) & 0x7f } else { byte ^ mask };
        if value >> 56 != 0 {
            return None;
        }
        value = value << 8 | u64::from(byte);
    }
    let value = i64::try_from(value).ok()?;
    Some(if negative { !value } else { value })
}

/// A decimal number with an optional sign.
pub(super) fn decimal(text: &[u8]) -> Option<i64> {
    std::str::from_utf8(text).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn octal_and_binary_fields() {
        assert_eq!(parse(b"0000644\0"), Some(0o644));
        assert_eq!(parse(b" 644 \0\0\0"), Some(0o644));
        assert_eq!(parse(b"\0\0\0\0\0\0\0\0"), Some(0));
        assert_eq!(parse(b"0000648\0"), None);
        assert_eq!(parse(b"-644\0\0\0\0"), None);
        assert_eq!(parse(b"\x80\0\0\0\0\x20\0\0"), Some(0x20_0000));
        assert_eq!(parse(b"\xff\xff\xff\xff\xff\xff\xff\xfe"), Some(-2));
        assert_eq!(parse(b"\x80\0\0\x80\0\0\0\0\0\0\0\0"), None);
        assert_eq!(parse(b"\x80\0\0\0\x7f\xff\xff\xff\xff\xff\xff\xff"), Some(i64::MAX));
        assert_eq!(parse(b"777777777777777777777777"), None);
    }
}
