//! Images as archives: the server reads and writes them, this side brings and takes the bytes.

use prost::Message as _;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use wharf_api::containerd::types::transfer as api;

use crate::pull::{PullProgress, Streamed, any};
use crate::push::platform;
use crate::{Client, Error, Result};

/// The most bytes of one message.
const PIECE: usize = 32 * 1024;

/// How many bytes may be on their way here.
const WINDOW: i32 = 64 * 1024;

/// How to import.
#[derive(Clone, Debug)]
pub struct ImportOptions {
    /// Tags in the archive are put behind this name; full names count where they begin with it.
    pub prefix: String,
    /// Takes full names that begin otherwise too.
    pub any_name: bool,
    /// The platforms that are taken; all when none is named.
    pub platforms: Vec<wharf_types::Platform>,
    /// Where layers are unpacked; empty to store them only.
    pub snapshotter: String,
}

impl Default for ImportOptions {
    fn default() -> Self {
        Self {
            prefix: "import".to_owned(),
            any_name: true,
            platforms: vec![wharf_types::Platform::host()],
            snapshotter: "overlayfs".to_owned(),
        }
    }
}

impl Client {
    /// Has the server write `images` as one archive to `out`: for this machine's platform, or for all.
    ///
    /// # Errors
    /// The server's own; [`Error::Io`] when `out` cannot be written.
    pub async fn export(
        &self,
        images: &[&str],
        all_platforms: bool,
        mut out: impl AsyncWrite + Unpin + Send,
        progress: impl FnMut(PullProgress) + Send,
    ) -> Result<()> {
        let doing = format!("export {}", images.join(", "));
        let (stream, mut streamed) = self.open_stream("export").await?;
        let reference = |name: &&str| api::ImageReference { name: (*name).to_owned(), ..Default::default() };
        let source =
            api::ImageStore { extra_references: images.iter().map(reference).collect(), ..api::ImageStore::default() };
        let destination = api::ImageExportStream { stream, all_platforms, ..api::ImageExportStream::default() };
        let transfer = self.watch_transfer(
            doing.clone(),
            any("containerd.types.transfer.ImageStore", &source),
            any("containerd.types.transfer.ImageExportStream", &destination),
            progress,
        );
        tokio::pin!(transfer);
        let taken = take(&mut streamed, &mut out, &doing);
        tokio::pin!(taken);
        // Why the server could not go on says more than that its stream ended.
        tokio::select! {
            moved = &mut transfer => {
                moved?;
                taken.await
            }
            taken = &mut taken => transfer.await.and(taken),
        }
    }

    /// Has the server take in the archive that `bytes` brings, all of it or nothing, and calls `progress` as it goes; `saved`
    /// lines tell the names of its images.
    ///
    /// # Errors
    /// The server's own; [`Error::Io`] when `bytes` cannot be read.
    pub async fn import(
        &self,
        mut bytes: impl AsyncRead + Unpin + Send,
        options: &ImportOptions,
        progress: impl FnMut(PullProgress) + Send,
    ) -> Result<()> {
        let (stream, streamed) = self.open_stream("import").await?;
        let source = api::ImageImportStream { stream, ..api::ImageImportStream::default() };
        let name = api::ImageReference {
            name: options.prefix.clone(),
            is_prefix: true,
            allow_overwrite: options.any_name,
            ..api::ImageReference::default()
        };
        let unpack = api::UnpackConfiguration { platform: None, snapshotter: options.snapshotter.clone() };
        let destination = api::ImageStore {
            platforms: options.platforms.iter().cloned().map(platform).collect(),
            extra_references: vec![name],
            unpacks: if options.snapshotter.is_empty() { Vec::new() } else { vec![unpack] },
            ..api::ImageStore::default()
        };
        let transfer = self.watch_transfer(
            "import an archive".to_owned(),
            any("containerd.types.transfer.ImageImportStream", &source),
            any("containerd.types.transfer.ImageStore", &destination),
            progress,
        );
        tokio::pin!(transfer);
        let brought = bring(streamed, &mut bytes);
        tokio::pin!(brought);
        tokio::select! {
            moved = &mut transfer => moved,
            // All was sent, or could not be read: the stream has ended and the server says what it makes of it.
            brought = &mut brought => {
                let moved = transfer.await;
                brought.and(moved)
            }
        }
    }
}

/// Writes what the server sends.
async fn take(streamed: &mut Streamed, out: &mut (impl AsyncWrite + Unpin), doing: &str) -> Result<()> {
    let failed = |source| Error::Io { doing: "write an archive".to_owned(), source };
    let mut window = 0i64;
    loop {
        if window < i64::from(WINDOW) {
            let update = api::WindowUpdate { update: WINDOW };
            // A server that has sent all is not interested any more.
            let _ = streamed.outgoing.send(any("containerd.types.transfer.WindowUpdate", &update)).await;
            window += i64::from(WINDOW);
        }
        let message = streamed.incoming.message().await.map_err(Error::during(doing.to_owned()))?;
        let Some(message) = message else { break };
        if let Ok(data) = api::Data::decode(message.value.as_slice()) {
            window -= i64::try_from(data.data.len()).unwrap_or(i64::MAX);
            out.write_all(&data.data).await.map_err(failed)?;
        }
    }
    out.flush().await.map_err(failed)
}

/// Sends what is read, as much as the server takes, and ends the stream.
async fn bring(mut streamed: Streamed, bytes: &mut (impl AsyncRead + Unpin)) -> Result<()> {
    let mut buffer = vec![0; PIECE];
    let mut window = 0i64;
    loop {
        while window <= 0 {
            // A server that goes says why by the transfer's answer.
            let Ok(Some(message)) = streamed.incoming.message().await else { return Ok(()) };
            if let Ok(update) = api::WindowUpdate::decode(message.value.as_slice()) {
                window += i64::from(update.update);
            }
        }
        let room = buffer.len().min(usize::try_from(window).unwrap_or(PIECE));
        let read = bytes.read(buffer.get_mut(..room).unwrap_or_default()).await;
        let count = read.map_err(|source| Error::Io { doing: "read an archive".to_owned(), source })?;
        if count == 0 {
            // Only this direction ends: letting go of both would take back what is on its way.
            drop(streamed.outgoing);
            while let Ok(Some(_)) = streamed.incoming.message().await {}
            return Ok(());
        }
        window -= i64::try_from(count).unwrap_or(i64::MAX);
        let data = api::Data { data: buffer.get(..count).unwrap_or_default().to_vec() };
        if streamed.outgoing.send(any("containerd.types.transfer.Data", &data)).await.is_err() {
            return Ok(());
        }
    }
}
