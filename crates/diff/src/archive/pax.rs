//! Extended headers (POSIX.1-2001, "pax Header Block").

use std::collections::BTreeMap;

use super::number::decimal;
use super::{Entry, Time};

/// The records of a header, later ones in place of earlier ones of the same key.
pub(super) type Records = BTreeMap<Vec<u8>, Vec<u8>>;

/// The prefix of the keys that hold extended attributes.
pub(super) const XATTR: &[u8] = b"SCHILY.xattr.";

/// Reads the records of a header.
pub(super) fn parse(mut bytes: &[u8]) -> Result<Records, &'static str> {
    let (mut records, mut sparse) = (Records::new(), Vec::<Vec<u8>>::new());
    while !bytes.is_empty() {
        let (key, value, rest) = record(bytes).ok_or("an extended header with a record that is none")?;
        bytes = rest;
        // GNU's sparse map 0.0 repeats two keys; it becomes the list that 0.1 has.
        match key {
            b"GNU.sparse.offset" | b"GNU.sparse.numbytes" => {
                let turn =
                    if sparse.len().is_multiple_of(2) { &b"GNU.sparse.offset"[..] } else { b"GNU.sparse.numbytes" };
                if key != turn || value.contains(&b',') {
                    return Err("a sparse map out of order");
                }
                sparse.push(value.to_vec());
            }
            _ => {
                records.insert(key.to_vec(), value.to_vec());
            }
        }
    }
    if !sparse.is_empty() {
        records.insert(b"GNU.sparse.map".to_vec(), sparse.join(&b','));
    }
    Ok(records)
}

/// `length SP key=value LF`, the length being that of all of it.
fn record(bytes: &[u8]) -> Option<(&[u8], &[u8], &[u8])> {
    let space = bytes.iter().position(|b| *b == b' ')?;
    let length = usize::try_from(decimal(bytes.get(..space)?)?).ok()?;
    if length < 5 || length > bytes.len() || length <= space + 1 {
        return None;
    }
    let (record, rest) = bytes.split_at_checked(length)?;
    let (last, body) = record.get(space + 1..)?.split_last()?;
    let equals = body.iter().position(|b| *b == b'=')?;
    let (key, value) = (body.get(..equals)?, body.get(equals + 1..)?);
    let text = matches!(key, b"path" | b"linkpath" | b"uname" | b"gname");
    let zero = if text { value.contains(&0) } else { key.contains(&0) };
    (*last == b'\n' && !key.is_empty() && !zero).then_some((key, value, rest))
}

/// Lets the records count for an entry. An empty value leaves what the header block says.
pub(super) fn merge(records: &Records, entry: &mut Entry, size: &mut i64) -> Result<(), &'static str> {
    let number = |value| decimal(value).ok_or("an extended header with a number that is none");
    for (key, value) in records {
        match key.as_slice() {
            // An attribute of no bytes is one all the same.
            key if key.starts_with(XATTR) => {
                entry.xattrs.push((key.get(XATTR.len()..).unwrap_or_default().to_vec(), value.clone()))
            }
            _ if value.is_empty() => {}
            b"path" => entry.path.clone_from(value),
            b"linkpath" => entry.link.clone_from(value),
            b"uid" => entry.uid = number(value)?,
            b"gid" => entry.gid = number(value)?,
            b"size" => *size = number(value)?,
            b"mtime" => entry.mtime = time(value)?,
            b"atime" => entry.atime = Some(time(value)?),
            b"ctime" => drop(time(value)?),
            _ => {}
        }
    }
    Ok(())
}

/// Decimal seconds with a fraction, cut after nanoseconds.
fn time(text: &[u8]) -> Result<Time, &'static str> {
    const WRONG: &str = "an extended header with a time that is none";
    let mut parts = text.splitn(2, |b| *b == b'.');
    let whole = parts.next().unwrap_or_default();
    let fraction = parts.next().unwrap_or_default();
    let mut seconds = decimal(whole).ok_or(WRONG)?;
    if !fraction.iter().all(u8::is_ascii_digit) {
        return Err(WRONG);
    }
    let digits = fraction.iter().copied().chain(std::iter::repeat(b'0')).take(9);
    let mut nanos = digits.fold(0u32, |n, digit| n * 10 + u32::from(digit - b'0'));
    if whole.starts_with(b"-") && nanos > 0 {
        seconds = seconds.checked_sub(1).ok_or(WRONG)?;
        nanos = 1_000_000_000 - nanos;
    }
    Ok(Time { seconds, nanos })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_are_read_or_refused() {
        let records = parse(b"6 a=b\n8 c=d\n \n6 a=\xff\n").unwrap();
        assert_eq!(records.get(&b"a"[..]).unwrap(), b"\xff");
        assert_eq!(records.get(&b"c"[..]).unwrap(), b"d\n ");
        let wrong: [&[u8]; 9] = [
            b"5 a=b\n",
            b"7 a=b\n",
            b"6 a=b ",
            b"6 abc\n",
            b"5 =b\n",
            b"x a=b\n",
            b"4 a=\n",
            b"99999999999999999999 a=b\n",
            b"11 path=a\0b\n",
        ];
        for bytes in wrong {
            assert!(parse(bytes).is_err(), "{bytes:?} was taken");
        }
    }

    #[test]
    fn times_before_1970_and_long_fractions() {
        assert_eq!(time(b"1.5"), Ok(Time { seconds: 1, nanos: 500_000_000 }));
        assert_eq!(time(b"-1.5"), Ok(Time { seconds: -2, nanos: 500_000_000 }));
        assert_eq!(time(b"0.1234567899"), Ok(Time { seconds: 0, nanos: 123_456_789 }));
        assert!(time(b"1.x").is_err() && time(b"").is_err() && time(b".5").is_err());
    }
}
