//! A process that is killed at any moment: what it acknowledged is there, and nothing else counts.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};

use wharf_types::Filters;

use super::*;

const ROOT: &str = "WHARF_SNAPSHOT_TEST_ROOT";

/// Not a test by itself: what the process does that is killed. Prepares, commits and removes without end, and says what is done.
#[test]
fn work_until_killed() {
    let Ok(root) = std::env::var(ROOT) else { return };
    let snapshots = open(Path::new(&root));
    let mut said = std::io::stderr();
    let mut say = |what: String| said.write_all(what.as_bytes()).unwrap();
    let round = std::process::id();
    for n in 0.. {
        let (key, name) = (format!("key {round} {n}"), format!("name {round} {n}"));
        let mounts = snapshots.prepare(&key, Base::Later, &Labels::new()).unwrap();
        say(format!("there {key}\n"));
        fs::write(Path::new(mounts[0].option("upperdir").unwrap()).join("file"), &name).unwrap();
        // From here on until it is said, both or neither may be there.
        say(format!("unsure {key}\n"));
        snapshots.commit(&[step(&name, &key)]).unwrap();
        say(format!("there {name}\n"));
        if n % 3 == 2 {
            say(format!("unsure {name}\n"));
            snapshots.remove(&name).unwrap();
            say(format!("gone {name}\n"));
        }
    }
}

#[test]
fn what_was_acknowledged_survives_kill_9() {
    let dir = tempfile::tempdir().unwrap();
    let (mut there, mut gone, mut unsure) = (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
    for lines in [1, 2, 3, 9, 16, 40] {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "overlay::tests::kill::work_until_killed", "--nocapture"])
            .env(ROOT, dir.path())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut said = BufReader::new(child.stderr.take().unwrap()).lines();
        let mut heard: Vec<String> = said.by_ref().take(lines).map(|line| line.unwrap()).collect();
        child.kill().unwrap();
        heard.extend(said.map(|line| line.unwrap()));
        child.wait().unwrap();
        assert!(heard.len() >= lines, "{heard:?}");
        for line in &heard {
            let (state, name) = line.split_once(' ').unwrap();
            for set in [&mut there, &mut gone, &mut unsure] {
                set.remove(name);
            }
            let set = match state {
                "there" => &mut there,
                "gone" => &mut gone,
                "unsure" => &mut unsure,
                _ => panic!("{line}"),
            };
            set.insert(name.to_owned());
        }
        look(dir.path(), &there, &gone);
    }
    assert!(there.len() > 10 && !gone.is_empty());
}

fn look(root: &Path, there: &BTreeSet<String>, gone: &BTreeSet<String>) {
    let snapshots = open(root);
    snapshots.cleanup().unwrap();
    let mut ids = BTreeSet::new();
    let visit = &mut |info: Info| {
        let record = snapshots.store.records().get(&info.name)?;
        ids.insert(record.id.to_string());
        assert!(!gone.contains(&info.name), "{} is back", info.name);
        if info.kind == Kind::Committed {
            let text = fs::read_to_string(snapshots.store.fs(record.id).join("file")).unwrap();
            assert_eq!(text, info.name);
        }
        Ok(())
    };
    snapshots.walk(&Filters::all(), visit).unwrap();
    for name in there {
        snapshots.stat(name).unwrap();
    }
    let dirs: BTreeSet<_> = fs::read_dir(root.join("snapshots")).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert_eq!(
        dirs,
        ids.into_iter().map(Into::into).collect(),
        "each directory has a record and each record a directory"
    );
}
