//! What a call costs, in waits for the disk.

use wharf_content::Commit;
use wharf_snapshot::Base;
use wharf_types::{Digest, Labels};

use super::{Env, container, ingest, map, namespace};
use crate::rows::{Row, RowKind};
use crate::{Containers, Leases};

/// Prints the time of a durable commit: `cargo test --release -p wharf-metadata -- --ignored --nocapture commit_costs`.
#[test]
#[ignore = "a measurement"]
#[allow(clippy::print_stderr)]
fn a_durable_commit_costs() {
    let env = Env::new();
    let mut record = container("c");
    record.spec.as_mut().unwrap().value = vec![b'x'; 12_000];
    let mut times: Vec<_> = (0..500)
        .map(|number| {
            record.id = format!("c{number}");
            let began = std::time::Instant::now();
            Containers::create(&env.db, &namespace("n"), record.clone()).unwrap();
            began.elapsed()
        })
        .collect();
    times.sort();
    eprintln!("container with 12 kB: p50 {:?} p99 {:?}", times[250], times[495]);
    let began = std::time::Instant::now();
    std::thread::scope(|scope| {
        for thread in 0..8 {
            let env = &env;
            scope.spawn(move || {
                for number in 0..50 {
                    let record = container(&format!("t{thread}-{number}"));
                    Containers::create(&env.db, &namespace("n"), record).unwrap();
                }
            });
        }
    });
    eprintln!("8 threads: {:?} a container", began.elapsed() / 400);
}

#[test]
fn each_call_waits_for_the_disk_once() {
    let env = Env::new();
    let ns = namespace("n");
    // Numbers are taken a thousand at a time, which is a commit of its own now and then.
    env.put("n", None, b"first", &[]);
    let cost = |act: &mut dyn FnMut()| {
        let before = env.db.commits();
        act();
        env.db.commits() - before
    };
    assert_eq!(cost(&mut || drop(Containers::create(&env.db, &ns, container("c")).unwrap())), 1);
    assert_eq!(cost(&mut || drop(Leases::create(&env.db, &ns, "l", &map(&[])).unwrap())), 1);
    let native = env.native("n", Some("l"));
    assert_eq!(cost(&mut || drop(native.prepare("k", Base::Empty, &Labels::new()).unwrap())), 1);
    let store = env.db.content(&ns, Some("l"));
    let mut writer = store.writer(&ingest("r")).unwrap();
    assert_eq!(cost(&mut || drop(writer.commit(&Commit::default()).unwrap())), 1);
    assert_eq!(cost(&mut || drop(store.walk(&wharf_types::Filters::all(), &mut |_| Ok(())))), 0);
}

/// Prints how long a collection of many objects takes and what writers feel of it.
#[test]
#[ignore = "a measurement"]
#[allow(clippy::print_stderr)]
fn a_collection_costs() {
    let env = Env::new();
    let ns = namespace("n");
    let kept = 100_000;
    let fill = env.db.inner.write(|rows| {
        rows.ensure_namespace(&ns)?;
        for number in 0..kept * 2 {
            let digest = Digest::of(format!("{number}").as_bytes()).to_string();
            rows.put(Row::new(RowKind::Blob, &["n", &digest]), &crate::codec::Blob { size: 1, ..Default::default() })?;
            if number % 2 == 0 {
                let target = super::image("x", &digest.parse().unwrap(), &[]);
                rows.put(Row::new(RowKind::Image, &["n", &format!("i{number}")]), &crate::codec::Image::from(target))?;
            }
        }
        Ok::<_, crate::Error>(())
    });
    fill.unwrap();
    let create = |prefix: &str, number: usize| {
        let began = std::time::Instant::now();
        Containers::create(&env.db, &ns, container(&format!("{prefix}{number}"))).unwrap();
        began.elapsed()
    };
    let mut quiet: Vec<_> = (0..500).map(|number| create("q", number)).collect();
    let done = std::sync::atomic::AtomicBool::new(false);
    let mut busy = Vec::new();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let collected = env.db.collect().unwrap();
            eprintln!("{} kept, {} removed, {:?}", collected.kept, collected.removed.len(), collected.took);
            done.store(true, std::sync::atomic::Ordering::Relaxed);
        });
        while !done.load(std::sync::atomic::Ordering::Relaxed) {
            busy.push(create("b", busy.len()));
        }
    });
    for (name, times) in [("quiet", &mut quiet), ("collecting", &mut busy)] {
        times.sort();
        let (p50, p99) = (times[times.len() / 2], times[times.len() * 99 / 100]);
        eprintln!("create, {name}: p50 {p50:?} p99 {p99:?} longest {:?} of {}", times[times.len() - 1], times.len());
    }
}
