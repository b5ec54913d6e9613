//! Promise: no networking is in the core, and none is needed there. Whoever wants furnishes the namespace between create and
//! start, or has the container join one that exists.

use std::path::PathBuf;

use wharf_client::{NewContainer, spec};
use wharf_integration::command::sh;
use wharf_integration::stage::{Stage, finish};

/// A name that no other test on this machine has, short enough for an interface.
fn unique(prefix: &str) -> String {
    format!("{prefix}{}", std::process::id())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_script_furnishes_the_namespace_between_create_and_start() -> anyhow::Result<()> {
    let stage = Stage::set().await?;
    let outside = unique("wv");
    let (task, streams) = stage.created("furnished", "ip -o address show eth0; ping -c 1 -W 5 10.213.7.1").await?;
    let pid = task.pid();
    sh(&format!(
        "ip link add {outside} type veth peer name eth0 netns {pid}
         ip address add 10.213.7.1/24 dev {outside}; ip link set {outside} up
         nsenter --net=/proc/{pid}/ns/net ip address add 10.213.7.2/24 dev eth0
         nsenter --net=/proc/{pid}/ns/net ip link set eth0 up"
    ))
    .ok()?;
    let (printed, exit) = finish(&task, streams).await?;
    // The interface goes with the container's namespace; where the test failed before, it goes here.
    sh(&format!("ip link delete {outside} 2> /dev/null || true")).ok()?;
    assert!(printed.contains("10.213.7.2/24"), "the container does not see its address: {printed}");
    assert_eq!(exit.status, 0, "the container does not reach the other end: {printed}");
    Ok(())
}

/// A namespace made by `ip netns add`, which goes with this.
struct Namespace(String);

impl Namespace {
    fn new() -> anyhow::Result<Self> {
        let namespace = Self(unique("wharf-test-"));
        sh(&format!("ip netns add {0} && ip -n {0} link add seen type veth peer name seen-too", namespace.0)).ok()?;
        Ok(namespace)
    }

    fn path(&self) -> PathBuf {
        PathBuf::from("/run/netns").join(&self.0)
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        sh(&format!("ip netns delete {}", self.0));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_container_joins_a_namespace_that_exists() -> anyhow::Result<()> {
    let stage = Stage::set().await?;
    let namespace = Namespace::new()?;
    let path = namespace.path();
    let new = NewContainer::new("joined", &stage.image)
        .command(["ip", "-o", "link", "show", "seen"])
        .adjust(move |spec| spec::join_network(spec, &path));
    let (task, streams) = stage.created_with(new).await?;
    let (printed, exit) = finish(&task, streams).await?;
    assert_eq!(exit.status, 0, "{printed}");
    assert!(printed.contains("seen"), "the container is in another namespace: {printed}");
    // The namespace is not the container's: it outlives it.
    sh(&format!("ip -n {} link show seen", namespace.0)).ok()?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_container_that_nobody_furnishes_has_a_loopback_only() -> anyhow::Result<()> {
    let stage = Stage::set().await?;
    let (printed, exit) = stage.run("alone", "ls /sys/class/net").await?;
    assert_eq!((printed.trim(), exit.status), ("lo", 0));
    Ok(())
}
