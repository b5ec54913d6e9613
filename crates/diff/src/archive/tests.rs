//! What is taken as an archive, and what is refused.

use std::cell::Cell;

use super::*;
use crate::testing::{Layer, Raw, seal};

/// Paths, kinds, sizes and modes of all entries, as far as the archive is right.
fn entries(bytes: &[u8]) -> Result<Vec<Entry>> {
    let (failed, mut input) = (Cell::new(false), bytes);
    let mut reader = Reader::new(Source::new(Box::new(&mut input), &failed, u64::MAX));
    let mut all = Vec::new();
    while let Some(entry) = reader.next()? {
        all.push(entry);
    }
    Ok(all)
}

fn paths(layer: &Layer) -> String {
    let all = entries(&layer.0).unwrap();
    all.iter().map(|e| String::from_utf8_lossy(&e.path).into_owned()).collect::<Vec<_>>().join(" ")
}

fn global(layer: Layer, records: &str) -> Layer {
    layer.raw(&Raw { size: records.len(), ..Raw::new("g", b'g') }, records.as_bytes())
}

#[test]
fn a_global_header_counts_for_nothing_as_with_go() {
    assert_eq!(paths(&global(Layer::default(), "10 path=g\n").file("a", "").file("b", "")), "a b");
    let between = global(Layer::default().pax(&[("path", "p")]), "10 path=g\n").file("a", "");
    assert!(entries(&between.0).is_err());
}

#[test]
fn the_size_in_an_extended_header_decides_where_the_next_one_is() {
    // With the size of the header block, zero, the hidden entry would be read.
    let hidden = Layer::default().file("hidden", "");
    let layer = Layer::default().pax(&[("size", "512")]).raw(&Raw::new("a", b'0'), &hidden.0).file("b", "");
    assert_eq!(paths(&layer), "a b");
    // What has no contents has none, even where it says it has: Go looks for a header there.
    let link = Layer::default().raw(&Raw { size: 512, ..Raw::new("d/", b'5') }, b"").file("shown", "");
    assert_eq!(paths(&link), "d/ shown");
    let link = Layer::default().pax(&[("size", "512")]).symlink("l", "x").file("shown", "");
    assert_eq!(paths(&link), "l shown");
}

#[test]
fn long_names_of_gnu_win_over_extended_headers() {
    let long = |flag, name: &'static str| Raw { size: name.len(), ..Raw::new("long", flag) }.block();
    let mut layer = Layer::default().pax(&[("path", "pax")]);
    layer.0.extend(long(b'L', "gnu\0rest"));
    layer = layer.body(b"gnu\0rest");
    layer.0.extend(long(b'K', "to"));
    layer = layer.body(b"to").symlink("short", "there");
    let all = entries(&layer.0).unwrap();
    assert_eq!((all[0].path.as_slice(), all[0].link.as_slice()), (&b"gnu"[..], &b"to"[..]));
}

#[test]
fn a_slash_at_the_end_makes_a_directory_only_in_the_oldest_form() {
    let of = |flag| entries(&Layer::default().raw(&Raw::new("a/", flag), b"").0).unwrap()[0].kind;
    assert_eq!([of(0), of(b'0'), of(b'5')], [Kind::Dir, Kind::File, Kind::Dir]);
}

#[test]
fn damage_is_refused() {
    let good = Layer::default().file("a", "abc").file("b", "");
    let mut zero = Layer::default().file("a", "").0;
    zero.extend([0; 512]);
    zero.extend(&good.0);
    let mut negative = Raw::new("a", b'0').block();
    negative[124..136].fill(0xff);
    seal(&mut negative);
    let mut digit = Raw::new("a", b'0').block();
    digit[100] = b'9';
    seal(&mut digit);
    let mut sum = good.0.clone();
    sum[0] = b'z';
    let pax = |records: &[(&str, &str)]| Layer::default().pax(records).file("a", "abc").0;
    let sparse = |map: &str, blocks: &str, size: &str| {
        pax(&[("GNU.sparse.size", size), ("GNU.sparse.numblocks", blocks), ("GNU.sparse.map", map)])
    };
    assert!(entries(&sparse("5,3", "1", "10")).is_ok());
    let cases = [
        ("a block of zeros amid", zero),
        ("a negative size", negative.to_vec()),
        ("a digit that is none", digit.to_vec()),
        ("a wrong sum", sum),
        ("cut within contents", good.0[..514].to_vec()),
        ("cut within a header", good.0[..100].to_vec()),
        ("a number that is none", pax(&[("size", "1x")])),
        ("a size below zero", pax(&[("size", "-1")])),
        ("a time that is none", pax(&[("mtime", "soon")])),
        ("a sparse map beyond the end", sparse("8,3", "1", "10")),
        ("a sparse map that overlaps", sparse("0,2,1,1", "2", "10")),
        ("a sparse map of fewer bytes", sparse("0,2", "1", "10")),
        ("a sparse map of more bytes", sparse("0,4", "1", "10")),
        ("a sparse map that is odd", sparse("0,2,3", "1", "10")),
        ("a sparse map of no numbers", sparse("a,b", "1", "10")),
        ("a sparse map that overflows", sparse("9223372036854775807,3", "1", "10")),
        ("a header that is too large", Layer::default().pax(&[("comment", &"x".repeat(2_000_000))]).0),
    ];
    for (name, bytes) in cases {
        assert!(entries(&bytes).is_err(), "{name} was taken");
    }
}

#[test]
fn what_is_written_is_read_back() {
    let time = |seconds, nanos| Time { seconds, nanos };
    let long = "d/".repeat(80).into_bytes();
    let mut all = vec![
        Entry { mode: 0o7777, uid: 0o777_7777, mtime: time(0o777_7777_7777, 0), ..Entry::new(b"exactly", Kind::Dir) },
        Entry { uid: 0o1000_0000, gid: i64::from(u32::MAX) - 1, ..Entry::new(b"over", Kind::Fifo) },
        Entry { mtime: time(0o1_0000_0000_0000, 999_999_999), ..Entry::new(&long, Kind::Dir) },
        Entry { mtime: time(-1, 750_000_000), link: long.clone(), ..Entry::new(b"link", Kind::Symlink) },
        Entry { mtime: time(-7, 0), link: b"\xffodd".to_vec(), ..Entry::new("gr\u{f6}\u{df}e".as_bytes(), Kind::Link) },
        Entry { mtime: time(5, 1), device: (4095, 1_048_575), ..Entry::new(&[b'n'; 100], Kind::Block) },
        Entry { device: (1, 3), ..Entry::new(&[b'n'; 101], Kind::Char) },
    ];
    // Lengths at which the record's length itself gets a digit more.
    for length in (60..90).chain(950..980).chain([60_000]) {
        let xattrs = vec![(b"user.a".to_vec(), vec![b'\n'; length]), (b"user.empty".to_vec(), Vec::new())];
        all.push(Entry { xattrs, ..Entry::new(b"attributes", Kind::File) });
    }
    let mut out = Writer::new(Vec::new());
    for entry in &all {
        out.entry(entry).unwrap();
    }
    let full = Entry { size: 700, ..Entry::new(b"full", Kind::File) };
    out.entry(&full).unwrap();
    out.body(&[7; 600]).unwrap();
    out.body(&[7; 100]).unwrap();
    all.push(full);
    let bytes = out.finish().unwrap();
    assert_eq!(bytes.len() % BLOCK, 0);
    let read = entries(&bytes).unwrap();
    let text = |all: &[Entry]| all.iter().map(|entry| format!("{entry:?}")).collect::<Vec<_>>();
    assert_eq!(text(&read), text(&all));
}

#[test]
fn a_file_larger_than_a_block_can_say_is_written_with_its_size() {
    let size = 1 << 40;
    let mut bytes = Vec::new();
    let mut out = Writer::new(&mut bytes);
    out.entry(&Entry { size, ..Entry::new(b"huge", Kind::File) }).unwrap();
    assert!(out.entry(&Entry::new(b"next", Kind::File)).is_err(), "its contents are missing");
    let (failed, input) = (Cell::new(false), bytes.as_slice());
    let mut reader = Reader::new(Source::new(Box::new(input), &failed, u64::MAX));
    assert_eq!(reader.next().unwrap().unwrap().size, size);
}

#[test]
fn attributes_that_no_reader_would_take_are_refused() {
    let large = vec![(b"user.a".to_vec(), vec![0; 1 << 20])];
    for xattrs in [large, vec![(b"user.a=b".to_vec(), Vec::new())]] {
        assert!(Writer::new(Vec::new()).entry(&Entry { xattrs, ..Entry::new(b"f", Kind::File) }).is_err());
    }
}
