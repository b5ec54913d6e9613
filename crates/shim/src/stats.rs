//! What a container uses, as the messages that containerd's clients know.

mod v1;
mod v2;

use prost::Message as _;
use prost_types::Any;

use crate::cgroup::Cgroup;
use crate::error::{Error, Result};

/// A sample of a cgroup; what cannot be read counts as 0.
///
/// # Errors
/// `NotFound` when the cgroup is gone.
pub(crate) fn sample(cgroup: &Cgroup) -> Result<Any> {
    if !["memory", "cpuacct", "pids"].iter().any(|c| cgroup.dir(c).is_some_and(std::path::Path::exists)) {
        return Err(Error::NotFound("the container's cgroup is gone".into()));
    }
    let (type_url, value) = match cgroup {
        Cgroup::V1(_) => ("io.containerd.cgroups.v1.Metrics", v1::metrics(cgroup).encode_to_vec()),
        Cgroup::V2(_) => ("io.containerd.cgroups.v2.Metrics", v2::metrics(cgroup).encode_to_vec()),
    };
    Ok(Any { type_url: type_url.into(), value })
}
