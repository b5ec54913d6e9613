use std::fs;

use wharf_types::Kind as _;

use super::*;

fn put(records: &Records, key: &str, parent: Option<&str>) -> u64 {
    let labels = Labels::new();
    let new = New { key, kind: Kind::Active, parent, later: false, labels: &labels };
    let parent = records.check(&new).unwrap();
    records.insert(&new, parent, &mut |_| Ok(())).unwrap().0.id
}

#[test]
fn numbers_are_never_given_twice() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("db");
    let records = Records::open(&file, true).unwrap();
    let first = put(&records, "a", None);
    assert_eq!(records.remove("a").unwrap(), first);
    drop(records);
    let records = Records::open(&file, false).unwrap();
    assert!(put(&records, "a", None) > first);
    assert_eq!(records.last_id().unwrap(), 2);
}

#[test]
fn a_failed_placing_leaves_no_record() {
    let dir = tempfile::tempdir().unwrap();
    let records = Records::open(&dir.path().join("db"), true).unwrap();
    let labels = Labels::new();
    let new = New { key: "a", kind: Kind::Active, parent: None, later: false, labels: &labels };
    records.insert(&new, None, &mut |_| Err(Error::Invalid("no".into()))).unwrap_err();
    assert_eq!(records.get("a").unwrap_err().kind(), ErrorKind::NotFound);
    assert_eq!(put(&records, "a", None), 1);
}

#[test]
fn the_second_to_open_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("db");
    let _first = Records::open(&file, true).unwrap();
    let error = Records::open(&file, true).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::FailedPrecondition, "{error}");
}

/// Every kind of damage is an error that names the file and a way out, or does no harm; none is a panic, and none makes a new
/// database in place of the old.
#[test]
fn damage_is_told_and_never_papered_over() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("metadata.db");
    let records = Records::open(&file, true).unwrap();
    for n in 0..50 {
        put(&records, &format!("key {n}"), None);
    }
    drop(records);
    let whole = fs::read(&file).unwrap();
    let told = |bytes: &[u8], what: &str| {
        fs::write(&file, bytes).unwrap();
        let opened = Records::open(&file, true).and_then(|records| {
            let mut count = 0;
            records.walk(&mut |_| {
                count += 1;
                Ok(())
            })?;
            Ok(count)
        });
        match opened {
            Ok(count) => assert_eq!(count, 50, "{what}"),
            Err(error) => {
                let text = error.to_string();
                assert!(text.contains("metadata.db") && text.contains("move"), "{what}: {text}");
                assert_eq!(error.kind(), ErrorKind::DataLoss, "{what}: {text}");
            }
        }
    };
    told(b"", "empty");
    told(b"this is no database", "text");
    for part in 1..8 {
        told(&whole[..whole.len() * part / 8], &format!("cut to {part}/8"));
    }
    for at in (0..whole.len()).step_by(whole.len() / 80 + 1) {
        let mut flipped = whole.clone();
        flipped[at] ^= 0x55;
        told(&flipped, &format!("byte {at} of {}", whole.len()));
    }
    fs::remove_file(&file).unwrap();
    let error = Records::open(&file, false).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::DataLoss, "{error}");
    assert!(!file.exists());
}
