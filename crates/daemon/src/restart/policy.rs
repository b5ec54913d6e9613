//! What is to be done about a container, by its labels (containerd: `core/runtime/restart`).

use wharf_supervisor::Status;
use wharf_types::Labels;

/// The state that a container should be in: `running` or `stopped`.
pub(super) const STATUS: &str = "containerd.io/restart.status";

/// Where its output goes once it was restarted.
pub(super) const LOG_URI: &str = "containerd.io/restart.loguri";

/// How often it was restarted.
pub(super) const COUNT: &str = "containerd.io/restart.count";

/// When it is restarted: `no`, `always`, `on-failure`, `on-failure:N` or `unless-stopped`; `always` when there is no such label.
const POLICY: &str = "containerd.io/restart.policy";

/// That somebody stopped it on purpose.
const EXPLICITLY_STOPPED: &str = "containerd.io/restart.explicitly-stopped";

/// What is to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Decision {
    /// Nothing.
    Leave,
    /// It runs and should not.
    Stop,
    /// It should run and does not.
    Start {
        /// How often it has been restarted with this time.
        count: u32,
    },
}

/// Decides by the labels, the state of the task and how it ended; there may be no task, and then nobody knows how.
pub(super) fn decide(labels: &Labels, status: Option<Status>, exit: Option<u32>) -> Decision {
    let label = |name: &str| labels.get(name).map_or("", String::as_str);
    match (label(STATUS), status) {
        ("stopped", Some(Status::Running | Status::Paused)) => Decision::Stop,
        ("running", None | Some(Status::Stopped)) => {
            let count = label(COUNT).parse().unwrap_or(0_u32);
            let stopped = matches!(label(EXPLICITLY_STOPPED), "1" | "t" | "T" | "true" | "True" | "TRUE");
            if again(label(POLICY), count, exit.unwrap_or(0), stopped) {
                Decision::Start { count: count.saturating_add(1) }
            } else {
                Decision::Leave
            }
        }
        _ => Decision::Leave,
    }
}

/// Whether a policy wants a container back that ended so. One that is not understood wants nothing.
fn again(policy: &str, count: u32, exit: u32, stopped: bool) -> bool {
    match policy.split_once(':').unwrap_or((policy, "")) {
        ("" | "always", "") => true,
        ("unless-stopped", "") => !stopped,
        ("on-failure", "") => exit != 0,
        // Docker's and containerd's: 0 is no limit.
        ("on-failure", most) => exit != 0 && most.parse().is_ok_and(|most: u32| most == 0 || count < most),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(pairs: &[(&str, &str)]) -> Labels {
        pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn policies_want_what_they_say() {
        for (policy, count, exit, stopped, expected) in [
            ("", "", 0, "", true),
            ("always", "9", 7, "true", true),
            ("no", "", 7, "", false),
            ("on-failure", "", 0, "", false),
            ("on-failure", "99", 1, "", true),
            ("on-failure:2", "1", 1, "", true),
            ("on-failure:2", "2", 1, "", false),
            ("on-failure:0", "2", 1, "", true),
            ("on-failure:x", "", 1, "", false),
            ("unless-stopped", "", 0, "", true),
            ("unless-stopped", "", 0, "true", false),
            ("always:3", "", 1, "", false),
            ("sometimes", "", 1, "", false),
        ] {
            let labels =
                labels(&[(STATUS, "running"), (POLICY, policy), (COUNT, count), (EXPLICITLY_STOPPED, stopped)]);
            let decided = decide(&labels, Some(Status::Stopped), Some(exit));
            assert_eq!(matches!(decided, Decision::Start { .. }), expected, "{policy} {count} {exit} {stopped}");
        }
    }

    #[test]
    fn what_is_between_two_states_is_left_alone() {
        let running = labels(&[(STATUS, "running"), (COUNT, "4")]);
        for state in [Status::Running, Status::Created, Status::Paused, Status::Pausing, Status::Unknown] {
            assert_eq!(decide(&running, Some(state), None), Decision::Leave, "{state:?}");
        }
        assert_eq!(decide(&running, None, None), Decision::Start { count: 5 });
        let stopped = labels(&[(STATUS, "stopped")]);
        assert_eq!(decide(&stopped, Some(Status::Running), None), Decision::Stop);
        assert_eq!(decide(&stopped, Some(Status::Paused), None), Decision::Stop);
        for state in [None, Some(Status::Stopped), Some(Status::Created), Some(Status::Unknown)] {
            assert_eq!(decide(&stopped, state, None), Decision::Leave, "{state:?}");
        }
        assert_eq!(decide(&labels(&[]), Some(Status::Running), None), Decision::Leave);
    }
}
