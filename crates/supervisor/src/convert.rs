//! Between the words of this crate and the messages of the wire.

use std::time::{SystemTime, UNIX_EPOCH};

use wharf_api::containerd::task::v3 as api;
use wharf_api::containerd::types as wire;
use wharf_api::containerd::v1::types::Status as ApiStatus;
use wharf_types::{Any, Mount};

use crate::{Exit, State, Status, Stdio};

pub(crate) fn any_out(any: &Any) -> prost_types::Any {
    prost_types::Any { type_url: any.type_url.clone(), value: any.value.clone() }
}

pub(crate) fn any_in(any: prost_types::Any) -> Any {
    Any { type_url: any.type_url, value: any.value }
}

pub(crate) fn mount_out(mount: &Mount) -> wire::Mount {
    wire::Mount {
        r#type: mount.kind.clone(),
        source: mount.source.clone(),
        target: mount.target.clone(),
        options: mount.options.clone(),
    }
}

/// A time as the wire has it; what is before 1970 is 1970.
pub(crate) fn time_out(time: SystemTime) -> prost_types::Timestamp {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    prost_types::Timestamp {
        seconds: i64::try_from(since.as_secs()).unwrap_or(i64::MAX),
        nanos: i32::try_from(since.subsec_nanos()).unwrap_or(0),
    }
}

/// A time from the wire; now where there is none or it is out of range.
pub(crate) fn time_in(time: Option<prost_types::Timestamp>) -> SystemTime {
    time.and_then(|time| SystemTime::try_from(time).ok()).unwrap_or_else(SystemTime::now)
}

pub(crate) fn exit_in(response: api::DeleteResponse) -> Exit {
    Exit { pid: response.pid, status: response.exit_status, at: time_in(response.exited_at) }
}

pub(crate) fn state_in(response: api::StateResponse) -> State {
    let status = match response.status() {
        ApiStatus::Unknown => Status::Unknown,
        ApiStatus::Created => Status::Created,
        ApiStatus::Running => Status::Running,
        ApiStatus::Stopped => Status::Stopped,
        ApiStatus::Paused => Status::Paused,
        ApiStatus::Pausing => Status::Pausing,
    };
    let exit = (status == Status::Stopped).then(|| Exit {
        pid: response.pid,
        status: response.exit_status,
        at: time_in(response.exited_at),
    });
    let io =
        Stdio { stdin: response.stdin, stdout: response.stdout, stderr: response.stderr, terminal: response.terminal };
    State { pid: response.pid, status, io, exit }
}
