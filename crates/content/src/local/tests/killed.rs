//! The store in a process that is killed, or that may not write on.
//!
//! The tests run themselves again in a process of its own, as one of the two that are ignored otherwise.

use std::io::{BufRead as _, BufReader};
use std::process::{Command, Stdio};

use super::*;

const ROOT: &str = "WHARF_CONTENT_TEST_ROOT";

/// The test `name` in a process of its own, with this shell code before it.
fn again(name: &str, before: &str, root: &Path) -> Command {
    let mut command = Command::new("sh");
    command.arg("-c").arg(format!("{before} exec \"$0\" \"$@\"")).arg(std::env::current_exe().unwrap());
    command.args(["--exact", "--ignored", "--nocapture", &format!("local::tests::killed::{name}")]);
    command.env(ROOT, root).stdout(Stdio::piped());
    command
}

fn root() -> Option<PathBuf> {
    std::env::var_os(ROOT).map(PathBuf::from)
}

/// Bytes of a blob, different for each number.
fn bytes(number: usize) -> Vec<u8> {
    format!("blob {number}\n").repeat(3000).into_bytes()
}

#[test]
#[ignore = "the process that is killed"]
fn commits_without_end() {
    let Some(root) = root() else { return };
    let store = LocalStore::open(root).unwrap();
    for number in 0.. {
        let mut writer = store.writer(&ingest(&format!("ref {}", number % 3), None)).unwrap();
        writer.truncate().unwrap();
        for piece in bytes(number).chunks(1000) {
            writer.write(piece).unwrap();
        }
        let labels = Labels::from([("number".to_owned(), number.to_string())]);
        let info = writer.commit(&Commit { labels, ..Commit::default() }).unwrap();
        println!("\ndone {}", info.digest);
    }
}

#[test]
fn what_was_acknowledged_outlives_a_kill() {
    let place = Place::new();
    let mut acknowledged = Vec::new();
    for round in 0..12 {
        let mut child = again("commits_without_end", "", place.root.path()).spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let digests = lines.map_while(|line| line.ok()).filter_map(|line| line.strip_prefix("done ")?.parse().ok());
        let mut digests = digests.fuse();
        acknowledged.extend(digests.by_ref().take(1 + round * 2));
        // It is somewhere in the next commit now, another place each time.
        child.kill().unwrap();
        child.wait().unwrap();
        // What it said before it died counts too.
        acknowledged.extend(digests);
        assert!(acknowledged.len() > round * 2, "the process ended by itself");

        let store = place.open();
        for digest in &acknowledged {
            assert!(store.info(digest).unwrap().labels.contains_key("number"), "{digest}");
        }
        let mut whole = |info: Info| {
            assert_eq!(Digest::of(&fs::read(place.blob(&info.digest)).unwrap()), info.digest);
            store.delete(&info.digest)
        };
        store.walk(&Filters::all(), &mut whole).unwrap();
        acknowledged.clear();
        let left = [place.names("blobs/sha256"), place.names("labels/sha256"), place.names("ingest")].concat();
        assert!(left.iter().all(|name| layout::is_ingest(name)), "{left:?}");
    }
}

#[test]
#[ignore = "the process that may write files of 64 KiB only"]
fn writes_until_refused() {
    let Some(root) = root() else { return };
    let store = LocalStore::open(root).unwrap();
    let mut writer = store.writer(&ingest("large", Some(100_000))).unwrap();
    assert_eq!(kind(writer.write(&[b'x'; 100_000])), ErrorKind::ResourceExhausted);
    assert_eq!(writer.status().offset, 65_536);
    assert_eq!(writer.digest(), Digest::of(&[b'x'; 65_536]));
}

#[test]
fn a_write_that_is_refused_midway_keeps_what_was_written() {
    let place = Place::new();
    let mut child = again("writes_until_refused", "trap '' XFSZ; ulimit -f 128;", place.root.path());
    let output = child.output().unwrap();
    assert!(output.status.success() && String::from_utf8_lossy(&output.stdout).contains("1 passed"), "{output:?}");

    let mut writer = place.open().writer(&ingest("large", Some(100_000))).unwrap();
    assert_eq!(writer.status().offset, 65_536);
    writer.write(&[b'x'; 100_000 - 65_536]).unwrap();
    assert_eq!(writer.commit(&Commit::default()).unwrap().digest, Digest::of(&[b'x'; 100_000]));
}
