//! A blob's bytes in pieces.

use std::ops::Range;
use std::sync::Arc;

use futures::{Stream, stream};
use tonic::Status;
use wharf_api::containerd::services::content::v1::ReadContentResponse;
use wharf_content::Reader;

use crate::blocking::blocking;
use crate::convert::signed;
use crate::refuse::refuse;

/// The most bytes of one message.
const CHUNK: u64 = 1 << 20;

/// Which bytes of a blob of `length` a request is about: no size, or one past the end, means up to the end.
///
/// # Errors
/// `OutOfRange` for an offset past the end.
pub(super) fn range(length: u64, offset: i64, size: i64) -> Result<Range<u64>, Status> {
    let start = u64::try_from(offset).unwrap_or(0);
    if start > length {
        return Err(Status::out_of_range(format!("read at {start}: the blob has {length} bytes")));
    }
    let end = match u64::try_from(size) {
        Ok(0) | Err(_) => length,
        Ok(size) => length.min(start.saturating_add(size)),
    };
    Ok(start..end)
}

/// The bytes in messages. Each piece is read only when the client is ready for it, and nothing waits on a thread between.
pub(super) fn chunks(
    reader: Arc<dyn Reader>,
    range: Range<u64>,
) -> impl Stream<Item = Result<ReadContentResponse, Status>> + Send {
    let start = range.start;
    stream::try_unfold(range, move |range| {
        let reader = Arc::clone(&reader);
        async move {
            if range.is_empty() {
                return Ok(None);
            }
            let wanted = CHUNK.min(range.end - range.start);
            let data = blocking(move || piece(&*reader, range.start, wanted)).await?;
            let next = range.start + data.len() as u64;
            // As containerd counts: from the first byte that was asked for.
            let response = ReadContentResponse { offset: signed(range.start - start), data: data.into() };
            Ok(Some((response, next..range.end)))
        }
    })
}

/// Reads `wanted` bytes at `offset`.
fn piece(reader: &dyn Reader, offset: u64, wanted: u64) -> Result<Vec<u8>, Status> {
    let mut data = vec![0; usize::try_from(wanted).unwrap_or(usize::MAX)];
    let mut filled = 0;
    while let Some(rest) = data.get_mut(filled..).filter(|rest| !rest.is_empty()) {
        match reader.read_at(rest, offset + filled as u64).map_err(refuse)? {
            0 => return Err(Status::data_loss(format!("the blob ends at {}: it lost bytes", offset + filled as u64))),
            read => filled += read,
        }
    }
    Ok(data)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use futures::TryStreamExt;

    use super::*;

    struct Bytes(Vec<u8>);

    impl Reader for Bytes {
        fn size(&self) -> u64 {
            self.0.len() as u64
        }

        fn read_at(&self, buffer: &mut [u8], offset: u64) -> wharf_content::Result<usize> {
            let rest = self.0.get(usize::try_from(offset).unwrap()..).unwrap_or_default();
            // Short reads are allowed.
            let count = rest.len().min(buffer.len()).min(70_000);
            buffer[..count].copy_from_slice(&rest[..count]);
            Ok(count)
        }
    }

    #[test]
    fn ranges_are_cut_at_the_end() {
        assert_eq!(range(10, 0, 0).unwrap(), 0..10);
        assert_eq!(range(10, 4, 3).unwrap(), 4..7);
        assert_eq!(range(10, 4, 300).unwrap(), 4..10);
        assert_eq!(range(10, -1, -1).unwrap(), 0..10);
        assert_eq!(range(10, 10, i64::MAX).unwrap(), 10..10);
        assert_eq!(range(10, 11, 0).unwrap_err().code(), tonic::Code::OutOfRange);
    }

    #[test]
    fn all_bytes_come_in_order() {
        let bytes: Vec<u8> = (0..3_000_000_u32).map(|n| (n % 251) as u8).collect();
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let reader = Arc::new(Bytes(bytes.clone()));
        let all: Vec<_> = runtime.block_on(chunks(reader, 5..2_999_999).try_collect()).unwrap();
        assert_eq!(all.len(), 3);
        assert_eq!(all[1].offset, 1 << 20);
        assert_eq!(all.iter().flat_map(|r| r.data.iter().copied()).collect::<Vec<_>>(), bytes[5..2_999_999]);
    }

    #[test]
    fn a_blob_that_lost_bytes_is_named() {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let all: Result<Vec<_>, _> = runtime.block_on(chunks(Arc::new(Bytes(vec![0; 5])), 0..9).try_collect());
        assert_eq!(all.unwrap_err().code(), tonic::Code::DataLoss);
    }
}
