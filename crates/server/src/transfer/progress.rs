//! Progress as containerd's clients draw it.

use std::sync::Arc;

use wharf_api::containerd::types::transfer::Progress as Line;
use wharf_transfer::Progress;
use wharf_types::Descriptor;

use crate::convert::{any, descriptor, pack, signed};
use crate::service::streaming::Open;

/// Sends progress to a client, if it wants any. A client that does not read misses lines and holds nothing up.
#[derive(Clone)]
pub(crate) struct Reporter(Option<Arc<Open>>);

impl Reporter {
    /// Reports to `stream`.
    pub(crate) fn new(stream: Option<Open>) -> Self {
        Self(stream.map(Arc::new))
    }

    /// A line about the whole transfer.
    pub(crate) fn say(&self, event: impl Into<String>, name: &str, target: Option<&Descriptor>) {
        let desc = target.cloned().map(descriptor);
        self.send(Line { event: event.into(), name: name.to_owned(), desc, ..Line::default() });
    }

    /// What the puller tells.
    pub(crate) fn report(&self, image: &str, progress: &Progress) {
        let (event, target, done) = match progress {
            Progress::Resolved(_, target) => return self.say("fetching image content", image, Some(target)),
            Progress::Committed(_) => return,
            Progress::Exists(target) => ("already exists", target, target.size),
            Progress::Fetched(target, bytes) => ("downloading", target, *bytes),
            Progress::Stored(target) | Progress::Sent(target) => ("complete", target, target.size),
            Progress::Sending(target, bytes) => ("uploading", target, *bytes),
            Progress::Unpacking(target, bytes) => ("extracting", target, *bytes),
            Progress::Unpacked(target) => ("extracted", target, target.size),
        };
        self.send(Line {
            event: event.to_owned(),
            name: key(target),
            parents: vec![image.to_owned()],
            progress: signed(done),
            total: signed(target.size),
            desc: Some(descriptor(target.clone())),
        });
    }

    fn send(&self, line: Line) {
        if let Some(stream) = &self.0 {
            // Full or gone: the transfer goes on without a spectator.
            let _ = stream.outgoing.try_send(Ok(any(pack("containerd.types.transfer.Progress", &line))));
        }
    }
}

/// The name of a blob in progress, as containerd's references of ingests.
fn key(target: &Descriptor) -> String {
    let of = |words: &[&str]| words.iter().any(|word| target.media_type.contains(word));
    let kind = if of(&["image.index", "manifest.list"]) {
        "index"
    } else if of(&["image.manifest", "distribution.manifest"]) {
        "manifest"
    } else if of(&["image.config", "container.image"]) {
        "config"
    } else if of(&["layer", "rootfs.diff"]) {
        "layer"
    } else {
        "unknown"
    };
    format!("{kind}-{}", target.digest)
}

#[cfg(test)]
mod tests {
    use wharf_types::Digest;

    use super::*;

    #[test]
    fn blobs_are_named_by_what_they_are() {
        let digest = Digest::of(b"");
        for (media_type, kind) in [
            ("application/vnd.oci.image.index.v1+json", "index"),
            ("application/vnd.docker.distribution.manifest.list.v2+json", "index"),
            ("application/vnd.oci.image.manifest.v1+json", "manifest"),
            ("application/vnd.docker.distribution.manifest.v2+json", "manifest"),
            ("application/vnd.oci.image.config.v1+json", "config"),
            ("application/vnd.docker.container.image.v1+json", "config"),
            ("application/vnd.oci.image.layer.v1.tar+gzip", "layer"),
            ("application/vnd.docker.image.rootfs.diff.tar.gzip", "layer"),
            ("text/plain", "unknown"),
        ] {
            assert_eq!(key(&Descriptor::new(media_type, digest.clone(), 0)), format!("{kind}-{digest}"));
        }
    }
}
