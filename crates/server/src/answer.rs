//! What every answer leaves with: a code that says whose fault it is, in words that fit into a header.

use bytes::Bytes;
use http_body_util::BodyExt as _;
use tonic::codegen::Body;
use tonic::codegen::http::{HeaderMap, HeaderValue, Response};

/// The most bytes of a status' words, as they are encoded. Clients end a call whose headers are larger than they take, which
/// is 16 KiB by default; and an error may quote a name of any length.
const MAX_WORDS: usize = 4096;

/// What the words begin with when a message is none of its type, encoded as headers are.
const UNREADABLE: &[u8] = b"failed%20to%20decode%20Protobuf";

const STATUS: &str = "grpc-status";
const WORDS: &str = "grpc-message";
const INTERNAL: &str = "13";
const INVALID_ARGUMENT: HeaderValue = HeaderValue::from_static("3");

/// Sees to the status of an answer, whether it stands at its beginning or at its end.
pub(crate) fn plain<B>(response: Response<B>) -> Response<impl Body<Data = Bytes, Error = B::Error> + Send>
where
    B: Body<Data = Bytes> + Send + 'static,
{
    let (mut parts, body) = response.into_parts();
    mend(&mut parts.headers);
    let body = body.map_frame(|mut frame| {
        if let Some(trailers) = frame.trailers_mut() {
            mend(trailers);
        }
        frame
    });
    Response::from_parts(parts, body)
}

fn mend(headers: &mut HeaderMap) {
    let Some(words) = headers.get(WORDS) else { return };
    // The codec takes what it cannot read for its own failure; it is the client's.
    let unreadable = words.as_bytes().starts_with(UNREADABLE) && headers.get(STATUS).is_some_and(|is| is == INTERNAL);
    let short = shortened(words);
    if unreadable {
        headers.insert(STATUS, INVALID_ARGUMENT);
    }
    if let Some(short) = short {
        headers.insert(WORDS, short);
    }
}

/// The beginning of words that are too long.
fn shortened(words: &HeaderValue) -> Option<HeaderValue> {
    let bytes = words.as_bytes();
    if bytes.len() <= MAX_WORDS {
        return None;
    }
    let mut kept = bytes.get(..MAX_WORDS)?;
    // A byte that is written as %XX is kept whole or not at all.
    if let Some(at) = kept.iter().rposition(|byte| *byte == b'%').filter(|at| at + 3 > kept.len()) {
        kept = kept.get(..at)?;
    }
    HeaderValue::from_bytes(&[kept, b"..."].concat()).ok()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn mended(status: &str, words: &str) -> (String, String) {
        let mut headers = HeaderMap::new();
        headers.insert(STATUS, status.parse().unwrap());
        headers.insert(WORDS, words.parse().unwrap());
        mend(&mut headers);
        let text = |name: &str| headers.get(name).unwrap().to_str().unwrap().to_owned();
        (text(STATUS), text(WORDS))
    }

    #[test]
    fn what_cannot_be_read_is_the_clients_fault() {
        let words = "failed%20to%20decode%20Protobuf%20message:%20buffer%20underflow";
        assert_eq!(mended("13", words), ("3".to_owned(), words.to_owned()));
        assert_eq!(mended("13", "the%20disk%20is%20gone").0, "13");
        assert_eq!(mended("5", words).0, "5");
    }

    #[test]
    fn long_words_are_cut_between_characters() {
        for ahead in 0..4 {
            let (_, words) = mended("5", &format!("{}{}", "a".repeat(ahead), "%C3%A9".repeat(3000)));
            assert!(words.len() <= MAX_WORDS + 3 && words.ends_with("..."), "{}", words.len());
            let before = words.trim_end_matches("...");
            assert!(before.get(before.len() - 3..).unwrap().starts_with('%'), "{before}");
        }
        let short = "a".repeat(MAX_WORDS);
        assert_eq!(mended("5", &short).1, short);
    }
}
