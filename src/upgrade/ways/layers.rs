//! Layers that need not be loaded, because the engine has them in images that are there.
//!
//! What counts is the chain: the engine knows a layer by all those below it, too. So of each missing image the longest
//! beginning that some image has may be left out of the archive.

use std::collections::BTreeSet;

use super::Keeper;
use crate::fault::Result;
use crate::release::Digest;
use crate::release::info::ImageInfo;
use crate::upgrade::releases;

impl Keeper<'_> {
    /// The layers that an archive of `missing` may leave out.
    pub(super) async fn present_layers(&self, missing: &[ImageInfo]) -> Result<BTreeSet<Digest>> {
        let chains: Vec<Vec<String>> = self.chains().await?.into_iter().map(|(_, chain)| chain).collect();
        Ok(left_out(missing, &chains))
    }

    /// The chains of layers that the engine has uncompressed, with the ID of the image.
    pub(super) async fn chains(&self) -> Result<Vec<(String, Vec<String>)>> {
        match self.engine.containerd_store() {
            true => self.own_chains().await,
            false => self.engine.layer_chains().await,
        }
    }

    /// The containerd store keeps the blobs that an image came in, and one of another source may have come in compressed
    /// ones. An image with the manifest digest of a release here has exactly the blobs that the release names.
    async fn own_chains(&self) -> Result<Vec<(String, Vec<String>)>> {
        let layout = &self.installation.layout;
        let mut chains = Vec::new();
        for version in releases::versions(layout)? {
            let Some(info) = releases::info(layout, &version)? else { continue };
            for image in &info.images {
                if let Some(id) = self.engine.image_id(&image.digest.to_string()).await? {
                    chains.push((id, image.layers.iter().map(|layer| layer.diff_id.to_string()).collect()));
                }
            }
        }
        Ok(chains)
    }
}

/// The blobs of `missing` that lie, in every one of these images, within a beginning of layers that one of `chains`
/// (diff-IDs, base first) has as well.
fn left_out(missing: &[ImageInfo], chains: &[Vec<String>]) -> BTreeSet<Digest> {
    let (mut there, mut lacking) = (BTreeSet::new(), BTreeSet::new());
    for image in missing {
        let ids: Vec<String> = image.layers.iter().map(|layer| layer.diff_id.to_string()).collect();
        let shared =
            |chain: &Vec<String>| ids.iter().zip(chain).take_while(|(one, other)| one == other).count();
        let common = chains.iter().map(shared).max().unwrap_or(0);
        for (number, layer) in image.layers.iter().enumerate() {
            let set = if number < common { &mut there } else { &mut lacking };
            set.insert(layer.digest);
        }
    }
    there.retain(|layer| !lacking.contains(layer));
    there
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::release::info::LayerInfo;

    fn image(name: &str, layers: &str) -> ImageInfo {
        let layer = |c: char| {
            let digest = Digest::of(c.to_string());
            LayerInfo { diff_id: digest, digest, size: 1 }
        };
        ImageInfo {
            reference: name.into(),
            id: Digest::of(name),
            digest: Digest::of(format!("{name}, the manifest")),
            layers: layers.chars().map(layer).collect(),
        }
    }

    fn chain(layers: &str) -> Vec<String> {
        layers.chars().map(|c| Digest::of(c.to_string()).to_string()).collect()
    }

    #[test]
    fn only_a_common_beginning_is_left_out() {
        for (missing, chains, expected) in [
            (vec!["abc"], vec![], ""),
            (vec!["abc"], vec!["abx"], "ab"),
            (vec!["abc"], vec!["a", "abcd"], "abc"),
            // The same layer on another base is another layer to the engine.
            (vec!["abc"], vec!["xbc"], ""),
            // What one of them needs is not left out for the other.
            (vec!["abc", "xb"], vec!["ab"], "a"),
            (vec!["abc", "abd"], vec!["ab", "abd"], "abd"),
        ] {
            let images: Vec<ImageInfo> = missing
                .iter()
                .enumerate()
                .map(|(number, layers)| image(&number.to_string(), layers))
                .collect();
            let chains: Vec<Vec<String>> = chains.into_iter().map(chain).collect();
            let expected: BTreeSet<Digest> = expected.chars().map(|c| Digest::of(c.to_string())).collect();
            assert_eq!(left_out(&images, &chains), expected, "{missing:?}");
        }
    }
}
