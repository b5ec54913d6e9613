//! Promise: Debian's `ctr` (containerd 1.6), which nobody here wrote, works against our socket for the daily things.

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use anyhow::Context as _;
use wharf_integration::registry::DockerRegistry;
use wharf_integration::terminal::Terminal;
use wharf_integration::{Scene, images};

/// A daemon with busybox pulled by `ctr`.
struct Ctr {
    scene: Scene,
    busybox: String,
    _registry: DockerRegistry,
}

impl Ctr {
    fn new() -> anyhow::Result<Self> {
        let scene = Scene::new()?;
        let registry = DockerRegistry::start(scene.folder())?;
        registry.push(&images::busybox(scene.folder())?, "busybox:latest")?;
        let busybox = registry.reference("busybox:latest");
        scene.ctr(["images", "pull", "--plain-http", &busybox]).ok()?;
        Ok(Self { scene, busybox, _registry: registry })
    }

    /// What `ctr` printed; the words are split at spaces.
    fn ok(&self, words: &str) -> anyhow::Result<String> {
        self.scene.ctr(words.split(' ')).ok()
    }

    /// What `ctr` complained of.
    fn refused(&self, words: &str) -> anyhow::Result<String> {
        self.scene.ctr(words.split(' ')).refused()
    }

    /// Starts a container that sleeps.
    fn sleeping(&self, id: &str) -> anyhow::Result<()> {
        self.ok(&format!("run -d {} {id} sleep 1000", self.busybox)).map(drop)
    }

    /// The root's only chain ID.
    fn chain_id(&self) -> anyhow::Result<String> {
        let listed = self.ok("snapshots ls")?;
        let row = listed.lines().find(|line| line.contains("Committed")).unwrap_or_default();
        Ok(row.split_whitespace().next().unwrap_or_default().to_owned())
    }
}

#[test]
fn version() -> anyhow::Result<()> {
    let scene = Scene::new()?;
    let said = scene.ctr(["version"]).ok()?;
    let server = said.split("Server:").nth(1).unwrap_or_default();
    assert!(server.contains("Version:") && server.contains("UUID:"), "{said}");
    Ok(())
}

#[test]
fn namespaces() -> anyhow::Result<()> {
    let scene = Scene::new()?;
    scene.ctr(["namespaces", "create", "one", "color=blue"]).ok()?;
    let listed = scene.ctr(["namespaces", "ls"]).ok()?;
    assert!(listed.lines().any(|line| line.starts_with("one") && line.contains("color=blue")), "{listed}");
    scene.ctr(["namespaces", "create", "one"]).refused()?;
    scene.ctr(["namespaces", "label", "one", "color=red"]).ok()?;
    assert!(scene.ctr(["namespaces", "ls"]).ok()?.contains("color=red"));
    scene.ctr(["namespaces", "rm", "one"]).ok()?;
    assert!(!scene.ctr(["namespaces", "ls", "-q"]).ok()?.contains("one"));
    Ok(())
}

#[test]
fn a_namespace_that_is_not_empty_stays() -> anyhow::Result<()> {
    let ctr = Ctr::new()?;
    let said = ctr.scene.ctr(["namespaces", "rm", "default"]);
    assert!(said.stderr.contains("must be empty") || said.stderr.contains("not empty"), "{said:?}");
    assert!(ctr.ok("namespaces ls -q")?.contains("default"));
    Ok(())
}

#[test]
fn images_of_all_kinds() -> anyhow::Result<()> {
    let ctr = Ctr::new()?;
    let busybox = &ctr.busybox;
    assert!(ctr.ok("images ls")?.contains(busybox));
    let checked = ctr.ok("images check")?;
    assert!(checked.contains("complete (2/2)"), "{checked}");
    ctr.ok(&format!("images tag {busybox} other:tag"))?;
    assert_eq!(ctr.ok("images ls -q")?.lines().count(), 2);
    ctr.ok(&format!("images label {busybox} color=blue"))?;
    assert!(ctr.ok("images ls labels.color==blue")?.contains(busybox));
    ctr.ok(&format!("images rm {busybox}"))?;
    // Its other name keeps everything that it is made of.
    assert!(ctr.ok("images check")?.contains("complete (2/2)"));
    ctr.ok("images rm --sync other:tag")?;
    assert_eq!(ctr.ok("content ls -q")?, "");
    assert_eq!(ctr.ok("snapshots ls")?.lines().count(), 1);
    Ok(())
}

#[test]
fn content() -> anyhow::Result<()> {
    let ctr = Ctr::new()?;
    let digests = ctr.ok("content ls -q")?;
    assert_eq!(digests.lines().count(), 3, "{digests}");
    for digest in digests.lines() {
        let listed = ctr.ok("content ls")?;
        assert!(listed.contains(digest), "{listed}");
        let get = ctr.scene.ctr_command(["content", "get", digest]).output()?;
        assert_eq!(wharf_types::Digest::of(&get.stdout).to_string(), digest);
        ctr.ok(&format!("content rm {digest}"))?;
        let said = ctr.refused(&format!("content get {digest}"))?;
        assert!(said.contains("not found") && said.contains(digest), "{said}");
    }
    assert_eq!(ctr.ok("content ls -q")?, "");
    Ok(())
}

#[test]
fn content_that_is_brought() -> anyhow::Result<()> {
    let scene = Scene::new()?;
    let digest = wharf_types::Digest::of(b"brought").to_string();
    let bring = || -> anyhow::Result<bool> {
        let mut ingest = scene.ctr_command(["content", "ingest", "a-reference"]).stdin(Stdio::piped()).spawn()?;
        ingest.stdin.take().expect("stdin is piped").write_all(b"brought")?;
        assert!(ingest.wait()?.success());
        // A label holds it; until then the one collection that follows the daemon's start may take it.
        Ok(scene.ctr(["content", "label", &digest, "containerd.io/gc.root=test"]).status == 0)
    };
    assert!(bring()? || bring()?, "what was brought is gone");
    assert_eq!(scene.ctr(["content", "get", &digest]).ok()?, "brought");
    assert!(scene.ctr(["content", "ls"]).ok()?.contains("containerd.io/gc.root=test"));
    Ok(())
}

#[test]
fn snapshots() -> anyhow::Result<()> {
    let ctr = Ctr::new()?;
    let chain_id = ctr.chain_id()?;
    let (active, view) = (ctr.scene.folder().join("active"), ctr.scene.folder().join("view"));
    ctr.ok(&format!("snapshots prepare writable {chain_id}"))?;
    let mount = ctr.ok(&format!("snapshots mounts {} writable", active.display()))?;
    std::fs::create_dir(&active)?;
    wharf_integration::command::sh(&format!("{mount}\ntouch {0}/made\numount {0}", active.display())).ok()?;
    assert!(ctr.ok("snapshots usage writable")?.contains("writable"));
    ctr.ok("snapshots commit made writable")?;
    ctr.ok("snapshots view looked-at made")?;
    // Nothing holds a view that ctr 1.6 makes: the collector might take it before this test is through.
    ctr.ok("snapshots label looked-at containerd.io/gc.root=test")?;
    std::fs::create_dir(&view)?;
    let mount = ctr.ok(&format!("snapshots mounts {} looked-at", view.display()))?;
    let seen = format!("{mount}\nls {0}/made {0}/bin/sh; ! touch {0}/not; umount {0}", view.display());
    wharf_integration::command::sh(&seen).ok()?;
    let tree = ctr.ok("snapshots tree")?;
    assert!(tree.contains(&chain_id) && tree.contains("made") && tree.contains("looked-at"), "{tree}");
    assert!(ctr.refused("snapshots rm made")?.contains("made"));
    ctr.ok("snapshots rm looked-at")?;
    ctr.ok("snapshots rm made")?;
    assert!(!ctr.ok("snapshots ls")?.contains("made"));
    Ok(())
}

#[test]
fn the_difference_of_two_snapshots_is_a_layer() -> anyhow::Result<()> {
    let ctr = Ctr::new()?;
    let chain_id = ctr.chain_id()?;
    let active = ctr.scene.folder().join("active");
    std::fs::create_dir(&active)?;
    ctr.ok(&format!("snapshots prepare changed {chain_id}"))?;
    let mount = ctr.ok(&format!("snapshots mounts {} changed", active.display()))?;
    let change = format!("{mount}\ncd {0}\necho new > etc/new\nrm bin/vi\ncd /\numount {0}", active.display());
    wharf_integration::command::sh(&change).ok()?;
    let layer = ctr.scene.ctr_command(["snapshots", "diff", "changed"]).output()?;
    assert!(layer.status.success(), "{}", String::from_utf8_lossy(&layer.stderr));
    let file = ctr.scene.folder().join("layer.tar.gz");
    std::fs::write(&file, &layer.stdout)?;
    let listed = wharf_integration::command::sh(&format!("tar -tzf {}", file.display())).ok()?;
    let mut names: Vec<&str> = listed.lines().collect();
    names.sort_unstable();
    assert_eq!(names, ["bin/", "bin/.wh.vi", "etc/", "etc/new"]);
    // Kept, it is a blob with what it is when inflated, and its label.
    let keep = ["--keep", "--label", "color=blue", "--ref", "mine", "changed", &chain_id];
    let kept = ctr.scene.ctr_command([&["snapshots", "diff"], keep.as_slice()].concat()).output()?;
    assert!(kept.status.success(), "{}", String::from_utf8_lossy(&kept.stderr));
    let blobs = ctr.ok("content ls")?;
    let row = blobs.lines().find(|line| line.contains("color=blue")).context("it is not there")?;
    assert!(row.contains("containerd.io/uncompressed=sha256:"), "{row}");
    let plain = ["snapshots", "diff", "--media-type", "application/vnd.oci.image.layer.v1.tar", "changed"];
    let plain = ctr.scene.ctr_command(plain).output()?;
    assert_eq!(plain.stdout.get(257..262), Some(&b"ustar"[..]));
    let unknown = ctr.refused("snapshots diff --media-type text/plain changed")?;
    assert!(unknown.contains("text/plain"), "{unknown}");
    Ok(())
}

#[test]
fn run_and_its_exit_codes() -> anyhow::Result<()> {
    let ctr = Ctr::new()?;
    let run = |id: &str, script: &str| ctr.scene.ctr(["run", "--rm", &ctr.busybox, id, "sh", "-c", script]);
    let both = run("both", "echo out; echo err >&2");
    assert_eq!((both.status, both.stdout.as_str(), both.stderr.as_str()), (0, "out\n", "err\n"));
    assert_eq!(run("seven", "exit 7").status, 7);
    let mut killed = ctr.scene.ctr_command(["run", "--rm", &ctr.busybox, "killed", "sh", "-c", "echo up; sleep 1000"]);
    let mut killed = killed.stdout(Stdio::piped()).spawn()?;
    let mut up = String::new();
    BufReader::new(killed.stdout.take().expect("stdout is piped")).read_line(&mut up)?;
    ctr.ok("tasks kill --signal SIGKILL killed")?;
    assert_eq!(killed.wait()?.code(), Some(137));
    assert_eq!(ctr.ok("containers ls -q")?, "");
    Ok(())
}

#[test]
fn standard_input() -> anyhow::Result<()> {
    let ctr = Ctr::new()?;
    let mut run =
        ctr.scene.ctr_command(["run", "--rm", &ctr.busybox, "reads", "sh", "-c", "read line; echo got $line"]);
    let mut run = run.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
    run.stdin.as_mut().expect("stdin is piped").write_all(b"a word\n")?;
    let output = run.wait_with_output()?;
    assert_eq!(String::from_utf8_lossy(&output.stdout), "got a word\n");
    Ok(())
}

#[test]
fn a_terminal_that_changes_its_size() -> anyhow::Result<()> {
    let ctr = Ctr::new()?;
    let run = ctr.scene.ctr_command(["run", "--rm", "-t", &ctr.busybox, "terminal", "sh"]);
    let mut terminal = Terminal::run(&run, 101, 33)?;
    terminal.wait_for("#")?;
    terminal.type_in("stty size; tty\n")?;
    terminal.wait_for("33 101")?;
    terminal.wait_for("/dev/")?;
    terminal.type_in("until [ \"$(stty size)\" = '22 77' ]; do usleep 10000; done; echo chan''ged\n")?;
    terminal.resize(77, 22)?;
    terminal.wait_for("changed")?;
    terminal.type_in("exit 7\n")?;
    assert_eq!(terminal.wait()?, Some(7));
    Ok(())
}

#[test]
fn tasks() -> anyhow::Result<()> {
    let ctr = Ctr::new()?;
    ctr.sleeping("one")?;
    let status = |ctr: &Ctr| -> anyhow::Result<String> {
        let listed = ctr.ok("tasks ls")?;
        let row = listed.lines().find(|line| line.starts_with("one ")).unwrap_or_default().to_owned();
        Ok(row.split_whitespace().last().unwrap_or_default().to_owned())
    };
    assert_eq!(status(&ctr)?, "RUNNING");
    let exec = ctr.scene.ctr(["tasks", "exec", "--exec-id", "e", "one", "sh", "-c", "echo in; exit 7"]);
    assert_eq!((exec.status, exec.stdout.as_str()), (7, "in\n"));
    ctr.ok("tasks pause one")?;
    assert_eq!(status(&ctr)?, "PAUSED");
    ctr.ok("tasks resume one")?;
    assert_eq!(status(&ctr)?, "RUNNING");
    let pid = ctr.ok("tasks ps one")?;
    assert!(pid.lines().count() >= 2, "{pid}");
    let metrics = ctr.ok("tasks metrics one")?;
    assert!(metrics.contains("one") && metrics.contains("cpu"), "{metrics}");
    assert!(ctr.refused("tasks delete one")?.contains("one"));
    ctr.ok("tasks kill --signal SIGKILL one")?;
    wait_until_stopped(&ctr, &status)?;
    let delete = ctr.scene.ctr(["tasks", "delete", "one"]);
    assert!(delete.stderr.contains("137") || delete.status == 137, "{delete:?}");
    assert_eq!(ctr.ok("tasks ls -q")?, "");
    Ok(())
}

/// Asks until the task has stopped; `ctr` has no command that waits for one that is running.
fn wait_until_stopped(ctr: &Ctr, status: &dyn Fn(&Ctr) -> anyhow::Result<String>) -> anyhow::Result<()> {
    for _ in 0..200 {
        if status(ctr)? == "STOPPED" {
            return Ok(());
        }
    }
    anyhow::bail!("the task does not stop: {}", ctr.ok("tasks ls")?)
}

#[test]
fn containers() -> anyhow::Result<()> {
    let ctr = Ctr::new()?;
    ctr.ok(&format!("containers create {} made sleep 1000", ctr.busybox))?;
    let listed = ctr.ok("containers ls")?;
    assert!(listed.lines().any(|line| line.starts_with("made ") && line.contains(&ctr.busybox)), "{listed}");
    let info = ctr.ok("containers info made")?;
    assert!(info.contains("\"ID\": \"made\"") && info.contains("\"sleep\""), "{info}");
    ctr.ok("containers label made color=blue")?;
    assert!(ctr.ok("containers info made")?.contains("\"color\": \"blue\""));
    ctr.ok("tasks start -d made")?;
    assert!(ctr.ok("tasks ls")?.contains("RUNNING"));
    ctr.ok("tasks kill -s SIGKILL made")?;
    ctr.ok("tasks delete -f made")?;
    ctr.ok("containers rm made")?;
    assert_eq!(ctr.ok("containers ls -q")?, "");
    assert!(ctr.refused("containers info made")?.contains("not found"));
    Ok(())
}

#[test]
fn leases() -> anyhow::Result<()> {
    let scene = Scene::new()?;
    let id = scene.ctr(["leases", "create", "--id", "mine", "color=blue"]).ok()?;
    assert_eq!(id.trim(), "mine");
    assert!(scene.ctr(["leases", "ls"]).ok()?.contains("color=blue"));
    scene.ctr(["leases", "create", "--id", "mine"]).refused()?;
    scene.ctr(["leases", "rm", "--sync", "mine"]).ok()?;
    assert_eq!(scene.ctr(["leases", "ls", "-q"]).ok()?, "");
    Ok(())
}

/// What `ctr events` prints, line by line. It ends with this.
struct Follow {
    child: Child,
    lines: Receiver<String>,
}

impl Follow {
    fn start(ctr: &Ctr) -> anyhow::Result<Self> {
        let mut child = ctr.scene.ctr_command(["events"]).stdout(Stdio::piped()).spawn()?;
        let stdout = BufReader::new(child.stdout.take().expect("stdout is piped"));
        let (sender, lines) = channel();
        std::thread::spawn(move || stdout.lines().map_while(Result::ok).try_for_each(|line| sender.send(line)));
        let follow = Self { child, lines };
        // It does not say when it has subscribed: something is made to happen until it tells of it.
        for turn in 0..100 {
            ctr.ok(&format!("namespaces label default turn={turn}"))?;
            if follow.lines.recv_timeout(Duration::from_millis(100)).is_ok() {
                return Ok(follow);
            }
        }
        anyhow::bail!("no event came")
    }

    /// The topics that come until `last`, without those about namespaces.
    fn topics_until(&self, last: &str) -> anyhow::Result<Vec<String>> {
        let mut topics = Vec::new();
        while topics.last().is_none_or(|topic| topic != last) {
            let line = self.lines.recv_timeout(Duration::from_secs(30)).with_context(|| format!("{topics:?}"))?;
            let topic = line.split(' ').find(|word| word.starts_with('/')).unwrap_or_default().to_owned();
            if !topic.starts_with("/namespaces") {
                topics.push(topic);
            }
        }
        Ok(topics)
    }
}

impl Drop for Follow {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn events() -> anyhow::Result<()> {
    let ctr = Ctr::new()?;
    let follow = Follow::start(&ctr)?;
    ctr.ok(&format!("run --rm {} tells true", ctr.busybox))?;
    let topics = follow.topics_until("/containers/delete")?;
    let tasks: Vec<&str> = topics.iter().map(String::as_str).filter(|topic| topic.starts_with("/tasks")).collect();
    assert_eq!(tasks, ["/tasks/create", "/tasks/start", "/tasks/exit", "/tasks/delete"]);
    for topic in ["/snapshot/prepare", "/containers/create", "/snapshot/remove"] {
        assert!(topics.iter().any(|seen| seen == topic), "{topic} is not among {topics:?}");
    }
    Ok(())
}
