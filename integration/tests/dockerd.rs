//! Promise: Debian's `dockerd` runs over us as over its own containerd: containers from run to rm, their output, statistics, pauses,
//! restarts, health and memory, and all of it over the ends of our daemon and its own.

use std::fs;
use std::io::Write as _;
use std::process::Stdio;

use wharf_integration::command::sh;
use wharf_integration::dockerd::{Dockerd, IMAGE};

/// Says that it is ready, and ends with 3 when it is told to.
const POLITE: &str = "trap 'echo told; exit 3' TERM; echo ready; while :; do usleep 10000; done";
/// Ends with 9 when the file appears.
const WAITS: &str = "until [ -e /tmp/end ]; do usleep 10000; done; rm /tmp/end; exit 9";
/// Counts, into a file and on stdout, until it is told to end.
const COUNTS: &str = "trap 'exit 3' TERM; i=0
    while :; do i=$((i + 1)); echo $i > /tmp/next; mv /tmp/next /tmp/count; echo $i; usleep 50000; done";

#[test]
fn a_container_from_run_to_rm() -> anyhow::Result<()> {
    let docker = Dockerd::start()?;
    let ran = docker.docker(["run", "--rm", IMAGE, "sh", "-c", "echo out; echo err >&2; exit 7"]);
    assert_eq!((ran.status, ran.stdout.as_str(), ran.stderr.as_str()), (7, "out\n", "err\n"));
    assert_eq!(docker.docker(["run", "--rm", "--tty", IMAGE, "tty"]).ok()?, "/dev/pts/0\r\n");

    docker.docker(["run", "-d", "--name", "one", IMAGE, "sh", "-c", POLITE]).ok()?;
    let shims = docker.scene.daemon.shims();
    let lines = shims.iter().map(|pid| fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap_or_default());
    assert!(lines.clone().count() == 1 && lines.clone().all(|l| l.contains("containerd-shim-wharf-v1")), "{shims:?}");
    let mut logs = docker.follow(["logs", "-f", "one"])?;
    logs.until(|line| line == "ready")?;
    exec(&docker)?;
    let stats = docker.docker(["stats", "--no-stream", "--format", "{{.Name}} {{.MemUsage}} {{.PIDs}}", "one"]).ok()?;
    let words: Vec<&str> = stats.split_whitespace().collect();
    assert!(words.len() == 5 && words[0] == "one" && words[1] != "0B" && words[4] != "0", "{stats:?}");
    pause(&docker)?;

    docker.docker(["stop", "--time", "60", "one"]).ok()?;
    assert_eq!(logs.to_end()?, ["told"]);
    assert_eq!(docker.inspect("one", "{{.State.Status}} {{.State.ExitCode}}")?, "exited 3");
    docker.docker(["start", "one"]).ok()?;
    docker.docker(["kill", "one"]).ok()?;
    assert_eq!(docker.inspect("one", "{{.State.Status}} {{.State.ExitCode}}")?, "exited 137");
    docker.docker(["rm", "one"]).ok()?;
    assert_eq!(docker.docker(["ps", "-aq"]).ok()?, "");
    assert_eq!(docker.scene.ctr(["--namespace", "moby", "containers", "ls", "-q"]).ok()?, "");
    for shim in docker.scene.daemon.shims() {
        sh(&format!("timeout 60 sh -c 'while [ -e /proc/{shim} ]; do :; done'")).ok()?;
    }
    Ok(())
}

fn exec(docker: &Dockerd) -> anyhow::Result<()> {
    let ran = docker.docker(["exec", "one", "sh", "-c", "echo out; echo err >&2; exit 5"]);
    assert_eq!((ran.status, ran.stdout.as_str(), ran.stderr.as_str()), (5, "out\n", "err\n"));
    let mut cat = docker.command(["exec", "-i", "one", "cat"]);
    let mut cat = cat.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
    // Dropped at the end of the statement: cat ends because its input does.
    cat.stdin.take().map(|mut stdin| stdin.write_all(b"said to it\n")).transpose()?;
    let output = cat.wait_with_output()?;
    assert!(output.status.success() && output.stdout == b"said to it\n", "{output:?}");
    Ok(())
}

fn pause(docker: &Dockerd) -> anyhow::Result<()> {
    docker.docker(["pause", "one"]).ok()?;
    assert_eq!(docker.inspect("one", "{{.State.Status}}")?, "paused");
    let cgroup = docker.cgroup("one")?;
    // Of cgroup v1, or else of v2.
    let frozen = sh(&format!(
        "cd /sys/fs/cgroup; cat freezer/{cgroup}/freezer.state 2>/dev/null || grep frozen {cgroup}/cgroup.events"
    ));
    assert!(["FROZEN", "frozen 1"].contains(&frozen.ok()?.trim()), "{cgroup} is not frozen");
    docker.docker(["unpause", "one"]).ok()?;
    assert_eq!(docker.docker(["exec", "one", "echo", "goes on"]).ok()?, "goes on\n");
    Ok(())
}

#[test]
fn restarts_health_and_memory() -> anyhow::Result<()> {
    let docker = Dockerd::start()?;
    restarted(&docker)?;

    let health = ["--health-cmd", "[ -e /tmp/well ]", "--health-interval", "200ms", "--health-retries", "1"];
    let sleep = [IMAGE, "sleep", "1000"];
    docker.docker([&["run", "-d", "--name", "patient"], &health[..], &sleep[..]].concat()).ok()?;
    let mut events = docker.follow(events("patient", "health_status"))?;
    events.until(|line| line == "health_status: unhealthy")?;
    docker.docker(["exec", "patient", "touch", "/tmp/well"]).ok()?;
    events.until(|line| line == "health_status: healthy")?;
    assert_eq!(docker.inspect("patient", "{{.State.Health.Status}}")?, "healthy");
    docker.docker(["rm", "-f", "patient"]).ok()?;

    let grows = "x=a; while :; do x=$x$x; done";
    let limits = ["-m", "16m", "--memory-swap", "16m"];
    let ran = docker.docker([&["run", "--name", "eater"], &limits[..], &[IMAGE, "sh", "-c", grows]].concat());
    assert_eq!(ran.status, 137, "{ran:?}");
    assert_eq!(docker.inspect("eater", "{{.State.OOMKilled}} {{.State.ExitCode}}")?, "true 137");
    Ok(())
}

fn restarted(docker: &Dockerd) -> anyhow::Result<()> {
    docker.docker(["run", "-d", "--name", "always", "--restart=always", IMAGE, "sh", "-c", WAITS]).ok()?;
    let mut starts = docker.follow(events("always", "start"))?;
    starts.until(|line| line == "start")?;
    let first = end(docker, "always")?;
    starts.until(|line| line == "start")?;
    assert_eq!(docker.inspect("always", "{{.RestartCount}} {{.State.Status}}")?, "1 running");
    assert_ne!(docker.inspect("always", "{{.State.Pid}}")?, first);
    docker.docker(["restart", "--time", "0", "always"]).ok()?;
    starts.until(|line| line == "start")?;
    docker.docker(["exec", "always", "true"]).ok()?;
    // Stopped by a client, it is not started again.
    docker.docker(["stop", "--time", "0", "always"]).ok()?;
    assert_eq!(docker.inspect("always", "{{.State.Status}}")?, "exited");
    docker.docker(["rm", "always"]).ok()?;
    Ok(())
}

/// The events of one kind that a container had and will have.
fn events(container: &str, kind: &str) -> [String; 9] {
    let container = format!("container={container}");
    let kind = format!("event={kind}");
    ["events", "--since", "0", "--filter", &container, "--filter", &kind, "--format", "{{.Status}}"].map(str::to_owned)
}

/// Has a container that waits for its end come to it, and returns the pid that it had.
fn end(docker: &Dockerd, container: &str) -> anyhow::Result<String> {
    let pid = docker.inspect(container, "{{.State.Pid}}")?;
    fs::write(format!("/proc/{pid}/root/tmp/end"), "")?;
    Ok(pid)
}

#[test]
fn networks_and_pruning() -> anyhow::Result<()> {
    let docker = Dockerd::start()?;
    let run =
        |network: &str, script: &str| docker.docker(["run", "--network", network, IMAGE, "sh", "-c", script]).ok();
    let ours = fs::read_link("/proc/self/ns/net")?.display().to_string();
    assert_eq!(run("host", "readlink /proc/self/ns/net")?.trim(), ours);
    let alone = run("none", "readlink /proc/self/ns/net; ls /sys/class/net")?;
    assert!(!alone.contains(&ours) && alone.ends_with("\nlo\n"), "{alone:?}");

    docker.docker(["run", "-d", "--name", "lasts", IMAGE, "sleep", "1000"]).ok()?;
    let pruned = docker.docker(["system", "prune", "--force"]).ok()?;
    let deleted = pruned.lines().skip_while(|line| *line != "Deleted Containers:").skip(1);
    assert_eq!(deleted.take_while(|line| !line.is_empty()).count(), 2, "{pruned:?}");
    assert_eq!(docker.docker(["ps", "-a", "--format", "{{.Names}}"]).ok()?, "lasts\n");
    docker.docker(["exec", "lasts", "true"]).ok()?;
    docker.docker(["rm", "-f", "lasts"]).ok()?;
    docker.docker(["system", "prune", "--force", "--all"]).ok()?;
    assert_eq!(docker.docker(["images", "-q"]).ok()?, "");
    Ok(())
}

#[test]
fn containers_outlive_our_daemon_and_dockerd() -> anyhow::Result<()> {
    let mut docker = Dockerd::start()?;
    docker.docker(["run", "-d", "--name", "lives", IMAGE, "sh", "-c", COUNTS]).ok()?;
    docker.follow(["logs", "-f", "lives"])?.until(|line| line == "1")?;
    let pid = docker.inspect("lives", "{{.State.Pid}} {{.State.StartedAt}}")?;
    for (name, away) in [("wharfd", [true, false]), ("dockerd", [false, true]), ("both", [true, true])] {
        docker.docker(["run", "-d", "--name", name, IMAGE, "sh", "-c", WAITS]).ok()?;
        ends_while_away(&mut docker, name, away)?;
        // Which also tells that dockerd has found us again.
        assert_eq!(docker.docker(["wait", name]).ok()?, "9\n", "{name}");
        assert_eq!(docker.inspect("lives", "{{.State.Pid}} {{.State.StartedAt}}")?, pid, "{name}");
        let counted: u64 = docker.docker(["exec", "lives", "cat", "/tmp/count"]).ok()?.trim().parse()?;
        let later = |line: &str| line.parse::<u64>().is_ok_and(|number| number > counted);
        docker.follow(["logs", "-f", "lives"])?.until(later)?;
        assert_eq!(docker.docker(["run", "--rm", IMAGE, "echo", "new"]).ok()?, "new\n", "{name}");
    }
    docker.docker(["stop", "--time", "60", "lives"]).ok()?;
    assert_eq!(docker.inspect("lives", "{{.State.ExitCode}}")?, "3");
    docker.docker(["rm", "lives"]).ok()?;
    let log = docker.scene.daemon.log();
    assert!(!log.contains("panicked"), "{log}");
    Ok(())
}

/// Has a container end while our daemon, or `dockerd`, or both are dead.
fn ends_while_away(docker: &mut Dockerd, container: &str, [wharfd, dockerd]: [bool; 2]) -> anyhow::Result<()> {
    let pid = docker.inspect(container, "{{.State.Pid}}")?;
    if wharfd {
        docker.scene.daemon.crash();
    }
    match (dockerd, wharfd) {
        (true, true) => docker.crash(),
        (true, false) => docker.terminate()?,
        (false, _) => {}
    }
    sh(&format!("touch /proc/{pid}/root/tmp/end; timeout 60 sh -c 'while [ -e /proc/{pid} ]; do :; done'")).ok()?;
    if wharfd {
        docker.scene.daemon.start()?;
    }
    if dockerd {
        docker.start_again()?;
    }
    Ok(())
}
