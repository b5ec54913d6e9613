//! Writing an ingest, and making a blob of it.

use std::fs::{self, File, Permissions};
use std::io;
use std::num::NonZeroU64;
use std::os::unix::fs::{FileExt as _, PermissionsExt as _};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::SystemTime;

use rustix::fs::{Advice, Timespec, Timestamps, UTIME_NOW, fadvise, futimens};
use wharf_types::Digest;
use wharf_types::digest::Hasher;

use super::disk::{At as _, Durability};
use super::locks::Held;
use super::reader::FileReader;
use super::{Shared, hash, ingest, labels, layout};
use crate::{Commit, Error, Info, Ingest, Reader, Result, Status, Writer};

/// How many bytes are written before the kernel is asked to begin with putting them on disk, so that a commit does not
/// find all of a large blob in memory.
const WRITE_BACK: u64 = 8 << 20;

/// The one writer of an ingest.
#[derive(Debug)]
pub(super) struct FileWriter {
    shared: Arc<Shared>,
    /// The data's path while it is an ingest.
    path: PathBuf,
    status: Status,
    hasher: Hasher,
    /// Up to where the kernel was asked to begin with putting bytes on disk.
    write_back: u64,
    /// Nothing once the ingest became a blob or was given up.
    open: Option<Open>,
}

/// What a writer has while its ingest is one.
#[derive(Debug)]
struct Open {
    data: File,
    _held: Held<String>,
}

impl FileWriter {
    /// Begins the ingest or goes on with it; what is there already is hashed again, since only the disk knows what a
    /// crash left. More bytes than the blob will have are thrown away.
    pub(super) fn open(shared: Arc<Shared>, wanted: &Ingest) -> Result<Self> {
        let reference = &wanted.reference;
        ingest::check_reference(reference)?;
        let held = shared.references.try_hold(&layout::ingest_name(reference));
        let held = held.ok_or_else(|| Error::Locked(reference.clone()))?;
        if let Some(expected) = &wanted.expected
            && shared.exists(expected)?
        {
            // Whoever commits it now may not have synced the directory: it is there once that is done.
            let _committed = shared.digests.hold(expected);
            if shared.exists(expected)? {
                return Err(Error::AlreadyExists(expected.clone()));
            }
        }
        let directory = shared.layout.ingest(reference);
        let begun = match ingest::status(&directory)? {
            Some(mut begun) => {
                let data = ingest::resume(&shared.layout, &mut begun, wanted)?;
                Some((data, begun))
            }
            None => {
                ingest::discard(&shared.layout, reference)?;
                let data = ingest::begin(&shared.layout, wanted)?;
                ingest::status(&directory)?.map(|begun| (data, begun))
            }
        };
        // Only somebody who aborts it at this very moment takes away what was just made.
        let (data, mut status) = begun.ok_or_else(|| Error::NoIngest(reference.clone()))?;
        let path = directory.join("data");
        let algorithm = hash::algorithm(status.expected.as_ref());
        let (mut hasher, mut offset) = hash::file(&data, &path, algorithm)?;
        if status.total.is_some_and(|total| offset > total) {
            // No more bytes can make this right.
            data.set_len(0).at("truncate", &path)?;
            (hasher, offset) = (algorithm.hasher(), 0);
        }
        status.offset = offset;
        let open = Some(Open { data, _held: held });
        Ok(Self { shared, path, status, hasher, write_back: offset, open })
    }

    fn data(&self) -> Result<&File> {
        let done = || Error::Done(self.status.reference.clone());
        self.open.as_ref().map(|open| &open.data).ok_or_else(done)
    }

    /// Asks the kernel to begin with putting on disk what is complete. Losing this costs time, not bytes.
    fn begin_write_back(&mut self) {
        let pending = self.status.offset - self.write_back;
        if pending < WRITE_BACK || self.shared.durability != Durability::Synced {
            return;
        }
        if let (Ok(data), Some(length)) = (self.data(), NonZeroU64::new(pending)) {
            // Of pages that are dirty this begins the write-back and keeps them; only clean ones are dropped.
            let _ = fadvise(data, self.write_back, Some(length), Advice::DontNeed);
        }
        self.write_back = self.status.offset;
    }

    /// The digest of the bytes, if they are what `commit` and the ingest say.
    fn verify(&self, commit: &Commit) -> Result<Digest> {
        let data = self.data()?;
        let reference = || self.status.reference.clone();
        let actual = self.status.offset;
        if let Some(expected) = commit.size.or(self.status.total)
            && expected != actual
        {
            return Err(Error::WrongSize { reference: reference(), actual, expected });
        }
        let mut actual = self.digest();
        if let Some(expected) = commit.expected.as_ref().or(self.status.expected.as_ref()) {
            if expected.algorithm() != actual.algorithm() {
                actual = hash::file(data, &self.path, expected.algorithm())?.0.finish();
            }
            if *expected != actual {
                let expected = expected.clone();
                return Err(Error::WrongDigest { reference: reference(), actual, expected });
            }
        }
        Ok(actual)
    }

    /// Makes the bytes durable, read-only and of this moment.
    fn seal(&mut self) -> Result<()> {
        let data = self.data()?;
        let now = Timespec { tv_sec: 0, tv_nsec: UTIME_NOW };
        let times = Timestamps { last_access: now, last_modification: now };
        data.set_permissions(Permissions::from_mode(0o444)).at("make read-only", &self.path)?;
        futimens(data, &times).map_err(io::Error::from).at("set the time of", &self.path)?;
        if let Err(error) = self.shared.durability.file(data) {
            // The kernel may have dropped what it could not write: these bytes are condemned.
            self.give_up();
            return Err(error).at("sync", &self.path);
        }
        Ok(())
    }

    /// Shows the sealed bytes as the blob `digest`. The caller holds the digest.
    fn publish(&mut self, digest: &Digest, commit: &Commit) -> Result<()> {
        let shared = self.shared.clone();
        let label_file = shared.layout.labels(digest);
        // Labels go first, so that nobody ever sees the blob without; what an earlier blob left goes too.
        if commit.labels.is_empty() {
            labels::remove(&label_file)?;
        } else {
            labels::write(&shared.layout, digest, &commit.labels, shared.durability)?;
        }
        let blob = shared.layout.blob(digest);
        if let Err(error) = fs::rename(&self.path, &blob) {
            let _ = labels::remove(&label_file);
            if error.kind() == io::ErrorKind::NotFound {
                self.open = None;
                return Err(Error::NoIngest(self.status.reference.clone()));
            }
            return Err(error).at("name blob", &blob);
        }
        let synced = shared.durability.directory(&shared.layout.blobs(digest.algorithm()));
        if synced.is_err() {
            // A name that may vanish is not shown: nothing was acknowledged, so nothing is lost.
            let _ = fs::remove_file(&blob);
            let _ = labels::remove(&label_file);
        }
        self.give_up();
        synced
    }

    /// Removes the ingest and lets go of the reference.
    fn give_up(&mut self) {
        // What stays is without data, or condemned by its digest, and goes with the next writer or sweep.
        let _ = ingest::discard(&self.shared.layout, &self.status.reference);
        self.open = None;
    }
}

impl Drop for FileWriter {
    /// The clock that the kernel has for files is coarse: whoever goes on with the ingest reads the same time as its writer.
    fn drop(&mut self) {
        if let Ok(data) = self.data() {
            let _ = data.set_modified(self.status.updated_at);
        }
    }
}

impl Writer for FileWriter {
    fn write(&mut self, bytes: &[u8]) -> Result<()> {
        let done = || Error::Done(self.status.reference.clone());
        let data = &self.open.as_ref().ok_or_else(done)?.data;
        let mut rest = bytes;
        while !rest.is_empty() {
            let written = match data.write_at(rest, self.status.offset) {
                Ok(0) => Err(io::Error::from(io::ErrorKind::WriteZero)),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                written => written,
            };
            let written = written.at("write", &self.path)?;
            let (done, left) = rest.split_at_checked(written).unwrap_or((rest, &[]));
            self.hasher.update(done);
            self.status.offset += done.len() as u64;
            self.status.updated_at = SystemTime::now();
            rest = left;
        }
        self.begin_write_back();
        Ok(())
    }

    fn status(&self) -> Status {
        self.status.clone()
    }

    fn digest(&self) -> Digest {
        self.hasher.clone().finish()
    }

    fn reader(&self) -> Result<Box<dyn Reader>> {
        let file = self.data()?.try_clone().at("open", &self.path)?;
        Ok(Box::new(FileReader::so_far(file, &self.path, self.status.offset)))
    }

    fn truncate(&mut self) -> Result<()> {
        self.data()?.set_len(0).at("truncate", &self.path)?;
        self.hasher = hash::algorithm(self.status.expected.as_ref()).hasher();
        self.status.offset = 0;
        self.status.updated_at = SystemTime::now();
        self.write_back = 0;
        Ok(())
    }

    fn commit(&mut self, commit: &Commit) -> Result<Info> {
        labels::validate(&commit.labels)?;
        let digest = self.verify(commit)?;
        // Sealing takes long, so nobody waits for it; where the blob is there already it is spared.
        let sealed = !self.shared.exists(&digest)?;
        if sealed {
            self.seal()?;
        }
        let _held = self.shared.digests.hold(&digest);
        if self.shared.exists(&digest)? {
            self.give_up();
            return Err(Error::AlreadyExists(digest));
        }
        if !sealed {
            self.seal()?;
        }
        self.publish(&digest, commit)?;
        self.shared.info(&digest)
    }
}
