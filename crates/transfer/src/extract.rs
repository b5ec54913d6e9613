//! One layer into an active snapshot.

use std::io::Read;
use std::path::PathBuf;
use std::sync::Arc;

use wharf_diff::{Applier, Error as DiffError};
use wharf_snapshot::Snapshotter;
use wharf_types::labels::SNAPSHOT_REF;
use wharf_types::{Descriptor, Digest, ErrorKind, Kind as _, Labels, Mount};

use crate::layers::{Onto, Plan, is_committed};
use crate::pull::Member;
use crate::{Error, Result};

/// What became of a layer.
pub(crate) enum State {
    /// Its files are in an active snapshot.
    Extracted(Extracted),
    /// Its chain is committed, by somebody else.
    There,
    /// It has to be extracted from the store, onto its parents.
    Unknown,
}

/// A layer's files.
pub(crate) struct Extracted {
    pub(crate) active: Active,
    pub(crate) mounts: Vec<Mount>,
    pub(crate) implied: Vec<PathBuf>,
}

/// A snapshot of our own, removed unless it is committed.
pub(crate) struct Active {
    snapshots: Arc<dyn Snapshotter>,
    pub(crate) key: String,
    committed: bool,
    member: Member,
}

impl Active {
    pub(crate) fn new(snapshots: Arc<dyn Snapshotter>, key: String, member: Member) -> Self {
        Self { snapshots, key, committed: false, member }
    }

    /// It is somebody else's now.
    pub(crate) fn committed(mut self) {
        self.committed = true;
    }
}

impl Drop for Active {
    fn drop(&mut self) {
        if self.committed {
            return;
        }
        let (snapshots, key) = (self.snapshots.clone(), std::mem::take(&mut self.key));
        let member = self.member.clone();
        let remove = move || {
            let _member = member;
            match snapshots.remove(&key) {
                Err(error) if error.kind() != ErrorKind::NotFound => {
                    tracing::warn!(key, %error, "a half unpacked layer stays until it is collected");
                }
                _ => {}
            }
        };
        // A pull that is given up is dropped on a thread that may not block; on all others it is waited for.
        match tokio::runtime::Handle::try_current() {
            Ok(runtime) if !is_blocking_thread() => drop(runtime.spawn_blocking(remove)),
            _ => remove(),
        }
    }
}

std::thread_local! {
    static BLOCKING: std::cell::Cell<bool> = const { std::cell::Cell::new(false) };
}

fn is_blocking_thread() -> bool {
    BLOCKING.get()
}

/// Runs `work` on a thread that may block, so that what it drops is removed before it returns.
pub(crate) fn waiting<T>(work: impl FnOnce() -> T) -> T {
    let before = BLOCKING.replace(true);
    let result = work();
    BLOCKING.set(before);
    result
}

/// One layer's way into a snapshot.
pub(crate) struct Extraction {
    pub(crate) place: usize,
    pub(crate) base: Onto,
    pub(crate) layer: Descriptor,
    pub(crate) applier: Arc<dyn Applier>,
    pub(crate) plan: Arc<Plan>,
    pub(crate) member: Member,
}

impl Extraction {
    /// Extracts what `bytes` brings. A layer that needs its parents is not extracted, which is no error where they were to be
    /// named later.
    pub(crate) fn run(self, mut bytes: impl Read) -> Result<State> {
        waiting(|| self.extract(&mut bytes))
    }

    fn extract(&self, bytes: &mut dyn Read) -> Result<State> {
        let (plan, layer) = (&self.plan, &self.layer);
        let (Some(chain_id), Some(diff_id)) = (plan.chain.get(self.place), plan.diff_ids.get(self.place)) else {
            return Ok(State::Unknown);
        };
        if is_committed(plan.snapshots.as_ref(), chain_id)? {
            return Ok(State::There);
        }
        let key = plan.key(chain_id);
        let labels = labels(chain_id, &self.base);
        let mounts = match self.base.with(|base| plan.snapshots.prepare(&key, base, &labels)) {
            Ok(mounts) => mounts,
            // Some snapshotters have the layer already, once they are told its name.
            Err(error)
                if error.kind() == ErrorKind::AlreadyExists && is_committed(plan.snapshots.as_ref(), chain_id)? =>
            {
                return Ok(State::There);
            }
            Err(error) => return Err(error.into()),
        };
        let active = Active::new(plan.snapshots.clone(), key, self.member.clone());
        let applied = match self.applier.apply(bytes, &layer.media_type, &mounts) {
            Ok(applied) => applied,
            Err(DiffError::NeedsParents { .. }) if self.base == Onto::Later => return Ok(State::Unknown),
            Err(source) => return Err(Error::Layer { layer: layer.digest.clone(), source }),
        };
        if applied.diff_id != *diff_id {
            let (actual, expected) = (applied.diff_id, diff_id.clone());
            return Err(Error::DiffId { layer: layer.digest.clone(), actual, expected });
        }
        Ok(State::Extracted(Extracted { active, mounts, implied: applied.implied }))
    }
}

/// What the snapshot will be called, for snapshotters that bring layers from elsewhere; they have to know the parent.
fn labels(chain_id: &Digest, base: &Onto) -> Labels {
    match base {
        Onto::Later => Labels::new(),
        _ => committed_labels(chain_id),
    }
}

/// The labels of a committed snapshot, as containerd sets them.
pub(crate) fn committed_labels(chain_id: &Digest) -> Labels {
    Labels::from([(SNAPSHOT_REF.to_owned(), chain_id.to_string())])
}
