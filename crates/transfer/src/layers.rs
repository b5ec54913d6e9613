//! The layers of one image: several at once, each fetched, stored and extracted in one stream.

use std::collections::HashMap;
use std::sync::Arc;

use futures::stream::{FuturesUnordered, StreamExt as _};
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinHandle;
use wharf_snapshot::{Base, Kind, Snapshotter};
use wharf_types::labels::UNCOMPRESSED;
use wharf_types::{Descriptor, Digest, ErrorKind, Kind as _, LabelChange, Labels};

use crate::document::Manifest;
use crate::extract::{Extraction, State};
use crate::feed::{DEPTH, Feed};
use crate::progress::Meter;
use crate::pull::{Pull, blocking};
use crate::stack::Stack;
use crate::{Error, Progress, Result};

/// A snapshotter, and the diff IDs and chain IDs of the layers.
pub(crate) type Unpack = (Arc<dyn Snapshotter>, Vec<Digest>, Vec<Digest>);

impl Pull {
    /// Has all layers of an image in the store, and with `unpack` its chain of snapshots.
    pub(crate) async fn layers(self: &Arc<Self>, manifest: &Manifest, unpack: Option<Unpack>) -> Result<()> {
        let plan = match unpack {
            Some((snapshots, diff_ids, chain)) => {
                let (looked, names) = (snapshots.clone(), chain.clone());
                let there = blocking("look for snapshots", move || committed(looked.as_ref(), &names)).await?;
                Some(Arc::new(Plan::new(snapshots, diff_ids, chain, there)))
            }
            None => None,
        };
        let mut states = self.fetch(manifest, plan.as_ref()).await?;
        let Some(plan) = plan.filter(|plan| plan.there < plan.chain.len()) else { return Ok(()) };
        let layers = manifest.layers.clone();
        let states = (0..layers.len()).map(|place| states.remove(&place).unwrap_or(State::Unknown)).collect();
        let pull = self.clone();
        blocking("unpack an image", move || Stack::new(&pull, &plan, &layers).build(states)).await
    }

    /// Fetches all layers, each digest once, and extracts those on the way that can be. What became of each that was.
    async fn fetch(self: &Arc<Self>, manifest: &Manifest, plan: Option<&Arc<Plan>>) -> Result<HashMap<usize, State>> {
        let places = Arc::new(Semaphore::new(self.options.concurrency.max(1)));
        let mut first: Vec<(usize, &Descriptor)> = Vec::new();
        for (place, layer) in manifest.layers.iter().enumerate() {
            if !first.iter().any(|(_, other)| other.digest == layer.digest) {
                first.push((place, layer));
            }
        }
        let mut under_way: FuturesUnordered<_> = first
            .into_iter()
            .map(|(place, layer)| {
                let (places, plan) = (places.clone(), plan.cloned());
                async move {
                    let _place = places.acquire().await;
                    Ok::<_, Error>((place, self.layer(place, layer, plan).await?))
                }
            })
            .collect();
        let mut states = HashMap::new();
        while let Some(done) = under_way.next().await {
            let (place, state) = done?;
            states.extend(state.map(|state| (place, state)));
        }
        Ok(states)
    }

    /// Fetches one layer, and extracts it on the way if it may be extracted now.
    async fn layer(&self, place: usize, layer: &Descriptor, plan: Option<Arc<Plan>>) -> Result<Option<State>> {
        let opened = self.open(layer).await?;
        let Some((plan, base)) = plan.and_then(|plan| plan.base(place).map(|base| (plan.clone(), base))) else {
            return self.fill(opened, layer, &self.labels, None).await.map(|_| None);
        };
        let (tap, pieces) = mpsc::channel(DEPTH);
        let meter = Meter::new(&self.report, layer, Progress::Unpacking, 0);
        let feed = Feed::new(pieces, self.given_up.clone(), meter);
        let (applier, member) = (self.applier.clone(), self.group.clone());
        let extraction = Extraction { place, base, layer: layer.clone(), applier, plan, member };
        let thread: JoinHandle<Result<State>> = tokio::task::spawn_blocking(move || extraction.run(feed));
        let stored = self.fill(opened, layer, &self.labels, Some(tap)).await;
        let extracted = thread.await.map_err(|source| Error::Internal {
            doing: format!("unpack layer {}", layer.digest),
            source: source.into(),
        })?;
        // A blob that is not what it should be explains why it could not be extracted.
        if !stored? {
            return Ok(None);
        }
        let state = extracted?;
        if let State::Extracted(_) = &state {
            (self.report)(Progress::Unpacked(layer.clone()));
        }
        Ok(Some(state))
    }

    /// Notes on a layer's blob what it inflates to.
    pub(crate) fn note(&self, layer: &Descriptor, diff_id: &Digest) -> Result<()> {
        let labels = Labels::from([(UNCOMPRESSED.to_owned(), diff_id.to_string())]);
        self.content.update(&layer.digest, &LabelChange::Merge(labels))?;
        Ok(())
    }
}

/// How an image is unpacked.
pub(crate) struct Plan {
    pub(crate) snapshots: Arc<dyn Snapshotter>,
    pub(crate) diff_ids: Vec<Digest>,
    pub(crate) chain: Vec<Digest>,
    /// How many layers from the lowest up are unpacked already.
    pub(crate) there: usize,
    /// What tells the keys of this pull from those of others.
    pub(crate) unique: String,
}

/// What a layer is extracted onto.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Onto {
    Nothing,
    Chain(Digest),
    Later,
}

impl Onto {
    pub(crate) fn with<T>(&self, call: impl FnOnce(Base<'_>) -> T) -> T {
        match self {
            Self::Nothing => call(Base::Empty),
            Self::Chain(name) => call(Base::On(&name.to_string())),
            Self::Later => call(Base::Later),
        }
    }
}

impl Plan {
    fn new(snapshots: Arc<dyn Snapshotter>, diff_ids: Vec<Digest>, chain: Vec<Digest>, there: usize) -> Self {
        let unique = format!("{:016x}", rand::random::<u64>());
        Self { snapshots, diff_ids, chain, there, unique }
    }

    /// What the layer at `place` is extracted onto while it is fetched; nothing when that has to wait or is done.
    fn base(&self, place: usize) -> Option<Onto> {
        match place.checked_sub(self.there)? {
            0 => Some(self.parent(place)),
            _ if self.snapshots.stacks_later() => Some(Onto::Later),
            _ => None,
        }
    }

    /// What lies below the layer at `place`.
    pub(crate) fn parent(&self, place: usize) -> Onto {
        let below = place.checked_sub(1).and_then(|below| self.chain.get(below));
        below.map_or(Onto::Nothing, |below| Onto::Chain(below.clone()))
    }

    /// The key of the active snapshot of a layer (containerd: `core/snapshots`, `UnpackKeyFormat`).
    pub(crate) fn key(&self, chain_id: &Digest) -> String {
        format!("extract-{} {chain_id}", self.unique)
    }
}

/// How many of a chain's snapshots there are, from the first on.
fn committed(snapshots: &dyn Snapshotter, chain: &[Digest]) -> Result<usize> {
    for (place, name) in chain.iter().enumerate().rev() {
        if is_committed(snapshots, name)? {
            return Ok(place + 1);
        }
    }
    Ok(0)
}

/// True when there is a committed snapshot of this name.
pub(crate) fn is_committed(snapshots: &dyn Snapshotter, chain_id: &Digest) -> Result<bool> {
    match snapshots.stat(&chain_id.to_string()) {
        Ok(found) => Ok(found.kind == Kind::Committed),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error.into()),
    }
}
