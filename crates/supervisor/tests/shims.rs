//! A manager and fake shims in processes of their own (`examples/fake_shim.rs`).
#![allow(clippy::unwrap_used, missing_docs)]

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use prost::Message as _;
use rustix::process::{Pid, Signal};
use wharf_api::containerd::events::TaskExit;
use wharf_events::{Delivery, Envelope, Exchange as _, Hub, Subscription};
use wharf_supervisor::{
    Config, Control, CreateTask, Error, Exec, ShimManager, State, Status, Task, TaskManager as _, Timeouts,
};
use wharf_types::{ErrorKind, Filters, Id, Kind as _, Namespace};

struct Place {
    dir: tempfile::TempDir,
    hub: Hub,
}

const WORDS: [&str; 12] = [
    "good",
    "bare",
    "wharf-proto",
    "fresh",
    "hang",
    "words",
    "rubbish",
    "version9",
    "refuse",
    "crash",
    "forgetful",
    "group",
];

impl Place {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let bin = dir.path().join("bin");
        fs::create_dir(&bin).unwrap();
        let exe = std::env::current_exe().unwrap();
        let fake = exe.parent().and_then(Path::parent).unwrap().join("examples/fake_shim");
        assert!(fake.exists(), "{fake:?} is missing: build the examples of this package");
        for word in WORDS {
            std::os::unix::fs::symlink(&fake, bin.join(format!("containerd-shim-{word}-v1"))).unwrap();
        }
        Self { dir, hub: Hub::default() }
    }

    fn manager(&self) -> ShimManager {
        let path = |name| self.dir.path().join(name);
        let mut config = Config::new(path("state"), path("root"), "/x.sock", "/x.sock.ttrpc", vec![path("bin")]);
        let ms = Duration::from_millis;
        config.timeouts = Timeouts { start: ms(2000), attach: ms(400), quick: ms(1000), ..Timeouts::default() };
        ShimManager::new(config, Arc::new(self.hub.clone()))
    }

    async fn restored(&self) -> ShimManager {
        let manager = self.manager();
        manager.restore().await.unwrap();
        manager
    }

    fn bundle(&self, id: &str) -> PathBuf {
        self.dir.path().join("state/io.containerd.runtime.v2.task/default").join(id)
    }

    fn work(&self, id: &str) -> PathBuf {
        self.dir.path().join("root/io.containerd.runtime.v2.task/default").join(id)
    }

    /// The ids that a shim's program was asked to clean up after.
    fn deleted(&self) -> Vec<String> {
        let text = fs::read_to_string(self.dir.path().join("bin/deleted")).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    }

    fn exits(&self) -> Subscription {
        self.hub.subscribe(Filters::parse(&["topic~=\"^/tasks/\""]).unwrap())
    }

    fn nothing_left(&self, id: &str) {
        assert!(!self.bundle(id).exists(), "the bundle of {id} is left");
        assert!(!self.work(id).exists(), "the work directory of {id} is left");
    }
}

fn ns() -> Namespace {
    "default".parse().unwrap()
}

fn id(name: &str) -> Id {
    name.parse().unwrap()
}

fn request(word: &str) -> CreateTask {
    CreateTask { spec: b"{}".to_vec(), runtime: format!("io.containerd.{word}.v1"), ..Default::default() }
}

async fn running(manager: &ShimManager, name: &str, word: &str) -> Arc<dyn Task> {
    let task = manager.create(&ns(), &id(name), request(word)).await.unwrap();
    task.start("").await.unwrap();
    task
}

fn signal(pid: u32, signal: Signal) {
    rustix::process::kill_process(Pid::from_raw(i32::try_from(pid).unwrap()).unwrap(), signal).unwrap();
}

fn lives(pid: u32) -> bool {
    fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| !stat.contains(") Z "))
}

/// Waits for a process that is no child of ours.
async fn ended(pid: u32) {
    let fd = Pid::from_raw(i32::try_from(pid).unwrap())
        .map(|pid| rustix::process::pidfd_open(pid, rustix::process::PidfdFlags::empty()));
    if let Some(Ok(fd)) = fd {
        let wait = tokio::task::spawn_blocking(move || {
            let limit = rustix::event::Timespec { tv_sec: 10, tv_nsec: 0 };
            rustix::event::poll(&mut [rustix::event::PollFd::new(&fd, rustix::event::PollFlags::IN)], Some(&limit))
        });
        assert_eq!(wait.await.unwrap().unwrap(), 1, "process {pid} does not end");
    }
}

async fn event(subscription: &mut Subscription) -> Arc<Envelope> {
    match tokio::time::timeout(Duration::from_secs(10), subscription.next()).await.unwrap() {
        Some(Delivery::Event(event)) => event,
        other => panic!("wanted an event, not {other:?}"),
    }
}

/// Looks again until a task is in a state.
async fn becomes(task: &dyn Task, status: Status) -> State {
    let looking = async {
        loop {
            match task.state("").await {
                Ok(state) if state.status == status => return state,
                _ => tokio::time::sleep(Duration::from_millis(5)).await,
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(10), looking).await.unwrap()
}

async fn refused(manager: &ShimManager, name: &str, word: &str) -> Error {
    match manager.create(&ns(), &id(name), request(word)).await {
        Ok(_) => panic!("{word} was created"),
        Err(error) => error,
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_task_lives_and_leaves_nothing_whatever_its_shim_answers() {
    let place = Place::new();
    let manager = place.restored().await;
    for word in ["good", "bare", "wharf-proto", "fresh", "group"] {
        let task = running(&manager, word, word).await;
        let pid = task.pid();
        assert!(lives(pid));
        let state = task.state("").await.unwrap();
        assert_eq!((state.status, state.io.stdout.as_str(), state.exit), (Status::Running, "/out", None), "{word}");
        assert_eq!(manager.list(&ns()).await.len(), 1);
        let error = manager.delete(&ns(), word).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::FailedPrecondition, "{word}: {error}");
        assert_eq!(task.exec("../x", Exec::default()).await.unwrap_err().kind(), ErrorKind::InvalidArgument);
        assert_eq!(task.delete_exec("").await.unwrap_err().kind(), ErrorKind::InvalidArgument);
        task.kill("", 9, false).await.unwrap();
        assert_eq!(task.wait("").await.unwrap().status, 137);
        assert_eq!(manager.delete(&ns(), word).await.unwrap().status, 137);
        assert_eq!(manager.get(&ns(), word).await.err().unwrap().kind(), ErrorKind::NotFound);
        place.nothing_left(word);
        ended(pid).await;
    }
    assert!(place.deleted().is_empty(), "what went well needs no cleaning");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_name_is_free_again_at_once() {
    let place = Place::new();
    let manager = place.restored().await;
    for _ in 0..5 {
        let task = running(&manager, "again", "good").await;
        task.kill("", 15, false).await.unwrap();
        manager.delete(&ns(), "again").await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_shim_that_does_not_start_says_why_and_leaves_nothing() {
    let place = Place::new();
    let manager = place.restored().await;
    for (word, kind, text) in [
        ("words", ErrorKind::Unknown, "these are the shim's own words"),
        ("rubbish", ErrorKind::Unimplemented, "panic: oh no"),
        ("version9", ErrorKind::Unimplemented, "version 9"),
        ("hang", ErrorKind::DeadlineExceeded, "2s"),
        ("nowhere", ErrorKind::NotFound, "containerd-shim-nowhere-v1"),
    ] {
        let error = refused(&manager, word, word).await;
        assert_eq!(error.kind(), kind, "{word}: {error}");
        assert!(error.to_string().contains(text), "{word}: {error}");
        place.nothing_left(word);
    }
    assert_eq!(place.deleted(), ["words", "rubbish", "version9", "hang"]);
    assert!(manager.list(&ns()).await.is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_container_that_is_not_created_says_why_and_takes_its_shim_along() {
    let place = Place::new();
    let manager = place.restored().await;
    let error = refused(&manager, "r", "refuse").await;
    assert_eq!(
        (error.kind(), error.to_string().as_str()),
        (ErrorKind::FailedPrecondition, "runc: exec: \"nope\": not found")
    );
    place.nothing_left("r");
    assert!(!place.dir.path().join("bin/r.sock").exists(), "the shim is left");
    assert!(place.deleted().is_empty());
    let error = refused(&manager, "c", "crash").await;
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
    place.nothing_left("c");
    assert_eq!(place.deleted(), ["c"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_two_that_want_a_name_one_gets_it() {
    let place = Place::new();
    let manager = place.restored().await;
    let tries = (0..8).map(|_| {
        let manager = manager.clone();
        tokio::spawn(async move { manager.create(&ns(), &id("one"), request("good")).await.map(|_| ()) })
    });
    let mut made = 0;
    for result in futures::future::join_all(tries).await {
        match result.unwrap() {
            Ok(()) => made += 1,
            Err(error) => assert_eq!(error.kind(), ErrorKind::AlreadyExists),
        }
    }
    assert_eq!(made, 1);
    signal(manager.get(&ns(), "one").await.unwrap().pid(), Signal::KILL);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_creator_who_goes_away_leaves_nothing() {
    let place = Place::new();
    let manager = place.restored().await;
    let creating = tokio::time::timeout(Duration::ZERO, manager.create(&ns(), &id("gone"), request("good"))).await;
    assert!(creating.is_err(), "it was created in no time");
    // The name is taken until it is undone: whoever gets it next finds nothing there.
    let again = async {
        loop {
            match manager.create(&ns(), &id("gone"), request("good")).await {
                Ok(task) => return task,
                Err(error) => assert_eq!(error.kind(), ErrorKind::AlreadyExists),
            }
        }
    };
    let task = tokio::time::timeout(Duration::from_secs(10), again).await.unwrap();
    signal(task.pid(), Signal::KILL);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_death_of_a_shim_is_told_to_all_who_wait() {
    let place = Place::new();
    let manager = place.restored().await;
    let mut events = place.exits();
    let task = running(&manager, "victim", "good").await;
    let waiter = tokio::spawn({
        let task = Arc::clone(&task);
        async move { task.wait("").await }
    });
    signal(task.pid(), Signal::KILL);
    assert_eq!(waiter.await.unwrap().unwrap().status, 137);
    let exit = event(&mut events).await;
    assert_eq!(exit.topic, "/tasks/exit");
    let exit = TaskExit::decode(exit.event.value.as_slice()).unwrap();
    assert_eq!((exit.id.as_str(), exit.exit_status, exit.pid), ("victim", 137, 4242));
    assert_eq!(event(&mut events).await.topic, "/tasks/delete");
    assert_eq!(place.deleted(), ["victim"]);
    assert_eq!(task.kill("", 9, false).await.unwrap_err().kind(), ErrorKind::NotFound);
    let next = manager.create(&ns(), &id("victim"), request("good")).await;
    signal(next.unwrap().pid(), Signal::KILL);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_that_ends_is_made_again() {
    let place = Place::new();
    let manager = place.restored().await;
    let task = running(&manager, "cut", "good").await;
    let waiter = tokio::spawn({
        let task = Arc::clone(&task);
        async move { task.wait("").await }
    });
    let error = task.control(Control::Pause).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
    assert_eq!(task.state("").await.unwrap().status, Status::Running);
    assert!(!waiter.is_finished());
    task.kill("", 9, false).await.unwrap();
    assert_eq!(waiter.await.unwrap().unwrap().status, 137);
    manager.delete(&ns(), "cut").await.unwrap();
    assert!(place.deleted().is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pod_shares_a_shim_that_goes_with_the_last() {
    let place = Place::new();
    let manager = place.restored().await;
    let (one, two) = (running(&manager, "one", "group").await, running(&manager, "two", "group").await);
    let pid = one.pid();
    assert_eq!(pid, two.pid(), "two shims");
    one.kill("", 9, false).await.unwrap();
    manager.delete(&ns(), "one").await.unwrap();
    assert_eq!(two.state("").await.unwrap().status, Status::Running);
    let three = running(&manager, "three", "group").await;
    let mut events = place.exits();
    signal(pid, Signal::KILL);
    assert_eq!((two.wait("").await.unwrap().status, three.wait("").await.unwrap().status), (137, 137));
    let mut topics = Vec::new();
    for _ in 0..4 {
        topics.push(event(&mut events).await.topic.clone());
    }
    topics.sort();
    assert_eq!(topics, ["/tasks/delete", "/tasks/delete", "/tasks/exit", "/tasks/exit"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_daemon_finds_what_runs_what_stopped_and_what_died() {
    let place = Place::new();
    let before = place.restored().await;
    let runs = running(&before, "runs", "bare").await.pid();
    let stopped = running(&before, "stopped", "good").await;
    let died = running(&before, "died", "good").await.pid();
    drop(before);
    stopped.kill("", 15, false).await.unwrap();
    drop(stopped);
    signal(died, Signal::KILL);
    ended(died).await;
    // What daemons leave that are killed midway.
    fs::create_dir_all(place.bundle("half").join("rootfs")).unwrap();
    fs::create_dir_all(place.bundle(".new-torn").join("rootfs")).unwrap();
    fs::create_dir_all(place.work("boot")).unwrap();

    let mut events = place.exits();
    let manager = place.restored().await;
    manager.settled().await;
    let names: Vec<_> = manager.list(&ns()).await.iter().map(|task| task.id().to_string()).collect();
    assert_eq!(names, ["runs", "stopped"]);
    let task = manager.get(&ns(), "runs").await.unwrap();
    assert_eq!((task.state("").await.unwrap().status, task.pid()), (Status::Running, runs));
    let state = manager.get(&ns(), "stopped").await.unwrap().state("").await.unwrap();
    assert_eq!((state.status, state.exit.unwrap().status), (Status::Stopped, 143));
    let exit = TaskExit::decode(event(&mut events).await.event.value.as_slice()).unwrap();
    assert_eq!((exit.id.as_str(), exit.exit_status), ("died", 137));
    for name in ["died", "half", ".new-torn"] {
        assert!(!place.bundle(name).exists(), "{name} is left");
    }
    assert!(!place.work("boot").exists());
    manager.delete(&ns(), "stopped").await.unwrap();
    signal(runs, Signal::KILL);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stopped_shim_delays_nobody_and_is_kept() {
    let place = Place::new();
    let before = place.restored().await;
    let (stuck, well) = (running(&before, "stuck", "good").await.pid(), running(&before, "well", "good").await.pid());
    drop(before);
    signal(stuck, Signal::STOP);
    let mut events = place.exits();
    let manager = place.restored().await;
    let well_is = async { manager.get(&ns(), "well").await.unwrap().state("").await.unwrap().status };
    tokio::select! {
        status = well_is => assert_eq!(status, Status::Running),
        () = manager.settled() => panic!("the stuck shim delayed the other"),
    }
    manager.settled().await;
    let task = manager.get(&ns(), "stuck").await.unwrap();
    assert_eq!(task.state("").await.unwrap().status, Status::Unknown);
    assert_eq!(task.kill("", 9, false).await.unwrap_err().kind(), ErrorKind::Unavailable);
    assert!(lives(stuck) && place.bundle("stuck").exists());
    signal(stuck, Signal::CONT);
    assert_eq!(becomes(task.as_ref(), Status::Running).await.pid, stuck);
    // One that stops while the daemon watches.
    signal(stuck, Signal::STOP);
    assert_eq!(task.state("").await.unwrap().status, Status::Unknown);
    signal(stuck, Signal::CONT);
    becomes(task.as_ref(), Status::Running).await;
    assert!(tokio::time::timeout(Duration::ZERO, events.next()).await.is_err(), "an end was told of");
    signal(stuck, Signal::KILL);
    signal(well, Signal::KILL);
    assert_eq!(task.wait("").await.unwrap().status, 137);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_shim_that_a_killed_daemon_left_without_a_task_is_ended() {
    let place = Place::new();
    let before = place.restored().await;
    let pid = before.create(&ns(), &id("unborn"), request("forgetful")).await.unwrap().pid();
    drop(before);
    let mut events = place.exits();
    let manager = place.restored().await;
    manager.settled().await;
    assert!(manager.list(&ns()).await.is_empty());
    place.nothing_left("unborn");
    ended(pid).await;
    assert!(tokio::time::timeout(Duration::ZERO, events.next()).await.is_err(), "nobody knew of it");
}
