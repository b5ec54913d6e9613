//! Chain IDs: names for stacks of layers (OCI image specification, "Layer ChainID").

use crate::{Digest, digest::Algorithm};

/// The chain ID of each layer with all below it. `diff_ids` are the digests of the uncompressed layers, the lowest first.
///
/// ```
/// use wharf_types::{Digest, chain_ids};
///
/// let (low, high) = (Digest::of(b"low"), Digest::of(b"high"));
/// let both = Digest::of(format!("{low} {high}").as_bytes());
/// assert_eq!(chain_ids(&[low.clone(), high]), [low, both]);
/// ```
#[must_use]
pub fn chain_ids(diff_ids: &[Digest]) -> Vec<Digest> {
    diff_ids
        .iter()
        .scan(None, |below: &mut Option<Digest>, diff_id| {
            let chain_id = match below.as_ref() {
                Some(below) => above(below, diff_id),
                None => diff_id.clone(),
            };
            *below = Some(chain_id.clone());
            Some(chain_id)
        })
        .collect()
}

/// The chain ID of the layer `diff_id` on the stack `below`. It is always of sha256, as every other program computes it.
fn above(below: &Digest, diff_id: &Digest) -> Digest {
    let mut hasher = Algorithm::Sha256.hasher();
    hasher.update(format!("{below} {diff_id}").as_bytes());
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_chain_of_a_known_image() {
        let digest = |byte: &str| format!("sha256:{}", byte.repeat(32)).parse::<Digest>().unwrap();
        let ids = chain_ids(&[digest("aa"), digest("bb"), digest("cc")]);
        // printf 'sha256:aa… sha256:bb…' | sha256sum, and so on with what that printed.
        let known = [
            digest("aa").to_string(),
            "sha256:ccd722928bd92476ba1745586fed6e45a102504185ad88cd89e01ff116fd146c".to_owned(),
            "sha256:c1377126441fb2f5ec2c21ae2a60255331d639e830f0ee1b40a36e52d4c40588".to_owned(),
        ];
        assert_eq!(ids.iter().map(Digest::to_string).collect::<Vec<_>>(), known);
        assert_eq!(chain_ids(&[]), []);
    }
}
