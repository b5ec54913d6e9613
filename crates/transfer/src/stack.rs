//! An image's layers, one on the other, committed together.

use std::path::PathBuf;
use std::sync::Arc;

use tokio::sync::mpsc;
use wharf_diff::Error as DiffError;
use wharf_snapshot::Commit;
use wharf_types::{Descriptor, Digest, ErrorKind, Kind as _, Labels, Mount};

use crate::extract::{Active, Extracted, Extraction, State, committed_labels, waiting};
use crate::feed::{DEPTH, Feed, Piece};
use crate::layers::{Plan, is_committed};
use crate::progress::Meter;
use crate::pull::Pull;
use crate::{Error, Progress, Result};

/// How often a commit is tried while other pulls commit parts of the same chain.
const ATTEMPTS: usize = 5;

/// Builds an image's chain of snapshots. All of it blocks.
pub(crate) struct Stack<'a> {
    pull: &'a Arc<Pull>,
    plan: &'a Arc<Plan>,
    layers: &'a [Descriptor],
    /// Layers that are extracted and not committed, the lowest first.
    pending: Vec<(usize, Extracted)>,
}

impl<'a> Stack<'a> {
    pub(crate) fn new(pull: &'a Arc<Pull>, plan: &'a Arc<Plan>, layers: &'a [Descriptor]) -> Self {
        Self { pull, plan, layers, pending: Vec::new() }
    }

    /// Puts the layers on each other, extracts from the store what could not be extracted on the way, and commits.
    pub(crate) fn build(mut self, states: Vec<State>) -> Result<()> {
        waiting(move || {
            for (place, state) in states.into_iter().enumerate().skip(self.plan.there) {
                match state {
                    // Then so are all below it.
                    State::There => self.pending.clear(),
                    State::Unknown => self.again(place)?,
                    State::Extracted(extracted) => match self.adopt(place, &extracted) {
                        Ok(()) => self.pending.push((place, extracted)),
                        Err(DiffError::NeedsParents { .. }) => {
                            drop(extracted);
                            self.again(place)?;
                        }
                        Err(source) => return Err(Error::Layer { layer: self.layer(place)?.digest.clone(), source }),
                    },
                }
            }
            self.commit()
        })
    }

    fn layer(&self, place: usize) -> Result<&'a Descriptor> {
        self.layers.get(place).ok_or_else(|| Error::Internal {
            doing: "unpack an image".to_owned(),
            source: format!("it has no layer {place}").into(),
        })
    }

    /// Extracts a layer from the store onto its committed parents.
    fn again(&mut self, place: usize) -> Result<()> {
        self.commit()?;
        let layer = self.layer(place)?;
        let (pieces, waiting) = mpsc::channel(DEPTH);
        for piece in [Piece::Stored(self.pull.content.reader(&layer.digest)?), Piece::End] {
            // There is room for both.
            let _ = pieces.try_send(piece);
        }
        let meter = Meter::new(&self.pull.report, layer, Progress::Unpacking, 0);
        let feed = Feed::new(waiting, self.pull.given_up.clone(), meter);
        let (applier, plan, member) = (self.pull.applier.clone(), self.plan.clone(), self.pull.group.clone());
        let extraction = Extraction { place, base: plan.parent(place), layer: layer.clone(), applier, plan, member };
        if let State::Extracted(extracted) = extraction.run(feed)? {
            (self.pull.report)(Progress::Unpacked(layer.clone()));
            self.pending.push((place, extracted));
        }
        Ok(())
    }

    /// Completes directories that a layer did not list from those below.
    fn adopt(&self, place: usize, extracted: &Extracted) -> std::result::Result<(), DiffError> {
        if extracted.implied.is_empty() || place == 0 {
            return Ok(());
        }
        let mut parents: Vec<PathBuf> = Vec::new();
        for (_, below) in self.pending.iter().rev() {
            parents.extend(directories(&below.mounts).into_iter().take(1));
        }
        let lowest = self.pending.first().map_or(place, |(lowest, _)| *lowest);
        if let Some(committed) = lowest.checked_sub(1).and_then(|below| self.plan.chain.get(below)) {
            parents.extend(self.look_at(committed)?);
        }
        self.pull.applier.adopt(&extracted.mounts, &extracted.implied, &parents)
    }

    /// The directories of a committed chain, the uppermost first.
    fn look_at(&self, chain_id: &Digest) -> std::result::Result<Vec<PathBuf>, DiffError> {
        let key = format!("{} below", self.plan.key(chain_id));
        let mounts = self.plan.snapshots.view(&key, Some(&chain_id.to_string()), &Labels::new());
        let mounts = mounts.map_err(|error| DiffError::Mounts(error.to_string()))?;
        let _view = Active::new(self.plan.snapshots.clone(), key, self.pull.group.clone());
        // The directories are those of committed snapshots, and stay without the view.
        Ok(directories(&mounts))
    }

    /// Commits what is extracted. What another pull committed meanwhile is as good as ours.
    fn commit(&mut self) -> Result<()> {
        // Noted first, so that a chain that is there has notes whenever this is killed.
        for (place, _) in &self.pending {
            if let Some(diff_id) = self.plan.diff_ids.get(*place) {
                self.pull.note(self.layer(*place)?, diff_id)?;
            }
        }
        for attempt in 1.. {
            let batch: Vec<Commit> =
                self.pending.iter().filter_map(|(place, extracted)| self.step(*place, extracted)).collect();
            if batch.is_empty() {
                break;
            }
            match self.plan.snapshots.commit(&batch) {
                Ok(()) => break,
                Err(error) if error.kind() == ErrorKind::AlreadyExists && attempt < ATTEMPTS => self.forget_there()?,
                Err(error) => return Err(error.into()),
            }
        }
        for (_, extracted) in std::mem::take(&mut self.pending) {
            extracted.active.committed();
        }
        Ok(())
    }

    fn step(&self, place: usize, extracted: &Extracted) -> Option<Commit> {
        let chain_id = self.plan.chain.get(place)?;
        let parent = place.checked_sub(1).and_then(|below| self.plan.chain.get(below)).map(ToString::to_string);
        let key = extracted.active.key.clone();
        Some(Commit { name: chain_id.to_string(), key, labels: committed_labels(chain_id), parent })
    }

    /// Drops layers whose chain is committed.
    fn forget_there(&mut self) -> Result<()> {
        let mut kept = Vec::new();
        for (place, extracted) in std::mem::take(&mut self.pending) {
            let chain_id = self.plan.chain.get(place);
            if !chain_id.map_or(Ok(true), |chain_id| is_committed(self.plan.snapshots.as_ref(), chain_id))? {
                kept.push((place, extracted));
            }
        }
        self.pending = kept;
        Ok(())
    }
}

/// The directories behind mounts, the uppermost first.
fn directories(mounts: &[Mount]) -> Vec<PathBuf> {
    let Some(mount) = mounts.last() else { return Vec::new() };
    if mount.kind != "overlay" {
        return vec![PathBuf::from(&mount.source)];
    }
    let upper = mount.option("upperdir").into_iter();
    let lower = mount.option("lowerdir").into_iter().flat_map(|list| list.split(':'));
    upper.chain(lower).map(PathBuf::from).collect()
}
