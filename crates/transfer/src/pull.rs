//! One pull: from a reference to what it stands for.

use std::collections::BTreeSet;
use std::convert::Infallible;
use std::sync::Arc;

use tokio::sync::mpsc;
use wharf_content::ContentStore;
use wharf_diff::Applier;
use wharf_fetch::Fetcher;
use wharf_snapshot::Snapshotter;
use wharf_types::{Descriptor, Digest, Labels, Platform, Reference, platform};

use crate::document::{Document, Manifest, Shape, chain_ids};
use crate::feed::GivenUp;
use crate::{Error, Options, Progress, Pulled, Puller, Report, Result, labels};

/// How deep indexes may lie in indexes.
pub(crate) const MAX_DEPTH: usize = 4;

/// How many indexes and manifests one reference may lead to.
pub(crate) const MAX_DOCUMENTS: usize = 1024;

/// What all parts of one pull share.
pub(crate) struct Pull {
    /// What messages call the image.
    pub(crate) name: String,
    pub(crate) options: Options,
    pub(crate) fetcher: Arc<dyn Fetcher>,
    pub(crate) content: Arc<dyn ContentStore>,
    pub(crate) applier: Arc<dyn Applier>,
    pub(crate) unpack: Option<(String, Arc<dyn Snapshotter>)>,
    pub(crate) report: Report,
    /// The labels of every blob.
    pub(crate) labels: Labels,
    pub(crate) given_up: GivenUp,
    /// Whatever has a clone of this is waited for before the pull returns.
    pub(crate) group: Member,
}

/// Keeps a pull from returning as long as it lives. Nothing is ever sent.
pub(crate) type Member = mpsc::Sender<Infallible>;

/// Tells threads that nobody waits for them when the pull's future is dropped.
pub(crate) struct Alive(pub(crate) GivenUp);

impl Drop for Alive {
    fn drop(&mut self) {
        self.0.set();
    }
}

impl Puller {
    /// Fetches what `reference` stands for, and unpacks it where [`Puller::unpack`] says so. Dropping the future gives the
    /// pull up: blobs that came in part stay as ingests, and what was extracted is removed.
    ///
    /// # Errors
    /// Those of the registry and the stores; `NotFound` when there is nothing for the platforms that are wanted;
    /// `InvalidArgument` for documents and layers that are malformed or contradict each other; `Unimplemented` for what is
    /// to be unpacked and is no image. Nothing is committed as a snapshot then that was not verified.
    pub async fn pull(&self, reference: &Reference, options: &Options, progress: Report) -> Result<Pulled> {
        let target = self.resolver.resolve(reference).await?;
        progress(Progress::Resolved(reference.clone(), target.clone()));
        self.pull_target(reference, target, options, progress).await
    }

    /// As [`Puller::pull`], of what `reference` was found to stand for.
    ///
    /// # Errors
    /// As [`Puller::pull`].
    pub async fn pull_target(
        &self,
        reference: &Reference,
        target: Descriptor,
        options: &Options,
        progress: Report,
    ) -> Result<Pulled> {
        let (group, mut ended) = mpsc::channel(1);
        let pull = Arc::new(Pull {
            name: reference.to_string(),
            options: options.clone(),
            fetcher: self.resolver.fetcher(reference)?,
            content: self.content.clone(),
            applier: self.applier.clone(),
            unpack: self.unpack.clone(),
            report: progress,
            labels: labels::common(reference, options),
            given_up: GivenUp::default(),
            group,
        });
        let alive = Alive(pull.given_up.clone());
        let result = pull.run(target).await;
        // What threads still have in hand after a failure is removed by them.
        drop((alive, pull));
        let _ = ended.recv().await;
        result
    }
}

impl Pull {
    pub(crate) async fn run(self: &Arc<Self>, target: Descriptor) -> Result<Pulled> {
        let (found, others) = self.manifests(&target).await?;
        let manifests = self.choose(found)?;
        for other in others {
            if let Document::Manifest(manifest) = self.document(&other).await? {
                self.store(&manifest.config, &self.labels).await?;
            }
        }
        let mut chain_id = None;
        for (number, (descriptor, manifest)) in manifests.into_iter().enumerate() {
            // The first is the one that runs here.
            let unpacked = self.image(&descriptor, &manifest, number == 0).await?;
            chain_id = chain_id.or(unpacked);
        }
        Ok(Pulled { target, chain_id })
    }

    /// All manifests that `target` leads to, with their platforms as indexes tell them. Each document is fetched once.
    /// Of an index' manifests only those are fetched that may be wanted; with [`Options::all_metadata`] the others are told of.
    async fn manifests(&self, target: &Descriptor) -> Result<(Vec<(Descriptor, Manifest)>, Vec<Descriptor>)> {
        let mut others = Vec::new();
        let mut seen = BTreeSet::from([target.digest.clone()]);
        let mut found = Vec::new();
        let mut level = vec![target.clone()];
        let mut offered = BTreeSet::new();
        for depth in 0..=MAX_DEPTH {
            let mut next = Vec::new();
            for one in std::mem::take(&mut level) {
                match self.document(&one).await? {
                    Document::Manifest(manifest) => found.push((one, *manifest)),
                    Document::Index(listed) => {
                        offered.extend(listed.iter().filter_map(|child| child.platform.as_ref()).map(name_of));
                        let wanted = self.wanted(listed.clone());
                        if self.options.all_metadata {
                            let other = |one: &Descriptor| {
                                Shape::of(&one.media_type) == Shape::Manifest
                                    && !wanted.iter().any(|wanted| wanted.digest == one.digest)
                            };
                            others.extend(listed.into_iter().filter(other).take(MAX_DOCUMENTS));
                        }
                        next.extend(wanted.into_iter().filter(|child| seen.insert(child.digest.clone())));
                    }
                }
                if found.len() + next.len() > MAX_DOCUMENTS {
                    return Err(too_much(target, format!("it leads to more than {MAX_DOCUMENTS} manifests")));
                }
            }
            if next.is_empty() {
                return if found.is_empty() { Err(self.nothing_for_us(offered)) } else { Ok((found, others)) };
            }
            if depth == MAX_DEPTH {
                break;
            }
            level = next;
        }
        Err(too_much(target, format!("indexes lie in it more than {MAX_DEPTH} deep")))
    }

    /// What of an index is to be fetched: its indexes, and of its manifests the best for each platform.
    fn wanted(&self, listed: Vec<Descriptor>) -> Vec<Descriptor> {
        let (indexes, manifests): (Vec<_>, Vec<_>) = listed
            .into_iter()
            .filter(|child| matches!(Shape::of(&child.media_type), Shape::Index | Shape::Manifest))
            .partition(|child| Shape::of(&child.media_type) == Shape::Index);
        let manifests: Vec<Descriptor> = if self.options.all_platforms {
            manifests
        } else {
            let best = |wanted: &Platform| {
                platform::best(std::slice::from_ref(wanted), &manifests, |one| one.platform.as_ref()).cloned()
            };
            self.options.platforms.iter().filter_map(best).collect()
        };
        indexes.into_iter().chain(manifests).collect()
    }

    /// Puts the manifest that runs here first, and drops those that several indexes offered and something beats.
    fn choose(&self, mut manifests: Vec<(Descriptor, Manifest)>) -> Result<Vec<(Descriptor, Manifest)>> {
        let best = platform::best(&self.options.platforms, manifests.iter().enumerate(), |(_, (one, _))| {
            one.platform.as_ref()
        });
        match best.map(|(place, _)| place) {
            Some(place) => {
                let first = manifests.remove(place);
                manifests.insert(0, first);
                Ok(manifests)
            }
            None if self.unpack.is_none() => Ok(manifests),
            None => {
                let offered = manifests.iter().filter_map(|(one, _)| one.platform.as_ref()).map(name_of);
                Err(self.nothing_for_us(offered.collect()))
            }
        }
    }

    fn nothing_for_us(&self, offered: BTreeSet<String>) -> Error {
        let list = |names: Vec<String>| if names.is_empty() { "nothing".to_owned() } else { names.join(", ") };
        let wanted = list(self.options.platforms.iter().map(name_of).collect());
        let mut offered: Vec<String> = offered.into_iter().collect();
        offered.truncate(32);
        Error::NoPlatform { image: self.name.clone(), wanted, offered: list(offered) }
    }

    /// Fetches an image's blobs, and unpacks it if it is the one that runs here. Returns its chain ID then.
    async fn image(self: &Arc<Self>, target: &Descriptor, manifest: &Manifest, here: bool) -> Result<Option<Digest>> {
        let unpack = self.unpack.clone().filter(|_| here);
        if Shape::of(&manifest.config.media_type) != Shape::Config {
            if unpack.is_some() {
                let reason =
                    format!("its configuration is of type {}, which is no image's", manifest.config.media_type);
                return Err(Error::NotAnImage { digest: target.digest.clone(), reason });
            }
            self.store(&manifest.config, &self.labels).await?;
            return self.layers(manifest, None).await.map(|()| None);
        }
        let config = self.config(&manifest.config).await?;
        if let (Some(made_for), false) = (config.platform.whole(), self.options.all_platforms) {
            let runs = self.options.platforms.iter().any(|wanted| wanted.rank(&made_for).is_some());
            if !runs {
                return Err(self.nothing_for_us(BTreeSet::from([name_of(&made_for)])));
            }
        }
        let Some((_, snapshots)) = unpack else { return self.layers(manifest, None).await.map(|()| None) };
        let diff_ids = config.rootfs.diff_ids;
        if diff_ids.len() != manifest.layers.len() {
            let reason = format!("it names {} layers, its manifest has {}", diff_ids.len(), manifest.layers.len());
            return Err(Error::Document { what: Shape::Config.word(), digest: manifest.config.digest.clone(), reason });
        }
        let chain = chain_ids(&diff_ids);
        let last = chain.last().cloned();
        self.layers(manifest, Some((snapshots, diff_ids, chain))).await?;
        if let Some(chain_id) = &last {
            (self.report)(Progress::Committed(chain_id.clone()));
        }
        Ok(last)
    }
}

pub(crate) fn name_of(platform: &Platform) -> String {
    let variant = if platform.variant.is_empty() { String::new() } else { format!("/{}", platform.variant) };
    format!("{}/{}{variant}", platform.os, platform.architecture)
}

fn too_much(target: &Descriptor, reason: String) -> Error {
    Error::Document { what: Shape::Index.word(), digest: target.digest.clone(), reason }
}

/// Runs `work` on a thread that may block.
pub(crate) async fn blocking<T: Send + 'static>(
    doing: &str,
    work: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<T> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(error) => Err(Error::Internal { doing: doing.to_owned(), source: error.into() }),
    }
}
