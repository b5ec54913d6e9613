//! Sparse files: GNU's old form, and its forms 0.0, 0.1 and 1.0 in extended headers.

use super::header::field;
use super::number::{decimal, parse};
use super::pax::Records;
use super::{BLOCK, Entry, Reader, SPECIAL_MAX, Source, malformed};
use crate::Result;

/// Where the map of a file with extended headers is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// In the records (0.0 and 0.1).
    Records,
    /// Before the file's bytes (1.0).
    Body,
}

/// A map that is not checked: offsets and lengths.
type Map = Vec<(i64, i64)>;

/// A size, and a map that was checked against it.
type Checked = (u64, Vec<(u64, u64)>);

fn get<'a>(records: &'a Records, key: &str) -> &'a [u8] {
    records.get(key.as_bytes()).map(Vec::as_slice).unwrap_or_default()
}

/// The form of a sparse file, none when it is not one or of a version that nobody knows.
pub(super) fn form(records: &Records) -> Option<Form> {
    match (get(records, "GNU.sparse.major"), get(records, "GNU.sparse.minor")) {
        (b"0", b"0" | b"1") => Some(Form::Records),
        (b"1", b"0") => Some(Form::Body),
        (b"", b"") if !get(records, "GNU.sparse.map").is_empty() => Some(Form::Records),
        _ => None,
    }
}

/// The name that the file really has.
pub(super) fn rename(records: &Records, entry: &mut Entry) -> std::result::Result<(), &'static str> {
    let name = get(records, "GNU.sparse.name");
    if name.contains(&0) {
        return Err("a sparse file with a zero byte in its name");
    }
    if !name.is_empty() {
        entry.path = name.to_vec();
    }
    Ok(())
}

/// The size that the file really has, where the records say it.
pub(super) fn real_size(records: &Records) -> std::result::Result<Option<i64>, &'static str> {
    let size = ["GNU.sparse.size", "GNU.sparse.realsize"].map(|key| get(records, key));
    match size.into_iter().find(|value| !value.is_empty()) {
        Some(value) => decimal(value).map(Some).ok_or("a sparse file with a size that is none"),
        None => Ok(None),
    }
}

/// The map in the records.
pub(super) fn map_of_records(records: &Records) -> std::result::Result<Map, &'static str> {
    const WRONG: &str = "a sparse map with numbers that are none";
    let count = decimal(get(records, "GNU.sparse.numblocks")).and_then(|n| usize::try_from(n).ok()).ok_or(WRONG)?;
    let list = get(records, "GNU.sparse.map");
    let numbers = match list {
        b"" => Vec::new(),
        list => list.split(|b| *b == b',').map(decimal).collect::<Option<Vec<_>>>().ok_or(WRONG)?,
    };
    if count.checked_mul(2) != Some(numbers.len()) {
        return Err("a sparse map of another length than it says");
    }
    Ok(pairs(&numbers))
}

/// The map before the file's bytes: lines of decimal numbers, filled up to a block.
pub(super) fn map_of_body(reader: &mut Reader<'_>) -> Result<Map> {
    const WRONG: &str = "a sparse map with numbers that are none";
    let (mut text, mut numbers, mut wanted) = (Vec::new(), Vec::new(), 1usize);
    let mut seen = 0u64;
    while numbers.len() < wanted {
        seen += BLOCK as u64;
        if reader.remaining < BLOCK as u64 || seen > SPECIAL_MAX {
            return Err(malformed("a sparse map that does not end"));
        }
        let block = reader.source.block()?.ok_or_else(|| malformed("it ends within a sparse map"))?;
        reader.remaining -= BLOCK as u64;
        for byte in block {
            if numbers.len() == wanted {
                break;
            }
            if byte != b'\n' {
                text.push(byte);
                continue;
            }
            let number = decimal(&text).ok_or_else(|| malformed(WRONG))?;
            text.clear();
            if numbers.is_empty() {
                let count = usize::try_from(number).map_err(|_| malformed(WRONG))?;
                wanted = count.checked_mul(2).and_then(|n| n.checked_add(1)).ok_or_else(|| malformed(WRONG))?;
            }
            numbers.push(number);
        }
    }
    Ok(pairs(numbers.get(1..).unwrap_or_default()))
}

/// The size and the map in GNU's old header, and in the blocks behind it that it announces.
pub(super) fn old_map(block: &[u8; BLOCK], source: &mut Source<'_>) -> Result<(i64, Map)> {
    let wrong = || malformed("a sparse map with numbers that are none");
    let real = parse(field(block, 483, 12)).ok_or_else(wrong)?;
    let (mut map, mut block, mut at, mut slots) = (Map::new(), *block, 386, 4);
    let mut seen = 0u64;
    loop {
        for slot in 0..slots {
            let entry = field(&block, at + slot * 24, 24);
            let (Some(offset), Some(length)) = (entry.get(..12), entry.get(12..)) else { return Err(wrong()) };
            if offset.first() == Some(&0) {
                break;
            }
            map.push((parse(offset).ok_or_else(wrong)?, parse(length).ok_or_else(wrong)?));
        }
        if field(&block, at + slots * 24, 1).first().is_none_or(|b| *b == 0) {
            return Ok((real, map));
        }
        seen += BLOCK as u64;
        if seen > SPECIAL_MAX {
            return Err(malformed("a sparse map that does not end"));
        }
        block = source.block()?.ok_or_else(|| malformed("it ends within a sparse map"))?;
        (at, slots) = (0, 21);
    }
}

/// Checks a map: in order, without overlap, within the file, and of just the bytes that the archive holds.
pub(super) fn check(real: i64, map: &[(i64, i64)], held: u64) -> std::result::Result<Checked, &'static str> {
    let size = u64::try_from(real).map_err(|_| "a sparse file of negative size")?;
    let (mut end, mut sum, mut segments) = (0u64, 0u64, Vec::with_capacity(map.len()));
    for (offset, length) in map {
        let (Ok(offset), Ok(length)) = (u64::try_from(*offset), u64::try_from(*length)) else {
            return Err("a sparse map with negative numbers");
        };
        if offset < end || offset + length > size {
            return Err("a sparse map out of order or beyond the file's end");
        }
        end = offset + length;
        sum += length;
        segments.push((offset, length));
    }
    if sum != held {
        return Err("a sparse map that is not that of the bytes held");
    }
    Ok((size, segments))
}

fn pairs(numbers: &[i64]) -> Map {
    numbers.as_chunks::<2>().0.iter().map(|[offset, length]| (*offset, *length)).collect()
}
